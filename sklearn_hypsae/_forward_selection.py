"""Neurons chosen one after another, each for what it adds to those already chosen.

Dense and CSR activations are chosen from alike. A step costs one product of the activations
with one vector: neither an (n, M) copy nor an (M, M) matrix is ever built.
"""

import numpy as np
import scipy.sparse as sp

from ._ranking import COLUMNS_PER_BLOCK, column_moments

# A neuron of which a smaller share than this is left, once the chosen ones are projected out,
# is a copy of them: the rest is rounding (float32 activations carry about seven digits).
COPY_SHARE = 1e-8

# Scores this close (relative to the best) are ties, and the lowest number wins. Without it the
# order of summation, which differs between dense and CSR, would decide between copies.
TIE = 1e-9

# Explained share of y below which a neuron adds nothing but rounding.
NO_GAIN = 1e-14


def target_columns(values, n_classes=None):
    """Give y as standardised columns: one, or one for each class against the rest.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        The target in numbers; with more than two classes, the index of the class.

    n_classes : int, default=None
        Number of classes. None: y is a number. Two classes mirror each other, so one column
        stands for both.

    Returns
    -------
    targets : ndarray of shape (n_samples, n_targets)
        Each column with mean 0 and standard deviation (ddof=0) 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._forward_selection import target_columns
    >>> target_columns(np.array([0.0, 1.0, 2.0, 2.0]), n_classes=3)[:, 2]
    array([-1., -1.,  1.,  1.])
    """
    columns = values[:, None]
    if n_classes is not None and n_classes > 2:
        columns = (columns == np.arange(n_classes)).astype(np.float64)
    centred = columns - columns.mean(axis=0)
    return centred / centred.std(axis=0)


def forward_scores(activations, targets, *, n_select):
    """Forward stepwise least squares: each step takes what explains most of the rest of y.

    The step is that of orthogonal least squares (Chen, Billings and Luo 1989, section 3.2: the
    error reduction ratio): of neuron x, with x' what is left of it and r what is left of y
    once the chosen neurons are projected out, it takes the largest (x'·r)² / (x'·x' y·y), the
    gain in R². Orthogonal matching pursuit (Pati, Rezaiifar and Krishnaprasad 1993) projects y
    alike but divides by x·x, and so underrates a neuron that overlaps with the chosen ones.

    Projections are read off a Cholesky factor of the correlations between neurons, one column
    a step, pivoted on the neuron chosen.

    Parameters
    ----------
    activations : ndarray or CSR of shape (n_samples, n_neurons)

    targets : ndarray of shape (n_samples, n_targets)
        As :func:`target_columns` gives them; the gain is the mean over the columns.

    n_select : int
        Largest number of neurons to choose.

    Returns
    -------
    scores : ndarray of shape (n_neurons,)
        Semi-partial correlation with y: the root of the gain in R², with the sign of the
        target column for which it is largest. Of a chosen neuron at the step that took it; of
        the others at the step that would come next. 0 for constant neurons and copies.

    selected : ndarray of shape (n_selected,)
        The chosen neurons in the order chosen. Shorter than ``n_select`` where no other neuron
        adds anything.
    """
    columns = _StandardisedColumns(activations, targets[:, 0])
    left_of_y = columns.correlations_with(targets)
    left_of_x = columns.varies.astype(np.float64)
    factor = np.zeros((columns.n_neurons, min(n_select, columns.n_neurons)))
    scores, selected = np.zeros(columns.n_neurons), []
    while True:
        semi_partial = np.zeros_like(left_of_y)
        free = left_of_x > COPY_SHARE
        semi_partial[free] = left_of_y[free] / np.sqrt(left_of_x[free, None])
        gain = np.mean(semi_partial**2, axis=1)
        n_chosen = len(selected)
        if n_chosen == factor.shape[1] or gain.max() <= NO_GAIN:
            break
        best = _first_of_the_best(gain)
        scores[best] = _signed_root(semi_partial[[best]])[0]
        row = factor[best, :n_chosen]
        step = columns.correlations_with_neuron(best) - factor[:, :n_chosen] @ row
        factor[:, n_chosen] = step / np.sqrt(left_of_x[best])
        left_of_x -= factor[:, n_chosen] ** 2
        left_of_y -= np.outer(factor[:, n_chosen], semi_partial[best])
        selected.append(best)
        left_of_x[selected] = 0.0
    rest = np.setdiff1d(np.arange(columns.n_neurons), selected)
    scores[rest] = _signed_root(semi_partial[rest])
    return scores, np.array(selected, dtype=int)


