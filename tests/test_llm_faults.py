"""Faults: what fails is tried again, what is paid for is kept."""

import datetime
import email.utils
import json
import signal
import subprocess
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from llm_server import FAULTS, LLMServer, WordRule
from llm_tools import ask, truth, word_texts
from processes import NEEDS_CTRL_C, running_script, wait_until

from sklearn_hypsae.llm import (
    AnswerCache,
    CompletionError,
    LLMError,
    OpenAIChat,
    Request,
    _pool,
)
from sklearn_hypsae.llm._openai_protocol import retry_after
from sklearn_hypsae.llm._pool import Throttle
from sklearn_hypsae.llm.usage import no_usage

# Faults

RATES = {fault: 0.2 / len(FAULTS) for fault in FAULTS}


def test_two_thousand_annotations_survive_every_fault():
    texts = word_texts(2000)
    usage = no_usage()
    with LLMServer(WordRule({}), faults={**RATES, "shout": 0.05}) as server:
        found = ask(OpenAIChat("test-model", server.url, timeout=1.0), texts, usage=usage)
    np.testing.assert_array_equal(found, truth(texts))
    assert set(server.injected) == {*FAULTS, "shout"}
    assert server.repeated == 0, "nothing is asked again once it was answered"
    assert usage["requests"] == server.n_requests
    assert usage["failed"] == 0
    assert usage["retried"] == server.n_requests - 2000


@pytest.mark.parametrize("fault", ["429", "500", "drop", "half", "invalid", "empty"])
def test_one_text_that_always_fails_is_nan_and_the_others_go_on(fault):
    class Cursed(LLMServer):
        async def _complete(self, writer, headers, body):
            if "text 3 " in body["messages"][0]["content"]:
                return await self._fail(writer, fault, "", body)
            await super()._complete(writer, headers, body)

    texts = word_texts(10)
    usage = no_usage()
    with Cursed(WordRule({})) as server:
        found = ask(OpenAIChat("test-model", server.url, max_retries=2), texts, usage=usage)
    expected = truth(texts)
    expected[3] = np.nan
    np.testing.assert_array_equal(found, expected)
    assert usage["failed"] == 1


def test_retry_after_is_waited_for():
    with LLMServer(WordRule({}), faults={"429-after": 1.0}) as server:
        started = time.monotonic()
        outcomes = OpenAIChat("test-model", server.url, max_retries=2).complete([Request("x")])
    assert time.monotonic() - started >= 0.4
    assert isinstance(outcomes[0], CompletionError)
    assert server.n_requests == 3


@pytest.mark.slow
def test_a_server_that_goes_away_for_twenty_seconds_is_waited_for():
    texts = word_texts(300)
    with LLMServer(WordRule({}), latency=0.02) as server:
        server.after(60, lambda: server.go_away(20))
        found = ask(OpenAIChat("test-model", server.url, max_concurrency=8, max_retries=2), texts)
    np.testing.assert_array_equal(found, truth(texts))
    assert server.repeated <= 8, "at most what was under way when it left"


def test_concurrency_backs_off_from_refusals_and_recovers():
    texts = word_texts(400)
    with LLMServer(WordRule({}), latency=0.05, capacity=6) as server:
        found = ask(OpenAIChat("test-model", server.url), texts)
    np.testing.assert_array_equal(found, truth(texts))
    assert server.injected["capacity"] < 0.3 * 400


def test_throttle_follows_the_capacity_but_not_chance():
    rng = np.random.RandomState(0)
    overloaded = Throttle(30)
    for _ in range(2000):
        overloaded.observe(rng.uniform() > 10 / overloaded.limit)
    assert 7 <= overloaded.limit <= 14
    for _ in range(1000):
        overloaded.observe(False)
    assert overloaded.limit == 30
    unlucky, limits = Throttle(30), []
    for _ in range(4000):
        unlucky.observe(rng.uniform() < 0.2)
        limits.append(unlucky.limit)
    assert np.mean(limits) > 20


