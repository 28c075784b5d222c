"""Every number of the table against statsmodels and scipy called directly, to 1e-10."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from annotated import draw_annotations
from pair_tools import numbered_pairs
from scipy import stats
from statsmodels.stats.multitest import multipletests

from sklearn_hypsae import HypothesisValidator
from sklearn_hypsae._hypothesis_table import correct
from sklearn_hypsae._texts import text_index

N_ROWS = 400
COV_TYPES = ["nonrobust", "HC0", "HC1", "HC2", "HC3", "cluster"]
GROUPS = np.arange(N_ROWS) // 4

pytestmark = pytest.mark.filterwarnings("ignore:.*likely too small")


def draw(task):
    rng = np.random.default_rng(5)
    annotations = draw_annotations(rng, N_ROWS, [0.15, 0.4, 0.6])
    control = rng.normal(size=N_ROWS)
    latent = annotations @ [1.0, -0.7, 0.2] + 0.5 * control + rng.normal(size=N_ROWS)
    latent += rng.normal(size=N_ROWS // 4)[GROUPS]
    cuts = {"binary": [0.2], "classes": [-0.4, 0.7]}
    y = latent if task == "numbers" else np.digitize(latent, cuts[task])
    return annotations, control, y, rng.exponential(size=N_ROWS)


def options_of(cov_type):
    if cov_type == "nonrobust":
        return {}
    groups = {"cov_kwds": {"groups": GROUPS}} if cov_type == "cluster" else {}
    return {"cov_type": cov_type, "use_t": True, **groups}


def fit_directly(y, design, weights, cov_type, *, logistic):
    options = options_of(cov_type)
    if not logistic:
        model = sm.OLS(y, design) if weights is None else sm.WLS(y, design, weights=weights)
        return model.fit(**options)
    if weights is None:
        return sm.Logit(y, design).fit(disp=0, **options)
    family = sm.families.Binomial()
    model = sm.GLM(y, design, family=family, var_weights=weights)
    return model.fit(tol=1e-13, tol_criterion="params", **options)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cov_type", COV_TYPES)
@pytest.mark.parametrize("task", ["numbers", "binary", "classes"])
def test_every_statistic_is_that_of_statsmodels_and_scipy(task, cov_type, weighted):
    annotations, control, y, weights = draw(task)
    is_numbers = task == "numbers"
    validator = HypothesisValidator(
        "regression" if is_numbers else "classification", cov_type=cov_type, n_permutations=0
    ).fit(
        annotations,
        y,
        groups=GROUPS,
        covariates=control,
        sample_weight=weights if weighted else None,
    )
    weights = weights / weights.mean() if weighted else None
    design = sm.add_constant(np.column_stack([control, annotations]))
    targets = [y] if is_numbers else [(y == k).astype(float) for k in range(1, 2)]
    tables = [validator.hypotheses_]
    if task == "classes":
        targets = [(y == k).astype(float) for k in range(3)]
        tables = [validator.hypotheses_[validator.hypotheses_["class"] == k] for k in range(3)]
    for target, table in zip(targets, tables, strict=True):
        joint = fit_directly(target, design, weights, cov_type, logistic=not is_numbers)
        names = ["regression_coef", "regression_coef_low", "regression_coef_high"]
        expected = np.column_stack([joint.params, joint.conf_int()])[2:]
        np.testing.assert_allclose(table[names], expected, atol=1e-10)
        np.testing.assert_allclose(table["regression_pval"], joint.pvalues[2:], atol=1e-10)
        if not is_numbers:
            np.testing.assert_allclose(table["odds_ratio"], np.exp(joint.params[2:]), rtol=1e-10)
        for j, row in enumerate(table.to_dict("records")):
            check_alone(row, annotations[:, j], target, weights, cov_type)


def check_alone(row, present, y, weights, cov_type):
    means = [
        np.average(
            y[present == side], weights=None if weights is None else weights[present == side]
        )
        for side in (1, 0)
    ]
    assert row["separation_score"] == pytest.approx(means[0] - means[1], abs=1e-10)
    design = sm.add_constant(present)
    alone = fit_directly(y, design, weights, cov_type, logistic=False)
    assert row["separation_pvalue"] == pytest.approx(alone.pvalues[1], abs=1e-10)
    plain = fit_directly(y, design, weights, "nonrobust", logistic=False)
    effect = (means[0] - means[1]) / np.sqrt(plain.scale)
    assert row["standardised_effect"] == pytest.approx(effect, abs=1e-10)
    share = np.average(present, weights=weights)
    assert row["feature_prevalence"] == pytest.approx(share, abs=1e-12)
    assert row["n_present"] == present.sum()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cov_type", COV_TYPES)
@pytest.mark.parametrize("task", ["numbers", "binary"])
def test_every_statistic_of_pairs_is_that_of_a_fit_through_the_origin(task, cov_type, weighted):
    first, control, y, weights = draw(task)
    ahead = first - first[::-1]
    X = pd.DataFrame(ahead, index=text_index(numbered_pairs(N_ROWS)), columns=list("abc"))
    table = (
        HypothesisValidator(cov_type=cov_type, n_permutations=0)
        .fit(
            X,
            y,
            groups=GROUPS,
            covariates=control,
            sample_weight=weights if weighted else None,
        )
        .hypotheses_
    )
    weights = weights / weights.mean() if weighted else None
    design, is_binary = np.column_stack([control, ahead]), task == "binary"
    joint = fit_directly(y, design, weights, cov_type, logistic=is_binary)
    names = ["regression_coef", "regression_coef_low", "regression_coef_high"]
    expected = np.column_stack([joint.params, joint.conf_int()])[1:]
    np.testing.assert_allclose(table[names], expected, atol=1e-10)
    np.testing.assert_allclose(table["regression_pval"], joint.pvalues[1:], atol=1e-10)
    if is_binary:
        np.testing.assert_allclose(table["odds_ratio"], np.exp(joint.params[1:]), rtol=1e-10)
    for j, row in enumerate(table.to_dict("records")):
        outcome = y - 0.5 if is_binary else y
        alone = fit_directly(outcome, ahead[:, [j]], weights, cov_type, logistic=False)
        plain = fit_directly(outcome, ahead[:, [j]], weights, "nonrobust", logistic=False)
        assert row["separation_score"] == pytest.approx(alone.params[0], abs=1e-10)
        assert row["separation_pvalue"] == pytest.approx(alone.pvalues[0], abs=1e-10)
        effect = alone.params[0] / np.sqrt(plain.scale)
        assert row["standardised_effect"] == pytest.approx(effect, abs=1e-10)
        share = np.average(ahead[:, j] != 0, weights=weights)
        assert row["feature_prevalence"] == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("task", ["numbers", "binary"])
def test_plain_tests_are_pooled_and_welch(task):
    annotations, _, y, _ = draw(task)
    table = HypothesisValidator().fit(annotations, y).hypotheses_
    for j in range(3):
        sides = y[annotations[:, j] == 1], y[annotations[:, j] == 0]
        for name, equal_var in [("separation_pvalue", True), ("welch_pvalue", False)]:
            expected = stats.ttest_ind(*sides, equal_var=equal_var).pvalue
            assert table.loc[j, name] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("correction", ["bonferroni", "holm", "fdr_bh", "fdr_by", "none"])
@pytest.mark.parametrize("task", ["numbers", "binary", "classes"])
def test_corrections_count_every_class_and_hypothesis(task, correction):
    annotations, _, y, _ = draw(task)
    name = "regression" if task == "numbers" else "classification"
    table = HypothesisValidator(name).fit(annotations, y).hypotheses_
    pvalues = table["regression_pval"].to_numpy()
    assert len(pvalues) == (9 if task == "classes" else 3)
    corrected = correct(
        table.drop(columns=["corrected_pval", "significant"]), method=correction, alpha=0.1
    )
    expected = pvalues if correction == "none" else multipletests(pvalues, method=correction)[1]
    np.testing.assert_allclose(corrected["corrected_pval"], expected, atol=1e-10)
    if correction == "bonferroni":
        pd.testing.assert_frame_equal(corrected, table)


def test_p_values_that_mislead_are_warned_of_where_none_is_permuted():
    rng = np.random.default_rng(0)
    annotations = draw_annotations(rng, 800, [0.04, 0.5])
    skewed = rng.lognormal(sigma=1.5, size=800)
    for cov_type in ("nonrobust", "HC3"):
        validator = HypothesisValidator(cov_type=cov_type, n_permutations=0)
        with pytest.warns(UserWarning, match="1 p-values are likely too small"):
            table = validator.fit(annotations, skewed).hypotheses_
        assert list(table["note"]) == ["p-value likely too small", ""]
