"""A small server that speaks OpenAI's embeddings protocol, with faults on demand."""

import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

DIMENSIONS = 16


def vector_of(text):
    """Give every text a vector of its own."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
    return np.random.RandomState(seed).normal(size=DIMENSIONS).astype(np.float32)


class EmbeddingServer:
    """Answers by `vector_of`; what it was asked, and the faults it shows, are attributes."""

    def __init__(self):
        self.texts = []  # every text it embedded
        self.batches = []  # sizes of the requests it answered
        self.keys = set()
        self.failures = []  # statuses to answer with before it behaves
        self.max_characters = None
        self.refuse_text = None
        self.seconds = 0
        self.given_up = threading.Event()  # set: answers at once
        self.most_at_a_time = 0
        self._at_a_time = 0
        self._lock = threading.Lock()

    def answer(self, headers, body):
        texts = body["input"]
        with self._lock:
            self.keys.add(headers.get("Authorization"))
            if self.failures:
                return self.failures.pop(0), {"error": {"message": f"no: {texts[0]}", "code": "x"}}
            self._at_a_time += 1
            self.most_at_a_time = max(self.most_at_a_time, self._at_a_time)
        self.given_up.wait(self.seconds)
        with self._lock:
            self._at_a_time -= 1
            if "" in texts:
                return 400, {"error": {"message": "input cannot be an empty string"}}
            if self.max_characters and any(len(text) > self.max_characters for text in texts):
                return 400, {"error": {"message": "maximum context length is 8192 tokens"}}
            if self.refuse_text in texts:
                return 401, {"error": {"message": f"Incorrect API key {headers['Authorization']}"}}
            self.texts.extend(texts)
            self.batches.append(len(texts))
        data = [
            {"object": "embedding", "index": i, "embedding": vector_of(text).tolist()}
            for i, text in enumerate(texts)
        ]
        # The protocol does not promise the order of the items.
        return 200, {"object": "list", "model": body["model"], "data": data[::-1], "usage": {}}


@contextlib.contextmanager
def running_server():
    """Run a server on a free port; gives it and its base URL."""
    state = EmbeddingServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = state.answer(self.headers, body)
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(payload)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state, f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
