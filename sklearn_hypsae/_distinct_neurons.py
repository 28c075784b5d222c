"""Neurons that fire on the same rows are one idea, of which one neuron is kept."""

import numpy as np
import scipy.sparse as sp


def distinct_neurons(activations, order, *, n_select, max_correlation):
    """Walk down a ranking and pass over neurons that repeat one kept before.

    Parameters
    ----------
    activations : ndarray or CSR of shape (n_samples, n_neurons)

    order : ndarray of int of shape (n_ranked,)
        Neurons that vary, strongest first.

    n_select : int
        How many to keep.

    max_correlation : float
        A neuron whose activations correlate more than this with those of a kept one is passed
        over.

    Returns
    -------
    kept : ndarray of int of shape (n_kept,)
        At most ``n_select``, in the order of the ranking.

    repeats : dict of int to int
        Of each neuron passed over, the kept one it goes with most.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._distinct_neurons import distinct_neurons
    >>> activations = np.array([[1.0, 2.1, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    >>> distinct_neurons(activations, np.array([0, 1, 2]), n_select=2, max_correlation=0.8)
    (array([0, 2]), {1: 0})
    """
    columns = sp.csc_array(activations) if sp.issparse(activations) else activations
    signed = activations.min() < 0
    kept, repeats = [], {}
    standardised = np.empty((min(n_select, len(order)), activations.shape[0]))
    for neuron in order:
        if len(kept) == n_select:
            break
        column = _standardised(columns, neuron, centre=not signed)
        correlations = standardised[: len(kept)] @ column
        correlations = np.abs(correlations) if signed else correlations
        if len(kept) and correlations.max() > max_correlation + 1e-9:
            repeats[int(neuron)] = kept[int(correlations.argmax())]
            continue
        standardised[len(kept)] = column
        kept.append(int(neuron))
    return np.array(kept, dtype=int), repeats


def _standardised(columns, neuron, *, centre):
    """One column with length 1, and mean 0 where it is centred."""
    column = columns[:, [neuron]]
    column = column.toarray() if sp.issparse(column) else column
    column = column.ravel().astype(np.float64)
    column -= column.mean() if centre else 0.0
    return column / np.linalg.norm(column)
