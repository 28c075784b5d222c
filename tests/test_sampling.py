"""Which texts a model is shown, which ones its words are scored on, and fidelity."""

import numpy as np
import pytest

from sklearn_hypsae._fidelity import fidelity
from sklearn_hypsae._sampling import draw_examples, firing_and_silent, first_rows


def activation_of(n=200, n_firing=60):
    activation = np.zeros(n)
    activation[:n_firing] = np.arange(n_firing, 0, -1)
    return activation


def draw(activation, n_examples=20, n_scoring=40, **options):
    rng = np.random.RandomState(0)
    return draw_examples(
        activation,
        np.arange(len(activation)),
        n_examples=n_examples,
        n_scoring=n_scoring,
        rng=rng,
        **options,
    )


def test_top_shows_the_strongest_and_scores_on_the_next():
    examples = draw(activation_of())
    ((firing, silent),) = examples.shown
    assert firing.tolist() == list(range(10))
    assert len(silent) == 10 and (silent >= 60).all()
    assert examples.scoring_rows[examples.scoring_fires].tolist() == list(range(10, 30))
    assert (~examples.scoring_fires).sum() == 20


def test_quantile_shows_a_draw_from_its_range():
    examples = draw(activation_of(), sampling="quantile", quantile_range=(0.5, 0.9))
    ((firing, _),) = examples.shown
    assert len(firing) == 10
    assert firing.min() >= 6 and firing.max() <= 30
    assert firing.tolist() != sorted(firing)[:10] or len(set(firing)) == 10


def test_candidates_differ_and_nothing_shown_is_scored():
    examples = draw(activation_of(), n_candidates=4, n_scoring=100)
    seen = np.concatenate([np.concatenate(pair) for pair in examples.shown])
    assert not np.isin(examples.scoring_rows, seen).any()
    assert len({tuple(firing) for firing, _ in examples.shown}) == 4
    assert len({tuple(silent) for _, silent in examples.shown}) == 4


@pytest.mark.parametrize("n_firing", [1, 2, 3, 7, 199, 200])
def test_few_firing_or_few_silent_texts_are_shared_out(n_firing):
    examples = draw(activation_of(n_firing=n_firing), n_candidates=2)
    for firing, silent in examples.shown:
        assert len(firing) == min(
            10, max(1, -(-min(n_firing, 100 if n_firing == 200 else 200) // 2))
        )
        assert 1 <= len(silent) <= 10
    if 1 < n_firing < 199:
        assert examples.scoring_fires.any() and not examples.scoring_fires.all()


def test_a_neuron_that_is_never_silent_is_split_at_its_median():
    firing, silent = firing_and_silent(np.arange(1.0, 7.0), np.arange(6))
    assert firing.tolist() == [5, 4, 3] and silent.tolist() == [2, 1, 0]


def test_own_sampling_is_obeyed():
    def own(activation, rows, n_examples, rng):
        return rows[:2], rows[-3:]

    ((firing, silent),) = draw(activation_of(), sampling=own).shown
    assert firing.tolist() == [0, 1] and silent.tolist() == [197, 198, 199]


def test_repeated_texts_are_shown_and_scored_once():
    assert first_rows(["a", "b", "a", "c", "b"]).tolist() == [0, 1, 3]


# Fidelity


def test_fidelity_against_hand_counts():
    scores = fidelity(
        np.array([1, 1, 0, 0, np.nan, 1]),
        np.array([True, False, True, False, True, True]),
        np.array([3.0, 0, 2, 0, 9, 1]),
    )
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["recall"] == pytest.approx(2 / 3)
    assert scores["f1"] == pytest.approx(2 / 3)
    expected = np.corrcoef([1, 1, 0, 0, 1], [3, 0, 2, 0, 1])[0, 1]
    assert scores["correlation"] == pytest.approx(expected)
    assert scores["n_scored"] == 5


def test_fidelity_of_degenerate_annotations():
    fires, activations = np.array([True, False]), np.array([1.0, 0.0])
    never = fidelity(np.zeros(2), fires, activations)
    assert [never[m] for m in ("f1", "precision", "recall", "correlation")] == [0, 0, 0, 0]
    failed = fidelity(np.full(2, np.nan), fires, activations)
    assert np.isnan(failed["f1"]) and failed["n_scored"] == 0
    one_kind = fidelity(np.ones(2), np.array([True, True]), activations)
    assert np.isnan(one_kind["f1"])
