"""Pairs taken apart into their texts, which is what words are found for and asked about."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ._pairs import mirrored
from ._sampling import NeuronExamples, draw_examples


class Singles(NamedTuple):
    """The texts of pairs one by one.

    Which text of a pair comes first here depends on the two texts alone, not on which came
    first in the pair.

    Attributes
    ----------
    texts : ndarray of shape (2 * n_pairs,)
        The first text of every pair, then the second ones.

    activations : ndarray or CSR of shape (2 * n_pairs, n_neurons)
        Of the pair for its first text, with the sign changed for its second: a neuron favours
        the text for which this is positive.

    y : ndarray of shape (2 * n_pairs,) or None
        By how much the text is ahead of the other, below 0 where it is behind.
    """

    texts: np.ndarray
    activations: Any
    y: np.ndarray | None


def as_singles(pairs, activations, target=None):
    """Take pairs apart.

    Parameters
    ----------
    pairs : ndarray of shape (n_pairs, 2) of str

    activations : ndarray or CSR of shape (n_pairs, n_neurons)

    target : Target, default=None
        From :func:`check_pair_target`.

    Returns
    -------
    singles : Singles

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._singles import as_singles
    >>> pairs = np.array([["rain", "sun"], ["wind", "hail"]], dtype=object)
    >>> texts, activations, _ = as_singles(pairs, np.array([[2.0], [3.0]]))
    >>> texts.tolist(), activations.ravel().tolist()
    (['rain', 'hail', 'sun', 'wind'], [2.0, -3.0, -2.0, 3.0])
    """
    swapped = pairs[:, 0] > pairs[:, 1]
    sign = np.where(swapped, -1.0, 1.0)
    ordered = np.where(swapped[:, None], pairs[:, ::-1], pairs)
    if sp.issparse(activations):
        activations = sp.diags_array(sign) @ activations
    else:
        activations = activations * sign[:, None].astype(activations.dtype)
    y = None
    if target is not None:
        ahead = target.values if target.classes is None else 2 * target.values - 1
        y = mirrored(sign * ahead)
    return Singles(ordered.T.ravel(), mirrored(activations), y)


def distinct_pairs(singles):
    """Row of the first occurrence of each distinct pair of texts that differ.

    Parameters
    ----------
    singles : Singles

    Returns
    -------
    rows : ndarray of int
        Positions of pairs.
    """
    n_pairs = len(singles.texts) // 2
    first = {}
    for row, pair in enumerate(zip(singles.texts[:n_pairs], singles.texts[n_pairs:], strict=True)):
        if pair[0] != pair[1]:
            first.setdefault(pair, row)
    return np.array(list(first.values()), dtype=int)


def draw_pair_examples(activation, singles, rows, **drawing):
    """Choose the pairs to show of one neuron, and those to score its wording on.

    Shown are the texts that the neuron favours, each beside the other text of its pair. No
    text that is shown is scored on.

    Parameters
    ----------
    activation : ndarray of shape (2 * n_pairs,)
        The neuron's, of each text of singles.

    singles : Singles

    rows : ndarray of int
        One row for each distinct pair.

    **drawing
        For :func:`~sklearn_hypsae._sampling.draw_examples`: it chooses among pairs by the
        magnitude of the activation.

    Returns
    -------
    examples : NeuronExamples
        Of rows of singles: favoured texts as firing, the others of their pairs as silent.
    """
    n_pairs = len(activation) // 2
    drawn = draw_examples(np.abs(activation[:n_pairs]), rows, **drawing)

    def both(chosen):
        favoured = np.where(activation[chosen] > 0, chosen, chosen + n_pairs)
        return favoured, (favoured + n_pairs) % (2 * n_pairs)

    shown = [both(firing[activation[firing] != 0]) for firing, _ in drawn.shown]
    seen = set(singles.texts[np.concatenate([row for pair in shown for row in pair])])
    left = drawn.scoring_rows[drawn.scoring_fires]
    is_new = [not seen & set(singles.texts[[row, row + n_pairs]]) for row in left]
    left = left[np.array(is_new, dtype=bool)]
    return NeuronExamples(
        shown, np.concatenate(both(left)), np.repeat([True, False], len(left)), paired=True
    )
