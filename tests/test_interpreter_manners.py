"""LLMInterpreter keeps to the manners of a scikit-learn estimator."""

import copy
import json
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from llm_server import LLMServer, WordRule
from llm_tools import CONCEPTS, WORDS, planted, planted_frame
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_hypsae import LLMInterpreter
from sklearn_hypsae._fit_rows import FIT_ROWS_ATTR, rows_chose_hypotheses
from sklearn_hypsae.llm import OpenAIChat


@pytest.fixture(scope="module")
def data():
    return planted(300)


@pytest.fixture(scope="module")
def frame():
    return planted_frame()


@pytest.fixture(scope="module")
def keyphrases(frame):
    return LLMInterpreter().fit(frame)


@pytest.fixture(scope="module")
def server():
    with LLMServer(WordRule(CONCEPTS)) as running:
        yield running


@pytest.fixture(scope="module")
def described(frame, server):
    chat = OpenAIChat("test-model", server.url)
    return LLMInterpreter(chat, n_scoring_examples=40, random_state=0).fit(frame)


def test_clone_and_params():
    chat = OpenAIChat("test-model", "http://h/v1", seed=3)
    interpreter = LLMInterpreter(chat, n_examples=8, hypotheses=['has "a"'])
    copied = clone(interpreter)
    assert copied is not interpreter
    assert copied.get_params()["n_examples"] == 8
    assert vars(copied.llm) == vars(chat)
    assert copied.set_params(n_examples=5, cache=None) is copied
    assert copied.n_examples == 5 and interpreter.n_examples == 8
    with pytest.raises(ValueError, match="Invalid parameter 'nothing'"):
        copied.set_params(nothing=1)


def test_every_parameter_is_stored_as_given_and_has_a_constraint():
    params = LLMInterpreter().get_params()
    assert set(params) == set(LLMInterpreter._parameter_constraints)
    marks = {name: object() for name in params}
    interpreter = LLMInterpreter(**marks)
    assert all(getattr(interpreter, name) is mark for name, mark in marks.items())


@pytest.mark.parametrize(
    "wrong",
    [
        {"llm": 3},
        {"llm": object()},
        {"hypotheses": "one"},
        {"n_examples": 1},
        {"sampling": "best"},
        {"quantile_range": 0.9},
        {"negatives": "easy"},
        {"max_words_per_example": 0},
        {"n_candidates": 0},
        {"n_scoring_examples": -1},
        {"scoring_metric": "accuracy"},
        {"temperature": -0.1},
        {"max_tokens": 0},
        {"task_specific_instructions": 3},
        {"concepts_per_request": 0},
        {"max_requests": 0},
        {"cache": 3},
        {"random_state": "seed"},
        {"verbose": "loud"},
        {"refine": "yes"},
        {"soft_labels": "yes"},
        {"max_tokens_total": 0},
        {"interpretation_prompt": 3},
        {"annotation_prompt": 3},
        {"refinement_prompt": 3},
    ],
)
def test_wrong_parameters_are_named(frame, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"The '{name}' parameter of LLMInterpreter"):
        LLMInterpreter(**wrong).fit(frame)


@pytest.mark.parametrize(
    "wrong", [(0.9, 0.5), (0.5,), (-0.1, 1.0), (0.0, 1.5), ("a", 2), (0.1, None)]
)
def test_quantile_range_has_to_be_a_range(frame, wrong):
    with pytest.raises(ValueError, match="quantile_range has to be two increasing numbers"):
        LLMInterpreter(quantile_range=wrong).fit(frame)


def test_repr_and_html_show_what_is_set(keyphrases):
    interpreter = LLMInterpreter(OpenAIChat("test-model"), n_candidates=3)
    assert repr(interpreter) == "LLMInterpreter(llm=OpenAIChat('test-model'), n_candidates=3)"
    assert "LLMInterpreter" in interpreter._repr_html_()
    assert "LLMInterpreter" in keyphrases._repr_html_()


def test_pickle_and_joblib_round_trips(keyphrases, described, frame, tmp_path):
    for fitted in (keyphrases, described):
        joblib.dump(fitted, tmp_path / "fitted")
        for again in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "fitted")):
            pd.testing.assert_frame_equal(again.transform(frame), fitted.transform(frame))


