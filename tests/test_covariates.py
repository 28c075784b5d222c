"""Hypotheses tested given covariates."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from annotated import annotated_frame, draw_annotations

from sklearn_hypsae import HypothesisValidator


@pytest.fixture
def controls():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "year": rng.integers(2010, 2020, 800),
            "city": rng.choice(["Lima", "Oslo", "Rome"], 800),
            "verified": rng.random(800) < 0.5,
        }
    )


@pytest.mark.parametrize("name", ["binary", "stars"])
def test_hypotheses_are_tested_given_the_covariates(name, controls):
    frame, y = annotated_frame(name)
    controls = controls.iloc[: len(y)]
    validator = HypothesisValidator().fit(frame, y, covariates=controls)
    city = controls["city"].to_numpy()[:, None] == ["Oslo", "Rome"]
    numbers = controls[["year", "verified"]].to_numpy(float)
    design = sm.add_constant(np.column_stack([numbers, city, frame]))
    model, options = (sm.Logit, {"disp": 0}) if name == "binary" else (sm.OLS, {})
    expected = model(y, design).fit(**options)
    table = validator.hypotheses_
    np.testing.assert_allclose(table["regression_coef"], expected.params[5:], atol=1e-8)
    np.testing.assert_allclose(table["regression_pval"], expected.pvalues[5:], atol=1e-8)
    of_covariates = validator.covariates_.set_index("covariate")
    assert list(of_covariates.index) == ["year", "verified", "city_Oslo", "city_Rome"]
    np.testing.assert_allclose(of_covariates["regression_pval"], expected.pvalues[1:5], atol=1e-8)
    assert len(table) == 12 and validator.metrics_["n_hypotheses"] == 12


def test_a_concept_that_only_marks_long_texts_does_not_survive_length_as_a_control():
    rng = np.random.default_rng(1)
    n_words = rng.integers(5, 200, 600)
    texts = [" ".join(["word"] * n) for n in n_words]
    frame = pd.DataFrame({"goes on": n_words > 100}, index=pd.Index(texts, name="text")).astype(
        float
    )
    y = np.log1p(n_words) + rng.normal(size=600)
    assert HypothesisValidator().fit(frame, y).hypotheses_["significant"].all()
    given_length = HypothesisValidator().fit(frame, y, covariates="log_n_words")
    assert not given_length.hypotheses_["significant"].any()
    assert given_length.covariates_["regression_pval"].item() < 1e-6
    assert given_length.metrics_["r2_cv_covariates"] == pytest.approx(
        given_length.metrics_["r2_cv"], abs=0.02
    )


def test_ready_made_covariates_count_words_and_characters():
    frame, y = annotated_frame()
    by_name = HypothesisValidator().fit(frame, y, covariates=["n_words", "n_characters"])
    counted = pd.DataFrame(
        {"w": [len(t.split()) for t in frame.index], "c": [len(t) for t in frame.index]}
    )
    by_hand = HypothesisValidator().fit(frame, y, covariates=counted)
    pd.testing.assert_frame_equal(by_name.hypotheses_, by_hand.hypotheses_)


def test_predictions_hold_covariates_at_their_means(controls):
    frame, y = annotated_frame()
    year = controls["year"]
    validator = HypothesisValidator().fit(frame, y, covariates=year)
    design = np.column_stack([np.ones(800), np.full(800, year.mean()), frame])
    np.testing.assert_allclose(
        validator.predict_proba(frame)[:, 1], validator.result_.predict(design), atol=1e-10
    )


def test_an_annotation_that_follows_from_the_covariates_is_named(controls):
    frame, y = annotated_frame()
    frame["from Oslo"] = (controls["city"] == "Oslo").to_numpy(float)
    table = HypothesisValidator().fit(frame, y, covariates=controls).hypotheses_
    assert table["note"].iloc[-1] == "untested: copy of 'city_Oslo'"
    assert (table["note"].iloc[:-1] == "").all()


def test_covariates_follow_their_rows_when_rows_are_dropped(controls):
    frame, y = annotated_frame()
    kept = np.arange(800) % 9 != 4
    expected = HypothesisValidator().fit(frame[kept], y[kept], covariates=controls[kept])
    frame.iloc[~kept, 3] = np.nan
    validator = HypothesisValidator().fit(frame, y, covariates=controls)
    pd.testing.assert_frame_equal(validator.hypotheses_, expected.hypotheses_)


def test_permutations_are_given_the_covariates_too():
    rng = np.random.default_rng(2)
    annotations = draw_annotations(rng, 600, [0.05, 0.4])
    control = annotations[:, 0] + 0.3 * rng.normal(size=600)
    y = rng.lognormal(size=600) + 5 * control
    alone = HypothesisValidator().fit(annotations, y).hypotheses_
    given = HypothesisValidator().fit(annotations, y, covariates=control).hypotheses_
    assert alone["permutation_pval"][0] < 0.01 < 0.05 < given["permutation_pval"][0]


def test_bad_covariates_are_refused_in_one_sentence(controls):
    frame, y = annotated_frame()
    holes = controls.astype({"year": float})
    holes.loc[5, "year"] = np.nan
    for X, covariates, match in [
        (frame, controls.iloc[:-1], "800 rows in X but 799 rows of covariates"),
        (frame, holes, "missing values in the covariates of 1 of 800 rows, first at position 5"),
        (frame, np.full(800, np.inf), "infinity in the covariates"),
        (frame, "n_wrds", "no ready-made covariates.*choose from log_n_words"),
        (frame.to_numpy(), "n_words", "not the texts they came from"),
        (frame, np.ones((800, 2, 2)), "array of shape"),
    ]:
        with pytest.raises(ValueError, match=match) as caught:
            HypothesisValidator().fit(X, y, covariates=covariates)
        assert "\n" not in str(caught.value)


def test_numbers_are_numbers_whatever_holds_them(controls):
    frame, y = annotated_frame("stars")
    numbers = controls.iloc[: len(y)][["year"]].assign(price=np.arange(len(y)) % 7)
    expected = HypothesisValidator().fit(frame, y, covariates=numbers).covariates_
    for given in (numbers.astype(object), numbers.map(Decimal)):
        found = HypothesisValidator().fit(frame, y, covariates=given).covariates_
        pd.testing.assert_frame_equal(found, expected)
    mixed = controls.iloc[: len(y)][["year", "city"]].to_numpy()
    found = HypothesisValidator().fit(frame, y, covariates=mixed).covariates_["covariate"]
    assert found.tolist() == ["covariate_0", "covariate_1_Oslo", "covariate_1_Rome"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda n: pd.date_range("2020", periods=n).to_frame(name="day"),
            "'day' with 700 different dates",
        ),
        (lambda n: pd.Series([f"u{i}" for i in range(n)], name="id"), "'id' with 700 different"),
        (lambda n: pd.DataFrame(np.ones((n, 2)), columns=["a", "a"]), "several .* name 'a'"),
    ],
)
def test_what_is_no_covariate_is_refused(make, said):
    frame, y = annotated_frame("stars")
    with pytest.raises(ValueError, match=said):
        HypothesisValidator().fit(frame, y, covariates=make(len(y)))


def test_the_summary_of_the_regression_names_its_columns_as_the_table_does(controls):
    frame, y = annotated_frame("stars")
    year = controls.iloc[: len(y)][["year"]]
    validator = HypothesisValidator().fit(frame, y, covariates=year)
    tested = validator.hypotheses_.loc[validator.hypotheses_["regression_coef"].notna()]
    names = validator.result_.model.exog_names
    assert names[:2] == ["const", "year"] and set(names[2:]) <= set(tested["hypothesis"])
    np.testing.assert_allclose(
        validator.hypotheses_.set_index("hypothesis").loc[names[2:], "regression_coef"],
        validator.result_.params[2:],
    )
