"""Recovery of planted concepts, against scikit-learn's scores called directly."""

import itertools

import numpy as np
import pandas as pd
import pytest
from annotated import draw_annotations
from sklearn.metrics import f1_score, precision_score, recall_score

from sklearn_hypsae.datasets import make_planted_texts
from sklearn_hypsae.metrics import concept_recovery

CONCEPTS = ["slow", "dear", "loud"]


@pytest.fixture
def planted():
    """Three concepts, and noisy annotations of them in another order among two of noise."""
    rng = np.random.default_rng(0)
    concepts = draw_annotations(rng, 400, [0.2, 0.4, 0.6])
    flipped = rng.random((400, 3)) < [0.05, 0.15, 0.25]
    noisy = np.abs(concepts - flipped)
    annotations = np.column_stack([noisy[:, [2, 0]], draw_annotations(rng, 400, [0.3, 0.1])])
    annotations = np.insert(annotations, 3, noisy[:, 1], axis=1)
    names = ["about noise", "about waiting", "noise 1", "about prices", "noise 2"]
    return (
        pd.DataFrame(annotations, columns=names),
        pd.DataFrame(concepts, columns=CONCEPTS),
    )


def best_by_trying_all(annotations, concepts):
    """Mean F1 of the best of all pairings, each scored by scikit-learn."""
    scores = np.array([[f1_score(c, a) for c in concepts.T] for a in annotations.T])
    n_pairs = min(scores.shape)
    pairings = (
        scores[list(rows), list(columns)].sum()
        for rows in itertools.permutations(range(scores.shape[0]), n_pairs)
        for columns in itertools.combinations(range(scores.shape[1]), n_pairs)
    )
    return max(pairings) / scores.shape[1]


def test_each_concept_finds_its_annotation_with_the_scores_of_scikit_learn(planted):
    annotations, concepts = planted
    recovery = concept_recovery(annotations, concepts)
    matching = recovery.matching
    assert matching["concept"].tolist() == CONCEPTS
    assert matching["annotation"].tolist() == ["about waiting", "about prices", "about noise"]
    for row in matching.itertuples():
        pair = concepts[row.concept], annotations[row.annotation]
        assert row.f1 == pytest.approx(f1_score(*pair), abs=1e-12)
        assert row.precision == pytest.approx(precision_score(*pair), abs=1e-12)
        assert row.recall == pytest.approx(recall_score(*pair), abs=1e-12)
    assert recovery.f1 == pytest.approx(matching["f1"].mean())


@pytest.mark.parametrize(("n_annotations", "n_concepts"), [(4, 4), (5, 3), (2, 4), (1, 3), (3, 1)])
def test_the_pairing_is_the_best_of_all(n_annotations, n_concepts):
    rng = np.random.default_rng(n_annotations)
    annotations = draw_annotations(rng, 60, np.full(n_annotations, 0.5))
    concepts = draw_annotations(rng, 60, np.full(n_concepts, 0.5))
    recovery = concept_recovery(annotations, concepts)
    assert recovery.f1 == pytest.approx(best_by_trying_all(annotations, concepts), abs=1e-12)
    assert recovery.matching["annotation"].notna().sum() == min(n_annotations, n_concepts)


def test_a_pairing_is_not_made_one_concept_at_a_time():
    # The first annotation is best for both concepts; only the first concept can do without it.
    concepts = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]).T
    annotations = np.array([[1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0]]).T
    matching = concept_recovery(annotations, concepts).matching
    assert matching["annotation"].tolist() == [1, 0]


def test_order_of_rows_and_columns_changes_nothing(planted):
    annotations, concepts = planted
    rng = np.random.default_rng(1)
    rows = rng.permutation(len(concepts))
    shuffled = concept_recovery(
        annotations.iloc[rows, rng.permutation(5)], concepts.iloc[rows, [2, 0, 1]]
    )
    as_given = concept_recovery(annotations, concepts)
    assert shuffled.f1 == pytest.approx(as_given.f1, abs=1e-12)
    pd.testing.assert_frame_equal(
        shuffled.matching.sort_values("concept", ignore_index=True),
        as_given.matching.sort_values("concept", ignore_index=True),
    )


