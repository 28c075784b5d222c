"""p-values where the usual ones mislead: which are replaced, by what, and what is said of it."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from sklearn_hypsae import HypothesisValidator
from sklearn_hypsae._score_tests import simulated_pvalues


def deciding(table):
    return table["permutation_pval"].fillna(table["regression_pval"])


def small_on_noise(make, n_runs, **fit_options):
    """How often the first hypothesis has a p-value below .05 where it says nothing."""
    small = []
    for seed in range(n_runs):
        annotations, y, options = make(np.random.default_rng(seed))
        validator = HypothesisValidator(n_permutations=199, **fit_options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = validator.fit(annotations, y, **options).hypotheses_
        small.append(deciding(table)[0] < 0.05)
    return np.mean(small)


@pytest.mark.parametrize("robust", ["groups", "weights"])
def test_a_logistic_regression_is_judged_as_one(robust):
    """A concept that goes with a covariate, which acts on the logit, says nothing more of y."""

    def make(rng):
        covariate = rng.normal(size=1000)
        y = rng.random(1000) < expit(2 * covariate)
        concept = (covariate > 1.8) | (rng.random(1000) < 0.02)
        options = {"groups": np.arange(1000) // 5, "weights": rng.uniform(0.5, 1.5, 1000)}
        name = {"groups": "groups", "weights": "sample_weight"}[robust]
        return (
            concept[:, None].astype(float),
            y,
            {"covariates": pd.DataFrame({"z": covariate}), name: options[robust]},
        )

    # Permutations of least squares have it in some nine of ten.
    assert small_on_noise(make, 20, task="classification") <= 0.2


@pytest.mark.parametrize("robust", ["groups", "sample_weight"])
def test_noise_beside_a_column_that_gives_y_away_stays_noise(robust):
    def make(rng):
        annotations = (rng.random((300, 3)) < 0.2).astype(float)
        y = rng.random(300) < 0.5
        options = {"groups": np.arange(300) // 10, "sample_weight": rng.lognormal(size=300)}
        return np.column_stack([annotations, y]), y, {robust: options[robust]}

    assert small_on_noise(make, 10) <= 0.2


@pytest.mark.parametrize("robust", ["groups", "sample_weight"])
def test_robust_errors_are_not_asked_about_a_concept_that_hardly_meets_a_class(robust):
    rng = np.random.default_rng(0)
    annotations = (rng.random((600, 2)) < [0.08, 0.4]).astype(float)
    y = rng.permutation(600) < 24
    options = {"groups": np.arange(600) // 10, "sample_weight": rng.lognormal(size=600)}
    validator = HypothesisValidator(n_permutations=99).fit(
        annotations, y, **{robust: options[robust]}
    )
    table = validator.hypotheses_
    assert table["note"][0] == "untested: too few rows of the rarer class for robust errors"
    assert np.isnan(table["regression_pval"][0]) and not table["significant"][0]
    assert table["note"][1].endswith("judged by permutation")


def test_soft_labels_are_judged_as_usual():
    rng = np.random.default_rng(0)
    soft = rng.uniform(0.001, 0.999, (500, 3))
    y = rng.random(500) < 0.3 + 0.3 * (soft[:, 0] > 0.5)
    table = HypothesisValidator(present_above=0.5).fit(soft, y).hypotheses_
    assert table["note"].tolist() == ["", "", ""]


def test_permutations_of_a_logistic_regression_find_an_effect():
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(60), 10)
        annotations = (rng.random((600, 3)) < 0.3).astype(float)
        y = rng.random(600) < expit(0.9 * annotations[:, 0] + 0.7 * rng.normal(size=60)[groups])
        validator = HypothesisValidator(n_permutations=999)
        found.append(validator.fit(annotations, y, groups=groups).hypotheses_["significant"][0])
    assert np.mean(found) >= 0.8


def test_a_concept_that_goes_with_more_spread_is_judged_by_robust_permutations():
    def make(rng):
        annotations = (rng.random((600, 3)) < 0.1).astype(float)
        return annotations, rng.normal(size=600) * (1 + annotations[:, 0]), {}

    annotations, y, _ = make(np.random.default_rng(0))
    table = HypothesisValidator().fit(annotations, y).hypotheses_
    assert table["note"].tolist() == ["judged by permutation", "", ""]
    # The t-test has it in three of ten.
    assert small_on_noise(make, 40) <= 0.15


def test_a_concept_that_meets_a_rare_class_is_judged_by_draws_from_the_fit_without_it():
    y = np.arange(1000) < 10
    concept = (np.arange(1000) >= 8) & (np.arange(1000) < 33)
    table = HypothesisValidator().fit(concept[:, None].astype(float), y).hypotheses_
    assert table["note"][0] == "judged by permutation"
    exact = stats.fisher_exact([[2, 23], [8, 967]]).pvalue
    assert exact / 4 < deciding(table)[0] < 2 * exact
    rng = np.random.RandomState(0)
    noise = np.array(
        [
            simulated_pvalues(
                (rng.uniform(size=(1000, 3)) < 0.03).astype(float),
                (rng.permutation(1000) < 8).astype(float),
                columns=[0, 1, 2],
                n_draws=199,
                random_state=rng,
            )
            for _ in range(40)
        ]
    )
    assert np.mean(noise < 0.05) < 0.1


@pytest.mark.parametrize("separated", [False, True])
def test_an_interval_never_contradicts_the_p_value_that_decides(separated):
    rng = np.random.default_rng(0)
    for _ in range(15):
        groups = np.repeat(np.arange(30), 12)
        annotations = np.column_stack(
            [rng.random(360) < 0.3, np.isin(groups, [0, 1]), rng.random(30)[groups] < 0.5]
        ).astype(float)
        y = rng.random(360) < expit(rng.normal(size=30)[groups] + annotations[:, 0] / 2)
        options = {"groups": groups}
        if separated:
            annotations = np.column_stack([annotations[:, 0], ~y & (rng.random(360) < 0.15)])
            options = {}
        table = HypothesisValidator(n_permutations=199).fit(annotations, y, **options).hypotheses_
        tested = table[table["regression_pval"].notna()]
        excludes = (tested["regression_coef_low"] > 0) | (tested["regression_coef_high"] < 0)
        assert (excludes == (deciding(tested) < 0.05)).all()


def test_too_few_permutations_for_so_many_tests_are_said():
    rng = np.random.default_rng(0)
    annotations = (rng.random((400, 5)) < 0.4).astype(float)
    y = annotations[:, 0] * 3 + rng.normal(size=400)
    groups = np.arange(400) // 2
    with pytest.warns(UserWarning, match="n_permutations=19 allows, 0.05.*set n_permutations=100"):
        table = HypothesisValidator(n_permutations=19).fit(annotations, y, groups=groups)
    assert not table.hypotheses_["significant"].any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HypothesisValidator(n_permutations=100).fit(annotations, y, groups=groups)
