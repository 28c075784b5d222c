"""What kind of target y is, and y as numbers."""

import numbers
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils import column_or_1d

# Of which fourth powers, summed over many rows, still are numbers.
LARGEST = 1e60
# Labels that hardly come again are no classes.
FEW_CLASSES, MOST_CLASSES_PER_ROW = 20, 0.5
LONGEST_LABEL = 40


class Target(NamedTuple):
    """A target that has been checked.

    Attributes
    ----------
    values : ndarray of shape (n_samples,), dtype=float64
        The target; for classification 0.0 for ``classes[0]`` and 1.0 for ``classes[1]``
        (with more classes, the index of the class).

    task : {"classification", "regression"}
        The resolved task.

    classes : ndarray of shape (n_classes,) or None
        The distinct labels in sorted order; None for regression.
    """

    values: np.ndarray
    task: str
    classes: np.ndarray | None

    @property
    def n_classes(self):
        """Number of classes; None for regression."""
        return None if self.classes is None else len(self.classes)


def check_target(y, *, task="auto", n_samples=None, caller, max_classes=2):
    """Check a target and turn it into numbers.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        The target: numbers, booleans or labels.

    task : {"auto", "classification", "regression"}, default="auto"
        "auto" takes two distinct values, a non-numeric y or categories without an order
        (pandas) for classification and everything else for regression.

    n_samples : int, default=None
        Number of rows that y has to have. None: any.

    caller : str
        Class or function that asks, named in errors.

    max_classes : int or None, default=2
        The largest number of classes the caller can deal with. None: any number.

    Returns
    -------
    target : Target

    Raises
    ------
    ValueError
        If y is missing, of another length, has missing or infinite values, is constant, is
        not numeric for a regression, or has too many classes.

    Examples
    --------
    >>> from sklearn_hypsae._targets import check_target
    >>> check_target(["fresh", "rotten", "fresh"], caller="Example").values
    array([0., 1., 0.])
    >>> check_target([1, 2, 5, 4], caller="Example").task
    'regression'
    """
    is_nominal = _is_nominal(y)
    y = checked_values(y, n_samples=n_samples, caller=caller)
    classes, codes = np.unique(y, return_inverse=True)
    numeric = y.dtype.kind in "biuf"
    if task == "auto":
        is_classes = len(classes) == 2 or not numeric or is_nominal
        task = "classification" if is_classes else "regression"
    if len(classes) < 2:
        raise ValueError(
            f"{caller} cannot learn from a constant target: y has one class or value only "
            f"({len(y)} rows), so nothing can predict it."
        )
    if task == "classification":
        _refuse_classes(classes, y, max_classes, caller)
        return Target(codes.astype(np.float64), task, classes)
    if not numeric:
        raise ValueError(
            f"{caller} cannot use y of type {y.dtype} for a regression: pass numbers, or set "
            'task="classification".'
        )
    return Target(y.astype(np.float64), task, None)


def _is_nominal(y):
    """Whether y was declared to be categories without an order, whatever they are called."""
    dtype = getattr(y, "dtype", None)
    return isinstance(dtype, pd.CategoricalDtype) and not dtype.ordered


def checked_values(y, *, n_samples, caller):
    """Check that there is one value of y for each row, and none missing or infinite.

    Parameters
    ----------
    y, n_samples, caller
        As for :func:`check_target`.

    Returns
    -------
    y : ndarray of shape (n_samples,)

    Raises
    ------
    ValueError
        If not.
    """
    if y is None:
        raise ValueError(
            f"{caller} requires y to be passed, but the target y is None: pass one value a row."
        )
    if getattr(getattr(y, "dtype", None), "kind", None) == "c":
        # scikit-learn's own refusal prints all of y.
        raise ValueError(f"{caller} cannot use complex numbers as y: pass real numbers or labels.")
    y = column_or_1d(_without_pandas_types(y), warn=True)
    if n_samples is not None and len(y) != n_samples:
        raise ValueError(
            f"{caller} got {n_samples} rows in X but {len(y)} values in y: they must be equally "
            "many (inconsistent numbers of samples)."
        )
    _refuse_missing(y, caller)
    _refuse_extremes(y, caller)
    return y


