"""Pairs of texts through the steps: what the favoured text has and the other lacks."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from llm_server import INTERPRETS_PAIRS, LLMServer, WordRule, texts_in
from pair_tools import numbered_pairs, swap_texts, swapped, word_pipeline, worded_pairs
from sklearn.pipeline import Pipeline

from sklearn_hypsae import (
    HypothesisValidator,
    LLMInterpreter,
    NeuronSelector,
    make_hypothesis_pipeline,
)
from sklearn_hypsae._keyphrases import all_forms, learn_keyphrases
from sklearn_hypsae._pairs import mirrored
from sklearn_hypsae._texts import text_index
from sklearn_hypsae.datasets import make_planted_pairs
from sklearn_hypsae.llm import OpenAIChat


def prompts_of(server):
    return [body["messages"][0]["content"] for body in server.bodies]


# The stock Pipeline


@pytest.fixture(scope="module", params=["binary", "regression"])
def planted(request):
    data = make_planted_pairs(
        600, n_concepts=4, effect_size=1.5, task=request.param, random_state=0
    )
    return data, request.param == "binary"


@pytest.fixture(scope="module")
def fitted(planted):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return word_pipeline().fit(planted[0].pairs, planted[0].y)


def test_a_stock_pipeline_takes_pairs(planted, fitted):
    data, binary = planted
    steps = fitted.named_steps
    assert not steps["sae"].encoder_bias_.any()
    assert not steps["sae"].input_bias_.any()
    annotations = fitted[:-1].transform(data.pairs)
    assert list(annotations.index.names) == ["text_a", "text_b"]
    assert np.isin(annotations, (-1, 0, 1)).all()
    assert (annotations < 0).any(axis=None)
    assert fitted.score(data.pairs, data.y) > (0.65 if binary else 0.1)


@pytest.mark.parametrize("which", ["all", "some"])
def test_which_text_comes_first_changes_nothing_in_a_stock_pipeline(planted, fitted, which):
    data, binary = planted
    rows = np.random.default_rng(1).random(len(data.y)) < (1 if which == "all" else 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = word_pipeline().fit(*swap_texts(data.pairs, data.y, rows, binary=binary))
    components = other["sae"].components_
    np.testing.assert_array_equal(components, fitted["sae"].components_)
    for step, table in (("interpret", "interpretations_"), ("validate", "hypotheses_")):
        expected, found = getattr(fitted[step], table), getattr(other[step], table)
        pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["correlation", "lasso", "separation_score", "forward", "mrmr"])
def test_neurons_are_selected_whichever_text_comes_first(method):
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(200, 8)) * (rng.random((200, 8)) < 0.4)
    frame = pd.DataFrame(activations, index=text_index(numbered_pairs(200)))
    frame.columns = [f"neuron_{i}" for i in range(8)]
    y = (activations @ np.r_[4, -3, 3, np.zeros(5)] + rng.logistic(size=200) > 0).astype(int)
    other, flipped = swapped(frame, y, rng.random(200) < 0.5, binary=True)
    options = {"n_select": 3, "method": method, "n_top_activating": 20}
    one = NeuronSelector(**options).fit(frame, y)
    two = NeuronSelector(**options).fit(other, flipped)
    np.testing.assert_allclose(two.scores_, one.scores_, atol=1e-9)
    np.testing.assert_array_equal(two.selected_, one.selected_)
    assert set(one.selected_) == {0, 1, 2}
    if method == "correlation":
        signed = 2 * y - 1
        uncentred = activations.T @ signed / np.linalg.norm(activations, axis=0) / np.sqrt(200)
        np.testing.assert_allclose(one.scores_, uncentred, atol=1e-10)


def test_sparse_rows_are_mirrored_as_dense_ones():
    rows = np.array([[0.0, 2.0], [-1.0, 0.0]])
    np.testing.assert_array_equal(mirrored(sp.csr_array(rows)).toarray(), mirrored(rows))


def test_an_autoencoder_whose_neurons_have_no_sign_refuses_pairs(planted):
    pipeline = word_pipeline().set_params(sae__signed=False)
    with pytest.raises(ValueError, match="set signed=True"):
        pipeline.fit(planted[0].pairs, planted[0].y)
    assert make_hypothesis_pipeline(pairs=True).get_params()["sae__signed"]


# Words


def test_keyphrases_are_what_the_favoured_text_has_and_the_other_lacks():
    pairs, activations = worded_pairs()
    frame = pd.DataFrame(activations, index=text_index(pairs), columns=["neuron_0"])
    interpreter = LLMInterpreter().fit(frame)
    (hypothesis,) = interpreter.hypotheses_
    assert hypothesis in ('mentions "dog"', 'mentions "dog" or "dog number"')
    np.testing.assert_array_equal(interpreter.transform(frame), activations)
    row = interpreter.interpretations_.iloc[0]
    assert row["f1"] == row["precision"] == row["recall"] == 1
    assert row["correlation"] == pytest.approx(1)


def test_texts_can_be_handed_over_beside_activations():
    pairs, activations = worded_pairs()
    interpreter = LLMInterpreter().fit(sp.csr_array(activations), texts=pairs)
    found = interpreter.transform(activations, texts=pd.DataFrame(pairs))
    np.testing.assert_array_equal(found, activations)


def test_a_phrase_of_both_texts_of_a_pair_says_nothing():
    phrases = learn_keyphrases(
        ["storm in town"] * 30 + ["calm in town"] * 30 + ["storm out"] * 30 + ["calm out"] * 30,
        np.repeat([1.0, 1.0, -1.0, -1.0], 30)[:, None],
        paired=True,
    )
    words = set(" ".join(all_forms(phrases)[0]).split())
    assert "town" in words
    assert not words & {"storm", "calm"}


def test_the_users_own_hypotheses_are_annotated_as_differences():
    own = ['mentions "dog"', 'mentions "garden"']
    pairs, activations = worded_pairs()
    pipeline = Pipeline(
        [
            ("interpret", LLMInterpreter(hypotheses=own)),
            ("validate", HypothesisValidator()),
        ]
    )
    X = pd.DataFrame(pairs, columns=["headline_a", "headline_b"])
    y = np.where(activations[:, 0] == 0, np.arange(200) % 2, activations[:, 0] > 0).astype(int)
    annotations = pipeline[:-1].fit_transform(X)
    np.testing.assert_array_equal(annotations.iloc[:, 0], activations[:, 0])
    table = pipeline.fit(X, y).named_steps["validate"].hypotheses_
    assert table["hypothesis"].tolist() == own
    assert table["significant"].tolist() == [True, False]
    assert table["note"][1] == "untested: constant"


def test_a_language_model_compares_pairs_and_is_asked_once_for_each_text(tmp_path):
    pairs, activations = worded_pairs(120)
    # A tournament: the first text of every pair is compared once more.
    again = np.column_stack([pairs[:, 0], np.roll(pairs[:, 0], 1)])
    has_dog = np.array(["dog" in text for text in pairs[:, 0]], float)
    pairs = np.concatenate([pairs, again])
    activations = np.concatenate([activations[:, 0], has_dog - np.roll(has_dog, 1)])[:, None]
    frame = pd.DataFrame(activations, index=text_index(pairs), columns=["neuron_7"])
    concepts = {"mentions a dog": ["dog"], "mentions a garden": ["garden"]}
    with LLMServer(WordRule(concepts)) as server:
        chat = OpenAIChat("test-model", server.url)
        interpreter = LLMInterpreter(chat, cache=None, n_scoring_examples=20, random_state=0)
        interpreter.fit(frame)
        assert interpreter.hypotheses_ == ["mentions a dog"]
        (asked,) = (p for p in prompts_of(server) if p.startswith(INTERPRETS_PAIRS))
        shown = texts_in(asked)
        assert len(shown) == 20
        assert all("dog" in text for text in shown[::2])
        assert not any("dog" in text for text in shown[1::2])
        known = {frozenset(pair) for pair in pairs}
        assert {frozenset(pair) for pair in zip(shown[::2], shown[1::2], strict=True)} <= known
        others = [p for p in prompts_of(server) if not p.startswith(INTERPRETS_PAIRS)]
        scored_on = {texts_in(prompt)[0] for prompt in others}
        assert not scored_on & set(shown)
        assert interpreter.interpretations_["f1"].item() == 1
        n_before = len(server.bodies)
        found = interpreter.transform(frame)
        asked = [texts_in(prompt)[0] for prompt in prompts_of(server)[n_before:]]
    np.testing.assert_array_equal(found, activations)
    assert sorted(asked) == sorted(set(pairs.ravel()))
