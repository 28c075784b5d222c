"""NeuronSelector: which neurons are kept, and why."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from planted_activations import planted_activations
from scipy.stats import pearsonr
from sklearn.linear_model import Lasso, LinearRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_global_output_transform_pandas,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    parametrize_with_checks,
)

from sklearn_hypsae import NeuronSelector
from sklearn_hypsae._fit_rows import rows_chose_hypotheses
from sklearn_hypsae._texts import text_index

PEER = json.loads((Path(__file__).parent / "data" / "peer_selection.json").read_text())


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(
    [NeuronSelector(), NeuronSelector(method="forward"), NeuronSelector(method="mrmr")]
)
def test_common_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "check",
    [
        check_set_output_transform,
        check_set_output_transform_pandas,
        check_global_output_transform_pandas,
        check_transformer_get_feature_names_out,
        check_transformer_get_feature_names_out_pandas,
        check_param_validation,
    ],
)
def test_further_common_checks(check):
    check("NeuronSelector", NeuronSelector())


@pytest.fixture(scope="module")
def regression():
    return planted_activations("regression")


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("method", ["correlation", "lasso"])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array, sp.csr_matrix])
def test_selects_the_neurons_the_peer_selects(task, method, container):
    activations, y = planted_activations(task)
    selector = NeuronSelector(method=method).fit(container(activations), y)
    peer = PEER[f"{task}/{method}"]
    assert set(selector.selected_) == set(peer["selected"])
    if method == "correlation":
        assert selector.selected_.tolist() == peer["selected"]
        np.testing.assert_allclose(selector.scores_[selector.selected_], peer["scores"], atol=1e-12)


def test_correlation_scores_are_pearson(regression):
    activations, y = regression
    scores = NeuronSelector().fit(activations, y).scores_
    expected = [pearsonr(column, y)[0] for column in activations.T]
    np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_balanced_correlation_keeps_both_directions_of_the_target(regression):
    activations, y = regression
    plain = NeuronSelector(n_select=256).fit(activations, y)
    balanced = NeuronSelector(n_select=7, method="balanced_correlation").fit(activations, y)
    np.testing.assert_array_equal(balanced.scores_, plain.scores_)
    strongest = plain.selected_
    positive = strongest[plain.scores_[strongest] > 0]
    negative = strongest[plain.scores_[strongest] < 0]
    expected = np.column_stack([positive[:4], negative[:4]])
    assert {frozenset(pair) for pair in expected[:3]} == {
        frozenset(balanced.selected_[i : i + 2]) for i in (0, 2, 4)
    }
    assert balanced.selected_[6] in expected[3]


def test_balanced_correlation_makes_do_with_one_direction():
    activations = np.eye(6)[:, :3]
    selector = NeuronSelector(n_select=2, method="balanced_correlation")
    assert selector.fit(activations, [9.0, 8, 7, 1, 1, 1]).selected_.tolist() == [0, 1]


def test_lasso_coefficients_solve_the_lasso_at_the_given_penalty(regression):
    activations, y = regression
    selector = NeuronSelector(n_select=256, method="lasso", alpha=0.05)
    with pytest.warns(UserWarning, match="fewer than n_select"):
        selector.fit(activations, y)
    refit = Lasso(alpha=0.05, tol=1e-10).fit(StandardScaler().fit_transform(activations), y)
    np.testing.assert_allclose(selector.scores_, refit.coef_, atol=1e-6)


def test_lasso_takes_the_largest_penalty_that_keeps_enough(regression):
    activations, y = regression
    selector = NeuronSelector(n_select=7, method="lasso").fit(activations, y)
    assert np.count_nonzero(selector.scores_) == len(selector.selected_) == 7


def test_separation_score_counts_firing_rows_only():
    activations = np.array([[3.0, 0], [2.0, 0], [0.0, 1], [0.0, 0]])
    y = np.array([10.0, 6.0, 1.0, 3.0])
    selector = NeuronSelector(n_select=1, method="separation_score", n_top_activating=100)
    with pytest.warns(UserWarning, match="fire on fewer than n_top_activating=100 rows"):
        selector.fit(activations, y)
    np.testing.assert_allclose(selector.scores_, [8 - 2, 1 - 19 / 3])


def test_separation_score_takes_the_strongest_rows():
    activations = np.array([[3.0], [2.0], [1.0], [0.0]])
    selector = NeuronSelector(n_select=1, method="separation_score", n_top_activating=2)
    selector.fit(activations, [10.0, 6.0, 100.0, 3.0])
    np.testing.assert_allclose(selector.scores_, [8 - 3])


def test_sampled_silent_rows_repeat_with_the_random_state(regression):
    activations, y = regression

    def scores(seed):
        selector = NeuronSelector(
            method="separation_score", n_top_activating=10, n_zero_activating=50, random_state=seed
        )
        return selector.fit(activations, y).scores_

    np.testing.assert_array_equal(scores(0), scores(0))
    assert not np.array_equal(scores(0), scores(1))


def test_a_callable_scores_all_neurons_at_once(regression):
    activations, y = regression
    selector = NeuronSelector(n_select=3, method=lambda A, y: -A.mean(axis=0))
    selector.fit(activations, y)
    assert set(selector.selected_) == set(np.argsort(activations.mean(axis=0))[-3:])


def test_a_callable_that_returns_too_few_scores_is_refused(regression):
    with pytest.raises(ValueError, match=r"shape \(2,\) for 256 neurons"):
        NeuronSelector(method=lambda A, y: [1, 2]).fit(*regression)


def test_selected_lists_the_strongest_first(regression):
    selector = NeuronSelector(n_select=10).fit(*regression)
    strength = np.abs(selector.scores_)
    assert selector.selected_.tolist() == np.argsort(-strength, kind="stable")[:10].tolist()


def test_a_frame_keeps_its_texts_and_the_numbers_of_the_neurons(regression):
    activations, y = regression
    texts = [f"review {i}" for i in range(len(y))]
    frame = pd.DataFrame(activations, index=text_index(texts)).add_prefix("neuron_")
    selector = NeuronSelector(n_select=3)
    fitted = selector.fit_transform(frame, y)
    assert fitted.index.equals(frame.index)
    assert fitted.columns.tolist() == [f"neuron_{i}" for i in sorted(selector.selected_)]
    with pytest.warns(UserWarning, match="mean nothing"):
        assert rows_chose_hypotheses(fitted)


def test_set_output_default_gives_arrays(regression):
    activations, y = regression
    selector = NeuronSelector(n_select=3).set_output(transform="default")
    assert isinstance(selector.fit_transform(pd.DataFrame(activations), y), np.ndarray)


def test_more_neurons_than_there_are_keeps_all_and_warns(regression):
    activations, y = regression
    with pytest.warns(UserWarning, match="n_select=300 is larger than the number of neurons, 256"):
        selector = NeuronSelector(n_select=300).fit(activations, y)
    assert len(selector.selected_) == 256


def test_dead_neurons_are_never_selected(regression):
    activations, y = regression
    activations = activations[:, :6].copy()
    activations[:, 2] = 0
    with pytest.warns(UserWarning, match="Only 5 of the 6 neurons vary"):
        selector = NeuronSelector(n_select=6).fit(activations, y)
    assert 2 not in selector.selected_


def test_all_neurons_dead_is_one_sentence():
    with pytest.raises(ValueError, match="no neuron that varies over the 10 rows: all 4 are dead"):
        NeuronSelector().fit(np.zeros((10, 4)), np.arange(10))


@pytest.mark.parametrize(
    "params",
    [
        {"method": "lasso", "alpha": 1e9},
        {"method": lambda activations, y: np.full(activations.shape[1], np.nan)},
    ],
)
def test_a_method_that_selects_nothing_is_one_sentence(regression, params):
    with pytest.raises(ValueError, match="no neuron with a score"):
        NeuronSelector(**params).fit(*regression)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ones(2000), "constant target"),
        (np.r_[np.nan, np.arange(1999)], "NaN in y .* position 0"),
        (np.arange(1999), "2000 rows in X but 1999 values in y"),
    ],
)
def test_a_target_that_cannot_be_used_is_named(regression, y, message):
    with pytest.raises(ValueError, match=message):
        NeuronSelector().fit(regression[0], y)


def test_texts_are_refused_without_showing_one():
    with pytest.raises(ValueError) as refusal:
        NeuronSelector().fit(["a private remark", "another one"], [0, 1])
    assert str(refusal.value) == (
        "NeuronSelector expects activations as X, got texts: put SparseAutoencoderTransformer "
        "before it."
    )


def test_labels_and_numbers_give_the_same_selection():
    activations, y = planted_activations("classification")
    labels = np.where(y == 1, "positive", "negative")
    np.testing.assert_array_equal(
        NeuronSelector().fit(activations, labels).scores_,
        NeuronSelector().fit(activations, y).scores_,
    )


@pytest.fixture(scope="module")
def overlapping():
    """Sparse activations in which neighbouring neurons overlap, and targets that need several."""
    activations, y = planted_activations("regression", n_samples=500, n_neurons=40, n_active=6)
    neighbours = np.roll(activations, 1, axis=1)
    activations = activations + np.where(activations > 0, 0.8, 0.1) * neighbours
    return activations, y


def standardised(columns):
    return StandardScaler().fit_transform(columns)


def r2(activations, targets):
    """Mean R² of the targets on the activations, by numpy's least squares."""
    design = np.column_stack([np.ones(len(targets)), activations])
    residual = targets - design @ np.linalg.lstsq(design, targets)[0]
    return 1 - np.mean(residual.var(axis=0) / targets.var(axis=0))