def test_containers_of_activations_give_the_same(keyphrases, frame, data):
    texts, activations = data
    expected = keyphrases.transform(frame).to_numpy()
    for X in (
        activations,
        activations.tolist(),
        activations.astype("f8"),
        sp.csr_array(activations),
    ):
        interpreter = LLMInterpreter().fit(X, texts=texts)
        assert interpreter.hypotheses_ == keyphrases.hypotheses_
        found = interpreter.transform(X, texts=texts)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [list, tuple, pd.Series, pd.Index, np.array])
def test_containers_of_texts(data, kind):
    texts, activations = data
    found = LLMInterpreter().fit(activations, texts=kind(texts)).hypotheses_
    assert len(found) == len(WORDS)


def test_frames_come_back_as_frames_with_the_same_index(keyphrases, frame):
    found = keyphrases.transform(frame.iloc[::-1])
    assert found.index.equals(frame.index[::-1])
    assert found.columns.tolist() == keyphrases.hypotheses_
    assert found.columns.tolist() == keyphrases.get_feature_names_out().tolist()
    assert keyphrases.n_features_in_ == 8
    assert keyphrases.feature_names_in_.tolist() == frame.columns.tolist()


def test_frames_tell_fit_rows_from_others(frame):
    interpreter = LLMInterpreter().fit(frame)
    with pytest.warns(UserWarning, match="nothing: the rows that test the hypotheses are rows"):
        assert rows_chose_hypotheses(interpreter.fit_transform(frame))
    with pytest.warns(UserWarning, match="nothing: the rows that test the hypotheses are rows"):
        assert rows_chose_hypotheses(interpreter.transform(frame))
    others = frame.rename(index="another {}".format)
    n_seen = len(frame) // 4
    mixed = interpreter.transform(pd.concat([frame.iloc[:n_seen], others]))
    with pytest.warns(UserWarning, match=f"nothing: {n_seen} of the {len(mixed)} rows"):
        assert rows_chose_hypotheses(mixed)
    assert rows_chose_hypotheses(mixed.iloc[n_seen:]) is False
    assert rows_chose_hypotheses(mixed.iloc[n_seen - 1 :]) is False, "a text may come again"
    assert rows_chose_hypotheses(mixed.iloc[:0]) is None
    assert rows_chose_hypotheses(mixed.iloc[n_seen:].reset_index(drop=True)) is None
    json.dumps(mixed.attrs)  # as to_parquet does


def test_equal_wordings_get_columns_of_their_own(frame):
    twice = pd.concat([frame.iloc[:, :1], frame.iloc[:, :1].add_suffix("0")], axis=1)
    with LLMServer(lambda prompt: "mentions a dog" if "detector" in prompt else "Yes") as server:
        interpreter = LLMInterpreter(
            OpenAIChat("test-model", server.url),
            n_scoring_examples=0,
            cache=None,
            merge_redundant=False,
        ).fit(twice)
        n_before = server.n_requests
        found = interpreter.transform(twice)
        assert server.n_requests - n_before == len(twice)
    assert interpreter.hypotheses_ == ["mentions a dog"] * 2
    assert found.columns.tolist() == ["mentions a dog", "mentions a dog (2)"]


def test_set_output_is_honoured(frame, data):
    texts, activations = data
    interpreter = LLMInterpreter()
    as_array = interpreter.set_output(transform="default").fit_transform(frame)
    assert type(as_array) is np.ndarray
    as_frame = interpreter.set_output(transform="pandas").fit(activations, texts=texts)
    found = as_frame.transform(activations, texts=texts)
    assert isinstance(found, pd.DataFrame)
    np.testing.assert_array_equal(found.to_numpy(), as_array)


def test_texts_lost_on_the_way_name_both_ways_back(data, frame):
    texts, activations = data
    with pytest.raises(ValueError, match=r"pass texts= .*set_output\(transform=\"pandas\"\)"):
        LLMInterpreter().fit(activations)
    fitted = LLMInterpreter().fit(activations, texts=texts)
    with pytest.raises(ValueError, match="pass texts="):
        fitted.transform(activations)
    with pytest.raises(ValueError, match="300 rows but 299 texts"):
        fitted.transform(activations, texts=texts[:-1])


