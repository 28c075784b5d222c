"""All there is about one hypothesis, and texts it applies to with the words found marked."""

import pickle

import numpy as np
import pandas as pd
import pytest
from llm_server import LLMServer, WordRule
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from sklearn_hypsae import (
    EmbeddingTransformer,
    HypothesisGenerator,
    HypothesisValidator,
    LLMInterpreter,
    make_hypothesis_pipeline,
)
from sklearn_hypsae._hypothesis_info import mark_phrases
from sklearn_hypsae._keyphrases import hypothesis_to_phrases, match_phrases
from sklearn_hypsae.datasets import make_planted_texts
from sklearn_hypsae.llm import OpenAIChat


@pytest.fixture(scope="module")
def planted():
    return make_planted_texts(n_samples=400, task="binary", random_state=0)


@pytest.fixture(scope="module")
def fitted(planted):
    pipeline = make_hypothesis_pipeline(M=32, K=4, n_hypotheses=6, task="classification")
    pipeline.set_params(sae__n_epochs=10)
    return HypothesisGenerator(pipeline, random_state=0).fit(planted.texts, planted.y)


def own(hypotheses, task="classification", **params):
    """Give a generator that tests the user's statements, without neurons."""
    interpreter = LLMInterpreter(hypotheses=hypotheses, **params)
    return HypothesisGenerator(
        make_pipeline(interpreter, HypothesisValidator(task)), random_state=0
    )


# What it says --------------------------------------------------------------------------------


def test_it_gathers_wording_neuron_fidelity_and_effect(fitted):
    interpretations = fitted.pipeline_["interpret"].interpretations_
    for i, row in interpretations.iterrows():
        info = fitted.get_hypothesis_info(i)
        assert info["hypothesis"] == row["hypothesis"] == fitted.hypotheses_["hypothesis"][i]
        assert (info["neuron"], info["candidates"]) == (row["neuron"], row["candidates"])
        rest = row.drop(["hypothesis", "neuron", "candidates"])
        assert info["fidelity"] == rest.to_dict()
        assert {"f1", "n_scoring_examples", "scored_on"} <= set(info["fidelity"])
        pd.testing.assert_series_equal(info["effect"], fitted.hypotheses_.iloc[i])


def test_without_texts_none_are_shown_since_none_were_kept(fitted, planted):
    assert fitted.get_hypothesis_info(0)["texts"] is None
    fitted.get_hypothesis_info(0, planted.texts, planted.y)
    assert not [text for text in planted.texts if text.encode() in pickle.dumps(fitted)]


def test_texts_of_both_classes_carry_the_hypothesis_with_its_phrases_marked(fitted, planted):
    y = dict(zip(planted.texts, planted.y, strict=True))
    for i, hypothesis in enumerate(fitted.pipeline_["interpret"].hypotheses_):
        texts = fitted.get_hypothesis_info(i, planted.texts, planted.y, n_texts=1000)["texts"]
        assert list(texts) == list(fitted.classes_)
        matches = match_phrases(planted.texts, [hypothesis_to_phrases(hypothesis)]).ravel()
        carrying = {text for text, match in zip(planted.texts, matches, strict=True) if match}
        shown = {text.replace("**", "") for marked in texts.values() for text in marked}
        assert shown == carrying and len(shown) > 0
        for label, marked in texts.items():
            assert all(text.count("**") >= 2 for text in marked)
            assert {y[text.replace("**", "")] for text in marked} <= {label}


def test_no_more_texts_than_asked_for_and_none_twice():
    texts = ["so rude"] * 10 + [f"rude {i}" for i in range(20)] + [f"kind {i}" for i in range(90)]
    y = np.arange(120) % 2
    generator = own(['mentions "rude"']).fit(texts, y)
    info = generator.get_hypothesis_info(0, texts, y, n_texts=2)
    assert info["texts"] == {0: ["so **rude**", "**rude** 0"], 1: ["**rude** 1", "**rude** 3"]}
    assert generator.get_hypothesis_info(0, texts)["texts"] == {
        "all": ["so **rude**", "**rude** 0", "**rude** 1"]
    }
    assert (info["neuron"], info["candidates"]) == (None, ['mentions "rude"'])


def test_a_regression_shows_the_ends_of_the_target():
    texts = [f"rude {i}" if i % 3 else f"kind {i}" for i in range(120)]
    generator = own(['mentions "rude"'], "regression").fit(texts, np.arange(120.0))
    info = generator.get_hypothesis_info(0, texts, np.arange(120.0), n_texts=2)
    assert info["texts"] == {
        "low": ["**rude** 1", "**rude** 2"],
        "high": ["**rude** 119", "**rude** 118"],
    }