def forward_by_refitting(activations, targets, n_select):
    chosen = []
    for _ in range(n_select):
        rest = [j for j in range(activations.shape[1]) if j not in chosen]
        chosen.append(max(rest, key=lambda j: r2(activations[:, [*chosen, j]], targets)))
    return chosen


def mrmr_by_definition(activations, targets, n_select):
    between = np.abs(np.corrcoef(activations.T))
    n_samples = len(targets)
    correlations = standardised(activations).T @ standardised(targets) / n_samples
    relevance = np.sqrt(np.mean(correlations**2, axis=1))
    chosen = [int(np.argmax(relevance))]
    while len(chosen) < n_select:
        criterion = relevance - between[chosen].mean(axis=0)
        criterion[chosen] = -np.inf
        chosen.append(int(np.argmax(criterion)))
    return chosen


def targets_of(kind, y):
    """Return y of a kind, and the columns that a reference regresses on the neurons."""
    if kind == "regression":
        return y, y[:, None]
    if kind == "binary":
        above = y > np.median(y)
        return np.where(above, "yes", "no"), above[:, None].astype(float)
    classes = np.digitize(y, np.quantile(y, [0.2, 0.6]))
    return np.array(["low", "mid", "top"])[classes], np.eye(3)[classes]


STEPWISE_REFERENCES = {"forward": forward_by_refitting, "mrmr": mrmr_by_definition}


