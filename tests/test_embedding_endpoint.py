"""EmbeddingTransformer with a model behind an endpoint, over real HTTP."""

import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
from embedding_server import running_server, vector_of
from processes import NEEDS_CTRL_C, running_script, wait_until

from sklearn_hypsae import _embedding_endpoint
from sklearn_hypsae.embedding import EmbeddingTransformer

KEY = "sk-a-secret-that-must-not-show"
TEXTS = [f"review number {i} " + "and so on " * (i % 7) for i in range(100)]
MODEL = "openai:text-embedding-3-small"


@pytest.fixture
def server(monkeypatch):
    """Give a running server that the environment points to."""
    with running_server() as (state, url):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield state


@pytest.fixture
def embedder(tmp_path):
    return EmbeddingTransformer(MODEL, batch_size=16, normalize=False, cache=tmp_path)


def expected(texts):
    return np.array([vector_of(text) for text in texts])


def test_vectors_come_back_in_the_order_of_the_rows(server, embedder):
    embeddings = embedder.fit_transform(TEXTS)
    np.testing.assert_array_equal(embeddings, expected(TEXTS))
    assert sorted(server.texts) == sorted(TEXTS)
    assert sorted(server.batches) == [4] + [16] * 6


def test_second_run_asks_nothing(server, embedder):
    embedder.fit_transform(TEXTS)
    server.texts.clear()
    np.testing.assert_array_equal(embedder.transform(TEXTS[::-1]), expected(TEXTS[::-1]))
    assert server.texts == []


def test_another_server_does_not_answer_from_the_cache_of_the_first(server, embedder, monkeypatch):
    embedder.fit_transform(TEXTS[:5])
    with running_server() as (other, url):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        embedder.transform(TEXTS[:5])
        assert len(other.texts) == 5


def test_a_base_url_goes_before_the_environment(server, tmp_path):
    with running_server() as (other, url):
        embedder = EmbeddingTransformer(MODEL, base_url=url, cache=tmp_path)
        embedder.fit_transform(TEXTS[:5])
        assert len(other.texts) == 5 and server.texts == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:8000/v1", "begins with http"),
        ("http://me:secret@host/v1", "takes no secrets in base_url"),
        ("http://host/v1?token=secret", "takes no secrets in base_url"),
    ],
)
def test_a_base_url_that_cannot_be_is_refused_and_not_quoted(server, url, said):
    with pytest.raises(ValueError, match=said) as caught:
        EmbeddingTransformer(MODEL, base_url=url, cache=None).fit(TEXTS[:2])
    assert "secret@" not in str(caught.value) and "token" not in str(caught.value)


def test_requests_run_side_by_side_but_not_more_than_asked(server, embedder):
    server.seconds = 0.05
    embedder.set_params(batch_size=4, n_jobs=3).fit_transform(TEXTS)
    assert server.most_at_a_time == 3


def test_a_refusal_that_may_pass_is_tried_again(server, embedder, monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.01)
    server.failures = [429, 500, 503]
    np.testing.assert_array_equal(embedder.fit_transform(TEXTS[:20]), expected(TEXTS[:20]))


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_KEY_SAE"])
def test_key_is_read_from_the_environment_and_kept_nowhere(
    server, embedder, monkeypatch, variable, tmp_path
):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv(variable, KEY)
    embedder.fit_transform(TEXTS[:3])
    assert server.keys == {f"Bearer {KEY}"}
    assert KEY not in repr(embedder)
    assert KEY.encode() not in pickle.dumps(embedder)
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.iterdir())


def test_openai_without_a_key_names_the_variables(embedder, monkeypatch):
    for variable in ("OPENAI_API_KEY", "OPENAI_KEY_SAE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ValueError, match=r"OPENAI_API_KEY \(or OPENAI_KEY_SAE\)"):
        embedder.fit(TEXTS)
    with pytest.raises(ValueError, match=r"OPENAI_API_KEY \(or OPENAI_KEY_SAE\)"):
        embedder._check_before_fit(100)


def test_every_host_of_openai_needs_a_key(embedder, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_KEY_SAE", raising=False)
    embedder.set_params(base_url="https://eu.api.openai.com/v1")
    with pytest.raises(ValueError, match=r"OPENAI_API_KEY \(or OPENAI_KEY_SAE\)"):
        embedder.fit(TEXTS)


def test_a_key_that_no_header_can_hold_is_refused_before_anything_is_sent(
    server, embedder, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n{KEY}")
    with pytest.raises(ValueError, match="OPENAI_API_KEY holds characters") as caught:
        embedder.fit(TEXTS)
    assert KEY not in str(caught.value)


@NEEDS_CTRL_C
def test_ctrl_c_does_not_wait_for_requests_under_way(server, tmp_path):
    server.seconds = 60
    script = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from sklearn_hypsae.embedding import EmbeddingTransformer
EmbeddingTransformer({MODEL!r}, batch_size=1, cache={str(tmp_path)!r}).fit_transform(list("abcd"))
"""
    with running_script(script, stderr=subprocess.PIPE) as process:
        wait_until(lambda: server.most_at_a_time == 4, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) != 0
        assert "KeyboardInterrupt" in process.stderr.read()
    server.given_up.set()


def test_endpoint_without_a_name_is_refused():
    with pytest.raises(ValueError, match='name of a model after "openai:"'):
        EmbeddingTransformer("openai:").fit(TEXTS)


def test_another_server_needs_no_key(server, embedder, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_KEY_SAE", raising=False)
    embedder.fit(TEXTS)
    assert len(server.texts) == 1


def test_text_too_long_for_the_server_is_cut_and_the_others_are_not(server, embedder):
    server.max_characters = 200
    texts = [*TEXTS[:20], "long " * 100]
    embeddings = embedder.fit_transform(texts)
    np.testing.assert_array_equal(embeddings[:20], expected(TEXTS[:20]))
    (cut,) = set(server.texts) - set(texts)
    assert texts[-1].startswith(cut)
    assert len(cut) > 100
    np.testing.assert_array_equal(embeddings.iloc[-1], vector_of(cut))


def test_empty_text_is_sent_as_a_blank(server, embedder):
    np.testing.assert_array_equal(embedder.fit_transform(["", "a"]), expected([" ", "a"]))


def test_refusal_for_good_says_why_without_key_or_text_and_keeps_what_was_paid_for(
    server, embedder, monkeypatch
):
    # The shortest goes last.
    secret = "s3cret"
    server.refuse_text = secret
    embedder.set_params(n_jobs=1)
    with pytest.raises(RuntimeError, match="AuthenticationError, status 401") as caught:
        embedder.fit_transform([*TEXTS, secret])
    assert KEY not in str(caught.value)
    assert secret not in str(caught.value)
    assert caught.value.__context__ is None
    n_paid = len(server.texts)
    assert n_paid == 96
    server.refuse_text = None
    embedder.fit_transform([*TEXTS, secret])
    assert len(server.texts) == 101


def test_unreachable_server_is_one_sentence(embedder, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr(_embedding_endpoint, "MAX_RETRIES", 0)
    with pytest.raises(RuntimeError, match=r"did not answer \(APIConnectionError\)"):
        embedder.fit(TEXTS)


def test_without_the_package_the_extra_is_named(embedder, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r"sklearn-hypsae\[openai\]"):
        embedder.fit(TEXTS)
