"""The rows a set of hypotheses is tested on: complete, grouped, and who chose the hypotheses."""

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

from ._targets import check_groups
from ._texts import FIT_ROWS_ATTR

CALLER = "HypothesisValidator"


class Rows(NamedTuple):
    """Rows without a missing annotation.

    Attributes
    ----------
    A : ndarray of shape (n_rows, n_annotated)
        Annotations or activations, no NaN among them.

    y : ndarray of shape (n_rows,)

    groups : ndarray of int of shape (n_rows,) or None
        Numbered from 0 without gaps.

    annotated : ndarray of int of shape (n_annotated,)
        The columns that have any annotation.

    n_dropped : int
        Rows left out because of a NaN.

    covariates : DataFrame of shape (n_rows, n_covariates)
        Of no columns where there are none.

    pairs : bool
        Whether a row is two texts, and everything in it the first less the second.
    """

    A: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None
    annotated: np.ndarray
    n_dropped: int
    covariates: pd.DataFrame
    pairs: bool

    @property
    def design(self):
        """Covariates and annotations side by side.

        Covariates come first, so that an annotation that follows from them is left out, and
        not the other way round.
        """
        return np.column_stack([self.covariates.to_numpy(), self.A])


def complete_rows(annotations, y, groups=None, covariates=None, *, pairs=False):
    """Choose the rows without NaN, and the columns with any annotation.

    Parameters
    ----------
    annotations : ndarray of shape (n_samples, n_hypotheses)

    y : ndarray of shape (n_samples,)

    groups : array-like of shape (n_samples,), default=None

    covariates : DataFrame of shape (n_samples, n_covariates), default=None

    pairs : bool, default=False

    Returns
    -------
    rows : Rows

    Raises
    ------
    ValueError
        If nothing is left to test, or to test it on, or the groups are of no use.
    """
    codes = check_groups(groups, n_samples=len(y), caller=CALLER)
    unknown = np.isnan(annotations)
    is_annotated = ~unknown.all(axis=0)
    complete = ~unknown[:, is_annotated].any(axis=1)
    _refuse_nothing_left(is_annotated, complete, y, pairs)
    n_dropped = int(np.sum(~complete))
    if n_dropped > len(y) / 2:
        warnings.warn(
            f"{n_dropped} of {len(y)} rows have a NaN among their annotations and are dropped: "
            "the rest may not stand for all.",
            UserWarning,
            stacklevel=3,
        )
    if codes is not None:
        codes = check_groups(codes[complete], n_samples=len(y) - n_dropped, caller=CALLER)
    kept = annotations[complete][:, is_annotated]
    covariates = pd.DataFrame(index=range(len(y))) if covariates is None else covariates
    return Rows(
        kept,
        y[complete],
        codes,
        np.flatnonzero(is_annotated),
        n_dropped,
        covariates[complete],
        pairs,
    )


def _refuse_nothing_left(is_annotated, complete, y, pairs):
    if not is_annotated.any():
        raise ValueError(
            f"{CALLER} has nothing to test: every annotation in X is NaN, so no row was "
            "annotated; look into why annotation failed."
        )
    if not complete.any():
        raise ValueError(
            f"{CALLER} has nothing to test: each of the {len(y)} rows of X has a NaN, and rows "
            "with a NaN are dropped; annotate again or drop the worst columns."
        )
    # Of pairs, the winner may always come first.
    if np.ptp(y[complete]) == 0 and not pairs:
        raise ValueError(
            f"{CALLER} cannot test anything: y has one class or value only in the "
            f"{complete.sum()} of {len(y)} rows that have no NaN in X."
        )


def rows_chose_hypotheses(X):
    """Read off a frame whether its rows chose its columns, and warn if so.

    Parameters
    ----------
    X : DataFrame or array-like

    Returns
    -------
    in_sample : bool or None
        None where it cannot be known.
    """
    in_sample = X.attrs.get(FIT_ROWS_ATTR) if isinstance(X, pd.DataFrame) else None
    if in_sample:
        warnings.warn(
            "These p-values mean nothing: the rows that test the hypotheses are the rows that "
            "chose them. Use HypothesisGenerator, or fit HypothesisValidator on held-out rows.",
            UserWarning,
            stacklevel=3,
        )
    return in_sample