@pytest.mark.parametrize("method", STEPWISE_REFERENCES)
@pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_stepwise_methods_choose_as_a_plain_dense_search(overlapping, method, kind, container):
    activations, y = overlapping
    y, columns = targets_of(kind, y)
    selector = NeuronSelector(n_select=12, method=method).fit(container(activations), y)
    expected = STEPWISE_REFERENCES[method](activations, columns, 12)
    assert selector.selected_.tolist() == expected
    assert expected != NeuronSelector(n_select=12).fit(*overlapping).selected_.tolist()


@pytest.mark.parametrize("method", STEPWISE_REFERENCES)
def test_stepwise_methods_score_csr_as_dense(overlapping, method):
    activations, y = overlapping
    dense, sparse, single = (
        NeuronSelector(n_select=12, method=method).fit(container, y)
        for container in (activations, sp.csr_matrix(activations), activations.astype(np.float32))
    )
    np.testing.assert_allclose(sparse.scores_, dense.scores_, atol=1e-12)
    np.testing.assert_allclose(single.scores_, dense.scores_, atol=1e-5)
    assert sparse.selected_.tolist() == dense.selected_.tolist() == single.selected_.tolist()


@pytest.mark.parametrize("method", STEPWISE_REFERENCES)
def test_stepwise_methods_do_not_mind_the_origin_and_unit_of_activations(overlapping, method):
    activations, y = overlapping
    plain = NeuronSelector(n_select=12, method=method).fit(activations, y)
    moved = NeuronSelector(n_select=12, method=method).fit(activations * 1e-3 + 1e4, y)
    np.testing.assert_allclose(moved.scores_, plain.scores_, atol=1e-7)
    assert moved.selected_.tolist() == plain.selected_.tolist()


@pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
def test_squared_forward_scores_are_gains_in_r2(overlapping, kind):
    activations, y = overlapping
    y, columns = targets_of(kind, y)
    selector = NeuronSelector(n_select=5, method="forward").fit(activations, y)
    chosen = selector.selected_.tolist()
    reached = [r2(activations[:, chosen[:n]], columns) for n in range(6)]
    np.testing.assert_allclose(selector.scores_[chosen] ** 2, np.diff(reached), atol=1e-10)
    other = next(j for j in range(40) if j not in chosen)
    gain = r2(activations[:, [*chosen, other]], columns) - reached[-1]
    np.testing.assert_allclose(selector.scores_[other] ** 2, gain, atol=1e-10)


def test_forward_scores_have_the_sign_of_the_coefficient_when_taken(overlapping):
    activations, y = overlapping
    selector = NeuronSelector(n_select=6, method="forward").fit(activations, y)
    for n, neuron in enumerate(selector.selected_, start=1):
        coefs = LinearRegression().fit(activations[:, selector.selected_[:n]], y).coef_
        assert np.sign(coefs[-1]) == np.sign(selector.scores_[neuron])


def test_mrmr_scores_are_the_correlations(overlapping):
    np.testing.assert_allclose(
        NeuronSelector(method="mrmr").fit(*overlapping).scores_,
        NeuronSelector().fit(*overlapping).scores_,
        atol=1e-12,
    )


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("scale", [1.0, 3.7])
def test_copies_of_the_best_neuron_are_taken_once(regression, container, scale):
    activations, y = regression
    best = NeuronSelector(n_select=1).fit(activations, y).selected_[0]
    copies = activations[:, [best, best]] * scale
    activations = np.column_stack([activations, copies]).astype(np.float32)
    group = {best, 256, 257}

    def first(n, method, **params):
        selector = NeuronSelector(n_select=n, method=method, **params)
        return selector.fit(container(activations), y).selected_.tolist()

    assert set(first(3, "correlation", max_correlation=1.0)) == group
    assert len(group & set(first(20, "correlation"))) == 1
    for method in STEPWISE_REFERENCES:
        assert first(1, method) == [best]
        assert len(group & set(first(20, method))) == 1


@pytest.mark.parametrize("method", STEPWISE_REFERENCES)
def test_stepwise_methods_never_take_dead_neurons_or_copies(regression, method):
    activations, y = regression
    activations = np.column_stack([np.zeros(2000), activations[:, :4], activations[:, 1] * -2])
    activations[:, 3] = 0.1
    selector = NeuronSelector(n_select=6, method=method)
    with pytest.warns(UserWarning, match="Only 3 of the 6 neurons add something"):
        selector.fit(activations, y)
    assert set(selector.selected_) == {1, 2, 4}
    assert selector.n_iter_ == 3
    assert selector.scores_[[0, 3]].tolist() == [0, 0]


