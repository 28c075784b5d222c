"""Pairs of texts: what is compared, and how nothing comes to depend on which comes first.

A pair is two texts, and everything that is known of it is a difference: embedding, activations
and annotations are those of the first text less those of the second, and y says whether the
first text wins, or by how much it is ahead. Steps that are written for single rows are shown
every pair both ways round (:func:`mirrored`), or its two texts one by one (``_singles.py``):
what they find is then the same whichever text comes first.
"""

import numpy as np
import scipy.sparse as sp

from ._targets import Target, checked_values
from ._texts import has_pair_index
from ._warning import warn


def rows_are_pairs(X, annotations):
    """Tell whether rows of annotations are pairs.

    Parameters
    ----------
    X : DataFrame or array-like
        Pairs where its index is the two texts.

    annotations : ndarray of shape (n_samples, n_hypotheses)
        Pairs where they are in {-1, 0, 1} or NaN, and any is -1: nothing else gives such.

    Returns
    -------
    are_pairs : bool
    """
    known = annotations[~np.isnan(annotations)]
    return has_pair_index(X) or bool(np.isin(known, (-1, 0, 1)).all() and (known < 0).any())


def check_pair_target(y, *, task="auto", n_samples=None, caller):
    """Check the target of pairs and turn it into numbers.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Which text wins: 1 (or True) for the first, 0 (False) or -1 for the second. Or by how
        much the first text is ahead, as any number: below 0 where the second is, 0 for a tie.
        It may be the same for all pairs, since the winner may always come first.

    task : {"auto", "classification", "regression"}, default="auto"
        "auto" takes 0 and 1, or -1 and 1, for classification, any other numbers for regression.

    n_samples : int, default=None

    caller : str

    Returns
    -------
    target : Target
        With values 1.0 where the first text wins and 0.0 where the second does, and both labels
        as classes; or the numbers.

    Raises
    ------
    ValueError
        If y is missing, of another length, or says neither.

    Examples
    --------
    >>> from sklearn_hypsae._pairs import check_pair_target
    >>> check_pair_target([1, -1, 1], caller="Example").values
    array([1., 0., 1.])
    >>> check_pair_target([2, -1, 0.5], caller="Example").task
    'regression'
    """
    y = checked_values(y, n_samples=n_samples, caller=caller)
    values = np.unique(y)
    if y.dtype.kind not in "biuf":
        raise ValueError(
            f"{caller} got {len(values)} labels in y that are no numbers: for pairs of texts y is "
            "1 where the first text wins and 0 where the second does, or a number that says by "
            "how much the first is ahead."
        )
    labels = _labels(values)
    if task == "auto":
        _refuse_other_codes(values, labels, caller)
        task = "regression" if labels is None else "classification"
    if task == "regression":
        if not values.any():
            raise ValueError(f"{caller} got ties only: y is 0 for every one of {len(y)} pairs.")
        return Target(y.astype(np.float64), task, None)
    if labels is None:
        raise ValueError(
            f"{caller} got {len(values)} values in y, but of a pair one of two texts wins: pass 1 "
            "where the first text does and 0 (or -1) where the second, or set "
            'task="regression" for numbers that say by how much.'
        )
    return Target((y == labels[1]).astype(np.float64), task, labels)


def warn_if_one_sided(target, caller):
    """Warn where numbers put the same text of every pair ahead, as ratings of one text do.

    Parameters
    ----------
    target : Target

    caller : str
    """
    if target.task == "regression" and not (target.values.min() < 0 < target.values.max()):
        warn(
            f"{caller} takes the two columns of X for pairs of texts, of which y puts the same "
            "one ahead in every pair: if the columns are parts of one text, such as title and "
            "body, pass them joined as one column."
        )


def _labels(values):
    """The two labels that distinct values belong to; None if they are none."""
    for labels in ([0, 1], [-1, 1]):
        if np.isin(values, labels).all():
            return np.array(labels).astype(values.dtype)
    return None


def _refuse_other_codes(values, labels, caller):
    """Refuse what is not meant as numbers: 1 and 2 for the texts, or ties as a half."""
    is_half = labels is None and np.isin(values, (0, 0.5, 1)).all()
    if is_half or (labels is None and len(values) == 2):
        named = " and ".join(f"{value:g}" for value in values)
        raise ValueError(
            f"{caller} cannot tell what y means for pairs ({named}): pass 1 where the first text "
            "wins, -1 where the second does and 0 for ties if there are any, or set "
            'task="regression" if they say by how much the first text is ahead.'
        )


def mirrored(values, *, about=0.0):
    """Show every pair both ways round.

    Parameters
    ----------
    values : ndarray, DataFrame or sparse array of shape (n_samples, ...)
        Differences, of the first text less the second.

    about : float, default=0.0
        0.5 for what says which text wins, or how probably, as numbers between 0 and 1.

    Returns
    -------
    values : ndarray or CSR array of shape (2 * n_samples, ...)
        All pairs, then all of them with the texts in the other order.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._pairs import mirrored
    >>> mirrored(np.array([2.0, -1.0])), mirrored(np.array([0.0, 1.0]), about=0.5)
    (array([ 2., -1., -2.,  1.]), array([0., 1., 1., 0.]))
    """
    if sp.issparse(values):
        return sp.vstack([values, -values], format="csr")
    values = np.asarray(values)
    return np.concatenate([values, 2 * about - values])