@pytest.mark.parametrize(
    ("server_options", "said"),
    [
        ({"key": "another"}, r"\(401\): Incorrect API key"),
        ({"models": ("other-model",)}, r"\(404\): The model test-model does not exist"),
        ({"refuses": lambda body: "temperature must be 1"}, r"\(400\): temperature must be 1"),
    ],
)
def test_refusals_that_stand_stop_at_once_with_the_servers_reason(server_options, said):
    with LLMServer(WordRule({}), **server_options) as server:
        started = time.monotonic()
        with pytest.raises(LLMError, match=said):
            ask(OpenAIChat("test-model", server.url), word_texts(500))
    assert time.monotonic() - started < 10
    assert server.n_requests <= 65


def test_a_base_url_that_refuses_is_said_within_seconds():
    with LLMServer() as server:
        url = server.url
    started = time.monotonic()
    with pytest.raises(LLMError, match=f"No server answers at {url}"):
        ask(OpenAIChat("test-model", url), word_texts(3))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "error",
    [
        {"message": "no", "code": "context_length_exceeded"},
        {"message": "This model's maximum context length is 4096 tokens.", "code": 400},
    ],
)
def test_a_prompt_that_is_too_long_fails_alone(error):
    class Narrow(LLMServer):
        def _refusal(self, headers, body):
            if "text 1 " in body["messages"][0]["content"]:
                return 400, {"error": error}
            return super()._refusal(headers, body)

    with Narrow(WordRule({})) as server:
        found = ask(OpenAIChat("test-model", server.url), word_texts(4))
    assert np.isnan(found[:, 0]).tolist() == [False, True, False, False]
    assert all("structured_outputs" in body for body in server.bodies)


def test_a_model_that_never_keeps_to_the_form_is_not_asked_for_ever():
    with LLMServer(lambda prompt: "It depends.") as server:
        found = ask(OpenAIChat("test-model", server.url), word_texts(200))
    assert np.isnan(found).all()
    assert server.n_requests < 3 * 200


def test_once_an_outage_is_over_all_that_is_left_has_failed(caplog):
    with LLMServer(WordRule({}), latency=0.02) as server:
        server.after(40, lambda: server.go_away(60))
        started = time.monotonic()
        chat = OpenAIChat("test-model", server.url, max_outage=1.0, max_concurrency=4)
        found = ask(chat, word_texts(300))
        assert time.monotonic() - started < 20
    assert 0 < np.isfinite(found).sum() < 300
    assert "trying one request at a time for up to 1 s" in caplog.text


def test_requests_that_fail_whenever_they_are_tried_do_not_hold_up_the_end(monkeypatch):
    """Twenty questions about one text are many failures in a row, but no outage."""
    monkeypatch.setattr(_pool, "UNANSWERED_SECONDS", 1.0)

    class Cursed(LLMServer):
        async def _complete(self, writer, headers, body):
            if "text 3 " in body["messages"][0]["content"]:
                return await self._fail(writer, "500", "", body)
            await super()._complete(writer, headers, body)

    concepts = [f"mentions a thing{i}" for i in range(20)]
    started = time.monotonic()
    with Cursed(WordRule({}), latency=0.01) as server:
        found = ask(OpenAIChat("test-model", server.url), word_texts(20), concepts)
    assert time.monotonic() - started < 40
    assert np.isnan(found[3]).all() and np.isfinite(np.delete(found, 3, axis=0)).all()


@pytest.mark.parametrize("code", ["invalid_prompt", None, {"not": "a code"}])
def test_one_prompt_that_is_refused_fails_alone(code):
    class Flags(LLMServer):
        def _refusal(self, headers, body):
            if "text 150 " in body["messages"][0]["content"]:
                return 400, {"error": {"message": "flagged", "code": code}}
            return super()._refusal(headers, body)

    with Flags(WordRule({}), latency=0.01) as server:
        found = ask(OpenAIChat("test-model", server.url), word_texts(200))
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == [150]
    assert all("structured_outputs" in body for body in server.bodies)


def test_prompts_that_are_refused_do_not_stop_a_run_that_asks_nothing_else():
    """As when all others are in the cache: a harmless prompt tells whose fault it is."""

    class Flags(LLMServer):
        def _refusal(self, headers, body):
            if "text 3 " in body["messages"][0]["content"]:
                return 400, {"error": {"message": "flagged"}}
            return super()._refusal(headers, body)

    with Flags(lambda prompt: "Yes") as server:
        chat = OpenAIChat("test-model", server.url)
        found = ask(chat, word_texts(4)[3:], [f"mentions a thing{i}" for i in range(40)])
    assert np.isnan(found).all()
    assert server.n_requests < 2 * 40, "once with a form, once without, and a few harmless ones"