def test_forward_takes_no_combination_of_the_chosen(regression):
    activations, y = regression
    activations = np.column_stack([activations[:, :2], activations[:, 0] - 2 * activations[:, 1]])
    with pytest.warns(UserWarning, match="Only 2 of the 3 neurons"):
        selector = NeuronSelector(n_select=3, method="forward").fit(activations, y)
    left_out = np.setdiff1d(range(3), selector.selected_)
    assert selector.scores_[left_out] == 0


def test_forward_finds_a_neuron_that_helps_only_beside_another():
    rng = np.random.RandomState(0)
    noise, signal, weak = rng.normal(size=(3, 1000))
    activations = np.column_stack([signal + noise, noise, signal + 3 * weak])
    assert NeuronSelector(n_select=2).fit(activations, signal).selected_.tolist() == [0, 2]
    forward = NeuronSelector(n_select=2, method="forward").fit(activations, signal)
    assert forward.selected_.tolist() == [0, 1]
    np.testing.assert_allclose(np.sum(forward.scores_[[0, 1]] ** 2), 1.0)
    assert forward.scores_[1] < 0


def test_forward_stops_once_y_is_explained(regression):
    activations, _ = regression
    y = activations[:, 3] - 2 * activations[:, 5]
    with pytest.warns(UserWarning, match="Only 2 of the 256 neurons add something"):
        selector = NeuronSelector(n_select=10, method="forward").fit(activations, y)
    assert set(selector.selected_) == {3, 5}


def test_forward_refuses_a_target_no_neuron_goes_with():
    activations = np.array([[0.0], [1], [0], [1]])
    with pytest.raises(ValueError, match="by 'forward': none is correlated with the target"):
        NeuronSelector(n_select=1, method="forward").fit(activations, [1.0, 1, 2, 2])


def first_rows(activations, y):
    """Score by the first rows, as a user's own method."""
    return activations[:50].T @ (y[:50] - y.mean())


@pytest.mark.parametrize(
    "method", ["correlation", "balanced_correlation", "lasso", "separation_score", first_rows]
)
def test_with_several_classes_a_neuron_is_scored_for_the_one_it_goes_with_most(overlapping, method):
    activations, y = overlapping
    labels, _ = targets_of("multiclass", y)
    options = {"method": method, "n_select": 10, "n_top_activating": 5, "max_correlation": 1}
    selector = NeuronSelector(**options).fit(activations, labels)
    alone = np.array(
        [
            NeuronSelector(**options).fit(activations, np.where(labels == label, 1, 0)).scores_
            for label in np.unique(labels)
        ]
    )
    best = np.abs(alone).argmax(axis=0)
    expected = alone[best, np.arange(alone.shape[1])]
    np.testing.assert_array_equal(selector.scores_, expected)
    if method == "balanced_correlation":
        # The strongest neurons of each class come first.
        assert len(np.unique(best[selector.selected_[: len(alone)]])) == len(np.unique(best))
    else:
        strongest = np.argsort(-np.abs(expected), kind="stable")[:10]
        np.testing.assert_array_equal(selector.selected_, strongest)


@pytest.mark.parametrize("method", ["correlation", "separation_score", "lasso", "forward", "mrmr"])
def test_entries_that_are_one_number_together_count_as_one(method):
    dense = sp.random(200, 6, 0.3, random_state=0, format="csr")
    halves = np.repeat(dense.data / 2, 2), np.repeat(dense.indices, 2), dense.indptr * 2
    y = np.random.default_rng(0).normal(size=200)
    split = NeuronSelector(3, method=method).fit(sp.csr_array(halves, shape=dense.shape), y)
    np.testing.assert_allclose(
        split.scores_, NeuronSelector(3, method=method).fit(dense, y).scores_
    )
