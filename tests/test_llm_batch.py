"""OpenAI's Batch interface, against the test server's files and batches."""

import json
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from llm_server import LLMServer, WordRule
from llm_tools import ask, truth, word_texts
from processes import running_script, wait_until

from sklearn_hypsae import LLMInterpreter
from sklearn_hypsae.llm import (
    AnswerCache,
    ChatModel,
    Completion,
    LLMError,
    OpenAIBatch,
    OpenAIChat,
    _openai_protocol,
    openai_batch,
)
from sklearn_hypsae.llm._http import Answer
from sklearn_hypsae.llm.annotation import annotation_requests
from sklearn_hypsae.llm.openai_batch import _BatchRun


def batch_client(server, **options):
    return OpenAIBatch("test-model", server.url, poll_seconds=0.01, **options)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SKLEARN_HYPSAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_requests_go_out_as_one_file_and_answers_come_back_in_order(folder):
    texts = word_texts(50)
    with LLMServer(WordRule({})) as server:
        found = ask(batch_client(server, seed=3), texts)
    np.testing.assert_array_equal(found, truth(texts))
    assert len(server.batches) == 1 and server.n_requests == 0
    (line, *_), order = server.files["file-0"].decode().splitlines(), server.batches["batch-0"]
    assert json.loads(line)["url"] == order["endpoint"] == "/v1/chat/completions"
    assert json.loads(line)["body"]["seed"] == 3
    assert order["completion_window"] == "24h"
    assert list((folder / "batches").iterdir()) == [], "what is collected is forgotten"


def test_batches_hold_no_more_than_their_size():
    with LLMServer(WordRule({})) as server:
        found = ask(batch_client(server, batch_size=20), word_texts(50))
    np.testing.assert_array_equal(found, truth(word_texts(50)))
    assert len(server.batches) == 3


def test_every_call_is_tried_again():
    with LLMServer(WordRule({}), faults={"503": 0.4}, seed=1) as server:
        found = ask(batch_client(server), word_texts(10))
    assert np.isfinite(found).all()
    assert server.injected["503"] > 0


def test_a_killed_run_is_resumed_from_another_process(folder):
    script = textwrap.dedent("""
        import sys
        sys.path.insert(0, sys.argv[1])
        from llm_tools import ask, word_texts
        from sklearn_hypsae.llm import OpenAIBatch
        ask(OpenAIBatch("test-model", sys.argv[2], poll_seconds=0.01), word_texts(30))
    """)
    with LLMServer(WordRule({})) as server:
        server.hold_batches = True
        with running_script(script, Path(__file__).parent, server.url) as process:
            wait_until(lambda: sum("GET" in call for call in server.batch_calls) >= 3, process)
        kept = b"".join(path.read_bytes() for path in (folder / "batches").iterdir())
        assert b"batch-0" in kept and b"about a" not in kept
        server.hold_batches = False
        found = ask(batch_client(server), word_texts(30))
        assert len(server.batches) == 1, "nothing is submitted twice"
        by_id = ask(batch_client(server, batch_id="batch-0"), word_texts(30))
    np.testing.assert_array_equal(found, truth(word_texts(30)))
    np.testing.assert_array_equal(by_id, found)


def test_a_lost_confirmation_does_not_make_a_second_batch(folder):
    """The server has the batch, is paid for it, and only its answer is lost on the way."""
    with LLMServer(WordRule({})) as server:
        for i in range(3):
            server.batches[f"other-{i}"] = {"id": f"other-{i}", "status": "completed"}
        server.lose_replies.add("POST /v1/batches")
        found = ask(batch_client(server), word_texts(5))
    np.testing.assert_array_equal(found, truth(word_texts(5)))
    assert len(server.batches) == 3 + 1


def test_a_run_killed_before_it_hears_of_its_batch_finds_it(folder):
    """What such a run leaves behind is the name it gave the batch."""
    texts = word_texts(5)
    with LLMServer(WordRule({})) as server:
        client = batch_client(server, max_retries=0)
        server.lose_replies.add("POST /v1/batches")
        with pytest.raises(LLMError, match="failed 1 times at POST /batches"):
            ask(client, texts)
        server.batches["later"] = {"id": "later", "metadata": None, "status": "completed"}
        server.batches["latest"] = {"id": "latest", "status": "completed"}
        found = ask(client, texts)
        assert [call for call in server.batch_calls if "POST" in call].count(
            "POST /v1/batches"
        ) == 1
    np.testing.assert_array_equal(found, truth(texts))


