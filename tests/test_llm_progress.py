"""What a user sees of a run: progress bars, logs, estimates."""

import numpy as np
import pytest
from llm_server import LLMServer, WordRule
from llm_tools import CONCEPTS, ask, planted_frame, word_texts

from sklearn_hypsae import LLMInterpreter
from sklearn_hypsae.documents import TextSummarizer
from sklearn_hypsae.llm import OpenAIChat, estimate_cost


def test_the_bar_shows_rate_failures_retries_and_tokens(capsys):
    texts = word_texts(60)
    with LLMServer(WordRule({}), faults={"500": 0.2}) as server:
        chat = OpenAIChat("test-model", server.url, max_retries=50)
        ask(chat, texts, limits={"verbose": True})
        n_retried = server.injected["500"]
    last = capsys.readouterr().err.split("\r")[-1]
    assert "Test: 100%" in last and "60/60" in last
    assert "request/s" in last or "s/request" in last
    assert "failed=0" in last and f"retried={n_retried}" in last and "tokens=" in last


def test_a_failure_for_good_is_on_the_bar(capsys):
    with LLMServer(lambda prompt: "") as server:
        ask(OpenAIChat("test-model", server.url, max_retries=0), ["a"], limits={"verbose": True})
    assert "failed=1" in capsys.readouterr().err


def test_no_bar_without_verbose_and_none_for_what_is_cached(capsys, tmp_path):
    with LLMServer(WordRule({})) as server:
        chat = OpenAIChat("test-model", server.url)
        ask(chat, word_texts(3), cache=tmp_path / "c")
        ask(chat, word_texts(3), cache=tmp_path / "c", limits={"verbose": True})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("options", [{}, {"concepts_per_request": 3, "n_candidates": 2}])
def test_an_estimate_covers_a_refining_run(options):
    frame = planted_frame().iloc[:100, :4]
    with LLMServer(WordRule(CONCEPTS)) as server:
        chat = OpenAIChat("test-model", server.url, prices=(1.0, 10.0))
        interpreter = LLMInterpreter(chat, refine=True, cache=None, random_state=0, **options)
        cost = estimate_cost(interpreter, frame)
        interpreter.fit(frame).transform(frame)
    assert interpreter.usage_["requests"] == server.n_requests <= cost["requests"]
    assert cost["requests"] < 1.5 * server.n_requests
    assert interpreter.usage_["money"] <= cost["money"]


def test_a_budget_of_tokens_foresees_the_length_of_answers():
    long_answer = "short " * 60
    texts = ["a word " * 100] * 40
    texts = [f"{i} {text}" for i, text in enumerate(texts)]
    with LLMServer(lambda prompt: long_answer, latency=0.02) as server:
        summarizer = TextSummarizer(
            OpenAIChat("test-model", server.url, max_concurrency=4),
            max_tokens_total=4000,
            cache=None,
        ).fit(texts)
        with pytest.warns(UserWarning, match="could not be summarised"):
            found = summarizer.transform(texts)
    used = summarizer.usage_["prompt_tokens"] + summarizer.usage_["completion_tokens"]
    assert 2000 < used <= 4000
    assert 0 < np.sum(found == long_answer.strip()) < len(texts)
