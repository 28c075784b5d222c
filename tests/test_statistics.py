"""The arithmetic under the validation step, against scipy, statsmodels and known results."""

import numpy as np
import pytest
import statsmodels.api as sm
from annotated import draw_annotations, make_case
from scipy import stats
from sklearn.metrics import r2_score, roc_auc_score
from statsmodels.stats.multitest import multipletests

from sklearn_hypsae._cross_fitting import _mean_auc, _r2, cross_fit, held_out_score
from sklearn_hypsae._permutation import misleads_t_test, permutation_pvalues
from sklearn_hypsae._regression import (
    firth_logistic,
    fit_regression,
    independent_columns,
    score_test,
)
from sklearn_hypsae._statistics import (
    CORRECTIONS,
    correct_pvalues,
    presence,
    separation,
)

# Separation


@pytest.mark.parametrize("case", ["binary", "stars", "skewed"])
def test_separation_is_the_difference_in_means_with_its_t_tests(case):
    annotations, y, _ = make_case(case)
    for column in annotations.T:
        result = separation(column, y)
        with_it, without = y[column == 1], y[column == 0]
        pooled = stats.ttest_ind(with_it, without)
        welch = stats.ttest_ind(with_it, without, equal_var=False)
        assert result.score == pytest.approx(with_it.mean() - without.mean(), abs=1e-10)
        assert result.pvalue == pytest.approx(pooled.pvalue, abs=1e-10)
        assert result.welch_pvalue == pytest.approx(welch.pvalue, abs=1e-10)
        variance = np.average(
            [with_it.var(ddof=1), without.var(ddof=1)], weights=[len(with_it) - 1, len(without) - 1]
        )
        assert result.standardised == pytest.approx(result.score / np.sqrt(variance), abs=1e-10)


def test_separation_of_pairs_has_effect_and_p_value_on_one_scale():
    rng = np.random.default_rng(0)
    pairs = rng.integers(-1, 2, 400).astype(float)
    y = 0.3 * pairs + rng.normal(size=400)
    result = separation(pairs, y, intercept=False)
    expected = sm.OLS(y, pairs).fit()
    assert result.score == pytest.approx(expected.params[0], abs=1e-10)
    assert result.score == pytest.approx(np.mean((y * pairs)[pairs != 0]), abs=1e-10)
    assert result.pvalue == pytest.approx(expected.pvalues[0], abs=1e-10)
    assert np.isnan(result.welch_pvalue)


def test_separation_of_a_constant_annotation_is_unknown():
    assert np.isnan(separation(np.ones(10), np.arange(10.0))).all()


def test_presence_is_above_zero_and_of_pairs_signed():
    np.testing.assert_array_equal(presence(np.array([[-0.5, 2.0, 0.0]])), [[0, 1, 0]])
    np.testing.assert_array_equal(presence(np.array([[-1.0, 0.5, 0.0]]), pairs=True), [[-1, 1, 0]])
    probabilities = np.array([[0.9, -0.6, 0.1]])
    np.testing.assert_array_equal(presence(probabilities, above=0.5), [[1, 0, 0]])
    np.testing.assert_array_equal(presence(probabilities, above=0.5, pairs=True), [[1, -1, 0]])


# Corrections


@pytest.mark.parametrize("method", CORRECTIONS)
def test_corrections_are_those_of_statsmodels_with_untested_ones_counted(method):
    pvalues = np.array([0.001, 0.02, np.nan, 0.03, 0.5])
    corrected = correct_pvalues(pvalues, method=method)
    if method == "none":
        np.testing.assert_array_equal(corrected, pvalues)
        return
    expected = multipletests(np.nan_to_num(pvalues, nan=1.0), method=method)[1]
    np.testing.assert_allclose(np.delete(corrected, 2), np.delete(expected, 2), rtol=1e-12)
    assert np.isnan(corrected[2])


# Columns a regression can tell apart


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_dependent_columns_are_found_at_any_scale(scale):
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 50)) * scale
    A = np.column_stack([a, np.full(50, 0.1 * scale), b, 2 * a - b + scale, c, -c])
    kept, depends_on = independent_columns(A)
    assert list(kept) == [0, 2, 4]
    assert depends_on == {1: [], 3: [0, 2], 5: [4]}


def test_no_more_columns_are_kept_than_rows_can_tell_apart():
    rng = np.random.default_rng(0)
    kept, depends_on = independent_columns(rng.normal(size=(8, 30)))
    assert len(kept) == 7 and len(depends_on) == 23


# The penalised fit


