"""Which rows discover hypotheses and which rows test them."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split


def linked_rows(*keys):
    """Number the sets of rows that share a key, directly or through other rows.

    Parameters
    ----------
    *keys : array-like of shape (n_samples,)
        Rows with an equal entry in any of the keys belong together.

    Returns
    -------
    units : ndarray of shape (n_samples,), dtype=int
        Number of the set each row belongs to.

    Examples
    --------
    Rows 0 and 1 share a text, rows 1 and 2 a document:

    >>> from sklearn_hypsae._splitting import linked_rows
    >>> linked_rows(["fine", "fine", "poor", "good"], [7, 8, 8, 9]).tolist()
    [0, 0, 0, 1]
    """
    n_samples = len(keys[0])
    rows, nodes, n_nodes = [], [], n_samples
    for key in keys:
        codes, distinct = pd.factorize(np.asarray(key))
        rows.append(np.arange(n_samples))
        nodes.append(n_nodes + codes)
        n_nodes += len(distinct)
    rows, nodes = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(rows), bool), (rows, nodes)), shape=(n_nodes, n_nodes))
    _, component = connected_components(graph, directed=False)
    return pd.factorize(component[:n_samples])[0]


def split_units(units, y, *, validation_size, stratify, rng):
    """Split rows into discovery and validation, whole units on one side.

    Parameters
    ----------
    units : ndarray of shape (n_samples,), dtype=int
        Rows of equal number stay together.

    y : ndarray of shape (n_samples,)
        Target; class codes where ``stratify``.

    validation_size : float
        Share of the units that goes to validation.

    stratify : bool
        Whether both sides get the same share of each class, judging a unit by its
        commonest class. Where that leaves a class to fewer than two units (groups that mix the
        classes), the split is not stratified.

    rng : RandomState

    Returns
    -------
    discovery, validation : ndarray of int
        Row positions, ascending.

    Raises
    ------
    ValueError
        If there are too few units to split.
    """
    n_units = units.max() + 1
    if n_units < 2:
        raise ValueError(
            f"All {len(units)} rows share one group or one text, or hang together through such, "
            "so none can be held out: pass rows of at least two groups with different texts."
        )
    labels = _strata(units, y) if stratify else None
    _, held_out = train_test_split(
        np.arange(n_units), test_size=validation_size, stratify=labels, random_state=rng
    )
    is_validation = np.isin(units, held_out)
    if stratify:
        _refuse_one_sided(y, is_validation)
    return np.flatnonzero(~is_validation), np.flatnonzero(is_validation)


def split_into_folds(units, y, *, n_folds, stratify, rng):
    """Hold every row out once, whole units on one side.

    Parameters
    ----------
    units, y, stratify, rng
        As for :func:`split_units`.

    n_folds : int

    Returns
    -------
    splits : list of (discovery, validation)
        Row positions, ascending.

    Raises
    ------
    ValueError
        If there are fewer units, or units of a class, than folds.
    """
    n_units = units.max() + 1
    if n_units < n_folds:
        raise ValueError(
            f"cv={n_folds} asks for more folds than there are groups of rows that have to stay "
            f"together ({n_units} groups or distinct texts): set cv lower."
        )
    labels = _strata(units, y) if stratify else None
    n_rarest = n_folds if labels is None else np.bincount(labels).min()
    if n_rarest < n_folds:
        if n_units == len(y):
            raise ValueError(
                f"The rarest class of y has {n_rarest} rows, too few to be in each of {n_folds} "
                "folds: set cv lower, or pass more rows of it."
            )
        labels = None  # groups mix the classes, and may do so in every fold
    folds = KFold if labels is None else StratifiedKFold
    splitter = folds(n_folds, shuffle=True, random_state=rng)
    held_out = [test for _, test in splitter.split(np.arange(n_units), labels)]
    return _as_splits([np.isin(units, test) for test in held_out], y, stratify)


def split_by(splitter, X, y, groups, *, units, codes, stratify):
    """Hold every row out once, as a splitter says.

    Parameters
    ----------
    splitter : object with split
        Such as scikit-learn's.

    X, y, groups : array-like of shape (n_samples, ...)
        What it is handed.

    units, codes, stratify
        As ``units``, ``y`` and ``stratify`` of :func:`split_units`.

    Returns
    -------
    splits : list of (discovery, validation)
        Row positions, ascending.

    Raises
    ------
    ValueError
        If a row is not held out exactly once, or a unit is on both sides.
    """
    held_out = [np.asarray(test) for _, test in splitter.split(X, y, groups)]
    if not np.array_equal(np.sort(np.concatenate(held_out)), np.arange(len(y))):
        raise ValueError(
            f"{type(splitter).__name__} does not hold each row out exactly once, as cv= has to: "
            "pass KFold, StratifiedKFold, GroupKFold or their like, or a number of folds."
        )
    masks = [np.isin(np.arange(len(y)), test) for test in held_out]
    if len(masks) < 2 or any(np.isin(units[mask], units[~mask]).any() for mask in masks):
        raise ValueError(
            f"{type(splitter).__name__} puts rows of one group, or of one text, on both sides of "
            "a fold: pass a number of folds as cv, which keeps them together."
        )
    return _as_splits(masks, codes, stratify)


def _as_splits(masks, y, stratify):
    for is_validation in masks if stratify else ():
        _refuse_one_sided(y, is_validation)
    return [(np.flatnonzero(~mask), np.flatnonzero(mask)) for mask in masks]


def _strata(units, y):
    """Commonest class of each unit; None where groups mix the classes too much for that."""
    counts = np.zeros((units.max() + 1, int(y.max()) + 1), dtype=int)
    np.add.at(counts, (units, y.astype(int)), 1)
    labels = counts.argmax(axis=1)
    n_units_of = np.bincount(labels, minlength=2)
    if n_units_of.min() >= 2:
        return labels
    if len(labels) == len(y):
        raise ValueError(
            "A class of y has fewer than 2 rows, so it cannot be in both the discovery and the "
            "validation rows: pass more rows of it."
        )
    return None


def _refuse_one_sided(y, is_validation):
    n_classes = int(y.max()) + 1
    counts = [
        np.bincount(y[side].astype(int), minlength=n_classes)
        for side in (~is_validation, is_validation)
    ]
    if np.min(counts) < 2:
        share = min(is_validation.mean(), 1 - is_validation.mean())
        raise ValueError(
            f"The rarest class of y has {np.bincount(y.astype(int)).min()} rows, too few to "
            f"discover on some and test on others: two are needed on either side, that is about "
            f"{int(np.ceil(2 / share))} in all at this validation_size; pass more rows of it, "
            "leave it out, or set another validation_size."
        )
