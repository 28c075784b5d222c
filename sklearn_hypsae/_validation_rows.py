"""The rows a set of hypotheses is tested on: complete, grouped, and who chose the hypotheses."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ._targets import check_groups, check_weights
from ._warning import warn

CALLER = "HypothesisValidator"


class Rows(NamedTuple):
    """Rows without a missing annotation, and with a weight above 0.

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

    sample_weight : ndarray of shape (n_rows,) or None
        With mean 1; None where all rows count alike.

    present_above : float, default=0.0
        Above this an annotation says that a concept is present.
    """

    A: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None
    annotated: np.ndarray
    n_dropped: int
    covariates: pd.DataFrame
    pairs: bool
    sample_weight: np.ndarray | None = None
    present_above: float = 0.0

    def mean(self, values):
        """Average over the rows, by their weights."""
        if self.sample_weight is None:
            return values.mean(axis=0)
        return self.sample_weight @ values / len(values)

    @property
    def design(self):
        """Covariates and annotations side by side.

        Covariates come first, so that an annotation that follows from them is left out, and
        not the other way round.
        """
        return np.column_stack([self.covariates.to_numpy(), self.A])


def complete_rows(
    annotations, target, groups=None, covariates=None, *, pairs=False, sample_weight=None
):
    """Choose the rows without NaN that count, and the columns with any annotation.

    Parameters
    ----------
    annotations : ndarray of shape (n_samples, n_hypotheses)

    target : Target

    groups : array-like of shape (n_samples,), default=None

    covariates : DataFrame of shape (n_samples, n_covariates), default=None

    pairs : bool, default=False

    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    rows : Rows

    Raises
    ------
    ValueError
        If nothing is left to test, or to test it on, or the groups or weights are of no use.
    """
    y = target.values
    codes = check_groups(groups, n_samples=len(y), caller=CALLER)
    weights = check_weights(sample_weight, n_samples=len(y), caller=CALLER)
    counts = np.ones(len(y), bool) if weights is None else weights > 0
    unknown = np.isnan(annotations)
    is_annotated = ~unknown[counts].all(axis=0)
    complete = counts & ~unknown[:, is_annotated].any(axis=1)
    _refuse_nothing_left(is_annotated, complete, target, pairs)
    n_dropped = int(np.sum(counts & ~complete))
    if n_dropped > counts.sum() / 2:
        warn(
            f"{n_dropped} of {counts.sum()} rows have a NaN among their annotations and are "
            "dropped: the rest may not stand for all.",
        )
    if codes is not None:
        codes = check_groups(codes[complete], n_samples=complete.sum(), caller=CALLER)
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
        _relative(weights, complete),
    )


def _relative(weights, complete):
    """Scale weights to mean 1: only their ratios matter, and equal ones are none."""
    if weights is None or np.ptp(weights[complete]) == 0:
        return None
    weights = weights[complete] / weights[complete].max()
    return weights / weights.mean()


def _refuse_nothing_left(is_annotated, complete, target, pairs):
    y = target.values
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
    if target.classes is not None and len(target.classes) > 2:
        left = np.bincount(y[complete].astype(int), minlength=len(target.classes))
        if not left.all():
            raise ValueError(
                f"{CALLER} has no row of class {str(target.classes[left.argmin()])!r} left once "
                "rows with a NaN in X or a weight of 0 are dropped: leave that class out of y too."
            )
    # Of pairs, the winner may always come first.
    if np.ptp(y[complete]) == 0 and not pairs:
        raise ValueError(
            f"{CALLER} cannot test anything: y has one class or value only in the "
            f"{complete.sum()} of {len(y)} rows that have no NaN in X and a weight above 0."
        )
