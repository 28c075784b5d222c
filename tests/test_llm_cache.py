"""The answer cache, and that keys and texts stay out of what is kept and shown."""

import json
import os
import pickle
import subprocess
import textwrap
import traceback
import warnings

import joblib
import numpy as np
import pytest
from llm_server import LLMServer, WordRule
from llm_tools import CONCEPTS, ask, planted_frame, truth, word_texts
from processes import NEEDS_MODES, waiting_scripts
from sklearn.pipeline import Pipeline

from sklearn_hypsae import HypothesisValidator, LLMInterpreter
from sklearn_hypsae.llm import (
    AnswerCache,
    ChatModel,
    Completion,
    LLMError,
    OpenAIBatch,
    OpenAIChat,
    Request,
    VLLMChat,
)
from sklearn_hypsae.llm.cache import request_keys
from sklearn_hypsae.llm.usage import no_usage

KEY = "sk-a-very-secret-key-0123456789"


pytestmark = pytest.mark.usefixtures("no_key_of_the_user")


# Cache


def test_cached_answers_are_not_asked_again(tmp_path):
    texts = word_texts(30)
    usage = no_usage()
    with LLMServer(WordRule({})) as server:
        chat = OpenAIChat("test-model", server.url)
        first = ask(chat, texts, cache=tmp_path / "c")
        second = ask(chat, texts, cache=tmp_path / "c", usage=usage)
        assert server.n_requests == 30
        ask(chat, texts, cache=None)
        assert server.n_requests == 60
    np.testing.assert_array_equal(first, second)
    assert usage["cached"] == 30 and usage["requests"] == 0


def test_the_key_holds_model_server_options_and_the_whole_prompt():
    request = Request("a" * 500 + "X" + "b" * 500, ("yes", "no"))
    other_middle = request._replace(prompt="a" * 500 + "Y" + "b" * 500)
    chats = [
        OpenAIChat("m", "http://h/v1"),
        OpenAIChat("n", "http://h/v1"),
        OpenAIChat("m", "http://g/v1"),
        OpenAIChat("m", "http://h/v1", temperature=1.0),
    ]
    requests = [request, other_middle, request._replace(options=(("max_tokens", 1),))]
    keys = {key for chat in chats for key in request_keys(chat.identity(), requests)}
    assert len(keys) == len(chats) * len(requests)
    patient = OpenAIChat("m", "http://h/v1", max_retries=1, timeout=5.0, max_concurrency=2)
    assert set(request_keys(patient.identity(), requests)) <= keys, "how is not what"


def test_the_cache_stores_no_texts(tmp_path):
    secret = "the patient in bed seven"
    with LLMServer(WordRule({})) as server:
        ask(OpenAIChat("test-model", server.url), [secret], cache=tmp_path / "c")
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"yes" in stored.lower() or b"no" in stored.lower()
    assert secret.encode() not in stored and b"Statement" not in stored


@pytest.mark.parametrize("content", [b"", b"this is no database at all", b"SQLite format 3\0" * 99])
def test_a_damaged_cache_is_set_aside_and_said(tmp_path, content):
    path = tmp_path / "c"
    path.write_bytes(content)
    with LLMServer(WordRule({})) as server:
        chat = OpenAIChat("test-model", server.url)
        if content:
            with pytest.warns(UserWarning, match="set aside as"):
                ask(chat, word_texts(3), cache=path)
            (aside,) = tmp_path.glob("c.damaged-*")
            assert aside.read_bytes() == content
        ask(chat, word_texts(3), cache=path)
        assert np.isfinite(ask(chat, word_texts(3), cache=path)).all()
        assert server.n_requests == 3


