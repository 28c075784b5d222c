"""Embeddings over HTTP, from any server that speaks OpenAI's protocol."""

import os
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from ._optional import import_optional

KEY_VARIABLES = ("OPENAI_API_KEY", "OPENAI_KEY_SAE")
OPENAI_URL = "https://api.openai.com/v1"
OPENAI_HOST = "api.openai.com"
PARALLEL_REQUESTS = 8
MAX_RETRIES = 6
SECONDS_FOR_A_REQUEST = 120
# Servers say in many ways that a text or a batch is too long; one of these is in all of them.
TOO_LONG_WORDS = ("token", "context length", "too long", "maximum input")


@dataclass(frozen=True)
class EndpointModel:
    """A model behind an OpenAI-compatible endpoint.

    Attributes
    ----------
    name : str
        The model, by the server's name for it.

    base_url : str or None
        Where the server is. None: ``OPENAI_BASE_URL``, else OpenAI.
    """

    name: str
    base_url: str | None = None

    @property
    def url(self):
        """Where the server is."""
        return (self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")

    @property
    def identity(self):
        """What the vectors depend on.

        Returns
        -------
        identity : str
        """
        return f"openai:{self.name} {self.url}"

    def check(self):
        """Refuse at once where the client or the key is missing."""
        import_optional("openai", purpose="An embedding model openai:…", extra="openai")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                "EmbeddingTransformer needs a base_url that begins with http:// or https:// and "
                'names a host, such as "http://127.0.0.1:8000/v1".'
            )
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "EmbeddingTransformer takes no secrets in base_url, where they would be shown: "
                f"leave out what stands before @ or after ?, and set {KEY_VARIABLES[0]}."
            )
        self._key()

    def encode(self, texts, *, prompt, batch_size, n_jobs):
        """Yield the vectors of batches in the order in which they arrive.

        Parameters
        ----------
        texts : list of str

        prompt : str or None
            Put before each text.

        batch_size : int
            Texts in a request.

        n_jobs : int or None
            Requests at a time. None or negative: 8.

        Yields
        ------
        start : int

        vectors : ndarray of shape (n_batch, d)

        Raises
        ------
        ValueError
            If there is no key.

        RuntimeError
            If the endpoint still refuses after the retries.
        """
        self.check()
        n_workers = n_jobs if n_jobs is not None and n_jobs > 0 else PARALLEL_REQUESTS
        openai = import_optional("openai", purpose="An embedding model openai:…", extra="openai")
        with (
            openai.OpenAI(
                api_key=self._key(),
                base_url=self.url,
                max_retries=MAX_RETRIES,
                timeout=SECONDS_FOR_A_REQUEST,
            ) as client,
            ThreadPoolExecutor(n_workers) as executor,
        ):
            under_way = {}
            try:
                for start in range(0, len(texts), batch_size):
                    batch = [_sendable(prompt, text) for text in texts[start : start + batch_size]]
                    under_way[executor.submit(self._embed, client, batch)] = start
                    # No more in the queue than the workers can start on: what is stored and
                    # what is paid for never lie far apart.
                    if len(under_way) >= 2 * n_workers:
                        yield from _finished(under_way)
                while under_way:
                    yield from _finished(under_way)
            finally:
                for future in under_way:
                    future.cancel()

    def _embed(self, client, batch):
        """Embed a batch; what is too long for the server is halved, as local models cut texts."""
        openai = import_optional("openai", purpose="An embedding model openai:…", extra="openai")
        try:
            answer = client.embeddings.create(model=self.name, input=batch)
        except openai.BadRequestError as error:
            if not any(word in str(error).lower() for word in TOO_LONG_WORDS):
                raise self._refused(error) from None
            if len(batch) > 1:
                middle = len(batch) // 2
                halves = [self._embed(client, part) for part in (batch[:middle], batch[middle:])]
                return np.concatenate(halves)
            if len(batch[0]) < 2:
                raise self._refused(error) from None
            return self._embed(client, [batch[0][: len(batch[0]) * 3 // 4]])
        except openai.OpenAIError as error:
            raise self._refused(error) from None
        items = sorted(answer.data, key=lambda item: item.index)
        if [item.index for item in items] != list(range(len(batch))):
            raise RuntimeError(
                f"The endpoint of the embedding model {self.name!r} answered {len(items)} "
                f"vectors for {len(batch)} texts."
            )
        return np.array([item.embedding for item in items], dtype=np.float32)

    def _refused(self, error):
        # The server's own words may quote the key or a text, so only its codes are repeated.
        status = getattr(error, "status_code", None)
        code = getattr(error, "code", None)
        reason = ", ".join(
            part
            for part in (type(error).__name__, status and f"status {status}", code and str(code))
            if part
        )
        return RuntimeError(
            f"The endpoint of the embedding model {self.name!r} did not answer ({reason}): check "
            "the model's name, base_url and the key; what was embedded so far is in the "
            "cache."
        )

    def _key(self):
        for variable in KEY_VARIABLES:
            key = os.environ.get(variable, "").strip()
            if key:
                return key
        if urlsplit(self.url).hostname == OPENAI_HOST:
            raise ValueError(
                f"The embedding model 'openai:{self.name}' needs a key: set the environment "
                f"variable {KEY_VARIABLES[0]} (or {KEY_VARIABLES[1]}), or base_url to a server "
                "that needs none."
            )
        return "none"


def _finished(under_way):
    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
    for future in done:
        yield under_way.pop(future), future.result()


def _sendable(prompt, text):
    # The protocol allows no empty input.
    return ((prompt or "") + text) or " "
