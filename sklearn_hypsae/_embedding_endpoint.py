"""Embeddings over HTTP, from any server that speaks OpenAI's protocol."""

import contextlib
import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np

from ._openai_account import read_key, refuse_url, server_url
from ._optional import import_optional

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
        return server_url(self.base_url).rstrip("/")

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
        refuse_url(self.url, "EmbeddingTransformer")
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
        starts = range(0, len(texts), batch_size)
        n_workers = n_jobs if n_jobs is not None and n_jobs > 0 else PARALLEL_REQUESTS
        n_workers = min(n_workers, len(starts))
        openai = import_optional("openai", purpose="An embedding model openai:…", extra="openai")
        tasks, done = SimpleQueue(), SimpleQueue()
        with openai.OpenAI(
            api_key=self._key(),
            base_url=self.url,
            max_retries=MAX_RETRIES,
            timeout=SECONDS_FOR_A_REQUEST,
        ) as client:
            # Daemons, so that Ctrl-C need not wait for the requests under way.
            for _ in range(n_workers):
                worker = threading.Thread(
                    target=self._work_off, args=(client, tasks, done), daemon=True
                )
                worker.start()
            try:
                for n_asked, start in enumerate(starts, 1):
                    batch = [_sendable(prompt, text) for text in texts[start : start + batch_size]]
                    tasks.put((start, batch))
                    # No more in the queue than the workers can start on: what is stored and
                    # what is paid for never lie far apart.
                    if n_asked >= 2 * n_workers:
                        yield _finished(done)
                for _ in starts[: 2 * n_workers - 1]:
                    yield _finished(done)
            finally:
                _drop(tasks)
                for _ in range(n_workers):
                    tasks.put(None)

    def _work_off(self, client, tasks, done):
        while (task := tasks.get()) is not None:
            start, batch = task
            try:
                done.put((start, self._embed(client, batch)))
            except Exception as error:
                done.put((start, error))

    def _embed(self, client, batch):
        """Embed a batch; what is too long for the server is halved, as local models cut texts."""
        openai = import_optional("openai", purpose="An embedding model openai:…", extra="openai")
        refusal = None
        try:
            answer = client.embeddings.create(model=self.name, input=batch)
        except openai.OpenAIError as error:
            refusal = error
        # Not where it is caught: its request, with key and texts, would stay with the new error.
        if isinstance(refusal, openai.BadRequestError) and _says_too_long(refusal):
            if len(batch) > 1:
                middle = len(batch) // 2
                halves = [self._embed(client, part) for part in (batch[:middle], batch[middle:])]
                return np.concatenate(halves)
            if len(batch[0]) > 1:
                return self._embed(client, [batch[0][: len(batch[0]) * 3 // 4]])
        if refusal is not None:
            raise self._refused(refusal)
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
        return read_key(self.url, f"The embedding model 'openai:{self.name}'")


def _finished(done):
    """Wait for a batch, whichever comes next."""
    start, vectors = done.get()
    if isinstance(vectors, Exception):
        raise vectors
    return start, vectors


def _drop(tasks):
    """Take back what no worker has begun."""
    with contextlib.suppress(Empty):
        while True:
            tasks.get_nowait()


def _says_too_long(refusal):
    return any(word in str(refusal).lower() for word in TOO_LONG_WORDS)


def _sendable(prompt, text):
    # The protocol allows no empty input.
    return ((prompt or "") + text) or " "