def test_keyphrases_are_looked_up_without_embedding(fitted, planted, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("embedded in vain")

    monkeypatch.setattr(EmbeddingTransformer, "transform", fail)
    assert fitted.get_hypothesis_info(0, planted.texts)["texts"]["all"]


def test_a_language_model_is_asked_about_this_hypothesis_only_and_nothing_is_marked():
    texts = [f"rude {i}" if i % 3 else f"kind {i}" for i in range(120)]
    y = np.random.default_rng(0).integers(0, 2, 120)
    statements = ["is unkind", 'says "rude"']
    rule = WordRule({"is unkind": ["rude"], 'says "rude"': ["rude"]})
    with LLMServer(rule) as server:
        chat = OpenAIChat("test-model", server.url)
        generator = own(statements, llm=chat, cache=None).fit(texts, y)
        assert generator.pipeline_[0].usage_["requests"] == server.n_requests == 2 * 30
        assert generator.get_hypothesis_info(1)["texts"] is None
        assert server.n_requests == 60
        info = generator.get_hypothesis_info(1, texts[:10], y[:10], n_texts=10)
    # Ten texts, one statement; what was spent is counted.
    assert generator.pipeline_[0].usage_["requests"] == server.n_requests == 70
    rude = {label: [texts[i] for i in range(10) if i % 3 and y[i] == label] for label in (0, 1)}
    assert info["texts"] == rude
    assert generator.pipeline_[0].hypotheses_ == statements


def test_without_words_a_neuron_shows_texts_that_fire_it(planted):
    pipeline = make_hypothesis_pipeline(M=32, K=4, n_hypotheses=6, task="classification")
    pipeline.set_params(sae__n_epochs=10, interpret="passthrough")
    generator = HypothesisGenerator(pipeline, random_state=0).fit(planted.texts, planted.y)
    info = generator.get_hypothesis_info(2, planted.texts, n_texts=1000)
    activations = np.asarray(generator.pipeline_[:-1].transform(planted.texts))
    expected = [text for text, a in zip(planted.texts, activations[:, 2], strict=True) if a > 0]
    assert info["texts"]["all"] == list(dict.fromkeys(expected))
    assert (info["neuron"], info["candidates"], info["fidelity"]) == (None, [], {})


# Marks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "phrases", "marked"),
    [
        ("Crude, but not RUDE.", ["rude"], "Crude, but not **RUDE**."),
        ("A well-made film's end", ["well made", "film"], "A **well-made** **film**'s end"),
        ("too long and long", ["too long", "long"], "**too long** and **long**"),
        ("so, so good", ["so so", "so good"], "**so, so good**"),
        ("Don\u2019t go", ["don't"], "**Don\u2019t** go"),
        ("Große Straße, strasse", ["strasse"], "Große **Straße**, **strasse**"),
        ("caf\u0065\u0301 noir", ["café"], "**café** noir"),
        ("\u98df\u7269\u5f88\u597d", ["\u5f88\u597d"], "\u98df\u7269**\u5f88\u597d**"),
        ("fine 🎉", ["🎉"], "fine **🎉**"),
        ("nothing here", ["rude"], "nothing here"),
        ("", ["rude"], ""),
    ],
)
def test_phrases_are_marked_where_they_stand(text, phrases, marked):
    assert mark_phrases(text, phrases) == marked


def test_a_text_has_a_mark_if_and_only_if_it_is_annotated(reviews):
    pieces = ["İstanbul", "ﬁlm", "ΣΑΣ", "so's", "don't", "ß", "한글", "e\u0301t", "-", "食物"]
    rng = np.random.default_rng(0)
    odd = ["".join(rng.choice([*pieces, " ", "a"], 8)) for _ in range(500)]
    phrases = ["film", "so", "don't", "ss", "食物", "한글", "ét", "σασ", "i\u0307stanbul", "not a"]
    texts = [*reviews.texts, *odd]
    matches = match_phrases(texts, [[phrase] for phrase in phrases])
    assert (matches.sum(axis=0) > 0).all()
    for j, phrase in enumerate(phrases):
        marked = ["**" in mark_phrases(text, [phrase]) for text in texts]
        np.testing.assert_array_equal(marked, matches[:, j] == 1)


# Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("i", "options", "error", "message"),
    [
        (6, {}, IndexError, "position 6, but hypotheses_ has 6 rows: pass a number from 0 to 5"),
        (-1, {}, IndexError, "position -1"),
        ("neuron_3", {}, TypeError, "as a whole number, got str"),
        (0, {"X": ["a"], "n_texts": 0}, ValueError, "n_texts to be a whole number above 0, got 0"),
        (0, {"y": [0, 1]}, ValueError, "y without X"),
        (0, {"X": ["a", None]}, ValueError, "every entry of X to be a string"),
        (0, {"X": ["a", "b"], "y": [0, 1, 1]}, ValueError, "2 rows in X but 3 values in y"),
        (0, {"X": ["a", "b"], "y": ["p", "q"]}, ValueError, "other classes"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(fitted, i, options, error, message):
    with pytest.raises(error, match=message):
        fitted.get_hypothesis_info(i, **options)


def test_a_frame_without_texts_has_none_to_show(planted):
    embeddings = pd.DataFrame(np.asarray(EmbeddingTransformer().fit_transform(planted.texts)))
    pipeline = make_hypothesis_pipeline(M=32, K=4, n_hypotheses=6, task="classification")
    pipeline.set_params(sae__n_epochs=10, interpret="passthrough")
    generator = HypothesisGenerator(pipeline[1:], random_state=0).fit(embeddings, planted.y)
    with pytest.raises(ValueError, match="found no texts in X to show"):
        generator.get_hypothesis_info(0, embeddings)


def test_it_needs_a_fit():
    with pytest.raises(NotFittedError):
        HypothesisGenerator().get_hypothesis_info(0)
