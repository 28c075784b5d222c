"""sample_weight: how many texts a row stands for, as in a survey."""

import numpy as np
import pandas as pd
import pytest
from annotated import annotated_frame, draw_annotations
from sklearn.pipeline import make_pipeline

from sklearn_hypsae import HypothesisGenerator, HypothesisValidator, LLMInterpreter
from sklearn_hypsae._permutation import misleads_t_test, permutation_pvalues
from sklearn_hypsae._regression import firth_logistic, fit_regression


def targets_of(case):
    frame, y = annotated_frame("stars" if case == "regression" else "binary")
    if case == "multiclass":
        return frame, np.array(["a", "b", "c"])[(y + frame.iloc[:, 3]).astype(int)]
    return frame, y


TASKS = ["regression", "binary", "multiclass"]


@pytest.mark.parametrize("task", TASKS)
def test_equal_weights_give_exactly_the_unweighted_table(task):
    frame, y = targets_of(task)
    plain = HypothesisValidator().fit(frame, y)
    weighted = HypothesisValidator().fit(frame, y, sample_weight=np.full(len(y), 0.3))
    pd.testing.assert_frame_equal(weighted.hypotheses_, plain.hypotheses_, check_exact=True)
    assert weighted.metrics_ == plain.metrics_


@pytest.mark.parametrize("task", TASKS)
def test_a_weight_of_zero_leaves_the_row_out(task):
    frame, y = targets_of(task)
    rng = np.random.default_rng(0)
    weights = rng.exponential(size=len(y)) * (rng.random(len(y)) < 0.8)
    kept = weights > 0
    groups = np.arange(len(y)) // 4
    options = {"n_permutations": 99}
    weighted = HypothesisValidator(**options).fit(frame, y, groups, sample_weight=weights)
    left_out = HypothesisValidator(**options).fit(
        frame[kept], y[kept], groups[kept], sample_weight=weights[kept]
    )
    pd.testing.assert_frame_equal(weighted.hypotheses_, left_out.hypotheses_)
    assert weighted.metrics_ == left_out.metrics_


def test_only_ratios_of_weights_matter_and_errors_are_robust():
    frame, y = targets_of("binary")
    weights = np.random.default_rng(0).exponential(size=len(y))
    options = {"n_permutations": 99}
    once = HypothesisValidator(**options).fit(frame, y, sample_weight=weights)
    scaled = HypothesisValidator(**options).fit(frame, y, sample_weight=1e6 * weights)
    pd.testing.assert_frame_equal(once.hypotheses_, scaled.hypotheses_)
    assert once.metrics_["cov_type"] == "HC1"
    assert once.hypotheses_["welch_pvalue"].isna().all()


def test_weights_undo_a_sample_that_favours_a_class_of_rows():
    rng = np.random.default_rng(1)
    concept = rng.random(60_000) < 0.4
    y = np.where(rng.random(60_000) < 0.5, concept, 0) + rng.normal(size=60_000)
    chance = np.where(y > 0.5, 0.2, 0.02)
    drawn = rng.random(60_000) < chance
    X = concept[drawn][:, None].astype(float)
    true = y[concept].mean() - y[~concept].mean()
    options = {"n_permutations": 0}
    weighted = HypothesisValidator(**options).fit(X, y[drawn], sample_weight=1 / chance[drawn])
    plain = HypothesisValidator(**options).fit(X, y[drawn])
    row = weighted.hypotheses_.iloc[0]
    assert row["regression_coef_low"] < true < row["regression_coef_high"]
    assert row["feature_prevalence"] == pytest.approx(0.4, abs=0.03)
    assert plain.hypotheses_["regression_coef_high"][0] < true


def test_integer_weights_estimate_what_repeated_rows_do():
    frame, y = targets_of("binary")
    times = np.random.default_rng(0).integers(1, 4, len(y))
    repeated = np.repeat(np.arange(len(y)), times)
    weighted = HypothesisValidator(n_permutations=0).fit(frame, y, sample_weight=times)
    of_repeats = HypothesisValidator().fit(frame.iloc[repeated], y[repeated])
    for name in ("separation_score", "regression_coef", "feature_prevalence"):
        np.testing.assert_allclose(
            weighted.hypotheses_[name], of_repeats.hypotheses_[name], atol=1e-8
        )
    assert weighted.metrics_["auc"] == pytest.approx(of_repeats.metrics_["auc"], abs=1e-12)
    # A row of weight 3 is still one observation.
    assert weighted.hypotheses_["n_present"][0] == frame.iloc[:, 0].sum()