def test_a_cache_cut_short_is_rebuilt(tmp_path):
    path = tmp_path / "c"
    with AnswerCache(path) as cache:
        for i in range(2000):
            cache.put(b"%032d" % i, Completion("yes"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match="damaged"), AnswerCache(path) as cache:
        cache.put(b"k", Completion("no", 1, 2, {"No": 0.5}))
        assert cache.get([b"k"]) == {b"k": Completion("no", 1, 2, {"No": 0.5})}


def test_a_damaged_row_is_asked_again_and_costs_no_other(tmp_path):
    texts = word_texts(20)
    with LLMServer(WordRule({})) as server:
        chat = OpenAIChat("test-model", server.url)
        ask(chat, texts, cache=tmp_path / "c")
        with AnswerCache(tmp_path / "c") as cache:
            keys = cache._connection.execute("SELECT key FROM answers").fetchall()
            for (key,), column, value in zip(
                keys,
                ["text", "text", "probabilities", "text"],
                ["CAST(x'ff' AS TEXT)", "'Yellow'", "'{half'", "7"],
                strict=False,
            ):
                change = f"UPDATE answers SET {column} = {value} WHERE key = ?"
                cache._connection.execute(change, (key,))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = ask(chat, texts, cache=tmp_path / "c")
        assert server.n_requests == 20 + 4
        ask(chat, texts, cache=tmp_path / "c")
        assert server.n_requests == 20 + 4
    np.testing.assert_array_equal(again, truth(texts))


def test_several_processes_may_meet_a_damaged_cache_at_once(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(b"this is no database at all" * 50)
    script = textwrap.dedent("""
        import sys
        from sklearn_hypsae.llm import AnswerCache, Completion
        key = sys.argv[2].encode()
        print("ready", flush=True)
        sys.stdin.readline()
        with AnswerCache(sys.argv[1]) as cache:
            cache.put(key, Completion("yes"))
        with AnswerCache(sys.argv[1]) as cache:
            assert key in cache.get([key])
    """)
    with waiting_scripts(
        script, [(path, i) for i in range(4)], stderr=subprocess.PIPE
    ) as processes:
        errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert len(list(tmp_path.glob("c.damaged-*[0-9]"))) == 1
    with AnswerCache(path) as cache:
        assert cache.info()["answers"] == 4


def test_many_lookups_are_few_queries_and_none_reads_the_whole_file(tmp_path):
    """Their seconds are in benchmarks/llm_cache.py."""
    keys = [os.urandom(32) for _ in range(10_000)]
    queries = []
    with AnswerCache(tmp_path / "c") as cache:
        for key in keys[:1000]:
            cache.put(key, Completion("yes", 100, 1))
        cache._connection.set_trace_callback(queries.append)
        found = cache.get(keys)
        cache._connection.set_trace_callback(None)
        plan = cache._connection.execute(f"EXPLAIN QUERY PLAN {queries[0]}").fetchall()
    assert set(found) == set(keys[:1000])
    assert len(queries) == 20
    assert [row[-1] for row in plan] == [b"SEARCH answers USING PRIMARY KEY (key=?)"]


def test_several_processes_and_threads_share_a_cache(tmp_path):
    script = textwrap.dedent("""
        import sys, threading
        from sklearn_hypsae.llm import AnswerCache, Completion
        number, path = int(sys.argv[1]), sys.argv[2]
        print("ready", flush=True)
        sys.stdin.readline()
        def write(part):
            with AnswerCache(path) as cache:
                for i in range(100):
                    cache.put(b"%d-%d-%d" % (number, part, i), Completion(f"answer {i}"))
        threads = [threading.Thread(target=write, args=(part,)) for part in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    """)
    with waiting_scripts(script, [(i, tmp_path / "c") for i in range(2)]) as processes:
        assert [process.wait(timeout=60) for process in processes] == [0, 0]
    with AnswerCache(tmp_path / "c") as cache:
        assert cache.info()["answers"] == 600


def test_the_cache_tells_its_size_and_can_be_cleared(tmp_path):
    with AnswerCache(tmp_path / "deep" / "c") as cache:
        for i in range(3000):
            cache.put(b"%032d" % i, Completion("yes" * 50))
        full = cache.info()
        cache.clear()
        empty = cache.info()
    assert full["answers"] == 3000 and empty["answers"] == 0
    assert empty["bytes"] < full["bytes"] / 5


# Secrets


def test_the_key_is_sent_and_shown_nowhere(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GATE", "also secret")
    caplog.set_level("DEBUG")
    with LLMServer(WordRule({}), key=KEY) as server:
        chat = OpenAIChat("test-model", server.url, extra_headers={"X-Token": "$GATE"})
        estimator = LLMInterpreter(chat, hypotheses=["mentions a dog"], cache=tmp_path / "c")
        estimator.fit_transform(word_texts(5))
        server.key = "changed"
        with pytest.raises(LLMError) as caught:
            estimator.transform(["another text"])
    shown = [repr(chat), repr(estimator), estimator._repr_html_(), str(caught.value), caplog.text]
    shown += [pickle.dumps(estimator).decode("latin1"), json.dumps(estimator.usage_)]
    shown += [path.read_bytes().decode("latin1") for path in tmp_path.iterdir()]
    for place in shown:
        assert KEY not in place and "also secret" not in place
    assert server.headers["x-token"] == "also secret"


@pytest.mark.parametrize("way", ["direct", "through a proxy", "batch"])
def test_a_key_is_in_nothing_that_whole_runs_show_or_leave_behind(
    tmp_path, monkeypatch, caplog, capfd, way
):
    """Everything is gone through: shown objects, tables, logs, tracebacks, pickles, files."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SKLEARN_HYPSAE_CACHE", str(tmp_path / "caches"))
    caplog.set_level("DEBUG")
    kind, own = OpenAIChat, {"max_outage": 0.5}
    if way == "batch":
        kind, own = OpenAIBatch, {"poll_seconds": 0.01}
    frame, said = planted_frame(), []
    with LLMServer(WordRule(CONCEPTS), key=KEY) as server:
        url = server.url
        if way == "through a proxy":
            monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
            url = "http://models.invalid/v1"
        client = kind("test-model", url, **own)
        interpreter = LLMInterpreter(client, n_scoring_examples=4, verbose=True, random_state=0)
        pipe = Pipeline([("i", interpreter), ("v", HypothesisValidator())])
        pipe.fit(frame, np.arange(len(frame)) % 2)
        joblib.dump(pipe, tmp_path / "fitted")
        server.key, server.refuses = "changed", lambda body: f"not for {KEY}"
        for broken in (frame.rename(index=str.upper), frame.rename(index=str.title)):
            # First the key is refused, then the request, with a reason that quotes the key.
            if way == "batch":
                server.hold_batches, server.batches_end = False, "failed"
            with pytest.raises(LLMError) as caught:
                pipe.transform(broken)
            said += traceback.format_exception(caught.value)
            server.key = None
        said += [str(server.batch_calls)]
    for thing in (client, interpreter, pipe, pipe["v"].hypotheses_, interpreter.interpretations_):
        said += [repr(thing), getattr(thing, "_repr_html_", str)(), repr(vars(thing))]
    said += [interpreter.interpretations_.to_html(), json.dumps(interpreter.usage_)]
    said += [caplog.text, *capfd.readouterr(), pickle.dumps(pipe).decode("latin1")]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 2, "the model and the cache"
    said += [path.read_bytes().decode("latin1") for path in files]
    assert not any(KEY in part for part in said)


@pytest.mark.parametrize("client", [OpenAIChat, OpenAIBatch, VLLMChat])
@pytest.mark.parametrize(
    "parameters",
    [
        {"api_key": KEY},
        {"hf_token": KEY},
        {"extra_headers": {"X-Custom": KEY}},
        {"extra_body": {"nested": [{"client_secret": KEY}]}},
        {"extra_query": {"Authorization": KEY}},
        {"base_url": f"http://user:{KEY}@h/v1"},
        {"base_url": f"user:{KEY}@h/v1"},
        {"base_url": f"http://h/v1?code={KEY}"},
    ],
)
def test_a_key_in_the_wrong_place_is_not_shown_either(client, parameters):
    shown = repr(client("m", max_tokens=7, **parameters))
    assert KEY not in shown and "…" in shown
    assert "max_tokens=7" in shown


def test_a_key_among_the_arguments_of_an_engine_is_not_shown():
    shown = repr(VLLMChat("m", engine={"hf_token": KEY, "tokenizer": "t", "max_model_len": 8}))
    assert shown == "VLLMChat('m', engine={'hf_token': '…', 'tokenizer': 't', 'max_model_len': 8})"


def test_a_backend_of_ones_own_does_not_show_its_key():
    class Backend(ChatModel):
        def __init__(self, token, size=3):
            self.token, self.size = token, size

    assert repr(Backend(KEY)) == "Backend(token='…', size=3)"


@NEEDS_MODES
def test_a_new_cache_is_its_owners_alone_and_a_shared_one_stays_shared(tmp_path):
    AnswerCache(tmp_path / "deep" / "own").close()
    assert (tmp_path / "deep").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "deep" / "own").stat().st_mode & 0o777 == 0o600
    AnswerCache(tmp_path / "shared").close()
    (tmp_path / "shared").chmod(0o660)
    AnswerCache(tmp_path / "shared").close()
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o660