def test_a_server_that_starts_to_refuse_everything_stops_the_run(tmp_path):
    class Revoked(LLMServer):
        def _refusal(self, headers, body):
            if len(self.bodies) > 100:
                return 400, {"error": {"message": "this model was retired"}}
            return super()._refusal(headers, body)

    with Revoked(WordRule({}), latency=0.01) as server:
        with pytest.raises(LLMError, match=r"\(400\): this model was retired"):
            ask(OpenAIChat("test-model", server.url), word_texts(500), cache=tmp_path / "c")
        n_answered = sum(server.answered.values())
    with AnswerCache(tmp_path / "c") as kept:
        assert kept.info()["answers"] == n_answered


def test_what_is_under_way_when_a_key_is_revoked_is_kept(tmp_path):
    class Revoked(LLMServer):
        def _refusal(self, headers, body):
            if len(self.bodies) == 101:
                return 401, {"error": {"message": "revoked", "code": "invalid_api_key"}}
            return super()._refusal(headers, body)

    with Revoked(WordRule({}), latency=0.1) as server:
        with pytest.raises(LLMError, match="revoked"):
            ask(OpenAIChat("test-model", server.url), word_texts(500), cache=tmp_path / "c")
        n_answered = sum(server.answered.values())
    with AnswerCache(tmp_path / "c") as kept:
        assert kept.info()["answers"] == n_answered >= 100


def test_a_server_that_answered_the_last_step_is_waited_for_at_the_next(monkeypatch):
    monkeypatch.setattr(_pool, "UNREACHED_SECONDS", 0.3)
    with LLMServer(WordRule({})) as server:
        chat = OpenAIChat("test-model", server.url)
        ask(chat, word_texts(3))
        server.go_away(1.5)
        time.sleep(0.1)
        assert np.isfinite(ask(chat, word_texts(6)[3:])).all()


@pytest.mark.parametrize(
    "answer",
    ['{"1": %s}' % ("1" * 5000), '{"1": ' + "[" * 100_000, "Yes. \ud83d"],
    ids=["digits", "nesting", "half a character"],
)
def test_what_models_that_go_astray_write_is_only_a_wrong_answer(tmp_path, answer):
    texts = word_texts(4)
    with LLMServer(lambda prompt: answer if "text 2 " in prompt else '{"1": "yes"}') as server:
        found = ask(
            OpenAIChat("test-model", server.url),
            texts,
            ["a", "b"][: 1 + answer.startswith("{")],
            per_request=1,
            cache=tmp_path / "c",
        )
    assert np.isfinite(np.delete(found, 2, axis=0)).all()
    assert np.isnan(found[2]).all() == answer.startswith("{")


@pytest.mark.parametrize("count", [10**30, float("inf"), -5, "many"])
def test_a_count_of_tokens_that_cannot_be_ends_no_run(tmp_path, count):
    class Miscounts(LLMServer):
        async def _complete(self, writer, headers, body):
            choice = {"message": {"content": "Yes"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": count, "completion_tokens": 1}
            if self.n_requests > 3:
                usage = {}
            data = json.dumps({"choices": [choice], "usage": usage}).encode()
            head = f"HTTP/1.1 200 X\r\nContent-Length: {len(data)}\r\n\r\n"
            writer.write(head.encode() + data)

    with Miscounts() as server:
        found = ask(OpenAIChat("test-model", server.url), word_texts(3), cache=tmp_path / "c")
    assert np.isfinite(found).all()


def test_an_error_with_a_status_of_200_is_an_error():
    class Gateway(LLMServer):
        async def _complete(self, writer, headers, body):
            data = b'{"error": {"code": 402, "message": "No credits left"}}'
            writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % len(data) + data)

    with Gateway() as server, pytest.raises(LLMError, match=r"\(402\): No credits left"):
        ask(OpenAIChat("test-model", server.url), word_texts(3))


def test_a_redirect_says_where_it_leads():
    class Moved(LLMServer):
        async def _complete(self, writer, headers, body):
            writer.write(b"HTTP/1.1 307 X\r\nLocation: /v2/chat\r\nContent-Length: 0\r\n\r\n")

    with Moved() as server, pytest.raises(LLMError, match="sends requests on to /v2/chat: set"):
        ask(OpenAIChat("test-model", server.url), word_texts(3))


def test_a_wait_that_is_asked_for_as_a_date():
    then = email.utils.format_datetime(
        datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30), usegmt=True
    )
    assert 25 < retry_after({"retry-after": then}) <= 30
    assert retry_after({"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"}) == 0
    assert retry_after({"retry-after": "soon"}) is None


