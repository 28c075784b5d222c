"""How strongly each neuron goes with the target: one score a neuron, signed.

Functions of activations and target only; dense and CSR activations give the same scores.
"""

import warnings

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lars_path_gram

COLUMNS_PER_BLOCK = 512


def column_moments(activations, y):
    """Sums that every linear score needs, in float64 and without an (n, M) copy.

    Parameters
    ----------
    activations : ndarray or CSR of shape (n_samples, n_neurons)

    y : ndarray of shape (n_samples,)

    Returns
    -------
    mean, std, covariance : ndarray of shape (n_neurons,)
        Mean and standard deviation (ddof=0) of each neuron, and its covariance with y.
        Rounding can leave a constant column with a tiny std; it is set to exactly 0.
    """
    n_samples, n_neurons = activations.shape
    centred_y = y - y.mean()
    mean, variance, covariance = np.empty((3, n_neurons))
    if sp.issparse(activations):
        values = activations.astype(np.float64)
        mean[:] = np.bincount(values.indices, values.data, minlength=n_neurons) / n_samples
        variance[:] = _sparse_variance(values, mean)
        covariance[:] = values.T @ centred_y / n_samples
    else:
        for start in range(0, n_neurons, COLUMNS_PER_BLOCK):
            block = slice(start, start + COLUMNS_PER_BLOCK)
            values = np.asarray(activations[:, block], dtype=np.float64)
            mean[block] = values.mean(axis=0)
            variance[block] = values.var(axis=0)
            covariance[block] = centred_y @ values / n_samples
    scale = np.maximum(np.abs(mean), np.finfo(np.float64).tiny)
    std = np.where(variance > (1e-12 * scale) ** 2, np.sqrt(variance), 0.0)
    return mean, std, covariance


def _sparse_variance(values, mean):
    """Variance by deviations from the mean: E[x²] − E[x]² loses digits."""
    n_samples = values.shape[0]
    deviations = values.copy()
    deviations.data -= mean[values.indices]
    squared = np.bincount(values.indices, deviations.data**2, minlength=values.shape[1])
    n_stored = np.bincount(values.indices, minlength=values.shape[1])
    return (squared + (n_samples - n_stored) * mean**2) / n_samples


def correlation_scores(activations, y):
    """Pearson correlation of each neuron with y; 0 for a constant neuron.

    Parameters
    ----------
    activations : ndarray or CSR of shape (n_samples, n_neurons)

    y : ndarray of shape (n_samples,)

    Returns
    -------
    scores : ndarray of shape (n_neurons,), in [-1, 1]

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._ranking import correlation_scores
    >>> correlation_scores(np.array([[0.0, 3.0], [1.0, 3.0]]), np.array([1.0, 5.0]))
    array([1., 0.])
    """
    _, std, covariance = column_moments(activations, y)
    scores = np.zeros(len(std))
    np.divide(covariance, std * y.std(), out=scores, where=std > 0)
    return np.clip(scores, -1.0, 1.0)


def lasso_scores(activations, y, *, n_select, alpha=None, max_iter=1000):
    """Coefficients of the lasso on standardised neurons, from one LARS path.

    The path (Efron, Hastie, Johnstone and Tibshirani 2004, "Least angle regression") visits
    every active set once, so the largest penalty that keeps ``n_select`` neurons is read off
    it instead of being searched for by refitting.

    Parameters
    ----------
    activations : ndarray or CSR of shape (n_samples, n_neurons)

    y : ndarray of shape (n_samples,)
        Continuous, or 0/1: the loss is squared error in either case.

    n_select : int
        How many neurons should have a coefficient.

    alpha : float, default=None
        The penalty of ``(1 / 2n) ||y - Xw||² + alpha ||w||₁``; None: the largest one at which
        ``n_select`` coefficients are not zero.

    max_iter : int, default=1000
        Largest number of steps of the path.

    Returns
    -------
    scores : ndarray of shape (n_neurons,)
        Coefficients per standard deviation of the neuron; 0 outside the active set.

    n_iter : int
        Steps taken on the path.
    """
    mean, std, covariance = column_moments(activations, y)
    live = np.flatnonzero(std > 0)
    scores = np.zeros(len(std))
    gram = _correlation_matrix(activations, mean, std, live)
    n_samples = activations.shape[0]
    xy = n_samples * covariance[live] / std[live]
    n_wanted = min(n_select, len(live))
    n_steps = max_iter if alpha is not None else min(max_iter, 2 * n_wanted)
    while True:
        coefs = _lasso_path(xy, n_samples * gram, n_samples, n_steps, alpha or 0.0)
        n_active = np.count_nonzero(coefs, axis=0)
        if alpha is not None or n_active.max() >= n_wanted or n_steps >= max_iter:
            break
        n_steps = min(max_iter, 2 * n_steps)
    reached = alpha is None and n_active.max() >= n_wanted
    scores[live] = coefs[:, np.argmax(n_active >= n_wanted) if reached else -1]
    return scores, coefs.shape[1] - 1


