"""HypothesisGenerator: covariates of the held-out rows, and the share of the ceiling reached."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from sklearn_hypsae import (
    HypothesisGenerator,
    HypothesisValidator,
    LLMInterpreter,
    make_hypothesis_pipeline,
)
from sklearn_hypsae._held_out import share_of_ceiling
from sklearn_hypsae.datasets import make_planted_texts


@pytest.fixture(scope="module")
def planted():
    return make_planted_texts(n_samples=400, task="binary", random_state=0)


def small_pipeline(**params):
    pipeline = make_hypothesis_pipeline(M=32, K=4, n_hypotheses=6, task="classification")
    return pipeline.set_params(**{"sae__n_epochs": 10, **params})


@pytest.fixture(scope="module")
def fitted(planted):
    return HypothesisGenerator(small_pipeline(), random_state=0).fit(planted.texts, planted.y)


@pytest.fixture(scope="module")
def controls():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"year": rng.integers(2010, 2020, 400), "city": rng.choice(["a", "b"], 400)}
    )


@pytest.fixture(scope="module")
def controlled(planted, controls):
    generator = HypothesisGenerator(small_pipeline(), random_state=0)
    return generator.fit(planted.texts, planted.y, covariates=controls)


def held_out_annotations(generator, planted):
    texts, rows = np.array(planted.texts, dtype=object), generator.validation_rows_
    return generator.pipeline_[:-1].transform(texts[rows]), np.asarray(planted.y)[rows]


def test_covariates_of_the_held_out_rows_reach_the_test(controlled, fitted, planted, controls):
    annotations, y = held_out_annotations(controlled, planted)
    by_hand = HypothesisValidator("classification").fit(
        annotations, y, covariates=controls.iloc[controlled.validation_rows_]
    )
    pd.testing.assert_frame_equal(by_hand.hypotheses_, controlled.hypotheses_)
    pd.testing.assert_frame_equal(by_hand.covariates_, controlled.covariates_)
    assert list(controlled.covariates_["covariate"]) == ["year", "city_b"]
    # Discovery does not see them.
    assert list(controlled.hypotheses_["hypothesis"]) == list(fitted.hypotheses_["hypothesis"])
    assert len(fitted.covariates_) == 0


@pytest.mark.parametrize("covariates", ["log_n_words", ["log_n_words"]])
def test_ready_made_covariates_are_made_from_the_texts(planted, covariates):
    pipeline = small_pipeline(embed__text_index=False)
    generator = HypothesisGenerator(pipeline, random_state=0)
    generator.fit(planted.texts, planted.y, covariates=covariates)
    n_words = np.array([len(text.split()) for text in planted.texts])
    same = HypothesisGenerator(pipeline, random_state=0)
    same.fit(planted.texts, planted.y, covariates=pd.Series(np.log1p(n_words), name="log_n_words"))
    pd.testing.assert_frame_equal(generator.hypotheses_, same.hypotheses_)
    pd.testing.assert_frame_equal(generator.covariates_, same.covariates_)


def test_validate_takes_covariates_of_its_own_rows(fitted):
    other = make_planted_texts(n_samples=100, task="binary", random_state=1)
    noise = np.random.default_rng(0).normal(size=(100, 2))
    validator = fitted.validate(other.texts, other.y, covariates=noise)
    assert list(validator.covariates_["covariate"]) == ["covariate_0", "covariate_1"]
    by_hand = HypothesisValidator("classification").fit(
        fitted.pipeline_[:-1].transform(other.texts), other.y, covariates=noise
    )
    pd.testing.assert_frame_equal(validator.hypotheses_, by_hand.hypotheses_)


# The ceiling -----------------------------------------------------------------------------------


def test_the_share_of_the_ceiling_is_measured_above_chance(fitted):
    ceiling = fitted.signal_["score"]
    share = fitted.metrics_["share_of_ceiling"]
    assert share == pytest.approx((fitted.metrics_["auc_cv"] - 0.5) / (ceiling - 0.5), abs=1e-12)


def test_covariates_do_not_add_to_the_share_of_the_ceiling(fitted, planted):
    generator = HypothesisGenerator(small_pipeline(), random_state=0)
    telling = np.asarray(planted.y) + np.random.default_rng(0).normal(size=400)
    generator.fit(planted.texts, planted.y, covariates=telling)
    assert generator.metrics_["auc_cv"] > fitted.metrics_["auc_cv"]
    assert generator.metrics_["share_of_ceiling"] == fitted.metrics_["share_of_ceiling"]


@pytest.mark.parametrize(
    ("score", "share"), [(0.5, np.nan), (0.4, np.nan), (1.0, 0.2), (0.55, 2.0)]
)
def test_a_ceiling_at_chance_has_no_share(score, share):
    signal = {"metric": "auc", "score": score, "chance": 0.5}
    assert share_of_ceiling({"auc_cv": 0.6}, signal) == pytest.approx(share, nan_ok=True)


def test_without_embeddings_there_is_no_ceiling(planted):
    pipeline = make_pipeline(
        LLMInterpreter(hypotheses=['mentions "food"']), HypothesisValidator("classification")
    )
    generator = HypothesisGenerator(pipeline, random_state=0).fit(planted.texts, planted.y)
    assert np.isnan(generator.metrics_["share_of_ceiling"])
    assert np.isnan(share_of_ceiling({"r2_cv": 0.1}, None))


# Bad input, before anything slow ----------------------------------------------------------------


TEXTS = [f"text number {i}" for i in range(100)]
BINARY = [0, 1] * 50
BAD_COVARIATES = [
    (np.zeros(99), "100 rows in X but 99 rows of covariates"),
    (pd.DataFrame({"a": [None, *range(99)]}), "missing values in the covariates of 1 of 100 rows"),
    (np.full((100, 1), np.inf), "infinity in the covariates"),
    ("n_stars", "no ready-made covariates"),
]


@pytest.mark.usefixtures("nothing_works")
@pytest.mark.parametrize(("covariates", "message"), BAD_COVARIATES)
def test_bad_covariates_are_refused_before_any_work(covariates, message):
    with pytest.raises(ValueError, match=message):
        HypothesisGenerator(small_pipeline()).fit(TEXTS, BINARY, covariates=covariates)


@pytest.mark.usefixtures("nothing_works")
@pytest.mark.parametrize(("covariates", "message"), BAD_COVARIATES)
def test_validate_refuses_bad_covariates_before_any_work(fitted, covariates, message):
    with pytest.raises(ValueError, match=message):
        fitted.validate(TEXTS, BINARY, covariates=covariates)
