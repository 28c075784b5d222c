"""HypothesisGenerator: discovery on some rows, honest tests on the others."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr

from sklearn_hypsae import (
    EmbeddingTransformer,
    HypothesisGenerator,
    HypothesisValidator,
    LLMInterpreter,
    make_hypothesis_pipeline,
)
from sklearn_hypsae._splitting import linked_rows, split_units
from sklearn_hypsae.datasets import make_planted_texts


@pytest.fixture(scope="module")
def planted():
    return make_planted_texts(n_samples=400, task="binary", random_state=0)


def small_pipeline(task="classification", **params):
    pipeline = make_hypothesis_pipeline(M=32, K=4, n_hypotheses=6, task=task)
    return pipeline.set_params(**{"sae__n_epochs": 10, **params})


@pytest.fixture(scope="module")
def fitted(planted):
    return HypothesisGenerator(small_pipeline(), random_state=0).fit(planted.texts, planted.y)


# What it learns ------------------------------------------------------------------------------


def test_the_table_is_tested_on_the_held_out_rows_only(fitted, planted):
    assert fitted.metrics_["in_sample"] is False
    assert fitted.metrics_["n_rows"] == len(fitted.validation_rows_) == 100
    rows = np.concatenate([fitted.discovery_rows_, fitted.validation_rows_])
    assert sorted(rows) == list(range(len(planted.texts)))


def test_the_table_equals_steps_fitted_by_hand_on_the_same_split(fitted, planted):
    found, held_out = fitted.discovery_rows_, fitted.validation_rows_
    texts, y = np.array(planted.texts, dtype=object), np.asarray(planted.y)
    steps = clone(fitted.pipeline_)
    annotations = steps[:-1].fit(texts[found], y[found]).transform(texts[held_out])
    by_hand = HypothesisValidator("classification").fit(annotations, y[held_out])
    pd.testing.assert_frame_equal(by_hand.hypotheses_, fitted.hypotheses_)


def test_a_fixed_random_state_repeats_bit_by_bit(fitted, planted):
    again = HypothesisGenerator(small_pipeline(), random_state=0).fit(planted.texts, planted.y)
    pd.testing.assert_frame_equal(again.hypotheses_, fitted.hypotheses_, check_exact=True)
    assert again.signal_ == fitted.signal_


def test_the_split_is_stratified(fitted, planted):
    y = np.asarray(planted.y, dtype=float)
    assert abs(y[fitted.validation_rows_].mean() - y[fitted.discovery_rows_].mean()) < 0.01


def test_the_signal_is_the_ceiling_with_its_interval(fitted):
    signal = fitted.signal_
    assert signal["metric"] == "auc"
    assert signal["ci_low"] < signal["score"] < signal["ci_high"]
    assert signal["chance"] == 0.5 < signal["ci_low"]


def test_it_predicts_scores_and_transforms_new_texts(fitted, planted):
    assert set(fitted.predict(planted.texts[:20])) <= set(fitted.classes_)
    assert fitted.predict_proba(planted.texts[:20]).shape == (20, 2)
    assert 0 <= fitted.score(planted.texts, planted.y) <= 1
    kept = fitted.transform(planted.texts[:20])
    assert kept.columns.tolist() == list(fitted.get_feature_names_out())


def test_a_regression_has_no_probabilities(planted):
    y = np.array([len(text) for text in planted.texts], dtype=float)
    generator = HypothesisGenerator(small_pipeline("regression"), random_state=0)
    generator.fit(planted.texts, y)
    assert not hasattr(generator, "predict_proba")
    assert generator.signal_["metric"] == "r2"
    assert "r2_cv" in generator.metrics_


def test_no_pipeline_means_the_default_one(planted):
    generator = HypothesisGenerator(random_state=0).fit(planted.texts[:200], planted.y[:200])
    assert list(generator.pipeline_.named_steps)[:2] == ["embed", "sae"]
    assert generator.pipeline_["sae"].random_state is not None


def test_seeds_of_the_users_own_are_kept(planted):
    pipeline = small_pipeline(sae__random_state=7)
    generator = HypothesisGenerator(pipeline, random_state=0).fit(planted.texts, planted.y)
    assert generator.pipeline_["sae"].random_state == 7
    assert isinstance(generator.pipeline_["select"].random_state, int)
    assert pipeline["select"].random_state is None


def test_only_the_held_out_rows_are_annotated(planted, monkeypatch):
    seen = []
    transform = LLMInterpreter.transform

    def counting(self, X, texts=None):
        seen.append(X.shape[0])
        return transform(self, X, texts=texts)

    monkeypatch.setattr(LLMInterpreter, "transform", counting)
    HypothesisGenerator(small_pipeline(), random_state=0).fit(planted.texts, planted.y)
    assert seen == [100]


def test_the_task_is_settled_on_all_rows(planted):
    y = np.asarray(planted.y, dtype=float)
    y[5] = 2  # a part of the rows without this one looks like two classes
    for seed in range(3):
        generator = HypothesisGenerator(small_pipeline("auto"), random_state=seed)
        generator.fit(planted.texts, y)
        assert generator.signal_["metric"] == "r2"
        assert "r2_cv" in generator.metrics_
        assert {generator.pipeline_[name].task for name in ("select", "validate")} == {"regression"}


@pytest.mark.parametrize(
    "change",
    [
        {"sae__sparse_output": True},
        {"embed__text_index": False},
    ],
)
def test_the_texts_are_handed_on_whatever_the_steps_give(planted, fitted, change):
    generator = HypothesisGenerator(small_pipeline(**change), random_state=0)
    generator.fit(planted.texts, planted.y)
    assert set(generator.hypotheses_["hypothesis"]) == set(fitted.hypotheses_["hypothesis"])
    np.testing.assert_allclose(
        generator.predict_proba(planted.texts[:20]), fitted.predict_proba(planted.texts[:20])
    )


def test_the_signal_does_not_depend_on_the_scale_of_the_target(planted):
    y = np.array([len(text) for text in planted.texts], dtype=float)
    near, far = (
        HypothesisGenerator(small_pipeline("regression"), random_state=0)
        .fit(planted.texts, target)
        .signal_["score"]
        for target in (y, 1e8 + y)
    )
    np.testing.assert_allclose(near, far, atol=1e-3)


# Rows that belong together --------------------------------------------------------------------


def test_identical_texts_never_lie_on_both_sides(planted):
    texts = list(planted.texts[:250]) + list(planted.texts[:150])
    y = list(planted.y[:250]) + list(planted.y[:150])
    generator = HypothesisGenerator(small_pipeline(), random_state=0).fit(texts, y)
    found = {texts[i] for i in generator.discovery_rows_}
    assert not found & {texts[i] for i in generator.validation_rows_}


def test_groups_never_lie_on_both_sides_and_make_the_table_cluster_robust(planted, fitted):
    groups = np.arange(400) // 4
    generator = HypothesisGenerator(small_pipeline(), random_state=0)
    generator.fit(planted.texts, planted.y, groups=groups)
    found = set(groups[generator.discovery_rows_])
    assert not found & set(groups[generator.validation_rows_])
    assert generator.pipeline_["validate"].result_.cov_type == "cluster"
    assert fitted.pipeline_["validate"].result_.cov_type == "nonrobust"


def test_rows_are_linked_through_other_rows():
    units = linked_rows(["a", "a", "b", "c", "b"], [1, 2, 2, 3, 4])
    assert units.tolist() == [0, 0, 0, 1, 0]


def test_the_split_keeps_the_share_of_units_and_classes():
    y = np.repeat([0.0, 1.0], [900, 100])
    found, held_out = split_units(
        np.arange(1000), y, validation_size=0.2, stratify=True, rng=np.random.RandomState(0)
    )
    assert len(held_out) == 200
    assert y[held_out].sum() == 20
    assert not set(found) & set(held_out)


def test_groups_that_mix_the_classes_are_split_all_the_same():
    groups = np.repeat(np.arange(10), 20)
    y = np.tile([0.0, 1.0], 100)
    found, held_out = split_units(
        groups, y, validation_size=0.3, stratify=True, rng=np.random.RandomState(0)
    )
    assert len(set(groups[held_out])) == 3
    assert not set(groups[found]) & set(groups[held_out])


# Testing elsewhere ----------------------------------------------------------------------------


def test_validate_tests_the_same_hypotheses_on_other_rows(fitted):
    other = make_planted_texts(n_samples=100, task="binary", random_state=1)
    validator = fitted.validate(other.texts, other.y)
    assert set(validator.hypotheses_["hypothesis"]) == set(fitted.hypotheses_["hypothesis"])
    assert validator.metrics_["n_rows"] == 100
    assert validator.metrics_["in_sample"] is False


def test_validate_refuses_another_kind_of_target(fitted, planted):
    with pytest.raises(ValueError, match="other classes"):
        fitted.validate(planted.texts, np.where(np.asarray(planted.y) == 1, "good", "bad"))
    with pytest.raises(ValueError, match="Unknown label type"):
        fitted.validate(planted.texts, np.linspace(0, 1, len(planted.y)))


@pytest.mark.filterwarnings("ignore:These p-values mean nothing:UserWarning")
def test_validate_on_rows_that_discovery_saw_is_said(fitted, planted):
    seen = fitted.discovery_rows_[:100]
    texts, y = np.array(planted.texts, dtype=object), np.asarray(planted.y)
    with pytest.warns(UserWarning, match="100 of the 100 rows have a text that discovery saw"):
        validator = fitted.validate(texts[seen], y[seen])
    assert validator.metrics_["in_sample"] is True


def test_the_users_own_hypotheses_are_tested(planted):
    own = ['mentions "food" or "meal"', 'mentions "the"']
    pipeline = small_pipeline(interpret__hypotheses=own)
    generator = HypothesisGenerator(pipeline, random_state=0).fit(planted.texts, planted.y)
    assert set(generator.hypotheses_["hypothesis"]) == set(own)


def test_own_hypotheses_need_no_neurons(planted):
    pipeline = make_pipeline(
        LLMInterpreter(hypotheses=['mentions "food"', 'mentions "service" or "waiter"']),
        HypothesisValidator("classification"),
    )
    generator = HypothesisGenerator(pipeline, random_state=0).fit(planted.texts, planted.y)
    assert len(generator.hypotheses_) == 2
    assert generator.signal_ is None
    assert generator.predict(planted.texts[:5]).shape == (5,)
    # Nothing was discovered, so every row may test the user's statements.
    assert generator.validate(planted.texts, planted.y).metrics_["in_sample"] is False


def test_a_pipeline_may_start_from_embeddings_with_a_text_index(planted):
    embeddings = EmbeddingTransformer().fit_transform(planted.texts)
    pipeline = small_pipeline()
    generator = HypothesisGenerator(pipeline[1:], random_state=0).fit(embeddings, planted.y)
    whole = HypothesisGenerator(pipeline, random_state=0).fit(planted.texts, planted.y)
    assert set(generator.hypotheses_["hypothesis"]) == set(whole.hypotheses_["hypothesis"])


# Noise ----------------------------------------------------------------------------------------


def test_noise_is_called_noise(planted):
    y = np.random.RandomState(0).permutation(planted.y)
    with pytest.warns(UserWarning, match="covers chance"):
        generator = HypothesisGenerator(small_pipeline(), random_state=0).fit(planted.texts, y)
    assert generator.signal_["ci_low"] <= 0.5


# As an estimator ------------------------------------------------------------------------------


def test_clone_params_and_repr():
    generator = HypothesisGenerator(small_pipeline(), validation_size=0.4, random_state=3)
    copy = clone(generator)
    assert copy.get_params()["validation_size"] == 0.4
    copy.set_params(pipeline__sae__M=64)
    assert copy.pipeline["sae"].M == 64
    assert generator.pipeline["sae"].M == 32
    assert "validation_size=0.4" in repr(generator)
    assert "SparseAutoencoderTransformer" in estimator_html_repr(generator)


def test_fit_changes_no_parameter_and_no_input(planted):
    pipeline = small_pipeline()
    before = repr(pipeline.get_params())
    texts, y = list(planted.texts), np.array(planted.y)
    generator = HypothesisGenerator(pipeline, random_state=0).fit(texts, y)
    assert generator.pipeline is pipeline
    assert repr(pipeline.get_params()) == before
    assert not hasattr(pipeline["sae"], "components_")
    assert texts == list(planted.texts)
    np.testing.assert_array_equal(y, planted.y)


def test_a_pickle_predicts_the_same_and_holds_no_text(fitted, planted):
    data = pickle.dumps(fitted)
    np.testing.assert_array_equal(
        pickle.loads(data).predict_proba(planted.texts[:50]),
        fitted.predict_proba(planted.texts[:50]),
    )
    assert not [text for text in planted.texts if text.encode() in data]


@pytest.mark.parametrize("container", [list, tuple, pd.Series])
def test_input_kinds(fitted, planted, container):
    again = HypothesisGenerator(small_pipeline(), random_state=0)
    again.fit(container(list(planted.texts)), pd.Series(planted.y))
    pd.testing.assert_frame_equal(again.hypotheses_, fitted.hypotheses_)


@pytest.mark.parametrize(("output", "kind"), [("pandas", pd.DataFrame), ("default", np.ndarray)])
def test_set_output(fitted, planted, output, kind):
    generator = pickle.loads(pickle.dumps(fitted)).set_output(transform=output)
    assert isinstance(generator.transform(planted.texts[:5]), kind)
    assert generator.n_features_in_ == 1


def test_methods_before_fit_say_so(planted):
    generator = HypothesisGenerator()
    for method in ("predict", "transform"):
        with pytest.raises(NotFittedError):
            getattr(generator, method)(planted.texts)
    with pytest.raises(NotFittedError):
        generator.validate(planted.texts, planted.y)


def test_it_is_a_classifier_where_the_task_says_so(fitted):
    assert is_classifier(HypothesisGenerator(small_pipeline("classification")))
    assert is_classifier(fitted)
    assert not is_classifier(HypothesisGenerator())


def test_cross_validation_holds_rows_out_of_everything(planted):
    generator = HypothesisGenerator(small_pipeline(), random_state=0)
    scores = cross_val_score(
        generator, planted.texts, planted.y, cv=2, scoring="roc_auc", error_score="raise"
    )
    assert np.all((scores > 0.4) & (scores <= 1))


# Bad input, before anything slow ---------------------------------------------------------------


GOOD = [f"text number {i}" for i in range(100)]
BINARY = [0, 1] * 50


@pytest.mark.usefixtures("nothing_works")
@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([None, "a", float("nan"), 3, b"x"], [0, 1, 0, 1, 0], r"0 \(None\), 2 \(NaN\), 3 \(int\)"),
        ([], [], "got no texts"),
        (np.array([[1.0, 2.0]]), [1], "one-dimensional"),
        (np.array([["a", "b", "c"]]), [1], "one-dimensional"),
        (np.arange(4.0), [0, 1, 0, 1], r"0 \(float64\)"),
        ("one text", [1], "wrap it in a list"),
        (GOOD, BINARY[:-1], "100 rows in X but 99 values in y"),
        (GOOD, [1] * 100, "constant target"),
        (GOOD, [np.nan, *BINARY[1:]], "NaN in y .* position 0"),
        (GOOD, ["a", "b", "b", "a"] * 24 + ["a", "c", "b", "c"], "class 'c' of y has 2"),
        (GOOD, None, "y"),
        (["same"] * 100, BINARY, "share one group or one text"),
        (GOOD, [1] + [0] * 99, "needs 4 rows of every class.*class 1 of y has 1"),
        (GOOD, [1, 1, 1] + [0] * 97, "needs 4 rows of every class.*class 1 of y has 3"),
    ],
)
def test_bad_rows_are_refused_before_any_work(X, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        HypothesisGenerator(small_pipeline("auto")).fit(X, y)


@pytest.mark.usefixtures("nothing_works")
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sae__K": 33}, "K"),
        ({"sae__matryoshka_prefix_lengths": [16, 8, 32]}, "increas"),
        ({"sae__matryoshka_prefix_lengths": [8, 16]}, "M"),
        ({"sae__M": "many"}, "'M' parameter"),
        ({"interpret__n_examples": 90}, "n_examples"),
        ({"select__n_select": 0}, "'n_select' parameter"),
        ({"interpret__hypotheses": ["is rude"]}, "quote|llm"),
        ({"embed__model": "no-such-model-anywhere"}, "no-such-model-anywhere"),
        ({"interpret__llm": "openai:gpt-5-mini"}, "OPENAI_API_KEY"),
        ({"select__task": "regression"}, "select__task='regression'"),
    ],
)
def test_bad_parameters_are_refused_before_any_work(params, message, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_KEY_SAE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pipeline = small_pipeline().set_params(**params)
    with pytest.raises((ValueError, OSError), match=message):
        HypothesisGenerator(pipeline, random_state=0).fit(GOOD, BINARY)


@pytest.mark.usefixtures("nothing_works")
def test_a_pipeline_that_does_not_end_in_a_validator_is_refused():
    with pytest.raises(ValueError, match="ends in a HypothesisValidator, got LLMInterpreter"):
        HypothesisGenerator(small_pipeline()[:-1]).fit(GOOD, BINARY)


@pytest.mark.usefixtures("nothing_works")
@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.arange(99), "100 rows in X but 99 values in groups"),
        ([None] + [1] * 99, "missing values in groups"),
        ([1] * 100, "one group"),
        ([1] * 50 + [2] * 50, "only one group to test on"),
    ],
)
def test_bad_groups_are_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        HypothesisGenerator(small_pipeline()).fit(GOOD, BINARY, groups=groups)


def test_a_validation_size_outside_zero_and_one_is_refused():
    with pytest.raises(ValueError, match="'validation_size' parameter"):
        HypothesisGenerator(validation_size=1.5).fit(GOOD, BINARY)


# Rows that hang together ---------------------------------------------------------------------


def test_rows_that_share_a_text_are_warned_of_unless_grouped(planted):
    texts, y = list(planted.texts[:200]) * 2, np.tile(planted.y[:200], 2)
    with pytest.warns(UserWarning, match="400 of 400 rows share their text .* pass groups="):
        HypothesisGenerator(small_pipeline(), random_state=0).fit(texts, y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        HypothesisGenerator(small_pipeline(), random_state=0).fit(texts, y, groups=texts)
    assert not [warning for warning in caught if "share their text" in str(warning.message)]


def test_a_split_far_from_what_was_asked_is_said(planted):
    groups = np.where(np.arange(400) < 240, 0, np.arange(400))
    with pytest.warns(UserWarning, match="of 400 rows are held out, not a share of 0.25"):
        for seed in range(3):
            generator = HypothesisGenerator(small_pipeline(), random_state=seed)
            generator.fit(planted.texts, planted.y, groups=groups)


def test_ratings_of_one_text_in_two_columns_are_doubted(planted):
    frame = pd.DataFrame({"title": [text[:20] for text in planted.texts], "body": planted.texts})
    stars = np.random.default_rng(0).integers(1, 6, 400)
    with pytest.warns(UserWarning, match="same one ahead in every pair: .* joined as one column"):
        HypothesisGenerator(small_pipeline("regression"), random_state=0).fit(frame, stars)


def test_metadata_routing_makes_no_difference(fitted, planted):
    with sklearn.config_context(enable_metadata_routing=True):
        again = HypothesisGenerator(small_pipeline(), random_state=0)
        again.fit(planted.texts, planted.y)
    pd.testing.assert_frame_equal(again.hypotheses_, fitted.hypotheses_)