# Runs that end early

# A shell lets what it runs in the background ignore Ctrl-C, and a child inherits that.
RUN = textwrap.dedent("""
    import signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, sys.argv[1])
    from llm_tools import ask, word_texts
    from sklearn_hypsae.llm import OpenAIChat, _pool
    _pool.DRAIN_SECONDS = float(sys.argv[4])
    ask(OpenAIChat("test-model", sys.argv[2]), word_texts(2000), cache=sys.argv[3])
""")


def run_of_two_thousand(server, cache, script=RUN, drain_seconds=_pool.DRAIN_SECONDS):
    folder = Path(__file__).parent
    arguments = (folder, server.url, cache, drain_seconds)
    return running_script(script, *arguments, stderr=subprocess.PIPE)


def ctrl_c(process):
    process.send_signal(signal.SIGINT)


@NEEDS_CTRL_C
def test_ctrl_c_does_not_wait_for_a_server_that_hangs(tmp_path):
    with (
        LLMServer(WordRule({}), faults={"timeout": 0.2}) as server,
        run_of_two_thousand(server, tmp_path / "c") as process,
    ):
        wait_until(lambda: server.injected["timeout"] == 30, process)
        time.sleep(0.2)
        ctrl_c(process)
        # About 1 s on a machine of its own; the requests under way would take two minutes.
        assert process.wait(timeout=30) != 0
        assert "KeyboardInterrupt" in process.stderr.read()
        n_answered = sum(server.answered.values())
    with AnswerCache(tmp_path / "c") as kept:
        assert kept.info()["answers"] == n_answered > 0


@NEEDS_CTRL_C
def test_ctrl_c_ends_a_run_that_holds_up_an_event_loop(tmp_path):
    """asyncio.run answers Ctrl-C by cancelling a task, which here waits for the run."""
    script = "import asyncio\nasync def main():\n" + textwrap.indent(RUN, "    ")
    script += "\nasyncio.run(main())"
    with (
        LLMServer(WordRule({}), latency=0.1) as server,
        run_of_two_thousand(server, tmp_path / "c", script) as process,
    ):
        server.after(60, lambda: ctrl_c(process))
        assert process.wait(timeout=120) != 0
        assert sum(server.answered.values()) < 1000


@pytest.mark.parametrize(
    ("end", "most_lost"),
    [(subprocess.Popen.kill, 30), pytest.param(ctrl_c, 0, marks=NEEDS_CTRL_C)],
)
def test_a_run_that_is_killed_resumes_without_asking_twice(tmp_path, end, most_lost):
    """What was under way when the process was killed is lost; Ctrl-C waits for it."""
    cache = tmp_path / "c"
    with LLMServer(WordRule({}), latency=0.05) as server:
        # Longer than the usual second, in which a slow machine may not get all it asked for.
        with run_of_two_thousand(server, cache, drain_seconds=60) as process:
            server.after(300, lambda: end(process))
            assert process.wait(timeout=120) != 0
        wait_until(lambda: server.n_now == 0)
        n_before = sum(server.answered.values())
        assert 300 <= n_before < 1000
        with AnswerCache(cache) as kept:
            n_kept = kept.info()["answers"]
        texts = word_texts(2000)[: n_before + 200]
        found = ask(OpenAIChat("test-model", server.url), texts, cache=cache)
    assert n_before - n_kept <= most_lost
    assert server.repeated <= most_lost
    np.testing.assert_array_equal(found, truth(texts))
