"""Pairs of texts: which of the two wins, or by how much, whichever comes first."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from pair_tools import numbered_pairs, swapped

from sklearn_hypsae import HypothesisValidator
from sklearn_hypsae._pairs import check_pair_target
from sklearn_hypsae._texts import text_index
from sklearn_hypsae.datasets import make_planted_pairs


def annotated_pairs(n=600, *, binary, effects=(0.9, -0.5, 0.0), seed=0):
    """A frame of annotations of pairs, and the target that they explain."""
    rng = np.random.default_rng(seed)
    annotations = rng.integers(0, 2, (n, len(effects))) - rng.integers(0, 2, (n, len(effects)))
    columns = [f"concept {i}" for i in range(len(effects))]
    index = text_index(numbered_pairs(n))
    latent = annotations @ np.array(effects) + rng.logistic(size=n) / (1 if binary else 2)
    y = (latent > 0).astype(int) if binary else latent
    return pd.DataFrame(annotations.astype(float), index=index, columns=columns), y


# The validator


@pytest.mark.parametrize("binary", [True, False])
def test_the_regression_of_pairs_is_that_of_statsmodels_through_the_origin(binary):
    frame, y = annotated_pairs(binary=binary)
    validator = HypothesisValidator().fit(frame, y)
    expected = (sm.Logit if binary else sm.OLS)(y, frame.to_numpy()).fit(disp=0)
    table = validator.hypotheses_
    np.testing.assert_allclose(table["regression_coef"], expected.params, atol=1e-10)
    np.testing.assert_allclose(table["regression_pval"], expected.pvalues, atol=1e-10)
    interval = table[["regression_coef_low", "regression_coef_high"]]
    np.testing.assert_allclose(interval, expected.conf_int(), atol=1e-10)
    assert validator.intercept_ == 0
    assert table["significant"].tolist() == [True, True, False]


def test_the_effect_of_a_binary_target_is_the_share_won_by_texts_with_the_concept():
    frame, y = annotated_pairs(binary=True)
    row = HypothesisValidator().fit(frame, y).hypotheses_.iloc[0]
    concept = frame.iloc[:, 0].to_numpy()
    in_one_only = concept != 0
    wins = np.where(concept == 1, y, 1 - y)[in_one_only]
    assert row["separation_score"] == pytest.approx(wins.mean() - 0.5, abs=1e-10)
    expected = sm.OLS(y - 0.5, concept).fit()
    assert row["separation_score"] == pytest.approx(expected.params[0], abs=1e-10)
    assert row["separation_pvalue"] == pytest.approx(expected.pvalues[0], abs=1e-10)
    assert row["feature_prevalence"] == pytest.approx(in_one_only.mean())
    assert row["n_present"] == in_one_only.sum()
    assert np.isnan(row["welch_pvalue"])


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("cov_type", ["auto", "HC3", "cluster"])
@pytest.mark.parametrize("which", ["all", "some"])
def test_which_text_comes_first_changes_no_statistic(binary, cov_type, which):
    frame, y = annotated_pairs(240, binary=binary)
    rows = np.random.default_rng(1).random(len(y)) < (1 if which == "all" else 0.5)
    groups = np.arange(len(y)) // 4 if cov_type == "cluster" else None
    controls = np.random.default_rng(2).normal(size=len(y))
    results = []
    for X, target, control in (
        (frame, y, controls),
        (*swapped(frame, y, rows, binary=binary), np.where(rows, -controls, controls)),
    ):
        validator = HypothesisValidator(cov_type=cov_type, n_permutations=199)
        validator.fit(X, target, groups=groups, covariates=control)
        results.append((validator, X, target))
    (one, X, target), (other, X_swapped, target_swapped) = results
    pd.testing.assert_frame_equal(one.hypotheses_, other.hypotheses_, rtol=0, atol=1e-9)
    pd.testing.assert_frame_equal(one.covariates_, other.covariates_, rtol=0, atol=1e-9)
    for name, value in one.metrics_.items():
        assert other.metrics_[name] == pytest.approx(value, abs=1e-9), name
    score = one.score(X, target)
    assert other.score(X_swapped, target_swapped) == pytest.approx(score, abs=1e-9)


def test_the_winner_may_always_come_first():
    frame, y = annotated_pairs(binary=True)
    winner_first, ones = swapped(frame, y, y == 0, binary=True)
    assert set(ones) == {1}
    expected = HypothesisValidator().fit(frame, y)
    found = HypothesisValidator().fit(winner_first, ones)
    pd.testing.assert_frame_equal(found.hypotheses_, expected.hypotheses_, rtol=0, atol=1e-9)
    assert found.classes_.tolist() == [0, 1]
    margins, stars = annotated_pairs(binary=False)
    ahead_first, positive = swapped(margins, stars, stars < 0, binary=False)
    pd.testing.assert_frame_equal(
        HypothesisValidator().fit(ahead_first, positive).hypotheses_,
        HypothesisValidator().fit(margins, stars).hypotheses_,
        rtol=0,
        atol=1e-9,
    )


@pytest.mark.parametrize("binary", [True, False])
def test_predictions_of_a_swapped_pair_are_the_other_way_round(binary):
    frame, y = annotated_pairs(binary=binary)
    validator = HypothesisValidator().fit(frame, y)
    other, _ = swapped(frame, y, np.ones(len(y), bool), binary=binary)
    if binary:
        probabilities = validator.predict_proba(frame)
        np.testing.assert_allclose(validator.predict_proba(other), probabilities[:, ::-1])
        alike = frame.iloc[:1] * 0
        np.testing.assert_array_equal(validator.predict_proba(alike), [[0.5, 0.5]])
    else:
        np.testing.assert_allclose(validator.predict(other), -validator.predict(frame))


def test_pairs_of_which_one_kind_always_wins_are_fitted_with_a_penalty():
    frame, y = annotated_pairs(binary=True)
    frame["always wins"] = np.where(y == 1, 1.0, -1.0) * (np.arange(len(y)) % 5 == 0)
    row = HypothesisValidator().fit(frame, y).hypotheses_.iloc[-1]
    assert row["note"] == "penalised fit"
    assert np.isfinite(row["regression_coef"])
    assert row["significant"]
    alone = HypothesisValidator().fit(frame[["always wins"]], y).hypotheses_.iloc[0]
    assert alone["corrected_pval"] < 1e-10


def test_a_concept_that_hardly_tells_texts_of_a_pair_apart_is_not_tested():
    frame, y = annotated_pairs(binary=True)
    frame["in both"] = 0.0
    frame["rare"] = (np.arange(len(y)) < 5).astype(float)
    frame["in the first"] = 1.0
    notes = HypothesisValidator().fit(frame, y).hypotheses_.set_index("hypothesis")["note"]
    assert notes["in both"] == "untested: constant"
    assert notes["rare"] == "untested: present in 5 pairs (in one text only), 20 are needed"
    assert notes["in the first"] == ""


@pytest.mark.parametrize("binary", [True, False])
def test_pairs_that_no_hypothesis_tells_apart_are_all_untested(binary):
    frame, y = annotated_pairs(binary=binary)
    validator = HypothesisValidator().fit(frame * 0.0, y)
    assert (validator.hypotheses_["note"] == "untested: constant").all()
    assert validator.result_ is None
    if binary:
        np.testing.assert_array_equal(validator.predict_proba(frame), 0.5)
    else:
        np.testing.assert_array_equal(validator.predict(frame), 0.0)


def test_permutations_of_pairs_are_sign_flips_and_honest_on_heavy_tails():
    rng = np.random.default_rng(0)
    below, judged = [], []
    for _ in range(40):
        concept = np.zeros(200)
        concept[:24] = rng.choice([-1.0, 1.0], 24)
        y = rng.standard_t(1.5, size=200)
        X = pd.DataFrame({"rare": concept}, index=text_index(numbered_pairs(200)))
        row = HypothesisValidator(n_permutations=199).fit(X, y).hypotheses_.iloc[0]
        judged.append(row["note"] == "judged by permutation")
        below.append(row["corrected_pval"] <= 0.05)
    assert np.mean(judged) > 0.8
    assert np.mean(below) <= 0.15


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        (["a", "b", "c", "a"], "auto", "3 labels in y that are no numbers"),
        ([0, 1, 2, 1], "classification", "3 values in y, but of a pair one of two"),
        ([1, 2, 1, 2], "auto", r"cannot tell what y means for pairs \(1 and 2\)"),
        ([0, 0.5, 1, 1], "auto", r"0 and 0.5 and 1\): pass 1 .* 0 for ties"),
        ([0, 0, 0, 0], "regression", "ties only"),
        ([0, 1], "auto", "4 rows in X but 2 values"),
        ([0, 1, np.nan, 1], "auto", "NaN in y"),
    ],
)
def test_a_target_that_says_not_which_text_wins_is_refused(y, task, message):
    with pytest.raises(ValueError, match=message):
        check_pair_target(y, task=task, n_samples=4, caller="HypothesisGenerator")


def test_covariates_of_pairs_are_differences():
    frame, y = annotated_pairs(binary=False)
    validator = HypothesisValidator().fit(frame, y, covariates="n_characters")
    assert validator.covariates_["covariate"].tolist() == ["n_characters"]
    with pytest.raises(ValueError, match=r"not numbers \(site\): pass differences"):
        HypothesisValidator().fit(frame, y, covariates=pd.DataFrame({"site": ["a", "b"] * 300}))


# Planted pairs


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_planted_pairs_have_the_effects_they_say(task):
    data = make_planted_pairs(4000, n_informative=4, effect_size=0.8, task=task, random_state=0)
    model = sm.Logit if task == "binary" else sm.OLS
    fit = model(data.y, data.concepts).fit(disp=0)
    np.testing.assert_allclose(fit.params, data.coef, atol=4 * fit.bse.max())
    assert data.coef.tolist() == [-0.8, 0.8, 0.8, -0.8, 0, 0]
    assert data.pairs.columns.tolist() == ["headline_a", "headline_b"]
    again = make_planted_pairs(
        4000, n_informative=4, effect_size=0.8, task=task, random_state=0, return_X_y=True
    )
    pd.testing.assert_frame_equal(again[0], data.pairs)
    np.testing.assert_array_equal(again[1], data.y)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"task": "rank"}, "takes task"), ({"effect_size": [1, 2]}, r"shape \(2,\)")],
)
def test_planted_pairs_refuse_what_cannot_be(wrong, message):
    with pytest.raises(ValueError, match=message):
        make_planted_pairs(10, **wrong)
