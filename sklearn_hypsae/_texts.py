"""Checks on texts, and how texts travel from step to step.

In a stock scikit-learn Pipeline only X flows, so the texts ride along as the
pandas index of X: :func:`text_index` builds that index, :func:`texts_of` reads
it back, and :func:`like_input` gives every step's output the container its
input came in.
"""

import numbers

import numpy as np
import pandas as pd

TEXT_INDEX_NAME = "text"
PAIR_INDEX_NAMES = ("text_a", "text_b")
N_POSITIONS_SHOWN = 5


def check_texts(X, *, caller, name="X"):
    """Turn any one-column container of texts into a checked object array.

    Parameters
    ----------
    X : list, tuple, Series, Index, 1-D array or one-column DataFrame of str
        The texts.

    caller : str
        Class or function that asks, named in errors.

    name : str, default="X"
        How the caller names the argument, for errors.

    Returns
    -------
    texts : ndarray of shape (n_samples,), dtype=object
        The same texts, each a ``str``.

    Raises
    ------
    ValueError
        If there is no text, more than one column, or anything that is not a
        string. The first offending rows are named by position, never by content.
    """
    if isinstance(X, str | bytes):
        raise ValueError(
            f"{caller} expects a collection of texts as {name}, got a single "
            f"{type(X).__name__}: wrap it in a list."
        )
    if isinstance(X, pd.DataFrame):
        if X.shape[1] != 1:
            raise ValueError(
                f"{caller} expects one column of texts as {name}, got a frame with "
                f"{X.shape[1]} columns: pass the column that holds the texts."
            )
        X = X.iloc[:, 0]
    if not (hasattr(X, "__len__") and hasattr(X, "__iter__")) or isinstance(X, dict | set):
        raise ValueError(
            f"{caller} expects {name} to be a list, Series or one-dimensional array of texts, "
            f"got {type(X).__name__}."
        )
    if getattr(X, "ndim", 1) != 1:
        raise ValueError(
            f"{caller} expects a one-dimensional collection of texts as {name}, got an array of "
            f"shape {X.shape}. Reshape your data: pass the column that holds the texts."
        )
    texts = np.empty(len(X), dtype=object)
    texts[:] = list(X)
    if len(texts) == 0:
        raise ValueError(f"{caller} got no texts: {name} has 0 samples, at least 1 is required.")
    bad = [i for i, text in enumerate(texts) if not isinstance(text, str)]
    if bad:
        raise ValueError(_not_texts_message(texts, bad, caller, name))
    # np.str_ is a str, but hashes into caches and indexes as another type.
    texts[:] = [str(text) for text in texts]
    return texts


def check_pairs(X, *, caller, name="X"):
    """Turn pairs of texts into a checked object array.

    Parameters
    ----------
    X : DataFrame or array of two columns of str
        The texts; or a frame that has them as its index (see :func:`text_index`).

    caller : str
        Class or function that asks, named in errors.

    name : str, default="X"
        How the caller names the argument, for errors.

    Returns
    -------
    pairs : ndarray of shape (n_samples, 2), dtype=object

    Raises
    ------
    ValueError
        If there are other than two columns, or an entry is not a string.
    """
    frame = X.index.to_frame(index=False) if has_pair_index(X) else pd.DataFrame(X)
    if frame.shape[1] != 2:
        raise ValueError(
            f"{caller} expects two columns of texts as {name}, one row a pair, got "
            f"{frame.shape[1]}: pass the texts that are compared."
        )
    columns = [
        check_texts(frame.iloc[:, j], caller=caller, name=f"column {frame.columns[j]!r} of {name}")
        for j in range(2)
    ]
    return np.column_stack(columns)


def has_pair_index(X):
    """Whether X is a frame whose index is pairs of texts."""
    return isinstance(X, pd.DataFrame) and tuple(X.index.names) == PAIR_INDEX_NAMES


def holds_pairs(X):
    """Whether X is a frame of two columns of texts."""
    return isinstance(X, pd.DataFrame) and X.shape[1] == 2 and _has_no_numbers(X)


def _has_no_numbers(frame):
    return not any(pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes)


def _not_texts_message(texts, bad, caller, name):
    shown = ", ".join(f"{i} ({_kind(texts[i])})" for i in bad[:N_POSITIONS_SHOWN])
    more = ", …" if len(bad) > N_POSITIONS_SHOWN else ""
    return (
        f"{caller} expects every entry of {name} to be a string, but {len(bad)} of {len(texts)} "
        f"are not, at position {shown}{more}: drop those rows or convert them to str."
    )


def _kind(value):
    if value is None:
        return "None"
    if value is pd.NA or (isinstance(value, numbers.Real) and value != value):
        return "NaN"
    return type(value).__name__


def refuse_texts(X, *, caller, expected, step):
    """Refuse texts where numbers are expected, before a conversion puts one in its message.

    Parameters
    ----------
    X : anything
        Numbers are let through, whatever their shape.

    caller : str
        Class that asks, named in the error.

    expected : str
        What X should be, in the plural.

    step : str
        Class that makes it.

    Raises
    ------
    ValueError
        If any entry of X is a string.
    """
    if _holds_texts(X):
        raise ValueError(f"{caller} expects {expected} as X, got texts: put {step} before it.")