def test_the_penalised_fit_weighs_rows_too():
    design = np.column_stack([np.ones(6), [1, 1, 0, 0, 0, 0]])
    y = np.array([1, 1, 1, 0, 0, 0.0])
    weights = np.array([1, 2, 1, 1, 3, 1.0])
    repeated = np.repeat(np.arange(6), weights.astype(int))
    params, _, _ = firth_logistic(design, y, weights)
    expected, _, _ = firth_logistic(design[repeated], y[repeated])
    np.testing.assert_allclose(params, expected, atol=1e-8)
    fit = fit_regression(
        design[:, 1:], y, classification=True, sample_weight=weights / weights.mean()
    )
    assert fit.is_penalised and np.isfinite(fit.intervals).all() and 0 < fit.pvalues[0] <= 1


def test_weighted_permutations_keep_the_level_better_than_robust_errors():
    rng = np.random.default_rng(0)
    permuted, robust = [], []
    for _ in range(150):
        annotations, y = draw_annotations(rng, 200, np.full(5, 0.2)), rng.lognormal(size=200)
        weights = rng.exponential(size=200)
        weights /= weights.mean()
        permuted += list(
            permutation_pvalues(
                annotations,
                y,
                n_permutations=199,
                random_state=np.random.RandomState(0),
                groups=np.arange(200),
                sample_weight=weights,
            )
        )
        fit = fit_regression(
            annotations, y, classification=False, cov_type="HC1", sample_weight=weights
        )
        robust += list(fit.pvalues)
    share_permuted, share_robust = (np.mean(np.array(p) <= 0.05) for p in (permuted, robust))
    assert 0.03 < share_permuted < 0.08
    assert share_robust > share_permuted + 0.01


def test_a_few_heavy_rows_mislead_a_t_test_as_a_rare_concept_does():
    rng = np.random.default_rng(0)
    annotations, y = draw_annotations(rng, 800, [0.5]), rng.lognormal(size=800)
    heavy = np.where(np.arange(800) < 20, 40.0, 1.0)
    assert not np.any(misleads_t_test(annotations, y))
    assert misleads_t_test(annotations, y, sample_weight=heavy / heavy.mean())[0].all()


BAD = [
    (np.ones(3), "800 rows in X but sample_weight of shape"),
    (np.r_[-1.0, np.ones(799)], "negative values in sample_weight in 1 of 800 rows"),
    (np.r_[np.ones(799), np.nan], "missing or infinite .* first at position 799"),
    (np.zeros(800), "zero for every row"),
    (["heavy"] * 800, "numbers as sample_weight"),
]


@pytest.mark.parametrize(("weights", "match"), BAD)
def test_bad_weights_are_refused_in_one_sentence(weights, match):
    frame, y = annotated_frame()
    with pytest.raises(ValueError, match=match) as caught:
        HypothesisValidator().fit(frame, y, sample_weight=weights)
    assert "\n" not in str(caught.value)


def own(hypotheses, task="auto"):
    steps = LLMInterpreter(hypotheses=hypotheses), HypothesisValidator(task, n_permutations=99)
    return HypothesisGenerator(make_pipeline(*steps), random_state=0)


def test_the_generator_weighs_the_rows_that_test(reviews):
    weights = np.random.default_rng(0).exponential(size=len(reviews.y))
    generator = own(['mentions "the"', 'mentions "film" or "movie"'])
    generator.fit(reviews.texts, reviews.y, sample_weight=weights)
    assert generator.metrics_["cov_type"] == "HC1"
    rows = generator.validation_rows_
    texts, y = np.asarray(reviews.texts, dtype=object)[rows], reviews.y[rows]
    again = generator.validate(texts, y, sample_weight=weights[rows])
    pd.testing.assert_frame_equal(again.hypotheses_, generator.hypotheses_)


def test_the_generator_refuses_bad_weights_before_any_work(reviews):
    n_samples = len(reviews.y)
    generator = own(['mentions "the"'])
    few = np.zeros(n_samples)
    few[generator.fit(reviews.texts, reviews.y).discovery_rows_] = 1
    for weights, match in [
        (np.ones(3), f"{n_samples} rows in X but sample_weight"),
        (-np.ones(n_samples), "negative values in sample_weight"),
        (few, "too few rows with a sample_weight above 0"),
    ]:
        with pytest.raises(ValueError, match=match):
            generator.fit(reviews.texts, reviews.y, sample_weight=weights)
