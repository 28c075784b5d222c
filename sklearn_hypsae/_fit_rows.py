"""Which rows chose the hypotheses: a mark that frames carry, so that validation can tell.

p-values on the rows that chose the hypotheses mean nothing, and in a stock Pipeline nothing else
tells the validation step. Arrays cannot carry the mark.
"""

import base64
import hashlib

import numpy as np
import pandas as pd

from ._texts import has_texts, row_keys
from ._warning import warn

# In the ``attrs`` of an output frame: the texts of the rows that a step was fitted on, hashed and
# as one string, so that a frame can still be written to a file; True where those rows are the
# frame's own and have no texts; False where none of them is.
FIT_ROWS_ATTR = "sklearn_hypsae_fit_rows"
MOST_SEEN = 0.05


def text_fingerprints(texts):
    """Hash texts so that seen ones can be told without keeping them.

    Parameters
    ----------
    texts : iterable of str

    Returns
    -------
    fingerprints : ndarray of shape (n_texts,), dtype=uint64
    """
    digests = (
        hashlib.blake2b(str(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for text in texts
    )
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def fit_rows(X):
    """Give the mark of rows that a step is fitted on.

    Parameters
    ----------
    X : DataFrame or array
        A frame whose index is the texts, texts, or anything else.

    Returns
    -------
    mark : str or None
        None where the rows have no texts to know them by.
    """
    if not has_texts(X):
        return None
    return base64.b64encode(text_fingerprints(row_keys(X).ravel()).tobytes()).decode()


def mark_fit_rows(output, mark):
    """Record on a frame which rows chose its columns.

    Parameters
    ----------
    output : DataFrame or array
        What a step returns.

    mark : str, bool or None
        As in ``FIT_ROWS_ATTR``; None: unknown.

    Returns
    -------
    output : DataFrame or array
        The same object.
    """
    if isinstance(output, pd.DataFrame):
        output.attrs.pop(FIT_ROWS_ATTR, None)
        if mark is not None:
            output.attrs[FIT_ROWS_ATTR] = mark
    return output


def mark_own_rows(output, mark):
    """Record on the output of ``fit_transform`` that its own rows chose its columns.

    Parameters
    ----------
    output : DataFrame or array

    mark : str, False or None
        Of the rows, from :func:`fit_rows`; False where nothing was chosen.

    Returns
    -------
    output : DataFrame or array
        The same object.
    """
    return mark_fit_rows(output, mark if mark is False or has_texts(output) else True)


def seen_rows(fingerprints, X):
    """Say of each row whether one of its texts is among those hashed.

    Parameters
    ----------
    fingerprints : ndarray of uint64

    X : ndarray of str or DataFrame
        Rows with texts; pairs have two each.

    Returns
    -------
    is_seen : ndarray of bool of shape (n_samples,)
    """
    keys = row_keys(X)
    found = np.isin(text_fingerprints(keys.ravel()), fingerprints)
    return found.reshape(len(keys), -1).any(axis=1)


def rows_chose_hypotheses(X):
    """Read off a frame whether its rows chose its columns, and warn if so.

    Parameters
    ----------
    X : DataFrame or array-like

    Returns
    -------
    in_sample : bool or None
        True if more than a few did. None where it cannot be known.
    """
    mark = X.attrs.get(FIT_ROWS_ATTR) if isinstance(X, pd.DataFrame) else None
    if mark is None or isinstance(mark, str) and not (has_texts(X) and len(X)):
        return None
    n_seen = len(X) if mark is True else 0
    if isinstance(mark, str):
        n_seen = seen_rows(np.frombuffer(base64.b64decode(mark), dtype=np.uint64), X).sum()
    # Short texts come again among other rows, which does not make those the same rows.
    if n_seen <= MOST_SEEN * len(X):
        return False
    which = "the" if n_seen == len(X) else f"{n_seen} of the {len(X)}"
    warn(
        f"These p-values mean nothing: {which} rows that test the hypotheses are rows that "
        "chose them. Use HypothesisGenerator, or fit HypothesisValidator on held-out rows."
    )
    return True