def test_firth_adds_half_to_each_cell_of_a_table():
    x = np.repeat([1.0, 0.0], [30, 50])
    y = np.r_[np.ones(30), np.ones(20), np.zeros(30)]
    params, _, _ = firth_logistic(np.column_stack([np.ones(80), x]), y)
    absent = np.log(20.5 / 30.5)
    np.testing.assert_allclose(params, [absent, np.log(30.5 / 0.5) - absent], atol=1e-8)


def test_firth_shrinks_towards_the_ordinary_fit_as_rows_become_many():
    rng = np.random.default_rng(0)
    design = sm.add_constant(draw_annotations(rng, 20_000, np.array([0.2, 0.5])))
    y = (rng.random(20_000) < 1 / (1 + np.exp(-design @ [0.3, 1.0, -0.5]))).astype(float)
    params, _, _ = firth_logistic(design, y)
    np.testing.assert_allclose(params, sm.Logit(y, design).fit(disp=0).params, atol=1e-3)


def test_the_score_test_is_that_of_statsmodels():
    annotations, y, _ = make_case("binary")
    design = sm.add_constant(annotations)
    for column in range(1, design.shape[1]):
        others = np.delete(design, column, axis=1)
        null = sm.GLM(y, others, family=sm.families.Binomial()).fit()
        expected = null.score_test(exog_extra=design[:, [column]])[1].item()
        # The fit without the column is Firth's here, which makes p-values a little larger.
        assert expected < score_test(design, y, column) < 1.12 * expected


def test_one_table_gives_the_score_test_of_pearson():
    rng = np.random.default_rng(1)
    x, y = draw_annotations(rng, 60, np.array([0.4, 0.5])).T
    counts = [[np.sum((x == i) & (y == j)) for j in (0, 1)] for i in (0, 1)]
    expected = stats.chi2_contingency(counts, correction=False).pvalue
    assert score_test(sm.add_constant(x), y, 1) == pytest.approx(expected, rel=0.05)


def test_separation_never_becomes_least_squares():
    rng = np.random.default_rng(0)
    y = np.repeat([0.0, 1.0], 50)
    A = np.column_stack([y * (rng.random(100) < 0.5), rng.random(100) < 0.5])
    fit = fit_regression(A, y, classification=True)
    assert fit.is_penalised
    assert ((fit.result.fittedvalues > 0) & (fit.result.fittedvalues < 1)).all()
    assert fit.pvalues[0] < 1e-6 < 0.01 < fit.pvalues[1]
    assert (fit.intervals[:, 0] < fit.params[1:]).all()
    assert (fit.intervals[:, 1] > fit.params[1:]).all()


# Permutations


def test_permutation_p_values_agree_with_t_tests_where_those_are_right():
    annotations, y, _ = make_case("stars")
    assert not np.any(misleads_t_test(annotations, y))
    expected = sm.OLS(y, sm.add_constant(annotations)).fit().pvalues[1:]
    pvalues = permutation_pvalues(
        annotations, y, n_permutations=4999, random_state=np.random.RandomState(0)
    )
    np.testing.assert_allclose(pvalues, expected, atol=0.04)


def test_permutation_p_values_are_uniform_where_t_tests_mislead():
    rng = np.random.default_rng(0)
    by_permutation, by_t = [], []
    for _ in range(300):
        y = rng.lognormal(sigma=1.5, size=500)
        annotations = draw_annotations(rng, 500, np.full(6, 0.045))
        random_state = np.random.RandomState(0)
        by_permutation.append(
            permutation_pvalues(annotations, y, n_permutations=399, random_state=random_state)
        )
        by_t.append(fit_regression(annotations, y, classification=False).pvalues)
    assert 0.04 < np.mean(np.array(by_permutation) <= 0.05) < 0.06
    assert np.mean(np.array(by_permutation) <= 0.005) < 0.009
    assert np.mean(np.array(by_t) <= 0.005) > 0.011


def test_permuting_groups_keeps_the_level_where_cluster_robust_errors_do_not():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 8)
    by_permutation, by_sandwich = [], []
    for _ in range(120):
        of_group = draw_annotations(rng, 40, np.full(6, 0.15))[groups]
        annotations = of_group * draw_annotations(rng, 320, np.full(6, 0.8))
        annotations = annotations[:, annotations.sum(axis=0) >= 20]
        y = rng.normal(size=40)[groups] + 0.5 * rng.normal(size=320)
        random_state = np.random.RandomState(0)
        by_permutation += list(
            permutation_pvalues(
                annotations, y, n_permutations=199, random_state=random_state, groups=groups
            )
        )
        fit = fit_regression(
            annotations, y, classification=False, groups=groups, cov_type="cluster"
        )
        by_sandwich += list(fit.pvalues)
    assert np.mean(np.array(by_permutation) <= 0.05) < 0.075
    assert np.mean(np.array(by_sandwich) <= 0.05) > 0.1