def mrmr_scores(activations, targets, *, n_select):
    """Minimum redundancy, maximum relevance, in correlations and as a difference.

    Each step takes the largest ``|corr(x, y)| - mean over chosen s of |corr(x, s)|``: the
    criterion of Peng, Long and Ding (2005, equation 6) with the absolute correlation in place
    of mutual information, as Ding and Peng (2005) do for continuous variables.

    The mean forgives a copy more easily the more neurons are chosen, so copies of a chosen
    neuron (correlation of 1 or -1) are passed over altogether.

    Parameters
    ----------
    activations : ndarray or CSR of shape (n_samples, n_neurons)

    targets : ndarray of shape (n_samples, n_targets)
        As :func:`target_columns` gives them; with several, relevance is the root mean square
        of the correlations.

    n_select : int
        Largest number of neurons to choose.

    Returns
    -------
    scores : ndarray of shape (n_neurons,)
        Relevance, signed as the largest correlation, for chosen neurons and others alike.

    selected : ndarray of shape (n_selected,)
        The chosen neurons in the order chosen. Shorter than ``n_select`` where only copies and
        constant neurons are left.
    """
    columns = _StandardisedColumns(activations, targets[:, 0])
    scores = _signed_root(columns.correlations_with(targets))
    free = columns.varies.copy()
    redundancy, selected = np.zeros(columns.n_neurons), []
    while len(selected) < n_select and free.any():
        criterion = np.abs(scores) - redundancy / max(len(selected), 1)
        best = _first_of_the_best(np.where(free, criterion, -np.inf))
        overlap = np.abs(columns.correlations_with_neuron(best))
        redundancy += overlap
        free &= 1 - overlap**2 > COPY_SHARE
        free[best] = False
        selected.append(best)
    return scores, np.array(selected, dtype=int)


class _StandardisedColumns:
    """Correlations with columns of the activations, without standardising a copy of them."""

    def __init__(self, activations, y):
        self._values = activations
        if sp.issparse(activations):
            # By column: taking one column and a product with a vector are both quick.
            self._values = sp.csc_array(activations, dtype=np.float64)
        self._mean, self._std, _ = column_moments(activations, y)
        self.varies = self._std > 0
        self.n_neurons = len(self._std)

    def correlations_with(self, standardised):
        """Correlate each neuron with each column of an (n_samples, k) array; (M, k)."""
        # Rounding leaves the columns a sum that is not quite 0, and a mean far from 0 blows
        # it up.
        offset = np.outer(self._mean, standardised.sum(axis=0))
        covariance = (self._products(standardised) - offset) / len(standardised)
        correlations = np.zeros_like(covariance)
        correlations[self.varies] = covariance[self.varies] / self._std[self.varies, None]
        return np.clip(correlations, -1.0, 1.0)

    def correlations_with_neuron(self, neuron):
        """Correlate each neuron with one of them; (M,)."""
        column = self._values[:, [neuron]]
        column = column.toarray() if sp.issparse(column) else column
        centred = column.astype(np.float64) - self._mean[neuron]
        return self.correlations_with(centred / self._std[neuron])[:, 0]

    def _products(self, standardised):
        if sp.issparse(self._values):
            return self._values.T @ standardised
        products = np.empty((self.n_neurons, standardised.shape[1]))
        for start in range(0, self.n_neurons, COLUMNS_PER_BLOCK):
            block = slice(start, start + COLUMNS_PER_BLOCK)
            products[block] = self._values[:, block].T.astype(np.float64) @ standardised
        return products


def _first_of_the_best(values):
    best = values.max()
    return int(np.argmax(values >= best - TIE * abs(best)))


def _signed_root(correlations):
    """Root mean square of each row, with the sign of its largest entry."""
    largest = np.argmax(np.abs(correlations), axis=1)
    signs = np.sign(np.take_along_axis(correlations, largest[:, None], axis=1)[:, 0])
    return signs * np.sqrt(np.mean(correlations**2, axis=1))
