"""What a regression cannot use is named, never a crash: missing, copied, rare, separating."""

import warnings

import numpy as np
import pandas as pd
import pytest
from annotated import annotated_frame, draw_annotations, make_case

from sklearn_hypsae import HypothesisValidator

# Annotations that are missing


def test_rows_with_a_missing_annotation_are_dropped_and_counted():
    frame, y = annotated_frame()
    holes = frame.copy()
    holes.iloc[[3, 10, 11], [0, 5, 5]] = np.nan
    validator = HypothesisValidator().fit(holes, y)
    complete = holes.notna().all(axis=1).to_numpy()
    expected = HypothesisValidator().fit(frame[complete], y[complete])
    pd.testing.assert_frame_equal(validator.hypotheses_, expected.hypotheses_)
    assert validator.metrics_["n_rows_dropped"] == 3
    assert validator.metrics_["n_rows"] == len(y) - 3


def test_a_missing_annotation_counts_as_the_mean_when_predicting():
    frame, y = annotated_frame()
    validator = HypothesisValidator().fit(frame, y)
    row = frame.iloc[[0]].copy()
    filled = row.copy()
    row.iloc[0, 2], filled.iloc[0, 2] = np.nan, frame.iloc[:, 2].mean()
    np.testing.assert_allclose(validator.predict_proba(row), validator.predict_proba(filled))


def test_a_column_without_any_annotation_is_left_out_by_name_and_costs_no_row():
    frame, y = annotated_frame()
    expected = HypothesisValidator(correction="none").fit(frame.drop(columns="concept 4"), y)
    frame["concept 4"] = np.nan
    validator = HypothesisValidator(correction="none").fit(frame, y)
    table = validator.hypotheses_.set_index("hypothesis")
    assert table.loc["concept 4", "note"] == "untested: not annotated in any row"
    assert not table.loc["concept 4", "significant"]
    assert validator.metrics_["n_rows_dropped"] == 0
    pd.testing.assert_frame_equal(
        table.drop(index="concept 4"), expected.hypotheses_.set_index("hypothesis")
    )
    assert validator.predict_proba(frame).shape == (len(y), 2)


def test_warns_where_most_rows_are_incomplete():
    frame, y = annotated_frame()
    frame.iloc[: len(y) // 2 + 1, 0] = np.nan
    with pytest.warns(UserWarning, match="401 of 800 rows have a NaN"):
        HypothesisValidator().fit(frame, y)


# Annotations a regression cannot use


def test_constant_and_duplicate_columns_are_named_and_still_count():
    frame, y = annotated_frame()
    expected = HypothesisValidator().fit(frame, y)
    frame["always"], frame["again"] = 1.0, frame["concept 1"]
    frame["either"] = 1 - frame["concept 0"]
    validator = HypothesisValidator().fit(frame, y)
    notes = validator.hypotheses_.set_index("hypothesis")["note"]
    assert notes["always"] == "untested: constant"
    assert notes["again"] == "untested: copy of 'concept 1'"
    assert notes["either"] == "untested: follows exactly from 'concept 0'"
    untested = validator.hypotheses_.tail(3)
    assert untested[["regression_pval", "corrected_pval"]].isna().all(axis=None)
    assert not untested["significant"].any()
    tested = validator.hypotheses_.head(12)
    np.testing.assert_allclose(
        tested["regression_pval"], expected.hypotheses_["regression_pval"], atol=1e-10
    )
    np.testing.assert_allclose(
        tested["corrected_pval"], np.minimum(1, tested["regression_pval"] * 15)
    )
    np.testing.assert_allclose(
        validator.predict_proba(frame), expected.predict_proba(frame.iloc[:, :12]), atol=1e-10
    )


def test_a_sum_of_other_columns_is_named():
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 300)
    frame = pd.DataFrame({"a": kinds == 0, "b": kinds == 1, "a or b": kinds < 2}).astype(float)
    table = HypothesisValidator().fit(frame, rng.normal(size=300)).hypotheses_
    assert list(table["note"]) == ["", "", "untested: follows exactly from 'a', 'b'"]