def test_a_batch_is_remembered_until_its_answers_are_kept(folder, tmp_path, monkeypatch):
    texts, put = word_texts(5), AnswerCache.put
    with LLMServer(WordRule({})) as server:

        def interrupted(cache, key, completion):
            raise KeyboardInterrupt

        monkeypatch.setattr(AnswerCache, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ask(batch_client(server), texts, cache=tmp_path / "c")
        monkeypatch.setattr(AnswerCache, "put", put)
        found = ask(batch_client(server), texts, cache=tmp_path / "c")
        assert len(server.batches) == 1
    np.testing.assert_array_equal(found, truth(texts))
    assert list((folder / "batches").iterdir()) == []


def test_a_batch_is_collected_whatever_else_is_asked_beside_its_requests(tmp_path, monkeypatch):
    """One text more than before, and a batch size of its own: what was submitted stays so."""
    texts, lines = word_texts(60), _BatchRun._lines
    with LLMServer(WordRule({})) as server:

        async def interrupted(run, file_id):
            raise KeyboardInterrupt

        monkeypatch.setattr(_BatchRun, "_lines", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ask(batch_client(server, batch_size=40), texts, cache=tmp_path / "c")
        monkeypatch.setattr(_BatchRun, "_lines", lines)
        more = [*texts, "one more text about a dog"]
        found = ask(batch_client(server, batch_size=25), more, cache=tmp_path / "c")
        submitted = [
            json.loads(line)["custom_id"]
            for batch in server.batches.values()
            for line in server.files[batch["input_file_id"]].decode().splitlines()
        ]
    np.testing.assert_array_equal(found, truth(more))
    assert len(submitted) == len(set(submitted)) == 61


class WritesRawLines(LLMServer):
    """Puts what ends a line for Python into an answer, and cuts the last line short."""

    def _advance(self, batch):
        super()._advance(batch)
        name = batch.get("output_file_id")
        if name and b"\\u2028" in self.files[name]:
            raw = self.files[name].decode().replace("\\u2028", "\u2028").replace("\\u0085", "\x85")
            self.files[name] = raw.encode()[:-20]


def test_a_line_that_cannot_be_read_costs_one_answer():
    with WritesRawLines(lambda prompt: "Yes.\u2028 Sure.\x85") as server:
        found = ask(batch_client(server), word_texts(10))
    assert np.isfinite(found).sum() == 9


class AsksToWaitForYears(LLMServer):
    async def _answer_one(self, writer, method, path, headers, body):
        if path.endswith("/files") and not self.injected["wait"]:
            self.injected["wait"] += 1
            head = b"HTTP/1.1 503 X\r\nRetry-After: 1e9\r\nContent-Length: 0\r\n\r\n"
            return writer.write(head)
        await super()._answer_one(writer, method, path, headers, body)


def test_a_server_that_asks_to_wait_for_years_is_not_obeyed(monkeypatch):
    monkeypatch.setattr(_openai_protocol, "LONGEST_ASKED", 0.1)
    with AsksToWaitForYears(WordRule({})) as server:
        assert np.isfinite(ask(batch_client(server), word_texts(3))).all()


def test_a_batch_under_way_is_asked_after_for_as_long_as_it_may_take():
    with LLMServer(WordRule({})) as server:
        server.hold_batches = True
        threading.Timer(0.3, server.go_away, [1.5]).start()
        threading.Timer(2.0, setattr, [server, "hold_batches", False]).start()
        found = ask(batch_client(server, max_retries=0), word_texts(3))
    assert np.isfinite(found).all()


class RefusesEachLine(LLMServer):
    def _advance(self, batch):
        super()._advance(batch)
        name = batch.pop("output_file_id", None)
        if name:
            lines = [json.loads(line) for line in self.files[name].splitlines()]
            error = {"error": {"message": "Unsupported value: temperature"}}
            for line in lines:
                line["response"] = {"status_code": 400, "body": error}
            batch["error_file_id"] = name
            self.files[name] = "\n".join(map(json.dumps, lines)).encode()


def test_a_batch_of_which_every_line_is_refused_stops_with_the_servers_reason(folder):
    with RefusesEachLine(WordRule({})) as server:
        with pytest.raises(LLMError, match="Unsupported value: temperature"):
            ask(batch_client(server), word_texts(3))
        assert np.isnan(ask(batch_client(server), word_texts(1))).all(), "it may be this prompt"
    assert list((folder / "batches").iterdir()) == []


def test_a_reply_that_is_no_object_is_asked_for_again():
    class Odd(LLMServer):
        async def _serve_batches(self, writer, method, path, headers, body):
            if method == "GET" and not self.injected["odd"]:
                self.injected["odd"] += 1
                return writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\nnull")
            await super()._serve_batches(writer, method, path, headers, body)

    with Odd(WordRule({})) as server:
        assert np.isfinite(ask(batch_client(server), word_texts(3))).all()


def test_a_damaged_memo_is_no_memo(folder):
    texts = word_texts(5)
    (folder / "batches").mkdir(parents=True)
    with LLMServer(WordRule({})) as server:
        (folder / "batches" / "n.json").write_text('{"id": "bat')
        assert np.isfinite(ask(batch_client(server), texts, ["c"])).all()


def test_a_file_that_openai_would_not_take_is_refused_before_it_is_sent(monkeypatch):
    monkeypatch.setattr(openai_batch, "MOST_BYTES", 1000)
    monkeypatch.setattr(OpenAIBatch, "_is_openai", lambda client: True)
    with LLMServer(WordRule({}), key="k") as server:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        with pytest.raises(LLMError, match="set a smaller batch_size than 50000"):
            ask(batch_client(server), word_texts(20))
    assert server.batch_calls == []


def test_a_batch_that_the_server_has_forgotten_is_submitted_again(folder):
    texts = word_texts(5)
    with LLMServer(WordRule({})) as server:
        ask(batch_client(server), texts)
        (folder / "batches").mkdir(exist_ok=True)
        # What a run leaves behind that was killed right after it submitted.
        run = _BatchRun(batch_client(server), None, annotation_requests(texts, ["c"])[0])
        memo = {"name": "n", "id": "batch-9", "requests": run.names}
        (folder / "batches" / "n.json").write_text(json.dumps(memo))
        found = ask(batch_client(server), texts, ["c"])
        assert len(server.batches) == 2
    assert np.isfinite(found).all()


def test_what_an_expired_batch_did_not_answer_is_nan():
    with LLMServer(WordRule({})) as server:
        server.batches_end = "expired"
        found = ask(batch_client(server), word_texts(10))
    assert np.isfinite(found).sum() == 5


def test_a_batch_that_fails_is_said_with_the_servers_reason():
    with LLMServer(WordRule({})) as server:
        server.batches_end = "failed"
        with pytest.raises(LLMError, match="batch-0 failed: The model test is not supported"):
            ask(batch_client(server), word_texts(3))
        with pytest.raises(LLMError, match=r"\(404\): No batch found"):
            ask(batch_client(server, batch_id="batch-9"), word_texts(3))


def test_the_reason_of_a_failed_batch_shows_no_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-SECRETKEY123")
    with LLMServer(WordRule({})) as server:
        client = batch_client(server)
        protocol = _BatchRun(client, None, annotation_requests(word_texts(1), ["c"])[0]).protocol
    assert protocol.without_secrets("Incorrect key sk-SECRETKEY123.") == "Incorrect key …."
    long_refusal = Answer(401, {}, b"x" * 285 + b"sk-SECRETKEY123")
    assert "sk-S" not in str(protocol.meaning(long_refusal))


def test_answers_are_shared_with_ordinary_requests_through_the_cache(tmp_path):

    with LLMServer(WordRule({})) as server:
        ask(batch_client(server), word_texts(5), cache=tmp_path / "c")
        found = ask(OpenAIChat("test-model", server.url), word_texts(5), cache=tmp_path / "c")
        assert server.n_requests == 0
    np.testing.assert_array_equal(found, truth(word_texts(5)))


def test_the_interpreter_takes_a_batch_client():
    with LLMServer(WordRule({})) as server:
        interpreter = LLMInterpreter(batch_client(server), hypotheses=["mentions a dog"])
        found = interpreter.fit_transform(["my dog", "my cat"])
    np.testing.assert_array_equal(found, [[1.0], [0.0]])
    assert interpreter.usage_["requests"] == 2


class StopsWhenAskedAgain(ChatModel):
    """Answers a batch but for one text, and is interrupted while that is asked again."""

    batch_size = 100
    asked = []

    def complete(self, requests, monitor=None):
        self.asked.append(len(requests))
        if len(self.asked) == 2:
            raise KeyboardInterrupt
        off = len(self.asked) == 1
        return [
            Completion("It depends." if off and "text 7 " in r.prompt else "Yes") for r in requests
        ]


def test_answers_are_kept_before_others_are_asked_again(tmp_path):
    """A batch may take a day: a run that ends while one answer is asked again loses no other."""
    StopsWhenAskedAgain.asked.clear()
    with pytest.raises(KeyboardInterrupt):
        ask(StopsWhenAskedAgain(), word_texts(30), cache=tmp_path / "c")
    found = ask(StopsWhenAskedAgain(), word_texts(30), cache=tmp_path / "c")
    assert StopsWhenAskedAgain.asked == [30, 1, 1]
    assert (found == 1).all()
