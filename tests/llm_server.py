"""A small OpenAI-compatible server on the loopback interface, for tests and benchmarks.

Chat completions, the few fields of responses that clients read, and models.

It answers by a rule that the test knows, after a latency, and fails at rates the test sets.
``python tests/llm_server.py --port 8123 --latency 0.05`` runs it as a process of its own.
"""

import argparse
import asyncio
import collections
import contextlib
import html
import json
import math
import random
import re
import sys
import threading
import time
import urllib.parse

from sklearn_hypsae.llm import prompts

FAULTS = (
    "429",
    "429-after",
    "500",
    "502",
    "503",
    "timeout",
    "drop",
    "half",
    "invalid",
    "empty",
    "off-format",
    "foreign",
)
HARMLESS = ("shout",)
TEXT = re.compile(r"<text>(.*?)</text>", re.DOTALL)
STATEMENT = re.compile(r"^Statement: The text (.*)$", re.MULTILINE)
NUMBERED = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)
INTERPRETS_PAIRS = prompts.INTERPRET_PAIRS.split("{")[0]
BETWEEN = prompts.INTERPRET.split("{firing_texts}")[1].split("{silent_texts}")[0]


def texts_in(prompt):
    """Read the texts of a prompt, as they were before escaping."""
    return [html.unescape(text) for text in TEXT.findall(prompt)]


def concepts_in(prompt):
    """Read the hypotheses an annotation prompt asks about."""
    statement = STATEMENT.search(prompt)
    if statement:
        return [statement[1]]
    after = prompt.rpartition("</text>")[2]
    return [hypothesis for _, hypothesis in NUMBERED.findall(after)]


class WordRule:
    """Knows concepts as words: a text has the concept where it holds one of its words.

    An interpretation names the concept that the firing texts have most ahead of the silent
    ones; an annotation says yes where the text has the concept named.
    """

    def __init__(self, concepts):
        self.concepts = concepts

    def has(self, concept, text):
        words = set(re.findall(r"\w+", text.lower()))
        return any(word in words for word in self.concepts.get(concept, [concept.split()[-1]]))

    def __call__(self, prompt):
        if BETWEEN in prompt:
            firing, silent = (texts_in(part) for part in prompt.split(BETWEEN))
            return max(self.concepts, key=lambda c: self._lead(c, firing, silent))
        if prompt.startswith(INTERPRETS_PAIRS):
            firing, silent = texts_in(prompt)[::2], texts_in(prompt)[1::2]
            return max(self.concepts, key=lambda c: self._lead(c, firing, silent))
        (text,) = texts_in(prompt)
        answers = ["yes" if self.has(c, text) else "no" for c in concepts_in(prompt)]
        if STATEMENT.search(prompt):
            return answers[0].capitalize()
        return json.dumps({str(i): answer for i, answer in enumerate(answers, start=1)})

    def _lead(self, concept, firing, silent):
        def share(texts):
            return sum(self.has(concept, text) for text in texts) / max(1, len(texts))

        return share(firing) - share(silent)


class LLMServer:
    """The server, on a thread of its own.

    Parameters
    ----------
    answer : callable
        ``prompt -> str``.

    latency : float, default=0
        Seconds until an answer.

    faults : dict of str to float, default={}
        Rate of each kind of :data:`FAULTS` or :data:`HARMLESS`.

    capacity : int, default=None
        Requests at a time beyond which the server answers 429.

    models : collection of str, default=("test-model",)
        Known models.

    key : str, default=None
        The key it wants; None: any.

    refuses : callable, default=None
        ``body -> reason or None``: answered with 400.

    tls : SSLContext, default=None
        For https.
    """

    def __init__(
        self,
        answer=lambda prompt: "Yes",
        *,
        latency=0.0,
        faults=None,
        capacity=None,
        models=("test-model",),
        key=None,
        refuses=None,
        tls=None,
        port=0,
        seed=0,
    ):
        self.answer, self.latency, self.faults = answer, latency, dict(faults or {})
        self.capacity, self.models, self.key, self.refuses = capacity, models, key, refuses
        self.port, self.tls = port, tls
        self.rng = random.Random(seed)
        self.lock = threading.Lock()
        self.bodies = []
        self.answered = collections.Counter()
        self.injected = collections.Counter()
        self.n_requests = self.n_now = self.most_at_once = 0
        self.repeated = 0
        self.files, self.batches, self.batch_calls = {}, {}, []
        self.hold_batches, self.batches_end = False, "completed"
        self.lose_replies, self.headers = set(), {}
        self.when_answered = {}
        self._connections = set()

    @property
    def url(self):
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/v1"

    def __enter__(self):
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *exception):
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._thread.join()

    def after(self, n_answers, what):
        """Call something once that many answers were given, however long they take."""
        self.when_answered[n_answers] = what

    def go_away(self, seconds):
        """Close the port and all connections, and come back on the same port later."""
        asyncio.run_coroutine_threadsafe(self._leave(seconds), self._loop)

    def _run(self, started):
        asyncio.run(self.serve(started.set))

    async def serve(self, ready):
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        await self._listen()
        ready()
        await self._stopping.wait()
        await self._close()

    async def _listen(self):
        self._server = await asyncio.start_server(
            self._serve_connection, "127.0.0.1", self.port, backlog=1000, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self):
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()

    async def _stop(self):
        self._stopping.set()

    async def _leave(self, seconds):
        await self._close()
        await asyncio.sleep(seconds)
        await self._listen()

    async def _serve_connection(self, reader, writer):
        self._connections.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *headers = head.decode("latin1").split("\r\n")
                method, path, _ = line.split(" ")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (header.partition(":") for header in headers if header)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self._answer_one(writer, method, path, headers, body)
                if writer.transport.is_closing():
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            # CancelledError: the server stops while it lets a client wait.
            pass
        finally:
            self._connections.discard(writer)
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _answer_one(self, writer, method, path, headers, body):
        if path.endswith("/models"):
            data = [{"id": name, "object": "model"} for name in self.models]
            return await _send(writer, 200, {"object": "list", "data": data})
        if "/files" in path or "/batches" in path:
            return await self._serve_batches(writer, method, path, headers, body)
        self.n_requests += 1
        self.n_now += 1
        self.most_at_once = max(self.most_at_once, self.n_now)
        try:
            if self.capacity is not None and self.n_now > self.capacity:
                self.injected["capacity"] += 1
                return await _send(writer, 429, _error("too many at once"))
            await asyncio.sleep(self.latency)
            body = json.loads(body)
            if path.endswith("/responses"):
                body["messages"] = [{"content": body["input"]}]
            await self._complete(writer, headers, body)
        finally:
            self.n_now -= 1

    async def _complete(self, writer, headers, body):
        self.bodies.append(body)
        self.headers = headers
        refusal = self._refusal(headers, body)
        if refusal is not None:
            return await _send(writer, *refusal)
        prompt = body["messages"][-1]["content"]
        fault = self._draw_fault()
        if fault is None or fault in HARMLESS:
            text = self.answer(prompt)
            with self.lock:
                self.repeated += self.answered[prompt] > 0
                self.answered[prompt] += 1
            if self.when_answered:
                self.when_answered.pop(self.answered.total(), lambda: None)()
            text = text.upper() if fault == "shout" else text
            return await _send(writer, 200, _completion(text, prompt, body))
        await self._fail(writer, fault, prompt, body)

    async def _serve_batches(self, writer, method, path, headers, body):
        self.batch_calls.append(f"{method} {path}")
        if self._draw_fault() is not None:
            return await _send(writer, 503, _error("for now"))
        name = path.split("/")[3] if path.count("/") > 2 else None
        if path.endswith("/content"):
            return await _send(writer, 200, self.files[name])
        if path.endswith("/files"):
            content = body.split(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
            name = f"file-{len(self.files)}"
            self.files[name] = content
            return await _send(writer, 200, {"id": name})
        if method == "POST":
            name = f"batch-{len(self.batches)}"
            self.batches[name] = {"id": name, "status": "validating", **json.loads(body)}
            if "POST /v1/batches" in self.lose_replies:
                self.lose_replies.clear()
                return writer.transport.abort()
            return await _send(writer, 200, self.batches[name])
        if path.partition("?")[0].endswith("/batches"):
            return await _send(writer, 200, self._page_of_batches(path))
        batch = self.batches.get(name)
        if batch is None:
            return await _send(writer, 404, _error(f"No batch found with id {name}"))
        self._advance(batch)
        await _send(writer, 200, batch)

    def _page_of_batches(self, path, size=2):
        """Newest first, in small pages, as the server pleases."""
        newest = list(self.batches.values())[::-1]
        after = urllib.parse.parse_qs(path.partition("?")[2]).get("after", [None])[0]
        start = [batch["id"] for batch in newest].index(after) + 1 if after else 0
        page = newest[start : start + size]
        return {"data": page, "has_more": start + size < len(newest)}

    def _advance(self, batch):
        """Bring a batch one state further, and answer it in the last."""
        if self.hold_batches or batch["status"] in ("completed", "expired", "failed"):
            return
        if batch["status"] == "validating":
            batch["status"] = "in_progress"
            return
        batch["status"] = self.batches_end
        lines = []
        for line in self.files[batch["input_file_id"]].decode().splitlines():
            asked = json.loads(line)
            self.bodies.append(asked["body"])
            prompt = asked["body"]["messages"][0]["content"]
            answer = _completion(self.answer(prompt), prompt, asked["body"])
            response = {"status_code": 200, "body": answer}
            lines.append({"custom_id": asked["custom_id"], "response": response})
        if self.batches_end == "expired":
            lines = lines[: len(lines) // 2]
        if self.batches_end == "failed":
            batch["errors"] = {"data": [{"message": "The model test is not supported"}]}
            return
        self.rng.shuffle(lines)
        batch["output_file_id"] = f"file-{len(self.files)}"
        self.files[batch["output_file_id"]] = "\n".join(map(json.dumps, lines)).encode()

    def _draw_fault(self):
        drawn = self.rng.random()
        for fault, rate in self.faults.items():
            drawn -= rate
            if drawn < 0:
                self.injected[fault] += 1
                return fault
        return None

    async def _fail(self, writer, fault, prompt, body):
        if fault == "429-after":
            return await _send(writer, 429, _error("slow down"), {"Retry-After": "0.2"})
        if fault.isdigit():
            return await _send(writer, int(fault), _error("for now"))
        if fault == "timeout":
            await asyncio.sleep(3600)
        if fault == "drop":
            return writer.transport.abort()
        if fault == "half":
            whole = json.dumps(_completion("Yes", prompt, body)).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(whole) + whole[: len(whole) // 2]
            )
            await writer.drain()
            return writer.close()
        if fault == "invalid":
            return await _send(writer, 200, b'{"choices": [{"mess')
        text = {"empty": "", "off-format": "It depends.", "foreign": "Jawohl, gewiss"}[fault]
        await _send(writer, 200, _completion(text, prompt, body))

    def _refusal(self, headers, body):
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            given = headers.get("authorization")
            return 401, _error(f"Incorrect API key provided: {given}", "invalid_api_key")
        if body["model"] not in self.models:
            return 404, _error(f"The model {body['model']} does not exist", "model_not_found")
        reason = self.refuses(body) if self.refuses else None
        return None if reason is None else (400, _error(reason))


def _error(message, code=None):
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


def _completion(text, prompt, body):
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    if body.get("logprobs"):
        sure = [{"token": text, "logprob": math.log(0.9)}]
        other = "No" if text == "Yes" else "Yes"
        sure.append({"token": other, "logprob": math.log(0.1)})
        choice["logprobs"] = {"content": [{**sure[0], "top_logprobs": sure}]}
    n_prompt, n_completion = len(prompt.split()), len(text.split())
    content = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "content": [content]}
    return {
        "output": [message],
        "id": "completion",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [choice],
        "usage": {
            "prompt_tokens": n_prompt,
            "completion_tokens": n_completion,
            "total_tokens": n_prompt + n_completion,
        },
    }


async def _send(writer, status, body, headers=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + data)
    await writer.drain()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--faults", type=json.loads, default={})
    parser.add_argument("--model", default="test-model")
    arguments = parser.parse_args()
    served = LLMServer(
        lambda prompt: "Yes" if "about a dog" in prompt else "No",
        latency=arguments.latency,
        faults=arguments.faults,
        port=arguments.port,
        models=(arguments.model,),
    )

    def announce():
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    asyncio.run(served.serve(announce))
