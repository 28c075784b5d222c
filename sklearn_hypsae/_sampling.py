"""Which texts a language model sees of a neuron, and which ones its wording is tested on.

Functions of one neuron's activations; the two sets never share a text.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer


class NeuronExamples(NamedTuple):
    """Rows chosen for one neuron.

    Attributes
    ----------
    shown : list of (firing_rows, silent_rows)
        One pair of index arrays a candidate; firing rows strongest first.

    scoring_rows : ndarray of shape (n_scoring,)
        Rows of which none is shown to any candidate.

    scoring_fires : ndarray of shape (n_scoring,) of bool
        Whether each scoring row fires the neuron.

    paired : bool, default=False
        Whether the scoring rows that do not fire are the other texts of those that do, in
        their order.
    """

    shown: list
    scoring_rows: np.ndarray
    scoring_fires: np.ndarray
    paired: bool = False


def first_rows(texts):
    """Row of the first occurrence of each distinct text, in order.

    Examples
    --------
    >>> from sklearn_hypsae._sampling import first_rows
    >>> first_rows(["a", "b", "a"])
    array([0, 1])
    """
    first = {}
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    return np.array(list(first.values()))


def column_of(activations, neuron):
    """Activations of one neuron as an array of shape (n_samples,), from dense or sparse ones."""
    column = activations[:, [neuron]]
    return (column.toarray() if sp.issparse(column) else column).ravel()


def firing_and_silent(activation, rows):
    """Split rows into those that fire a neuron, strongest first, and those that do not.

    A neuron that is never silent is split at its median instead.

    Parameters
    ----------
    activation : ndarray of shape (n_samples,)

    rows : ndarray of shape (n_rows,)
        Rows to consider.

    Returns
    -------
    firing, silent : ndarray of int
    """
    ordered = rows[np.argsort(-activation[rows], kind="stable")]
    n_firing = int(np.count_nonzero(activation[rows] > 0))
    if n_firing == len(rows):
        n_firing = len(rows) // 2
    return ordered[:n_firing], ordered[n_firing:]


def draw_examples(
    activation,
    rows,
    *,
    n_examples,
    n_scoring,
    n_candidates=1,
    sampling="top",
    quantile_range=(0.9, 1.0),
    nearest=None,
    rng,
):
    """Choose the rows to show and the rows to score on, for one neuron.

    Half of the examples fire the neuron, half do not. Of either kind at most half of what
    there is is shown, so that something is left to score on.

    Parameters
    ----------
    activation : ndarray of shape (n_samples,)
        The neuron's activations.

    rows : ndarray of shape (n_distinct,)
        One row for each distinct text.

    n_examples : int
        Rows shown to each candidate.

    n_scoring : int
        Rows to score on.

    n_candidates : int, default=1
        With more than one, the first is shown the strongest firing rows and the others random
        draws from twice as many.

    sampling : {"top", "quantile"} or callable, default="top"
        "top" takes the strongest firing rows, "quantile" a random draw from
        ``quantile_range``. A callable
        ``(activation, rows, n_examples, rng) -> (firing_rows, silent_rows)`` chooses itself.

    quantile_range : (float, float), default=(0.9, 1.0)
        Quantiles of the positive activations that "quantile" draws between.

    nearest : callable, default=None
        ``(firing_rows, silent_rows) -> silent_rows``, most alike first: silent rows are shown
        in this order instead of at random. They are scored on at random in any case, so that
        fidelity stays comparable.

    rng : RandomState

    Returns
    -------
    examples : NeuronExamples
    """
    firing, silent = firing_and_silent(activation, rows)
    if callable(sampling):
        shown = [
            _checked(sampling(activation, rows, n_examples, rng), len(activation))
            for _ in range(n_candidates)
        ]
        firing = rng.permutation(firing)
        silent = rng.permutation(silent)
    else:
        n_firing = max(1, n_examples // 2)
        firing, n_eligible = _preferred(activation, firing, sampling, quantile_range, rng)
        firing_shown = _draws(firing[:n_eligible], n_firing, len(firing), n_candidates, rng)
        silent = rng.permutation(silent)
        if nearest is not None and len(silent):
            silent = nearest(firing[:n_firing], silent)
        n_silent = max(1, n_examples - n_firing)
        silent_shown = _draws(silent, n_silent, len(silent), n_candidates, rng)
        shown = list(zip(firing_shown, silent_shown, strict=True))
    seen = np.concatenate([np.concatenate(pair) for pair in shown])
    firing_left = firing[~np.isin(firing, seen)][: n_scoring - n_scoring // 2]
    silent_left = rng.permutation(silent[~np.isin(silent, seen)])[: n_scoring // 2]
    return NeuronExamples(
        shown,
        np.concatenate([firing_left, silent_left]),
        np.repeat([True, False], [len(firing_left), len(silent_left)]),
    )


def _checked(chosen, n_samples):
    """The two arrays of row numbers that a user's sampling has to give."""
    parts = [np.asarray(part) for part in chosen] if isinstance(chosen, tuple | list) else []
    if len(parts) != 2 or not all(
        part.ndim == 1
        and len(part)
        and part.dtype.kind in "iu"
        and part.min() >= 0
        and part.max() < n_samples
        for part in parts
    ):
        raise ValueError(
            "sampling has to give two arrays of row numbers, those of firing and those of silent "
            "texts to show, each with at least one."
        )
    return tuple(parts)


def _preferred(activation, firing, sampling, quantile_range, rng):
    """Firing rows in the order they are wanted, and how many of them may be shown."""
    if sampling == "top":
        return firing, len(firing)
    low, high = np.quantile(activation[firing], quantile_range)
    inside = (activation[firing] >= low) & (activation[firing] <= high)
    if not inside.any():
        inside[:] = True
    eligible = rng.permutation(firing[inside])
    return np.concatenate([eligible, rng.permutation(firing[~inside])]), len(eligible)


def _draws(ordered, n_shown, n_available, n_candidates, rng):
    """Rows for each candidate: the first ones, then random draws from twice as many."""
    most = -(-n_available // 2)
    first = ordered[: min(n_shown, most)]
    pool = ordered[: min(2 * n_shown, most)]
    others = [
        np.sort(rng.choice(len(pool), size=len(first), replace=False))
        for _ in range(n_candidates - 1)
    ]
    return [first, *(pool[chosen] for chosen in others)]


def nearest_by_tfidf(texts):
    """Order silent rows by how much their words are like those of the firing rows.

    Parameters
    ----------
    texts : ndarray of shape (n_samples,) of str

    Returns
    -------
    nearest : callable
        ``(firing_rows, silent_rows) -> silent_rows``, most alike first: by cosine similarity
        of TF-IDF vectors with the mean of the firing rows.
    """
    # Signs count as words too, as texts of emoji have no others.
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+|[^\w\s]")
    vectors = vectorizer.fit_transform(texts)

    def nearest(firing_rows, silent_rows):
        centre = np.asarray(vectors[firing_rows].mean(axis=0)).ravel()
        return silent_rows[np.argsort(-(vectors[silent_rows] @ centre), kind="stable")]

    return nearest
