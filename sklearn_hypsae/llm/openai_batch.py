"""OpenAI's Batch interface: answers within a day, at half the price."""

import asyncio
import contextlib
import inspect
import json
import logging
import os
import random
import time
import uuid
from numbers import Integral, Real

from .._cache_folder import cache_folder
from ._http import Answer, BrokenOff, Unreachable, connect
from ._openai_protocol import (
    LONGEST_REASON,
    ChatCompletions,
    chat_body,
    plain_number,
    read_completion,
)
from ._pool import FIRST_DELAY_WHEN_BUSY, LONGEST_DELAY, Retry, run_in_thread
from .base import Completion, CompletionError, LLMError, Refused
from .cache import request_keys
from .openai_chat import OpenAIChat

NAME_IN_METADATA = "sklearn_hypsae_batch"
PAGES_OF_BATCHES = 20
# https://platform.openai.com/docs/guides/batch
MOST_BYTES = 200e6
# Seconds that a batch under way is asked after while the network is away: as long as one takes.
PATIENCE = 24 * 3600.0
STILL_RUNNING = {"validating", "in_progress", "finalizing", "cancelling"}
logger = logging.getLogger(__name__)


class OpenAIBatch(OpenAIChat):
    """Chat completions as batch files: submitted, polled, collected.

    A run that is killed while a batch is under way finds it again: which requests went into
    which batch is kept in the cache folder (hashes and ids, no texts) until their answers are
    kept, and these are collected from it instead of being submitted once more, from any
    process and whatever else is asked beside them. A batch carries a name of its own in its
    metadata, by which one is found of which the server's confirmation was lost. Runs at the
    same time do not know of each other: each submits what it asks.

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
        How often each of these is tried again. A batch under way is asked after for a day.

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

    def check(self):
        """Refuse what :meth:`OpenAIChat.check` does, and what has no meaning for batches."""
        super().check()
        defaults = inspect.signature(OpenAIChat).parameters
        for name in ("max_concurrency", "max_outage"):
            if getattr(self, name) != defaults[name].default:
                raise ValueError(
                    f"OpenAIBatch got {name}, which only OpenAIChat has: leave it out, a batch is "
                    "worked off and waited for by the server."
                )

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
        """Forget that these requests are in batches; see :meth:`ChatModel.forget`."""
        names = {key.hex() for key in request_keys(self.identity(), requests)}
        for path, known in _memos():
            left = [name for name in known["requests"] if name not in names]
            if not left:
                path.unlink(missing_ok=True)
            elif len(left) < len(known["requests"]):
                _write_memo(path, {**known, "requests": left})


class _BatchRun:
    """Batches on their way that answer a list of requests."""

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
        self.by_name = dict(zip((key.hex() for key in keys), requests, strict=True))
        self.names = [key.hex() for key in keys]

    async def run(self):
        """Collect what was submitted earlier, submit the rest, wait, collect."""
        self._task = asyncio.current_task()
        if self.client.batch_id is not None:
            batch = await self._call("GET", f"/batches/{self.client.batch_id}")
            outcomes = await self._collect(batch, self.by_name)
        else:
            outcomes = {}
            for path, known in _memos():
                names = [name for name in known["requests"] if self._is_open(name, outcomes)]
                if names:
                    batch = await self._known(known)
                    if batch is None:
                        path.unlink(missing_ok=True)
                        continue
                    logger.info("%d requests are in batch %s already", len(names), batch["id"])
                    outcomes.update(await self._collect(batch, names, path))
            rest = [name for name in self.by_name if name not in outcomes]
            if rest:
                batch, path = await self._submit(rest)
                outcomes.update(await self._collect(batch, rest, path))
        return [outcomes[name] for name in self.names]

    def _is_open(self, name, outcomes):
        return name in self.by_name and not isinstance(outcomes.get(name), Completion)

    async def stop(self):
        """Stop waiting; the batch goes on, and is collected by the next run."""
        self._task.cancel()

    async def _known(self, known):
        """The batch that a memo is about, or None where the server has none."""
        if "id" in known:
            return await self._call("GET", f"/batches/{known['id']}", may_be_gone=True)
        return await self._named(known["name"])

    async def _collect(self, batch, names, memo=None):
        """Wait for a batch, and give the outcomes of the named requests."""
        while batch["status"] in STILL_RUNNING:
            await asyncio.sleep(self.client.poll_seconds)
            batch = await self._call("GET", f"/batches/{batch['id']}", patience=PATIENCE)
            logger.info(
                "batch %s: %s %s", batch["id"], batch["status"], batch.get("request_counts")
            )
        if batch["status"] == "failed":
            if memo is not None:
                memo.unlink(missing_ok=True)
            reason = self.protocol.without_secrets(_first_error(batch))
            raise LLMError(f"The batch {batch['id']} failed: {reason[:LONGEST_REASON]}")
        answers = {}
        for name in ("output_file_id", "error_file_id"):
            if batch.get(name):
                answers.update(await self._lines(batch[name]))
        outcomes, refusals = {}, []
        for name in names:
            outcomes[name] = self._outcome(self.by_name[name], answers.get(name), batch, refusals)
        if len(refusals) == len(outcomes) and not _is_a_prompt(refusals):
            if memo is not None:
                memo.unlink(missing_ok=True)
            raise refusals[0]
        return outcomes

    async def _submit(self, names):
        client = self.client
        lines = [json.dumps(self._line(name), default=plain_number) for name in names]
        content, content_type = _multipart("\n".join(lines).encode())
        if client._is_openai() and len(content) > MOST_BYTES:
            raise LLMError(
                f"The batch file has {len(content) / 1e6:.0f} MB and OpenAI takes "
                f"{MOST_BYTES / 1e6:.0f}: set a smaller batch_size than {client.batch_size}."
            )
        headers = {"Content-Type": content_type}
        file = await self._call("POST", "/files", content, headers)
        own_name = uuid.uuid4().hex
        order = {
            "input_file_id": file["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {NAME_IN_METADATA: own_name},
        }
        memo = cache_folder() / "batches" / f"{own_name}.json"
        # Written first: a run that is killed before it hears of the batch still finds it.
        _write_memo(memo, {"name": own_name, "requests": names})
        batch = await self._call(
            "POST", "/batches", json.dumps(order).encode(), done=lambda: self._named(own_name)
        )
        _write_memo(memo, {"name": own_name, "id": batch["id"], "requests": names})
        logger.info("submitted %d requests as batch %s", len(lines), batch["id"])
        return batch, memo

    def _line(self, name):
        client, request = self.client, self.by_name[name]
        structured = client.structured and bool(request.choices)
        return {
            "custom_id": name,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": chat_body(client.model, request, client.options, structured, True),
        }

    async def _named(self, name):
        """The batch that was submitted under a name, or None."""
        params = {"limit": 100}
        for _ in range(PAGES_OF_BATCHES):
            page = await self._call("GET", "/batches", params=params)
            for batch in page.get("data") or []:
                if (batch.get("metadata") or {}).get(NAME_IN_METADATA) == name:
                    return batch
            if not page.get("has_more"):
                break
            params["after"] = page["data"][-1]["id"]
        return None

    async def _lines(self, file_id):
        """Read a file of answers; a line that cannot be read is none."""
        body = await self._call("GET", f"/files/{file_id}/content", raw=True)
        found = {}
        # Answers may hold what Python, but not JSON, takes for the end of a line.
        for line in body.split(b"\n"):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                parsed = json.loads(line.decode(errors="replace"))
                found[parsed["custom_id"]] = parsed
        return found

    def _outcome(self, request, line, batch, refusals):
        """What came of one request; a refusal that others may share is noted too."""
        if line is None:
            return CompletionError(f"The batch ended ({batch['status']}) without an answer")
        response = line.get("response")
        response = response if isinstance(response, dict) else {}
        status, body = response.get("status_code"), response.get("body")
        status = status if isinstance(status, int) else 500
        try:
            if status == 200:
                return read_completion(body, request)
            meaning = self.protocol.meaning(Answer(status, {}, json.dumps(body).encode()))
        except Retry as failure:
            meaning = failure
        if isinstance(meaning, CompletionError):
            return meaning
        if isinstance(meaning, Retry):
            return CompletionError(meaning.detail)
        refusals.append(meaning)
        return CompletionError(getattr(meaning, "of_this_one", f"The batch answered {status}"))

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
        patience=0.0,
    ):
        """One call to the server, tried again while it fails in a way that may pass.

        Where it may have been heard and only the answer was lost, ``done`` tells what came of
        it, or None. For ``patience`` seconds it is tried again however often it fails.
        """
        params = {**(self.client.options.get("extra_query") or {}), **(params or {})}
        rng = random.Random(0)
        attempt, began = 0, time.monotonic()
        while True:
            try:
                async with asyncio.timeout(self.client.timeout):
                    answer = await self.http.request(method, path, body, headers, params)
                if answer.status == 404 and may_be_gone:
                    return None
                if answer.status != 200:
                    raise self.protocol.meaning(answer)
                return answer.body if raw else _object(answer.body)
            except (Retry, Unreachable, BrokenOff, TimeoutError, ValueError) as failure:
                is_late = time.monotonic() - began >= patience
                if attempt >= self.client.max_retries and is_late:
                    raise LLMError(
                        f"The server at {self.client._url()} failed {attempt + 1} times at "
                        f"{method} {path}: {failure or type(failure).__name__}"
                    ) from None
                asked = getattr(failure, "after", None) or 0.0
            delay = min(LONGEST_DELAY, FIRST_DELAY_WHEN_BUSY * 2 ** min(attempt, 20))
            await asyncio.sleep(max(delay * rng.uniform(0.5, 1.0), asked))
            attempt += 1
            result = await done() if done else None
            if result is not None:
                return result


def _is_a_prompt(refusals):
    """Whether what was refused may be one prompt rather than any."""
    return len(refusals) == 1 and isinstance(refusals[0], Refused)


def _memos():
    """What is noted of batches: file and content, of each file that can be read."""
    for path in sorted((cache_folder() / "batches").glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(path.read_text())
            if isinstance(known, dict) and {"name", "requests"} <= set(known):
                yield path, known


def _write_memo(path, known):
    path.parent.mkdir(mode=0o700, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(known))
    unfinished.replace(path)


def _object(body):
    """Read a JSON object.

    Raises
    ------
    ValueError
        If the body is none.
    """
    parsed = json.loads(body)
    if not isinstance(parsed, dict) or not ("id" in parsed or "data" in parsed):
        raise ValueError("the answer is not the object that was asked for")
    return parsed


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