def targets_of(values, n_classes):
    """Give y itself, or with more than two classes one target for each against the rest.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Numbers; with classes, those of the classes.

    n_classes : int or None
        None: a regression.

    Returns
    -------
    targets : list of ndarray of shape (n_samples,)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._targets import targets_of
    >>> targets_of(np.array([0.0, 2.0, 1.0, 2.0]), 3)[2]
    array([0., 1., 0., 1.])
    """
    if n_classes is None or n_classes == 2:
        return [values]
    return [(values == k).astype(np.float64) for k in range(n_classes)]


def check_class_sizes(target, *, n_needed, caller):
    """Refuse classes with too few rows.

    Parameters
    ----------
    target : Target

    n_needed : int
        Fewest rows of a class.

    caller : str
        Class that asks, named in errors.

    Raises
    ------
    ValueError
        If a class has fewer rows.
    """
    if target.classes is None:
        return
    sizes = np.bincount(target.values.astype(int), minlength=len(target.classes))
    if sizes.min() < n_needed:
        rarest = _short(np.asarray(target.classes[sizes.argmin()]).item())
        raise ValueError(
            f"{caller} needs {n_needed} rows of every class, to discover on some and test on "
            f"others, but class {rarest} of y has {sizes.min()}: pass more rows of it, or leave "
            "it out."
        )


def _short(label):
    shown = repr(label)
    return shown if len(shown) <= LONGEST_LABEL else f"{shown[:LONGEST_LABEL]}…"


def check_groups(groups, *, n_samples, caller):
    """Check which rows belong together.

    Parameters
    ----------
    groups : array-like of shape (n_samples,) or None
        Equal entries belong to one group.

    n_samples : int
        Number of rows.

    caller : str
        Class that asks, named in errors.

    Returns
    -------
    codes : ndarray of shape (n_samples,), dtype=int, or None
        The groups, numbered from 0; None without groups.

    Raises
    ------
    ValueError
        If there is not one group for each row, or all rows are in one.
    """
    if groups is None:
        return None
    if isinstance(groups, str):
        raise ValueError(
            f"{caller} got a string as groups, not one group a row: pass the column itself, "
            f"df[{groups!r}]."
        )
    if isinstance(groups, pd.DataFrame) and groups.shape[1] == 1:
        groups = groups.iloc[:, 0]
    if isinstance(groups, np.ndarray) and groups.ndim == 2 and groups.shape[1] == 1:
        groups = groups.ravel()
    groups = pd.Series(list(groups), dtype=object)
    if len(groups) != n_samples:
        raise ValueError(
            f"{caller} got {n_samples} rows in X but {len(groups)} values in groups: pass one "
            "group a row."
        )
    missing = np.flatnonzero(groups.isna())
    if len(missing):
        raise ValueError(
            f"{caller} found missing values in groups in {len(missing)} of {n_samples} rows, "
            f"first at position {missing[0]}: every row needs a group."
        )
    codes, distinct = pd.factorize(groups)
    if len(distinct) < 2:
        raise ValueError(
            f"{caller} cannot tell groups apart: all {n_samples} rows are in one group, so no "
            "standard error can be had between groups; pass groups=None if rows are independent."
        )
    return codes


def check_weights(sample_weight, *, n_samples, caller):
    """Check how much each row counts.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or None

    n_samples : int
        Number of rows.

    caller : str
        Class that asks, named in errors.

    Returns
    -------
    weights : ndarray of shape (n_samples,), dtype=float64, or None

    Raises
    ------
    ValueError
        If there is not one weight a row, or one is missing, infinite or below 0, or all are 0.
    """
    if sample_weight is None:
        return None
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{caller} takes numbers as sample_weight: pass one a row.") from None
    if weights.shape != (n_samples,):
        raise ValueError(
            f"{caller} got {n_samples} rows in X but sample_weight of shape {weights.shape}: pass "
            "one number a row."
        )
    for kind, wrong in {
        "missing or infinite": ~np.isfinite(weights),
        "negative": np.isfinite(weights) & (weights < 0),
    }.items():
        if wrong.any():
            raise ValueError(
                f"{caller} found {kind} values in sample_weight in {wrong.sum()} of {n_samples} "
                f"rows, first at position {np.argmax(wrong)}: weights are numbers from 0 up, and 0 "
                "leaves a row out."
            )
    if not weights.any():
        raise ValueError(f"{caller} got a sample_weight of zero for every row, so none is left.")
    return weights


