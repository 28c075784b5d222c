"""Checks of the rows before training and encoding. No torch here."""

import sys
from collections.abc import Iterable
from contextlib import contextmanager

import numpy as np
import pandas as pd
from sklearn.utils.validation import validate_data

from .._texts import has_pair_index, refuse_texts
from .source import Source, as_shards

COLUMN_ATTRIBUTES = ("n_features_in_", "feature_names_in_")


def columns_of(estimator):
    """Give the attributes that number and name the columns of X: dict."""
    return {name: vars(estimator)[name] for name in COLUMN_ATTRIBUTES if name in vars(estimator)}


@contextmanager
def columns_kept_on_failure(estimator):
    """Let a fitted estimator go on to take the rows that it took, where a new fit fails.

    Parameters
    ----------
    estimator : estimator
    """
    before = columns_of(estimator)
    try:
        yield
    except BaseException:
        for name in columns_of(estimator):
            delattr(estimator, name)
        vars(estimator).update(before)
        raise


def checked_source(estimator, X, *, reset, n_rows_at_least=1):
    """Give X as a source of finite rows; what may exceed memory is not copied.

    Parameters
    ----------
    estimator : estimator
        Remembers number and names of the columns, or compares them.

    X : array-like or tensor of shape (n_samples, n_features), or list of such arrays

    reset : bool
        Whether to remember instead of comparing.

    n_rows_at_least : int, default=1

    Returns
    -------
    source : Source

    Raises
    ------
    ValueError
        If X is not finite numbers in two dimensions, has other columns than in fit, or is of
        pairs and the neurons have no sign.

    TypeError
        If X is a generator or another iterable that can be read only once.
    """
    caller = type(estimator).__name__
    refuse_one_pass(X, caller)
    X = stacked(without_tensors(X), caller)
    if has_pair_index(X) and not estimator.signed:
        raise ValueError(
            f"{caller} got pairs of texts, of which a neuron can favour either: set signed=True "
            "(make_hypothesis_pipeline(pairs=True) does)."
        )
    refuse_texts(X, caller=caller, expected="embeddings", step="EmbeddingTransformer")
    shards = as_shards(X)
    if shards is None:
        X = validate_data(
            estimator,
            X,
            reset=reset,
            dtype=np.float32,
            order="C",
            ensure_all_finite=False,
            ensure_min_samples=n_rows_at_least,
        )
        shards = [X]
    else:
        refuse_unlike_shards(shards, caller)
        validate_data(estimator, shards[0], reset=reset, skip_check_array=True)
    source = Source(shards, is_signed=estimator.signed)
    refuse_non_finite(source, caller)
    return source


def refuse_one_pass(X, caller):
    """Refuse what gives its rows only once, before any of it is used up.

    Parameters
    ----------
    X : anything

    caller : str
    """
    if not isinstance(X, Iterable) or hasattr(X, "__len__") or hasattr(X, "__array__"):
        return
    raise TypeError(
        f"{caller} reads X more than once, which {type(X).__name__!r} may not allow: pass a list "
        "of two-dimensional arrays (numpy.memmap for those larger than memory), or call "
        "partial_fit or transform with one array at a time."
    )


def without_tensors(X):
    """Give tensors of torch as float32 arrays: numpy knows neither bfloat16 nor devices.

    Parameters
    ----------
    X : anything

    Returns
    -------
    X : anything
        An array for a tensor, a list of arrays for a list of tensors, else the same.
    """
    # Whoever passes a tensor has imported torch; no one else has to.
    torch = sys.modules.get("torch")
    if torch is None:
        return X
    if isinstance(X, list | tuple) and any(isinstance(part, torch.Tensor) for part in X):
        return [without_tensors(part) for part in X]
    return X.detach().to("cpu", torch.float32).numpy() if isinstance(X, torch.Tensor) else X


def stacked(X, caller):
    """Give a column of vectors as a table, and frames among parts of X as arrays.

    Parameters
    ----------
    X : anything

    caller : str

    Returns
    -------
    X : anything
        A frame with the same index for a column of a frame, an array for an array of vectors, a
        list of arrays for a list of frames, else the same.
    """
    if isinstance(X, list | tuple):
        is_frame = [isinstance(part, pd.DataFrame) for part in X]
        return [part.to_numpy() for part in X] if X and all(is_frame) else X
    column = X.iloc[:, 0] if isinstance(X, pd.DataFrame) and X.shape[1] == 1 else X
    if isinstance(X, np.ndarray) and X.dtype == object and X.size == len(X):
        column = pd.Series(X.ravel())
    if not isinstance(column, pd.Series) or column.dtype != object or column.empty:
        return X
    if not all(isinstance(vector, list | tuple | np.ndarray) for vector in column):
        return X
    lengths = column.map(len)
    if lengths.nunique() > 1:
        raise ValueError(
            f"{caller} expects vectors of one length in a column of them, got {lengths.iloc[0]} "
            f"numbers at position 0 and {lengths.min()} to {lengths.max()} elsewhere."
        )
    table = np.array(column.tolist())
    return table if isinstance(X, np.ndarray) else pd.DataFrame(table, index=X.index)


def refuse_non_finite(source, caller):
    """Refuse NaN and infinity, naming the first rows that have them.

    Parameters
    ----------
    source : Source

    caller : str
    """
    bad, is_nan = [], False
    for start, rows in source.blocks():
        # The sum is finite for nearly every finite block, and costs a fraction of the full look.
        with np.errstate(all="ignore"):
            if np.isfinite(rows.sum(dtype=np.float64)):
                continue
        here = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        is_nan = is_nan or bool(np.isnan(rows[here]).any())
        bad.extend((start + here).tolist())
    if not bad:
        return
    positions = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
    raise ValueError(
        f"Input X of {caller} contains {'NaN' if is_nan else 'infinity (inf)'} in {len(bad)} of "
        f"{len(source)} rows, first at position {positions}: drop those rows, or embed them again."
    )


def refuse_constant(source, caller):
    """Refuse rows that are all the same.

    Parameters
    ----------
    source : Source

    caller : str
    """
    first = source.take(np.array([0]))
    if all((rows == first).all() for _, rows in source.blocks()):
        raise ValueError(
            f"{caller} has nothing to learn: all {len(source)} rows of X are identical."
        )


def refuse_unlike_shards(shards, caller):
    """Refuse arrays that cannot be read as one.

    Parameters
    ----------
    shards : list

    caller : str
    """
    shapes = [np.shape(shard) if isinstance(shard, np.ndarray) else None for shard in shards]
    unlike = [i for i, shape in enumerate(shapes) if shape is None or len(shape) != 2]
    if unlike:
        found = shapes[unlike[0]]
        what = type(shards[unlike[0]]).__name__ if found is None else f"an array of shape {found}"
        raise ValueError(
            f"{caller} expects all parts of X to be two-dimensional arrays, got {what} as part "
            f"{unlike[0]}."
        )
    widths = sorted({shard.shape[1] for shard in shards})
    kinds = {shard.dtype.kind for shard in shards}
    if len(widths) > 1 or not kinds <= set("fiu"):
        raise ValueError(
            f"{caller} expects all parts of X to be numbers with one number of columns, got "
            f"{widths} columns of type {sorted({str(shard.dtype) for shard in shards})}."
        )
    if sum(len(shard) for shard in shards) < 1 or widths[0] < 1:
        raise ValueError(f"{caller} got no rows or no columns in X.")
