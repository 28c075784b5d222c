"""Long documents: chunks and summaries."""

import numpy as np
import pandas as pd
import pytest
from llm_server import LLMServer, texts_in
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline

from sklearn_hypsae import LLMInterpreter
from sklearn_hypsae.documents import TextSummarizer, split_texts
from sklearn_hypsae.llm import OpenAIChat, estimate_cost

LONG = " ".join(f"Sentence number {i} says a thing or two." for i in range(40))


def test_chunks_hold_every_word_and_end_at_sentences():
    chunks = split_texts([LONG, "short", "  "], max_words=50)
    assert chunks.groups.tolist() == [0] * (len(chunks.texts) - 2) + [1, 2]
    own = chunks.texts[chunks.groups == 0]
    assert " ".join(own).split() == LONG.split()
    assert all(chunk.endswith(".") for chunk in own)
    lengths = [len(chunk.split()) for chunk in own]
    assert max(lengths) <= 50 and min(lengths) > 25
    assert chunks.y is None


def test_a_text_without_sentences_is_cut_into_equal_parts():
    chunks = split_texts(["word " * 101], max_words=50)
    assert [len(chunk.split()) for chunk in chunks.texts] == [34, 34, 33]


@pytest.mark.parametrize("kind", [list, np.array, pd.Series])
def test_chunks_inherit_the_target(kind):
    chunks = split_texts(["a b c", "d"], kind(["no", "yes"]), max_words=2)
    assert chunks.y.tolist() == ["no", "no", "yes"]


def test_wrong_chunking_is_refused():
    with pytest.raises(ValueError, match="2 texts but 1 values"):
        split_texts(["a", "b"], [1])
    with pytest.raises(ValueError, match="max_words=0"):
        split_texts(["a"], max_words=0)
    with pytest.raises(ValueError, match="None"):
        split_texts(["a", None])


def test_only_long_texts_are_summarised():
    with LLMServer(lambda prompt: f"short of {texts_in(prompt)[0][:10]}") as server:
        summarizer = TextSummarizer(OpenAIChat("test-model", server.url), max_words=9, cache=None)
        texts = pd.Series([LONG, "brief"], index=[7, 3], name="note")
        found = summarizer.fit_transform(texts)
    assert found.tolist() == ["short of Sentence n", "brief"]
    assert found.index.tolist() == [7, 3] and found.name == "note"
    assert server.n_requests == summarizer.usage_["requests"] == 1
    assert "at most 9 words" in server.bodies[0]["messages"][0]["content"]
    assert texts[7] == LONG


def test_a_failed_summary_is_a_cut_text_and_a_warning():
    with LLMServer(lambda prompt: "") as server:
        chat = OpenAIChat("test-model", server.url, max_retries=0)
        summarizer = TextSummarizer(chat, max_words=3, cache=None).fit([LONG])
        with pytest.warns(UserWarning, match="1 of 1 long texts"):
            assert summarizer.transform([LONG]).tolist() == ["Sentence number 0 […]"]


def test_a_summarizer_stands_before_other_steps_of_a_pipeline():
    with LLMServer(lambda prompt: "a dog") as server:
        pipe = Pipeline(
            [
                ("shorten", TextSummarizer(OpenAIChat("test-model", server.url), cache=None)),
                ("annotate", LLMInterpreter(hypotheses=['mentions "dog"'])),
            ]
        )
        assert clone(pipe).fit_transform([LONG * 5, "cat"]).to_numpy().tolist() == [[1.0], [0.0]]


def test_manners_of_the_summarizer():
    with pytest.raises(NotFittedError):
        TextSummarizer("m").transform(["a"])
    with pytest.raises(ValueError, match="'max_words' parameter of TextSummarizer"):
        TextSummarizer("m", max_words=0).fit(["a"])
    chat = OpenAIChat("m", "http://127.0.0.1:1/v1")
    with pytest.raises(ValueError, match=r"lacks \{text\}"):
        TextSummarizer(chat, prompt="Shorten!").fit(["a"])
    with pytest.raises(ValueError, match="one-dimensional"):
        TextSummarizer(chat).fit(np.array([["a"]]))


def test_what_is_set_after_fit_is_checked_before_it_is_paid_for():
    with LLMServer(lambda prompt: "In short.") as server:
        chat = OpenAIChat("test-model", server.url)
        summarizer = TextSummarizer(chat, cache=None).fit([LONG])
        for wrong in ({"prompt": "Shorten it."}, {"prompt": None, "max_words": 0}):
            with pytest.raises(ValueError, match="lacks {text}|max_words"):
                summarizer.set_params(**wrong).transform([LONG])
        assert server.n_requests == 0
        summarizer = TextSummarizer(chat, cache=None, max_requests=1).fit([LONG])
        with pytest.warns(UserWarning, match=r"\(the budget max_requests is spent\)"):
            summarizer.transform([LONG, LONG + " And more."])


def test_the_cost_of_summaries_is_known_before():
    with LLMServer(lambda prompt: "In short.") as server:
        chat = OpenAIChat("test-model", server.url, prices=(1.0, 2.0))
        summarizer = TextSummarizer(chat, max_words=50, cache=None)
        cost = estimate_cost(summarizer, [LONG, "short", LONG + " And more."])
        assert server.n_requests == 0
        summarizer.fit_transform([LONG, "short", LONG + " And more."])
        assert server.n_requests == cost["requests"] == 2
    assert cost["completion_tokens"] >= 2 * 50 and cost["money"] > 0