def _lasso_path(xy, gram, n_samples, n_steps, alpha_min):
    with warnings.catch_warnings():
        # The path drops exact copies of a neuron and says so; a copy is no loss here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, _, coefs = lars_path_gram(
            xy, gram, n_samples=n_samples, max_iter=n_steps, alpha_min=alpha_min, method="lasso"
        )
    return coefs


def _correlation_matrix(activations, mean, std, live):
    """Correlations between the live neurons, (n_live, n_live)."""
    values = activations[:, live].astype(np.float64)
    products = values.T @ values
    products = products.toarray() if sp.issparse(products) else products
    centred = products / activations.shape[0] - np.outer(mean[live], mean[live])
    return centred / np.outer(std[live], std[live])


def separation_scores(activations, y, *, n_top_activating, n_zero_activating=None, rng=None):
    """Mean of y over the top firing rows less its mean over the rows that do not fire.

    Only rows with a positive activation count as firing; a neuron that never fires, or never
    stays silent, scores 0.

    Parameters
    ----------
    activations : ndarray or CSR of shape (n_samples, n_neurons)

    y : ndarray of shape (n_samples,)

    n_top_activating : int
        How many of the strongest firing rows are averaged; all of them where fewer fire.

    n_zero_activating : int, default=None
        How many silent rows are drawn for the other mean. None: all of them.

    rng : RandomState, default=None
        Draws the silent rows; needed with ``n_zero_activating``.

    Returns
    -------
    scores : ndarray of shape (n_neurons,)
        In the units of y.
    """
    n_samples, n_neurons = activations.shape
    rows, columns, values = _stored(activations)
    silent_sums = y.sum() - np.bincount(columns, y[rows], minlength=n_neurons)
    n_silent = n_samples - np.bincount(columns, minlength=n_neurons)
    if n_zero_activating is not None:
        silent_sums, n_silent = _sampled_silent(rows, columns, y, n_neurons, n_zero_activating, rng)
    firing = values > 0
    rows, columns, values = rows[firing], columns[firing], values[firing]
    n_firing = np.bincount(columns, minlength=n_neurons)
    order = np.lexsort((-values, columns))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(n_firing) - n_firing, n_firing)
    top = order[rank < n_top_activating]
    top_sums = np.bincount(columns[top], y[rows[top]], minlength=n_neurons)
    n_top = np.minimum(n_firing, n_top_activating)
    both = (n_top > 0) & (n_silent > 0)
    scores = np.zeros(n_neurons)
    scores[both] = top_sums[both] / n_top[both] - silent_sums[both] / n_silent[both]
    return scores


def _stored(activations):
    """Rows, columns and values of the activations that are not zero, by column then row."""
    entries = sp.csc_array(activations)
    entries.eliminate_zeros()
    columns = np.repeat(np.arange(entries.shape[1]), np.diff(entries.indptr))
    return entries.indices, columns, entries.data.astype(np.float64)


def _sampled_silent(rows, columns, y, n_neurons, n_zero_activating, rng):
    sums, counts = np.zeros(n_neurons), np.zeros(n_neurons, dtype=int)
    bounds = np.searchsorted(columns, np.arange(n_neurons + 1))
    for neuron in range(n_neurons):
        silent = np.ones(len(y), bool)
        silent[rows[bounds[neuron] : bounds[neuron + 1]]] = False
        candidates = np.flatnonzero(silent)
        n_drawn = min(n_zero_activating, len(candidates))
        drawn = rng.choice(candidates, size=n_drawn, replace=False)
        sums[neuron], counts[neuron] = y[drawn].sum(), n_drawn
    return sums, counts