@pytest.mark.parametrize(
    ("n_present", "note"),
    [
        (19, "untested: present in 19 rows, 20 are needed"),
        (20, ""),
        (780, ""),
        (781, "untested: absent from 19 rows, 20 are needed"),
    ],
)
def test_a_concept_with_fewer_than_20_rows_on_either_side_is_untested(n_present, note):
    frame, y = annotated_frame()
    frame["rare"] = (np.random.default_rng(0).permutation(800) < n_present).astype(float)
    row = HypothesisValidator().fit(frame, y).hypotheses_.iloc[-1]
    assert row["note"] == note
    assert row["n_present"] == n_present
    assert np.isnan(row["regression_pval"]) == np.isnan(row["separation_pvalue"]) == bool(note)
    assert np.isfinite(row["regression_coef"]) and np.isfinite(row["separation_score"])


@pytest.mark.parametrize("with_groups", [False, True])
def test_a_target_that_follows_exactly_is_said_to(with_groups):
    frame, _ = annotated_frame("stars")
    y = 2 * frame["concept 3"] - frame["concept 8"]
    groups = np.arange(len(y)) // 5 if with_groups else None
    table = HypothesisValidator().fit(frame, y, groups=groups).hypotheses_
    assert (table["note"] == "perfect fit").all()
    assert list(np.flatnonzero(table["significant"])) == [3, 8]


def test_separated_classes_get_a_penalised_fit_that_says_so():
    annotations, y, _ = make_case("binary")
    rng = np.random.default_rng(0)
    gives_away = ((y == 1) & (rng.random(len(y)) < 0.3)).astype(float)
    data = np.column_stack([annotations, gives_away])
    validator = HypothesisValidator().fit(data, y)
    table = validator.hypotheses_
    assert (table["note"] == "penalised fit").all()
    assert np.isfinite(table["regression_coef"]).all()
    assert 2 < table["regression_coef"].iloc[-1] < 10
    assert table["regression_pval"].iloc[-1] < 1e-10
    np.testing.assert_allclose(
        validator.result_.params, np.r_[validator.intercept_, validator.coef_], atol=1e-6
    )


@pytest.mark.parametrize("with_groups", [False, True])
def test_a_penalised_fit_does_not_call_noise_significant(with_groups):
    rng = np.random.default_rng(3)
    small = []
    for _ in range(25):
        y = rng.integers(0, 2, 300).astype(float)
        noise = draw_annotations(rng, 300, np.linspace(0.15, 0.5, 5))
        # Separates, and is too rare to be tested.
        giveaway = ((y == 1) & (rng.random(300) < 0.06)).astype(float)
        groups = np.arange(300) // 3 if with_groups else None
        table = (
            HypothesisValidator(n_permutations=0)
            .fit(np.column_stack([noise, giveaway]), y, groups=groups)
            .hypotheses_
        )
        assert table["note"].iloc[0] == "penalised fit"
        small.append(table["regression_pval"].head(5) < 0.05)
    assert 0.02 < np.mean(small) < 0.08


@pytest.mark.parametrize("seed", range(60))
def test_degenerate_annotations_never_crash(seed):
    rng = np.random.default_rng(seed)
    n_samples = int(rng.choice([4, 7, 12, 30, 90]))
    classification = seed % 2 == 0
    y = rng.integers(0, 2, n_samples) if classification else rng.lognormal(size=n_samples)
    y[:2] = 0, 1
    kinds = [
        lambda: np.zeros(n_samples),
        lambda: np.ones(n_samples),
        lambda: np.arange(n_samples) == rng.integers(n_samples),
        lambda: y > np.median(y),
        lambda: y == y.max(),
        lambda: rng.random(n_samples) < 0.4,
        lambda: rng.random(n_samples) < 0.4,
        lambda: rng.exponential(1e-6, n_samples),
        lambda: rng.exponential(1e6, n_samples),
    ]
    columns = [kinds[k]().astype(float) for k in rng.integers(len(kinds), size=20)]
    columns += [columns[0], 1 - columns[1], columns[2] + columns[3]]
    A = np.column_stack(columns)[:, rng.permutation(23)[: rng.integers(1, 24)]]
    groups = np.arange(n_samples) // 3 if seed % 3 == 0 else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        validator = HypothesisValidator(task="classification" if classification else "regression")
        validator.fit(A, y, groups=groups)
        predicted = validator.predict(A)
    table = validator.hypotheses_
    assert len(table) == A.shape[1]
    assert np.isfinite(validator.coef_).all() and np.isfinite(np.asarray(predicted, float)).all()
    untested = table["regression_pval"].isna()
    assert (table["note"].str.startswith("untested") == untested).all()
    assert not table["significant"][untested].any()
    assert table["regression_pval"].dropna().between(0, 1).all()