def _without_pandas_types(y):
    """Give numpy values for y, with strings and missing values as objects."""
    if isinstance(y, pd.DataFrame):
        y = y.to_numpy()
    elif isinstance(y, pd.Series | pd.Index):
        is_plain = isinstance(y.dtype, np.dtype) and y.dtype.kind in "biuf"
        y = y.to_numpy() if is_plain else _narrowed(y.to_numpy(dtype=object))
    else:
        y = np.asarray(y) if not isinstance(y, list | tuple) else _narrowed(_object_array(y))
    return _narrowed(y) if y.dtype == object else y


def _object_array(values):
    array = np.asarray(values)
    # A list that mixes strings with None or NaN becomes an array of strings ("nan") in
    # numpy, which would hide what is missing.
    return array if array.dtype.kind in "biuf" or array.ndim != 1 else np.array(values, object)


def _narrowed(values):
    """Give objects that are all numbers (or all strings) the plain type they have."""
    if values.dtype != object or values.size == 0:
        return values
    flat = values.ravel()
    if all(isinstance(v, numbers.Real | Decimal) and v is not pd.NA for v in flat):
        # Decimals, which databases give, are numbers to everyone but numpy.
        flat = [float(v) if isinstance(v, Decimal) else v for v in flat]
        return np.asarray(flat).reshape(values.shape)
    return values


def _refuse_extremes(y, caller):
    """Refuse numbers whose higher powers, which tests of skewness need, are no numbers."""
    # A Python float, since the limits are beyond float32.
    extent = float(np.abs(y).max(initial=0)) if y.dtype.kind == "f" else 0
    if extent > LARGEST or 0 < extent < 1 / LARGEST:
        raise ValueError(
            f"{caller} cannot calculate with y of the order of {extent:.0e}: give it in other "
            "units."
        )


def _refuse_missing(y, caller):
    missing = pd.isna(y) if y.dtype == object else np.zeros(len(y), bool)
    if y.dtype.kind == "f":
        missing = np.isnan(y)
    elif y.dtype.kind not in "biufOUS":
        raise ValueError(f"{caller} cannot use y of type {y.dtype}: pass numbers or labels.")
    if missing.any():
        rows = np.flatnonzero(missing)
        raise ValueError(
            f"{caller} found NaN in y (missing values) in {len(rows)} of {len(y)} rows, first at "
            f"position {', '.join(map(str, rows[:5]))}: drop or fill those rows."
        )
    if y.dtype.kind == "f" and np.isinf(y).any():
        rows = np.flatnonzero(np.isinf(y))
        raise ValueError(
            f"{caller} found inf in y (infinity) in {len(rows)} of {len(y)} rows, first at "
            f"position {', '.join(map(str, rows[:5]))}: drop or replace those rows."
        )
    kinds = {type(v) for v in y} if y.dtype == object else set()
    if len(kinds) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"{caller} found labels of mixed types in y ({names}): use one type.")


def _refuse_classes(classes, y, max_classes, caller):
    # Two values are two classes, whatever they are called.
    if len(classes) > 2 and y.dtype.kind == "f" and np.any(classes != np.round(classes)):
        raise ValueError(
            f"Unknown label type: {caller} got continuous values in y for a classification: "
            'pass class labels, or set task="regression".'
        )
    if max_classes is not None and len(classes) > max_classes:
        raise ValueError(
            f"Only binary classification is supported. {caller} got {len(classes)} classes in "
            "y: fit one class against the rest, or encode an ordered target as numbers."
        )
    if len(classes) > max(FEW_CLASSES, MOST_CLASSES_PER_ROW * len(y)):
        raise ValueError(
            f"{caller} takes y for labels, but its {len(y)} rows have {len(classes)} different "
            "ones: pass numbers as numbers (pd.to_numeric), dates as the number that matters, or "
            "labels that come again."
        )