def test_few_groups_allow_no_small_p_value():
    groups = np.repeat(np.arange(3), 30)
    annotations = (groups == 2)[:, None] * 1.0
    annotations[::7] = 1 - annotations[::7]
    y = groups + 0.0
    pvalue = permutation_pvalues(
        annotations, y, n_permutations=999, random_state=np.random.RandomState(0), groups=groups
    )
    assert pvalue > 0.1


def test_a_perfect_fit_tells_what_contributes_and_permutes_nothing():
    rng = np.random.default_rng(0)
    A = draw_annotations(rng, 100, [0.5, 0.5])
    y = 3 * A[:, 0] + 1
    fit = fit_regression(A, y, classification=False)
    assert fit.is_perfect
    assert list(fit.pvalues) == [0, 1]
    assert not np.any(misleads_t_test(A, y))
    random_state = np.random.RandomState(0)
    assert np.isnan(permutation_pvalues(A, y, n_permutations=99, random_state=random_state)).all()


# Scores


def test_the_cross_fitted_score_needs_two_folds():
    A = np.arange(6.0)[:, None]
    one_positive = np.array([0, 0, 0, 0, 0, 1.0])
    assert cross_fit(A, one_positive, n_classes=2) is None
    one_group = np.zeros(6, int)
    assert cross_fit(A, np.tile([0.0, 1.0], 3), groups=one_group) is None
    assert np.isnan(held_out_score(None, one_positive, n_classes=2)).all()


@pytest.mark.parametrize("case", ["binary", "stars"])
def test_the_cross_fitted_score_is_that_of_predictions_of_unseen_rows(case):
    annotations, y, classification = make_case(case)
    held_out = cross_fit(annotations, y, n_classes=2 if classification else None)
    predicted, rows, fold = held_out
    assert sorted(rows) == list(range(len(y)))
    for k in range(5):
        train = np.setdiff1d(rows, rows[fold == k])
        model = sm.Logit if classification else sm.OLS
        options = {"disp": 0} if classification else {}
        fit = model(y[train], sm.add_constant(annotations[train])).fit(**options)
        expected = fit.predict(sm.add_constant(annotations[rows[fold == k]]))
        np.testing.assert_allclose(predicted[fold == k], expected, atol=1e-8)
    score, low, high = held_out_score(held_out, y, n_classes=2 if classification else None)
    if classification:
        aucs = [roc_auc_score(y[rows[fold == k]], predicted[fold == k]) for k in range(5)]
        assert score == pytest.approx(np.mean(aucs), abs=1e-12)
    else:
        assert score == pytest.approx(r2_score(y[rows], predicted), abs=1e-12)
    assert low < score < high


@pytest.mark.parametrize("classification", [True, False])
def test_resampled_scores_are_those_of_scikit_learn_with_counts_as_weights(classification):
    rng = np.random.default_rng(0)
    predicted = rng.integers(0, 8, 60) / 8
    y = (rng.random(60) < predicted).astype(float) + (0 if classification else 1e6)
    counts = rng.integers(0, 4, size=(5, 60)).astype(float)
    score, reference = (_mean_auc, roc_auc_score) if classification else (_r2, r2_score)
    predicted += 0 if classification else 1e6
    np.testing.assert_allclose(
        score(y, predicted, np.zeros(60), counts),
        [reference(y, predicted, sample_weight=row) for row in counts],
        atol=1e-9,
    )


@pytest.mark.parametrize("with_groups", [False, True])
def test_the_bootstrap_interval_covers_what_other_samples_give(with_groups):
    def draw(seed):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(60), 5)
        annotations = draw_annotations(rng, 300, [0.3, 0.5])
        y = annotations @ [1.0, 0.5] + rng.normal(size=60)[groups] + rng.normal(size=300)
        groups = groups if with_groups else None
        held_out = cross_fit(annotations, y, groups=groups)
        return held_out_score(held_out, y, groups=groups)

    results = np.array([draw(seed) for seed in range(40)])
    scores, low, high = results.T
    covered = np.mean((low < np.median(scores)) & (np.median(scores) < high))
    assert 0.85 <= covered <= 1
    assert np.mean(high - low) < 6 * np.std(scores)