def draw_degenerate_rows(rng, kind):
    """Few rows or many, columns of every useless kind, and what else fit takes, for one task."""
    n = int(rng.choice([1, 2, 3, 8, 30, 150]))
    A = (rng.random((n, 4)) < rng.choice([0.05, 0.5, 0.95])).astype(float)
    A -= (rng.random((n, 4)) < 0.2) * (kind == "pairs")
    A[:, rng.integers(4)] = rng.choice([0, 1, np.nan])
    A[rng.random(n) < 0.1, rng.integers(4)] = np.nan
    A[:, 3] = A[:, 0] if rng.random() < 0.3 else A[:, 3] * rng.choice([1, 1e-9, 1e9])
    y = rng.normal(size=n) * rng.choice([1e-9, 1, 1e9])
    if kind != "regression" or rng.random() < 0.2:
        y = rng.choice([0.0, 1.0, 2.0], size=n, p=rng.dirichlet([1, 1, 1]))
    if kind == "pairs" or rng.random() < 0.1:
        y = (np.nan_to_num(A[:, 1]) > 0).astype(float)
    more = {
        "sample_weight": rng.exponential(size=n) * (rng.random(n) < 0.7),
        "groups": rng.integers(0, 1 + n // 2, size=n),
        "covariates": np.column_stack([rng.normal(size=n), np.nan_to_num(A[:, 2])]),
    }
    X = pd.DataFrame(A, columns=list("abcd"))
    if kind == "pairs":
        texts = [f"text {i}" for i in range(2 * n)]
        X.index = pd.MultiIndex.from_arrays([texts[:n], texts[n:]], names=["text_a", "text_b"])
    return X, y, {name: given for name, given in more.items() if rng.random() < 0.4}


@pytest.mark.parametrize("kind", ["regression", "classification", "pairs"])
def test_whatever_the_rows_there_is_a_table_or_one_sentence(kind):
    n_fitted = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, y, more = draw_degenerate_rows(rng, kind)
        validator = HypothesisValidator(
            task="auto" if kind == "pairs" else kind, n_permutations=int(rng.choice([0, 19]))
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)
            try:
                table = validator.fit(X, y, **more).hypotheses_
            except ValueError as error:
                assert str(error).startswith("HypothesisValidator ")
                continue
        n_fitted += 1
        pvalues = table[[name for name in table if "pval" in name]]
        assert ((pvalues >= 0) & (pvalues <= 1) | pvalues.isna()).all(axis=None)
        numbers = table.select_dtypes("number").drop(columns="odds_ratio", errors="ignore")
        assert not np.isinf(numbers).any(axis=None)
        plain = table[table["note"] == ""]
        assert (
            plain[["separation_score", "regression_coef", "corrected_pval"]].notna().all(axis=None)
        )
        assert len(validator.predict(X)) == len(X)
    assert n_fitted > 5


# Bad input, one sentence each


def test_bad_input_is_refused_in_one_sentence():
    frame, y = annotated_frame()
    validator = HypothesisValidator()
    nothing, disjoint = frame * np.nan, frame.copy()
    disjoint.iloc[::2, 0], disjoint.iloc[1::2, 1] = np.nan, np.nan
    one_class = frame.copy()
    one_class.iloc[y == 1, 0] = np.nan
    with_nan = np.where(np.arange(800) == 7, np.nan, y)
    for X, target, groups, match in [
        (nothing, y, None, "every annotation in X is NaN"),
        (disjoint, y, None, "each of the 800 rows of X has a NaN"),
        (one_class, y, None, "one class or value only in the"),
        (frame, np.ones(800), None, "constant target"),
        (frame, with_nan, None, "NaN in y .* position 7"),
        (frame, y[:-1], None, "800 rows in X but 799 values in y"),
        (frame, y, np.ones(799), "800 rows in X but 799 values in groups"),
        (frame, y, np.ones(800), "all 800 rows are in one group"),
        (frame, y, [None, *range(799)], "missing values in groups in 1 of 800 rows"),
    ]:
        with pytest.raises(ValueError, match=match) as caught:
            validator.fit(X, target, groups=groups)
        assert "\n" not in str(caught.value)


def test_scoring_on_other_labels_is_refused():
    frame, y = annotated_frame()
    validator = HypothesisValidator().fit(frame, y)
    with pytest.raises(ValueError, match="1 other label"):
        validator.score(frame, y * 2)
