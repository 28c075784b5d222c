"""Step one: texts become vectors."""

import contextlib
import logging
import os
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm.auto import tqdm

from ._cache_folder import cache_folder
from ._embedding_cache import EmbeddingCache
from ._embedding_models import resolve_model
from ._sklearn import HasMethods, Interval, StrOptions, fit_context
from ._texts import check_texts, like_input, text_index
from ._warning import warn

logger = logging.getLogger(__name__)


class EmbeddingTransformer(TransformerMixin, BaseEstimator):
    """Turn texts into embeddings.

    Nothing is learned from the data but the number of dimensions. Each distinct text is embedded
    once, in batches of texts of similar length, and kept on disk by its hash, so that a
    second run takes seconds.

    Parameters
    ----------
    model : str, path, callable or object with ``encode``, default="all-MiniLM-L6-v2"
        What embeds.

        - the name of a sentence-transformers [1]_ model, or a folder that holds one. The
          default needs no hub where the extra ``offline`` is installed. A name is tied to the
          commit that is already downloaded, else to the newest. Models that bring their own
          code are refused: load such a model yourself and pass the object.
        - ``"openai:text-embedding-3-small"``: a model behind any endpoint that speaks
          OpenAI's protocol, at ``base_url``. The key is read from
          ``OPENAI_API_KEY``, else ``OPENAI_KEY_SAE``, when it is used, and never kept. A text
          too long for the endpoint is cut, as local models cut theirs.
        - a callable that takes a list of n str and returns an array of shape (n, d), or an
          object with such a method ``encode``. They have no identity to key on, so their
          vectors are not kept on disk.

    base_url : str, default=None
        Where an endpoint is, such as ``"http://127.0.0.1:8000/v1"``. None: the environment
        variable ``OPENAI_BASE_URL``, else OpenAI.

    prompt : str, default=None
        Put before every text, for models that are trained so (``"query: "``). None: what the
        model's own configuration asks for.

    batch_size : int, default=32
        Texts in a batch, or in a request to an endpoint. On a GPU larger is faster.

    device : str, default=None
        Where a local model runs: "cpu", "cuda", "cuda:1", "mps". None: a GPU where there is one.

    dtype : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        What a local model computes in; the output is float32 whatever is chosen. "auto" is
        float32 everywhere, so that the same texts give the same vectors on every machine.
        "bfloat16" takes less than half the time on processors that have it, at hardly any
        loss; see Notes.

    normalize : bool, default=True
        Whether to scale every embedding to length one.

    text_index : bool, default=True
        Whether the output is a frame whose index is the texts, which is how they reach the
        steps that put neurons into words. False keeps the index of X (an array for input that
        has none), for ColumnTransformer and FeatureUnion beside other columns.

    cache : "auto", path or None, default="auto"
        Folder to keep vectors in. "auto": ``embeddings`` in the user's cache folder, which
        the environment variable ``SKLEARN_HYPSAE_CACHE`` moves. None: nothing is kept. It
        holds hashes and vectors, never the texts.

    n_jobs : int, default=None
        Processes for a local model, each with a copy of it; one process already works on
        every core, so more can pay only where cores are many. For an endpoint, requests at a
        time (None: 8).

    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    n_features_out_ : int
        Dimensions of the embeddings, d.

    n_features_in_ : int
        Columns of text seen in fit: 1, or 2 for pairs.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns; only where X is a frame.

    Notes
    -----
    The texts of pairs (two columns) are embedded one by one; the embedding of a pair is the
    difference of the first and the second, and its index holds both texts.

    A text's embedding does not depend on the texts beside it, up to rounding (about 1e-7).
    Models cut what is too long for them, without a word: the default after 256 word pieces.

    What bfloat16 changes was measured on 800 Rotten Tomatoes reviews with the default model and
    a processor that has avx512_bf16 (``benchmarks/embedding_speed.py``): 2.3 times as fast by the
    clock, cosine to float32 at least .9999, AUC of a logistic probe .7898 instead of .7903. On a
    processor without it, bfloat16 is slower than float32.

    References
    ----------
    .. [1] Reimers and Gurevych (2019), "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP.

    Examples
    --------
    >>> from sklearn_hypsae import EmbeddingTransformer
    >>> embedder = EmbeddingTransformer()
    >>> embeddings = embedder.fit_transform(["good food", "slow service", "good food"])
    >>> embeddings.shape
    (3, 384)
    >>> embeddings.index
    Index(['good food', 'slow service', 'good food'], dtype='object', name='text')
    >>> embedder.get_feature_names_out()[:2]
    array(['embedding_0', 'embedding_1'], dtype=object)
    """

    _parameter_constraints = {
        "model": [str, os.PathLike, callable, HasMethods("encode")],
        "base_url": [str, None],
        "prompt": [str, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, None],
        "dtype": [StrOptions({"auto", "float32", "float16", "bfloat16"})],
        "normalize": ["boolean"],
        "text_index": ["boolean"],
        "cache": [str, os.PathLike, None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model="all-MiniLM-L6-v2",
        *,
        base_url=None,
        prompt=None,
        batch_size=32,
        device=None,
        dtype="auto",
        normalize=True,
        text_index=True,
        cache="auto",
        n_jobs=None,
        verbose=False,
    ):
        self.model = model
        self.base_url = base_url
        self.prompt = prompt
        self.batch_size = batch_size
        self.device = device
        self.dtype = dtype
        self.normalize = normalize
        self.text_index = text_index
        self.cache = cache
        self.n_jobs = n_jobs
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the texts, and learn the number of dimensions from the first of them.

        Parameters
        ----------
        X : list, tuple, Series, 1-D array or one-column DataFrame of str
            Texts; a frame of two columns of them: pairs.

        y : object, default=None
            Ignored.

        Returns
        -------
        self : EmbeddingTransformer

        Raises
        ------
        ValueError
            If X holds anything but texts, the model cannot be had, or a key is missing.
        """
        columns = self._check_columns(X, reset=True)
        self.n_features_out_ = self._embed(columns[0][:1]).shape[1]
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None):
        """Embed the texts, and learn the number of dimensions from them.

        Parameters
        ----------
        X : list, tuple, Series, 1-D array or one-column DataFrame of str
            Texts; a frame of two columns of them: pairs.

        y : object, default=None
            Ignored.

        Returns
        -------
        embeddings : DataFrame or ndarray of shape (n_samples, d), dtype=float32
        """
        columns = self._check_columns(X, reset=True)
        embeddings = self._embed_columns(columns)
        self.n_features_out_ = embeddings.shape[1]
        return self._in_container(embeddings, columns, X)

    def transform(self, X):
        """Embed the texts.

        Parameters
        ----------
        X : list, tuple, Series, 1-D array or one-column DataFrame of str
            Texts; a frame of two columns of them: pairs.

        Returns
        -------
        embeddings : DataFrame or ndarray of shape (n_samples, d), dtype=float32
            A frame whose index is the texts; see ``text_index``.
        """
        check_is_fitted(self)
        columns = self._check_columns(X, reset=False)
        embeddings = self._embed_columns(columns)
        if embeddings.shape[1] != self.n_features_out_:
            raise ValueError(
                f"EmbeddingTransformer was fitted with embeddings of {self.n_features_out_} "
                f"dimensions, but the model now gives {embeddings.shape[1]}: fit it again."
            )
        return self._in_container(embeddings, columns, X)

    def get_feature_names_out(self, input_features=None):
        """Name the dimensions.

        Parameters
        ----------
        input_features : object, default=None
            Ignored: a dimension belongs to no input column.

        Returns
        -------
        names : ndarray of shape (d,), dtype=object
            ``embedding_0``, ``embedding_1``, …
        """
        check_is_fitted(self)
        return np.array([f"embedding_{i}" for i in range(self.n_features_out_)], dtype=object)

    def _check_before_fit(self, n_samples):
        """Refuse a model that cannot be had, for a caller that checks before it works."""
        self._resolve_model().check()

    def _resolve_model(self):
        how = {"device": self.device, "dtype": self.dtype, "base_url": self.base_url}
        return resolve_model(self.model, **how)

    def _check_columns(self, X, *, reset):
        """Give one checked array of texts, or two for pairs."""
        caller = type(self).__name__
        if isinstance(X, pd.DataFrame) and X.shape[1] == 2:
            columns = [
                check_texts(X.iloc[:, j], caller=caller, name=f"column {X.columns[j]!r} of X")
                for j in range(2)
            ]
        else:
            columns = [check_texts(X, caller=caller)]
        if reset:
            self.n_features_in_ = len(columns)
        elif len(columns) != self.n_features_in_:
            raise ValueError(
                f"X has {len(columns)} features, but {caller} is expecting "
                f"{self.n_features_in_} features as input: pass as many columns of text as in fit."
            )
        # Only a frame has names to compare: a list in the place of a column is the same texts.
        if reset or isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=reset, skip_check_array=True, ensure_2d=False)
        return columns

    def _embed_columns(self, columns):
        if len(columns) == 1:
            return self._embed(columns[0])
        embeddings = self._embed(np.concatenate(columns))
        return embeddings[: len(columns[0])] - embeddings[len(columns[0]) :]

    def _embed(self, texts):
        """Embed an array of texts, each distinct one once."""
        model = self._resolve_model()
        # Sorted, so that batches do not depend on which text of a pair comes first.
        codes, distinct = pd.factorize(texts, sort=True)
        with self._open_cache(model) as cache:
            found, stored = cache.lookup(distinct) if cache else (np.zeros(len(distinct), bool), [])
            logger.info("%d of %d distinct texts come from the cache.", found.sum(), len(found))
            if found.all():
                return stored[codes]
            width = stored.shape[1] if found.any() else None
            embeddings = None
            for rows, vectors in self._fresh(model, distinct, np.flatnonzero(~found), cache, width):
                if embeddings is None:
                    embeddings = np.empty((len(distinct), vectors.shape[1]), dtype=np.float32)
                embeddings[rows] = vectors
            if found.any():
                embeddings[found] = stored
        return embeddings[codes]

    def _fresh(self, model, distinct, missing, cache, width):
        """Yield positions and vectors of texts that are not stored yet, storing them."""
        # Texts of one length share a batch, the longest first: no work on padding, and what
        # does not fit in memory fails at once rather than at the end.
        missing = missing[np.argsort([-len(distinct[i]) for i in missing], kind="stable")]
        texts = distinct[missing].tolist()
        chunks = model.encode(
            texts, prompt=self.prompt, batch_size=self.batch_size, n_jobs=self.n_jobs
        )
        with tqdm(
            desc="Embedding",
            total=len(distinct),
            initial=len(distinct) - len(missing),
            unit="text",
            disable=not self.verbose,
        ) as progress:
            for start, vectors in chunks:
                part = slice(start, start + len(vectors))
                width = width or vectors.shape[1]
                vectors = self._finished(vectors, model, width)
                if cache:
                    vectors = cache.store(texts[part], vectors)
                yield missing[part], vectors
                progress.update(len(vectors))

    def _finished(self, vectors, model, width):
        """Check what a model gave, and scale it to length one where asked to."""
        vectors = np.asarray(vectors, dtype=np.float32)
        if vectors.shape[1] != width:
            raise ValueError(
                f"{type(self).__name__} got {vectors.shape[1]} dimensions from the model "
                f"{model.name} after {width} for other texts: it is not one model; if another is "
                "now served under that name, set cache=None or another folder."
            )
        if not np.isfinite(vectors).all():
            raise ValueError(
                f"{type(self).__name__} got NaN or infinity from the model {model.name}: a local "
                'model may need dtype="float32".'
            )
        if not self.normalize:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        # An embedding of zeros has no direction and stays what it is.
        return vectors / np.where(lengths > 0, lengths, 1)

    @contextlib.contextmanager
    def _open_cache(self, model):
        folder = self._cache_folder() if model.identity is not None else None
        if folder is None:
            yield None
            return
        identity = repr((model.identity, self.prompt, bool(self.normalize)))
        with EmbeddingCache(folder, model.name, identity) as cache:
            yield cache

    def _cache_folder(self):
        """Give the folder of the cache, created if need be; None for no cache."""
        if self.cache is None:
            return None
        try:
            if isinstance(self.cache, str) and self.cache == "auto":
                folder = cache_folder() / "embeddings"
            else:
                folder = Path(self.cache).expanduser()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            warn(
                f"{type(self).__name__} cannot create its cache folder ({error}): embeddings are "
                "not kept. Point cache= or SKLEARN_HYPSAE_CACHE to a folder that can be written.",
            )
            return None
        return folder

    def _in_container(self, embeddings, columns, X):
        if not self.text_index and not isinstance(X, pd.DataFrame | pd.Series):
            return embeddings
        if not self.text_index:
            index = X.index
        elif len(columns) == 1:
            index = text_index(columns[0])
        else:
            index = text_index(np.column_stack(columns))
        return like_input(embeddings, pd.DataFrame(index=index), self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags
