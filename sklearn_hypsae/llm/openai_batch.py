"""OpenAI's Batch interface: answers within a day, at half the price."""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import random
import uuid
from numbers import Integral, Real

from .._cache_folder import cache_folder
from ._http import BrokenOff, Unreachable, connect
from ._openai_protocol import (
    LONGEST_REASON,
    ChatCompletions,
    chat_body,
    plain_number,
    read_completion,
)
from ._pool import FIRST_DELAY_WHEN_BUSY, LONGEST_DELAY, Retry, run_in_thread
from .base import CompletionError, LLMError
from .cache import request_keys
from .openai_chat import OpenAIChat

NAME_IN_METADATA = "sklearn_hypsae_batch"
PAGES_OF_BATCHES = 20
# https://platform.openai.com/docs/guides/batch
MOST_BYTES = 200e6
STILL_RUNNING = {"validating", "in_progress", "finalizing", "cancelling"}
logger = logging.getLogger(__name__)


class OpenAIBatch(OpenAIChat):
    """Chat completions as batch files: submitted, polled, collected.

    A run that is killed while a batch is under way finds it again: which requests went into
    which batch is kept in the cache folder (hashes and ids, no texts) until the answers are
    kept, and the same requests are collected from it instead of being submitted once more,
    from any process. A batch carries a name of its own in its metadata, by which one is found
    of which the server's confirmation was lost.

    Parameters
    ----------
    model : str
        The model.

    base_url : str, default=None
        As for :class:`OpenAIChat`; the server needs files and batches.

    batch_id : str, default=None
        Collect from this batch, submitted earlier, whatever the cache folder knows. Requests
        that are not in it fail.

    poll_seconds : float, default=60.0
        Time between two looks at a batch.

    batch_size : int, default=50_000
        Most requests in a batch; OpenAI's own limit.

    timeout : float, default=600.0
        Seconds until an upload or download counts as failed.

    max_retries : int, default=8
        How often each of these is tried again.

    structured : bool, default=True
        Whether to have the server hold answers to the form asked for.

    prices : (float, float), default=None
        Money per million prompt and completion tokens, as for batches.

    **options
        Further options of chat completions.

    Examples
    --------
    >>> from sklearn_hypsae.llm import OpenAIBatch
    >>> OpenAIBatch("gpt-5-mini", reasoning_effort="low")
    OpenAIBatch('gpt-5-mini', reasoning_effort='low')
    """

    def __init__(
        self,
        model,
        base_url=None,
        *,
        batch_id=None,
        poll_seconds=60.0,
        batch_size=50_000,
        timeout=600.0,
        max_retries=8,
        structured=True,
        prices=None,
        **options,
    ):
        super().__init__(
            model,
            base_url,
            timeout=timeout,
            max_retries=max_retries,
            structured=structured,
            prices=prices,
            **options,
        )
        self.batch_id = batch_id
        self.poll_seconds = poll_seconds
        self.batch_size = batch_size

    def _numbers(self):
        return {
            **super()._numbers(),
            "poll_seconds": (Real, 0, "a number of seconds, at least 0"),
            "batch_size": (Integral, 1, "a whole number, at least 1"),
        }

    def complete(self, requests, monitor=None):
        """Answer each request; see :meth:`ChatModel.complete`.

        Parameters
        ----------
        requests : list of Request

        monitor : ignored

        Returns
        -------
        outcomes : list of Completion or CompletionError

        Raises
        ------
        LLMError
            If the server refuses the key, the model or the batch.
        """
        self.check()

        @contextlib.asynccontextmanager
        async def work():
            async with connect(self._url(), self._headers()) as http:
                yield _BatchRun(self, http, requests)

        return run_in_thread(work) if requests else []

    def forget(self, requests):
        """Forget the batch of these requests; see :meth:`ChatModel.forget`."""
        _memo(request_keys(self.identity(), requests)).unlink(missing_ok=True)


class _BatchRun:
    """One batch on its way."""

    def __init__(self, client, http, requests):
        self.client, self.http, self.requests = client, http, requests
        self.protocol = ChatCompletions(
            http,
            model=client.model,
            options=client.options,
            timeout=client.timeout,
            structured=client.structured,
            is_openai=client._is_openai(),
            url=client._url(),
            secrets=client._secrets(),
        )
        keys = request_keys(client.identity(), requests)
        self.names = [key.hex() for key in keys]
        self.memo = _memo(keys)

    async def run(self):
        """Submit, or find what was submitted; wait; collect."""
        self._task = asyncio.current_task()
        batch = await self._submitted() or await self._submit()
        while batch["status"] in STILL_RUNNING:
            await asyncio.sleep(self.client.poll_seconds)
            batch = await self._call("GET", f"/batches/{batch['id']}")
            logger.info(
                "batch %s: %s %s", batch["id"], batch["status"], batch.get("request_counts")
            )
        answers = {}
        for name in ("output_file_id", "error_file_id"):
            if batch.get(name):
                answers.update(await self._lines(batch[name]))
        if batch["status"] == "failed":
            self.memo.unlink(missing_ok=True)
            reason = self.protocol.without_secrets(_first_error(batch))
            raise LLMError(f"The batch {batch['id']} failed: {reason[:LONGEST_REASON]}")
        return [
            self._outcome(request, answers.get(name), batch["status"])
            for request, name in zip(self.requests, self.names, strict=True)
        ]

    async def stop(self):
        """Stop waiting; the batch goes on, and is collected by the next run."""
        self._task.cancel()

    async def _submitted(self):
        """The batch that these requests are in already, or None."""
        if self.client.batch_id is not None:
            return await self._call("GET", f"/batches/{self.client.batch_id}")
        known = _read_memo(self.memo)
        if "id" in known:
            batch = await self._call("GET", f"/batches/{known['id']}", may_be_gone=True)
        elif "name" in known:
            batch = await self._named(known["name"])
        else:
            batch = None
        if batch is not None:
            logger.info("the same requests are in batch %s already: collecting it", batch["id"])
        return batch

    async def _submit(self):
        client = self.client
        lines = [
            json.dumps(
                {
                    "custom_id": name,
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": chat_body(
                        client.model,
                        request,
                        client.options,
                        client.structured and bool(request.choices),
                        True,
                    ),
                },
                default=plain_number,
            )
            for name, request in dict(zip(self.names, self.requests, strict=True)).items()
        ]
        content, content_type = _multipart("\n".join(lines).encode())
        if client._is_openai() and len(content) > MOST_BYTES:
            raise LLMError(
                f"The batch file has {len(content) / 1e6:.0f} MB and OpenAI takes "
                f"{MOST_BYTES / 1e6:.0f}: set a smaller batch_size than {client.batch_size}."
            )
        headers = {"Content-Type": content_type}
        file = await self._call("POST", "/files", content, headers)
        name = uuid.uuid4().hex
        order = {
            "input_file_id": file["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {NAME_IN_METADATA: name},
        }
        # Written first: a run that is killed before it hears of the batch still finds it.
        self._write_memo({"name": name})
        batch = await self._call(
            "POST", "/batches", json.dumps(order).encode(), done=lambda: self._named(name)
        )
        self._write_memo({"id": batch["id"]})
        logger.info("submitted %d requests as batch %s", len(lines), batch["id"])
        return batch

    def _write_memo(self, known):
        self.memo.parent.mkdir(mode=0o700, exist_ok=True)
        unfinished = self.memo.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(known))
        unfinished.replace(self.memo)

    async def _named(self, name):
        """The batch that was submitted under a name, or None."""
        params = {"limit": 100}
        for _ in range(PAGES_OF_BATCHES):
            page = await self._call("GET", "/batches", params=params)
            for batch in page["data"]:
                if (batch.get("metadata") or {}).get(NAME_IN_METADATA) == name:
                    return batch
            if not page.get("has_more"):
                break
            params["after"] = page["data"][-1]["id"]
        return None

    async def _lines(self, file_id):
        body = await self._call("GET", f"/files/{file_id}/content", raw=True)
        parsed = [json.loads(line) for line in body.decode().splitlines() if line.strip()]
        return {line["custom_id"]: line for line in parsed}

    def _outcome(self, request, line, status):
        if line is None:
            return CompletionError(f"The batch ended ({status}) without an answer")
        response = line.get("response") or {}
        if response.get("status_code") != 200:
            return CompletionError(f"The batch answered {response.get('status_code')}")
        try:
            return read_completion(response.get("body"), request)
        except Retry as failure:
            return CompletionError(failure.detail)

    async def _call(
        self,
        method,
        path,
        body=b"",
        headers=None,
        *,
        params=None,
        raw=False,
        may_be_gone=False,
        done=None,
    ):
        """One call to the server, tried again while it fails in a way that may pass.

        Where it may have been heard and only the answer was lost, ``done`` tells what came of
        it, or None.
        """
        params = {**(self.client.options.get("extra_query") or {}), **(params or {})}
        rng = random.Random(0)
        attempt = 0
        while True:
            try:
                async with asyncio.timeout(self.client.timeout):
                    answer = await self.http.request(method, path, body, headers, params)
                if answer.status == 404 and may_be_gone:
                    return None
                if answer.status != 200:
                    raise self.protocol.meaning(answer)
                return answer.body if raw else json.loads(answer.body)
            except (Retry, Unreachable, BrokenOff, TimeoutError, ValueError) as failure:
                if attempt == self.client.max_retries:
                    raise LLMError(
                        f"The server at {self.client._url()} failed {attempt + 1} times at "
                        f"{method} {path}: {failure or type(failure).__name__}"
                    ) from None
                asked = getattr(failure, "after", None) or 0.0
            delay = min(LONGEST_DELAY, FIRST_DELAY_WHEN_BUSY * 2**attempt)
            await asyncio.sleep(max(delay * rng.uniform(0.5, 1.0), asked))
            attempt += 1
            result = await done() if done else None
            if result is not None:
                return result


def _memo(keys):
    """Where it is noted which batch these requests are in."""
    digest = hashlib.sha256(b"".join(sorted(keys))).hexdigest()
    return cache_folder() / "batches" / f"{digest}.json"


def _read_memo(path):
    """What is noted: the batch's ``id``, or only the ``name`` it was to be submitted under."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _multipart(content):
    """A form with the batch file in it, and its content type."""
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="batch.jsonl"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    form = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return form, f"multipart/form-data; boundary={boundary}"


def _first_error(batch):
    data = (batch.get("errors") or {}).get("data") or [{}]
    return str(data[0].get("message") or "the server gives no reason")