def test_wrong_input_is_refused(data, frame):
    texts, activations = data
    for wrong, said in [
        (activations[:, 0], "2D array"),
        (activations[:, :, None], "dim 3"),
        (list(texts), "expects activations as X, got texts"),
        (np.full_like(activations, np.nan), "NaN"),
        (activations.astype(complex), "Complex"),
    ]:
        with pytest.raises(ValueError, match=said):
            LLMInterpreter().fit(wrong, texts=texts)
    with pytest.raises(ValueError, match="None"):
        LLMInterpreter().fit(activations, texts=[None, *texts[1:]])
    with pytest.raises(ValueError, match="one-dimensional"):
        LLMInterpreter().fit(activations, texts=texts[:, None])


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, lambda t: pd.DataFrame({"t": t})])
def test_texts_in_place_of_activations_are_refused_without_quoting_one(kind):
    with pytest.raises(ValueError, match="expects activations as X, got texts: ") as caught:
        LLMInterpreter().fit(kind(["private matters"] * 30))
    assert "private" not in str(caught.value) and caught.value.__suppress_context__


def test_too_few_rows_are_refused(frame):
    with pytest.raises(ValueError, match="19 rows, fewer than n_examples=20"):
        LLMInterpreter().fit(frame.iloc[:19])


@pytest.mark.parametrize(
    ("y", "said"), [([1] * 300, "constant"), ([0, 1], "300 rows"), ([np.nan] * 300, "NaN")]
)
def test_an_unusable_target_is_refused(frame, y, said):
    with pytest.raises(ValueError, match=said):
        LLMInterpreter().fit(frame, y)


def test_unfitted_is_said(frame):
    with pytest.raises(NotFittedError):
        LLMInterpreter().transform(frame)
    with pytest.raises(NotFittedError):
        LLMInterpreter().get_feature_names_out()


def test_other_columns_are_refused_in_transform(keyphrases, frame):
    with pytest.raises(ValueError, match="feature names should match"):
        keyphrases.transform(frame.rename(columns={"neuron_0": "neuron_1"}))
    with pytest.raises(ValueError, match="expecting 8 features"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keyphrases.transform(frame.to_numpy()[:, :3], texts=frame.index)


def test_parameters_and_input_are_not_changed(frame):
    own = ['mentions "dog"']
    chat = OpenAIChat("test-model", "http://127.0.0.1:1/v1")
    interpreter = LLMInterpreter(hypotheses=own, quantile_range=[0.5, 1.0], annotator_llm=None)
    before, X = copy.deepcopy(interpreter.get_params()), frame.copy()
    interpreter.fit_transform(frame, None)
    assert interpreter.get_params() == before and own == ['mentions "dog"']
    pd.testing.assert_frame_equal(frame, X)
    assert vars(chat) == vars(copy.deepcopy(chat))


def test_fit_returns_itself_and_can_be_called_again(frame):
    interpreter = LLMInterpreter()
    assert interpreter.fit(frame) is interpreter
    interpreter.fit(frame.iloc[:, :2])
    assert interpreter.n_features_in_ == 2 and len(interpreter.hypotheses_) == 2


def test_texts_are_routed_through_a_pipeline(data):
    texts, activations = data
    with sklearn.config_context(enable_metadata_routing=True):
        interpreter = LLMInterpreter().set_fit_request(texts=True).set_transform_request(texts=True)
        pipe = Pipeline([("same", FunctionTransformer()), ("interpret", interpreter)])
        found = pipe.fit(activations, texts=texts).transform(activations, texts=texts)
    assert np.mean(found == (activations > 0)) > 0.95


def test_the_frame_index_carries_texts_through_a_pipeline(frame):
    pipe = Pipeline([("same", FunctionTransformer()), ("interpret", LLMInterpreter())])
    found = pipe.fit_transform(frame)
    assert found.index.equals(frame.index) and FIT_ROWS_ATTR in found.attrs
