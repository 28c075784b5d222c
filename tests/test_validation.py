"""What HypothesisValidator promises: tested hypotheses, honest scores, and no crash."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from annotated import PEER_CASES, annotated_frame, draw_annotations, make_case
from scipy.sparse import csr_array
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_n_features_in_after_fitting,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    parametrize_with_checks,
)

from sklearn_hypsae import HypothesisValidator
from sklearn_hypsae._fit_rows import FIT_ROWS_ATTR, mark_fit_rows

PEER = json.loads((Path(__file__).parent / "data" / "peer_score_hypotheses.json").read_text())
VALIDATORS = [
    HypothesisValidator(),
    HypothesisValidator(task="classification"),
    HypothesisValidator(task="regression"),
]


# scikit-learn's grammar


def expected_to_fail(validator):
    if validator.task != "classification":
        return {}
    reason = "weights are those of surveys, not counts: rows of weight 2 are no two observations"
    names = ["dense", "sparse"]
    return {f"check_sample_weight_equivalence_on_{name}_data": reason for name in names}


@parametrize_with_checks(VALIDATORS, expected_failed_checks=expected_to_fail)
def test_passes_the_common_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("validator", VALIDATORS, ids=lambda v: v.task)
@pytest.mark.parametrize(
    "check",
    [
        check_dataframe_column_names_consistency,
        check_global_output_transform_pandas,
        check_global_set_output_transform_polars,
        check_n_features_in_after_fitting,
        check_param_validation,
        check_set_output_transform,
        check_set_output_transform_pandas,
        check_transformer_get_feature_names_out,
        check_transformer_get_feature_names_out_pandas,
    ],
    ids=lambda check: check.__name__,
)
def test_passes_set_output_name_and_parameter_checks(validator, check):
    check("HypothesisValidator", clone(validator))


def test_says_what_it_is_for_an_explicit_task_and_for_auto_once_fitted():
    annotations, y, _ = make_case("binary")
    assert is_classifier(HypothesisValidator(task="classification"))
    assert is_regressor(HypothesisValidator(task="regression"))
    auto = HypothesisValidator()
    assert not is_classifier(auto) and not is_regressor(auto)
    assert is_classifier(auto.fit(annotations, y))
    assert is_regressor(auto.fit(annotations, np.arange(len(y))))


def test_refitted_on_numbers_it_forgets_the_classes():
    annotations, y, _ = make_case("binary")
    validator = HypothesisValidator().fit(annotations, y)
    assert hasattr(validator, "predict_proba") and hasattr(validator, "classes_")
    validator.fit(annotations, np.arange(len(y)))
    assert not hasattr(validator, "predict_proba") and not hasattr(validator, "classes_")


def test_scorers_that_need_probabilities_work_with_an_unfitted_auto_task():
    annotations, y, _ = make_case("binary")
    aucs = cross_val_score(HypothesisValidator(), annotations, y, scoring="roc_auc")
    np.testing.assert_allclose(aucs, cross_val_score(HypothesisValidator(), annotations, y))
    probabilities = cross_val_predict(
        HypothesisValidator(task="classification"), annotations, y, method="predict_proba"
    )
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_predicts_the_labels_it_was_given():
    annotations, y, _ = make_case("binary")
    labels = np.where(y == 1, "fresh", "rotten")
    validator = HypothesisValidator().fit(annotations, labels)
    assert list(validator.classes_) == ["fresh", "rotten"]
    assert set(validator.predict(annotations)) == {"fresh", "rotten"}
    assert np.mean(validator.predict(annotations) == labels) > 0.6


def test_frame_in_frame_out_with_the_significant_columns_only():
    frame, y = annotated_frame()
    validator = HypothesisValidator().fit(frame, y)
    kept = validator.transform(frame)
    significant = validator.hypotheses_.query("significant")["hypothesis"]
    assert list(kept.columns) == list(significant) == list(validator.get_feature_names_out())
    assert 0 < kept.shape[1] < frame.shape[1]
    pd.testing.assert_frame_equal(kept, frame[significant], check_names=False)
    assert type(HypothesisValidator().fit(frame.to_numpy(), y).transform(frame.to_numpy())) is (
        np.ndarray
    )


def test_pickle_and_refit_give_the_same():
    frame, y = annotated_frame()
    validator = HypothesisValidator().fit(frame, y)
    again = pickle.loads(pickle.dumps(validator))
    np.testing.assert_array_equal(again.predict_proba(frame), validator.predict_proba(frame))
    refitted = clone(validator).fit(frame, y)
    pd.testing.assert_frame_equal(refitted.hypotheses_, validator.hypotheses_)
    assert refitted.metrics_ == validator.metrics_


# The numbers


@pytest.mark.parametrize("case", PEER_CASES)
def test_agrees_with_the_peer(case):
    annotations, y, classification = make_case(case)
    expected = PEER["cases"][case]
    validator = HypothesisValidator(task="classification" if classification else "regression").fit(
        annotations, y
    )
    theirs = {
        "separation_score": "separation_score",
        "separation_pvalue": "separation_pval",
        "regression_coef": "regression_coef",
        "regression_pval": "regression_pval",
        "feature_prevalence": "feature_prevalence",
    }
    for ours, name in theirs.items():
        np.testing.assert_allclose(
            validator.hypotheses_[ours], expected["table"][name], rtol=0, atol=1e-8, err_msg=ours
        )
    score = "auroc" if classification else "r2"
    metrics = validator.metrics_
    in_sample = metrics["auc" if classification else "r2"]
    assert in_sample == pytest.approx(expected["metrics"][score], abs=1e-8)
    for name in ("n_significant", "n_hypotheses", "p_threshold"):
        assert metrics[name] == pytest.approx(expected[name])


@pytest.mark.parametrize("case", ["binary", "stars"])
def test_the_joint_regression_is_that_of_statsmodels(case):
    annotations, y, classification = make_case(case)
    model = sm.Logit if classification else sm.OLS
    options = {"disp": 0} if classification else {}
    expected = model(y, sm.add_constant(annotations)).fit(**options)
    validator = HypothesisValidator().fit(annotations, y)
    table = validator.hypotheses_
    np.testing.assert_allclose(validator.result_.params, expected.params, atol=1e-10)
    np.testing.assert_allclose(table["regression_coef"], expected.params[1:], atol=1e-10)
    np.testing.assert_allclose(
        table[["regression_coef_low", "regression_coef_high"]],
        expected.conf_int()[1:],
        atol=1e-10,
    )
    predicted = (
        validator.predict_proba(annotations)[:, 1]
        if classification
        else (validator.predict(annotations))
    )
    np.testing.assert_allclose(predicted, expected.predict(), atol=1e-10)


@pytest.mark.parametrize("case", ["binary", "stars"])
def test_groups_make_every_p_value_cluster_robust(case):
    annotations, y, classification = make_case(case)
    groups = np.arange(len(y)) // 5
    validator = HypothesisValidator().fit(annotations, y, groups=[f"g{g}" for g in groups])
    options = {"cov_type": "cluster", "cov_kwds": {"groups": groups}, "use_t": True}
    design = sm.add_constant(annotations)
    if classification:
        expected = sm.Logit(y, design).fit(disp=0, **options)
    else:
        expected = sm.OLS(y, design).fit(**options)
    table = validator.hypotheses_
    np.testing.assert_allclose(table["regression_pval"], expected.pvalues[1:], atol=1e-10)
    alone = sm.OLS(y, sm.add_constant(annotations[:, 3])).fit(**options)
    assert table.loc[3, "separation_pvalue"] == pytest.approx(alone.pvalues[1], abs=1e-10)
    assert validator.metrics_["n_groups"] == len(np.unique(groups))


@pytest.mark.parametrize("cov_type", ["HC0", "HC1", "HC2", "HC3"])
@pytest.mark.parametrize("case", ["binary", "stars"])
def test_standard_errors_can_be_robust_to_heteroscedasticity(case, cov_type):
    annotations, y, classification = make_case(case)
    validator = HypothesisValidator(cov_type=cov_type, n_permutations=99).fit(annotations, y)
    design, options = sm.add_constant(annotations), {"cov_type": cov_type, "use_t": True}
    if classification:
        expected = sm.Logit(y, design).fit(disp=0, **options)
    else:
        expected = sm.OLS(y, design).fit(**options)
    table = validator.hypotheses_
    np.testing.assert_allclose(table["regression_pval"], expected.pvalues[1:], atol=1e-10)
    alone = sm.OLS(y, design[:, [0, 5]]).fit(**options)
    assert table.loc[4, "separation_pvalue"] == pytest.approx(alone.pvalues[1], abs=1e-10)
    assert validator.metrics_["cov_type"] == cov_type
    assert table["permutation_pval"].notna().all()


def test_nonrobust_errors_can_be_asked_for_in_spite_of_groups():
    annotations, y, _ = make_case("stars")
    groups = np.arange(len(y)) // 5
    plain = HypothesisValidator().fit(annotations, y)
    asked = HypothesisValidator(cov_type="nonrobust").fit(annotations, y, groups=groups)
    np.testing.assert_allclose(
        asked.hypotheses_["regression_pval"], plain.hypotheses_["regression_pval"], atol=1e-12
    )
    with pytest.raises(ValueError, match="pass groups= to fit"):
        HypothesisValidator(cov_type="cluster").fit(annotations, y)


def test_odds_ratios_are_given_for_classes_only():
    annotations, y, _ = make_case("binary")
    table = HypothesisValidator().fit(annotations, y).hypotheses_
    np.testing.assert_allclose(table["odds_ratio"], np.exp(table["regression_coef"]))
    numbers = HypothesisValidator(task="regression").fit(annotations, y).hypotheses_
    assert "odds_ratio" not in numbers


def test_permutations_decide_for_a_rare_concept_and_a_skewed_target_only():
    rng = np.random.default_rng(0)
    annotations = draw_annotations(rng, 800, [0.03, 0.5])
    skewed, normal = rng.lognormal(size=800), rng.normal(size=800)
    table = HypothesisValidator().fit(annotations, skewed).hypotheses_
    assert list(table["note"]) == ["judged by permutation", ""]
    assert list(table["permutation_pval"].isna()) == [False, True]
    np.testing.assert_allclose(
        table["corrected_pval"],
        np.minimum(1, 2 * np.r_[table["permutation_pval"][0], table["regression_pval"][1]]),
    )
    again = HypothesisValidator().fit(annotations, skewed).hypotheses_
    pd.testing.assert_frame_equal(table, again, check_exact=True)
    for validator, y in [
        (HypothesisValidator(), normal),
        (HypothesisValidator(n_permutations=0), skewed),
        (HypothesisValidator(), skewed > 1),
    ]:
        assert validator.fit(annotations, y).hypotheses_["permutation_pval"].isna().all()


def test_noise_is_rarely_significant_whatever_the_target():
    targets = {
        "binary": lambda rng: rng.integers(0, 2, 600),
        "stars": lambda rng: rng.choice(5, 600, p=[0.1, 0.1, 0.15, 0.25, 0.4]),
        "skewed": lambda rng: rng.lognormal(sigma=1.5, size=600),
    }
    for name, draw in targets.items():
        rng = np.random.default_rng(7)
        small, runs = [], []
        for _ in range(20):
            annotations = draw_annotations(rng, 600, np.geomspace(0.01, 0.4, 20))
            validator = HypothesisValidator(n_permutations=999).fit(annotations, draw(rng))
            small += list(validator.hypotheses_["regression_pval"].dropna() < 0.05)
            runs.append(validator.metrics_["n_significant"] > 0)
        assert np.mean(small) <= 0.07, name
        assert np.mean(runs) <= 0.18, name


def test_noise_in_chunks_of_documents_is_rarely_significant_with_groups_only():
    rng = np.random.default_rng(8)
    documents = np.repeat(np.arange(80), 10)
    with_groups, without = [], []
    for _ in range(10):
        of_document = draw_annotations(rng, 80, np.linspace(0.2, 0.6, 10))[documents]
        annotations = of_document * draw_annotations(rng, 800, np.full(10, 0.7))
        y = rng.normal(size=80)[documents]
        table = HypothesisValidator(n_permutations=999).fit(annotations, y, documents).hypotheses_
        with_groups += list(table["permutation_pval"] < 0.05)
        without += list(
            HypothesisValidator().fit(annotations, y).hypotheses_["regression_pval"] < 0.05
        )
    assert np.mean(with_groups) <= 0.08
    assert np.mean(without) > 0.3


def test_significance_follows_the_correction():
    annotations, y, _ = make_case("binary")
    counts = {}
    for correction in ("bonferroni", "holm", "fdr_bh", "none"):
        validator = HypothesisValidator(correction=correction).fit(annotations, y)
        table = validator.hypotheses_
        assert (table["corrected_pval"] >= table["regression_pval"]).all()
        assert (table["significant"] == (table["corrected_pval"] <= 0.1)).all()
        counts[correction] = validator.metrics_["n_significant"]
    assert counts["bonferroni"] <= counts["holm"] <= counts["fdr_bh"] <= counts["none"]
    assert HypothesisValidator(alpha=1e-12).fit(annotations, y).metrics_["n_significant"] == 0


def test_the_cross_fitted_score_sees_through_noise():
    rng = np.random.default_rng(0)
    noise = draw_annotations(rng, 400, np.full(20, 0.3))
    binary = HypothesisValidator().fit(noise, rng.integers(0, 2, 400))
    assert binary.metrics_["auc"] > 0.58
    assert abs(binary.metrics_["auc_cv"] - 0.5) < 0.08
    numbers = HypothesisValidator().fit(noise, rng.normal(size=400))
    assert numbers.metrics_["r2"] > 0.02
    assert numbers.metrics_["r2_cv"] < 0.02


def test_cross_fitting_keeps_groups_together():
    rng = np.random.default_rng(1)
    # Each group has an annotation pattern and a target of its own: all that can be learnt is
    # which group a row is in.
    pattern, level = draw_annotations(rng, 40, np.full(12, 0.5)), rng.normal(size=40)
    groups = np.repeat(np.arange(40), 10)
    annotations, y = pattern[groups], level[groups] + 0.1 * rng.normal(size=400)
    apart = HypothesisValidator().fit(annotations, y, groups=groups)
    mixed = HypothesisValidator().fit(annotations, y)
    assert mixed.metrics_["r2_cv"] > 0.1 > apart.metrics_["r2_cv"]


def test_activations_count_as_present_above_zero_and_enter_as_they_are():
    annotations, y, _ = make_case("stars")
    rng = np.random.default_rng(0)
    activations = annotations * rng.uniform(0.1, 3, size=annotations.shape)
    table = HypothesisValidator().fit(activations, y).hypotheses_
    of_binary = HypothesisValidator().fit(annotations, y).hypotheses_
    for column in ("separation_score", "separation_pvalue", "feature_prevalence", "n_present"):
        np.testing.assert_allclose(table[column], of_binary[column])
    expected = sm.OLS(y, sm.add_constant(activations)).fit()
    np.testing.assert_allclose(table["regression_coef"], expected.params[1:], atol=1e-10)


def test_sparse_activations_give_the_same_as_dense_ones():
    annotations, y, _ = make_case("stars")
    dense = HypothesisValidator().fit(annotations, y)
    sparse = HypothesisValidator().fit(csr_array(annotations), y)
    pd.testing.assert_frame_equal(dense.hypotheses_, sparse.hypotheses_)
    np.testing.assert_array_equal(
        dense.transform(annotations), sparse.transform(csr_array(annotations))
    )


def test_nullable_columns_are_read_as_numbers_with_gaps():
    frame, y = annotated_frame()
    frame.iloc[::50, 0] = np.nan
    expected = HypothesisValidator().fit(frame, y)
    nullable = HypothesisValidator().fit(frame.astype("Int64"), y)
    pd.testing.assert_frame_equal(nullable.hypotheses_, expected.hypotheses_)
    assert nullable.metrics_["n_rows_dropped"] == 16


@pytest.mark.parametrize("classification", [True, False])
def test_pairs_give_the_same_when_both_texts_are_swapped_and_y_reversed(classification):
    rng = np.random.default_rng(5)
    annotations = draw_annotations(rng, 600, [0.3, 0.5]) - draw_annotations(rng, 600, [0.3, 0.5])
    y = annotations @ [0.8, -0.4] + rng.normal(size=600)
    if classification:
        y = (y > 0).astype(float)
    table = HypothesisValidator().fit(annotations, y).hypotheses_
    swapped = HypothesisValidator().fit(-annotations, 1 - y if classification else -y).hypotheses_
    pd.testing.assert_frame_equal(table, swapped, atol=1e-10)
    assert (np.sign(table["separation_score"]) == [1, -1]).all()
    assert table["significant"].all()
    np.testing.assert_allclose(table["feature_prevalence"], (annotations != 0).mean(axis=0))


# Rows that chose the hypotheses


def test_marks_in_sample_and_warns_once_where_the_rows_chose_the_hypotheses():
    frame, y = annotated_frame()
    with pytest.warns(UserWarning, match="mean nothing") as caught:
        validator = HypothesisValidator().fit(mark_fit_rows(frame, True), y)
    assert len(caught) == 1
    assert validator.metrics_["in_sample"] is True


@pytest.mark.parametrize(("mark", "expected"), [(False, False), (None, None)])
def test_says_nothing_where_other_rows_chose_or_it_cannot_be_known(mark, expected):
    frame, y = annotated_frame()
    if mark is not None:
        frame.attrs[FIT_ROWS_ATTR] = mark
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        validator = HypothesisValidator().fit(frame, y)
    assert validator.metrics_["in_sample"] is expected


def test_texts_are_refused_without_being_quoted():
    with pytest.raises(ValueError, match="expects annotations as X, got texts") as caught:
        HypothesisValidator().fit(["a secret text"] * 30, np.arange(30))
    assert "secret" not in str(caught.value)


def test_no_significant_hypothesis_is_said_where_no_column_is_left():
    frame, y = annotated_frame("stars")
    validator = HypothesisValidator().fit(frame, np.random.default_rng(0).permutation(y))
    assert not validator.hypotheses_["significant"].any()
    with pytest.warns(UserWarning, match="transform gives no columns"):
        assert validator.transform(frame).shape == (len(y), 0)