def _holds_texts(X):
    if isinstance(X, str | bytes):
        return True
    if isinstance(X, pd.DataFrame):
        return any(_holds_texts(X.iloc[:, i]) for i in range(X.shape[1]))
    # Kinds of numbers are told by the type of the array; only the others are looked through.
    if getattr(getattr(X, "dtype", None), "kind", "O") not in "OSTU":
        return False
    if not isinstance(X, list | tuple | pd.Series | pd.Index | np.ndarray):
        return False
    entries = X.ravel() if isinstance(X, np.ndarray) else X
    return any(isinstance(entry, str | bytes) or _is_row_with_text(entry) for entry in entries)


def _is_row_with_text(row):
    return isinstance(row, list | tuple) and any(isinstance(entry, str | bytes) for entry in row)


def text_index(texts):
    """Build the index that carries texts through a Pipeline.

    Parameters
    ----------
    texts : array-like of shape (n_samples,) of str, or (n_samples, 2) for pairs

    Returns
    -------
    index : Index of dtype object, named "text"; for pairs a MultiIndex ("text_a", "text_b")

    Examples
    --------
    >>> from sklearn_hypsae._texts import text_index
    >>> text_index(["good food", "slow service"])
    Index(['good food', 'slow service'], dtype='object', name='text')
    """
    if np.ndim(texts) == 2:
        return pd.MultiIndex.from_arrays(list(texts.T), names=PAIR_INDEX_NAMES)
    return pd.Index(texts, dtype=object, name=TEXT_INDEX_NAME)


def texts_of(X, texts=None, *, caller):
    """Find the texts that belong to the rows of X.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_features)
        Rows whose texts are wanted.

    texts : collection of str, default=None
        The texts where the caller has them; they win over the index. Two columns for pairs.

    caller : str
        Class that asks, named in errors.

    Returns
    -------
    texts : ndarray of shape (n_samples,), dtype=object; (n_samples, 2) for pairs

    Raises
    ------
    ValueError
        If the texts are neither given nor in the index, or their number differs
        from the number of rows.
    """
    n_samples = X.shape[0]
    if texts is None:
        if has_pair_index(X):
            return check_pairs(X, caller=caller, name="the index of X")
        if not (isinstance(X, pd.DataFrame) and X.index.name == TEXT_INDEX_NAME):
            raise ValueError(
                f"{caller} has activations but not the texts they came from: pass texts= to the "
                "method, or keep the frame that EmbeddingTransformer returns, whose index is "
                "the texts (with a step of another library in between, call "
                'pipe.set_output(transform="pandas")).'
            )
        texts = X.index
    are_pairs = np.ndim(texts) == 2 and np.shape(texts)[1] == 2
    check = check_pairs if are_pairs else check_texts
    texts = check(texts, caller=caller, name="texts")
    if len(texts) != n_samples:
        raise ValueError(
            f"{caller} got {n_samples} rows but {len(texts)} texts: pass one text for each row."
        )
    return texts


def has_texts(X):
    """Whether rows come with texts.

    Parameters
    ----------
    X : DataFrame or array

    Returns
    -------
    has_texts : bool
        For a frame: as its index, or as a pair of columns.
    """
    if isinstance(X, pd.DataFrame):
        return X.index.name == TEXT_INDEX_NAME or has_pair_index(X) or holds_pairs(X)
    return isinstance(X, np.ndarray) and X.size > 0 and isinstance(X.flat[0], str)


def row_keys(X):
    """Give each row a string that is equal where the texts are; two for pairs.

    Parameters
    ----------
    X : ndarray of str or DataFrame
        Texts, a frame of two columns of them, or a frame whose index is the texts.

    Returns
    -------
    keys : ndarray of shape (n_samples,), dtype=object; (n_samples, 2) for pairs
        The texts. For a frame without texts, the position of the row.
    """
    if not isinstance(X, pd.DataFrame):
        return X
    if has_pair_index(X):
        X = X.index.to_frame(index=False)
    if holds_pairs(X):
        return X.to_numpy(dtype=object)
    if X.index.name == TEXT_INDEX_NAME:
        return X.index.to_numpy(dtype=object)
    return np.array([str(i) for i in range(len(X))], dtype=object)


def like_input(values, X, estimator, *, copy_attrs=True):
    """Give an output the container of the input: a frame for a frame, else an array.

    An explicit ``estimator.set_output(transform="default")`` asks for arrays and
    gets them; the other settings are left to scikit-learn's own wrapping.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features_out)
        What the step computed.

    X : DataFrame or array-like
        What the step was given.

    estimator : estimator
        The step, for its output names and configuration.

    copy_attrs : bool, default=True
        Whether the input frame's ``attrs`` travel along.

    Returns
    -------
    output : DataFrame or ndarray of shape (n_samples, n_features_out)
    """
    if not isinstance(X, pd.DataFrame) or _asks_for_arrays(estimator):
        return values
    frame = pd.DataFrame(
        values, index=X.index, columns=estimator.get_feature_names_out(), copy=False
    )
    if copy_attrs:
        frame.attrs.update(X.attrs)
    return frame


def _asks_for_arrays(estimator):
    config = getattr(estimator, "_sklearn_output_config", {})
    return config.get("transform") == "default"