def test_more_annotations_cost_nothing_and_missing_ones_count_zero(planted):
    annotations, concepts = planted
    named = annotations[["about waiting", "about prices", "about noise"]]
    every = concept_recovery(named, concepts)
    assert concept_recovery(annotations, concepts).f1 == pytest.approx(every.f1)
    two = concept_recovery(named.iloc[:, :2], concepts)
    assert two.f1 == pytest.approx(every.matching["f1"][:2].sum() / 3)
    unmatched = two.matching.iloc[2]
    assert (unmatched["annotation"], unmatched["f1"]) == (None, 0)
    assert np.isnan(unmatched["precision"]) and np.isnan(unmatched["recall"])
    none = concept_recovery(annotations.iloc[:, :0], concepts)
    assert none.f1 == 0 and none.matching["annotation"].isna().all()


def test_rows_with_nan_are_left_out_of_their_own_annotation_alone(planted):
    annotations, concepts = planted
    with_gaps = annotations.copy()
    with_gaps.iloc[:100, 1] = np.nan
    recovery = concept_recovery(with_gaps, concepts).matching.set_index("concept")["f1"]
    complete = concept_recovery(annotations, concepts).matching.set_index("concept")["f1"]
    waiting = f1_score(concepts["slow"][100:], annotations["about waiting"][100:])
    assert recovery["slow"] == pytest.approx(waiting, abs=1e-12)
    assert waiting != pytest.approx(complete["slow"])
    assert recovery[["dear", "loud"]].tolist() == complete[["dear", "loud"]].tolist()


def test_what_never_agrees_is_not_matched():
    concepts = np.array([[1, 0], [1, 0], [0, 0], [0, 0]])
    for column in ([0, 0, 0, 0], [0, 0, 1, 1], [np.nan] * 4):
        recovery = concept_recovery(np.array([column]).T, concepts)
        assert recovery.f1 == 0
        assert recovery.matching["annotation"].tolist() == [None, None]
    always = concept_recovery(np.ones((4, 1)), concepts)
    assert always.matching["f1"].tolist() == pytest.approx([2 * 0.5 / 1.5, 0])


def test_any_kind_of_table_does(planted):
    annotations, concepts = planted
    expected = concept_recovery(annotations, concepts)
    for kind in (np.asarray, lambda t: t.astype(bool), lambda t: t.astype("Int64"), as_lists):
        assert concept_recovery(kind(annotations), kind(concepts)).f1 == expected.f1
    matching = concept_recovery(annotations.to_numpy(), concepts.to_numpy()).matching
    assert matching[["concept", "annotation"]].to_numpy().tolist() == [[0, 1], [1, 3], [2, 0]]
    missing = annotations.astype("Int64")
    missing.iloc[:50] = pd.NA
    assert concept_recovery(missing, concepts).f1 == pytest.approx(
        concept_recovery(annotations[50:], concepts[50:]).f1
    )


def as_lists(frame):
    return frame.to_numpy().tolist()


def test_the_planted_concepts_recover_themselves():
    data = make_planted_texts(300, n_concepts=5, random_state=0)
    assert concept_recovery(data.concepts[:, ::-1], data.concepts).f1 == 1


@pytest.mark.parametrize(
    ("annotations", "concepts", "message"),
    [
        (np.ones(4), np.ones((4, 1)), "annotations of two dimensions"),
        (np.ones((4, 1)), np.ones(4), "concepts of two dimensions"),
        (np.ones((4, 1)), np.ones((5, 1)), "4 rows of annotations and 5 of concepts"),
        (np.ones((0, 1)), np.ones((0, 1)), "at least one row"),
        (np.ones((4, 1)), np.ones((4, 0)), "one concept"),
        (np.full((4, 1), 0.5), np.ones((4, 1)), "0 and 1 in annotations"),
        (np.array([["yes"], ["no"]]), np.ones((2, 1)), "0 and 1 in annotations"),
        (np.ones((2, 1)), np.array([[2.0], [0]]), "0 and 1 in concepts"),
        (np.ones((2, 1)), np.array([[np.nan], [0]]), "concepts holds NaN"),
    ],
)
def test_what_cannot_be_scored_is_said_in_one_sentence(annotations, concepts, message):
    with pytest.raises(ValueError, match=message) as error:
        concept_recovery(annotations, concepts)
    assert "\n" not in str(error.value)
