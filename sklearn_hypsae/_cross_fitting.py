"""The joint regression as a predictor, and how well it predicts rows that did not fit it."""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.special import expit
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from ._pairs import mirrored
from ._regression import fit_regression, independent_columns

N_FOLDS = 5
N_BOOTSTRAP = 500
CONFIDENCE = 0.95
VALUES_PER_CHUNK = 1_000_000


class Predictor:
    """The joint regression as a function of annotations, left-out columns included.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_columns)
    y : ndarray of shape (n_samples,)
    classification : bool
    groups : ndarray of int of shape (n_samples,), default=None
    cov_type : str, default="nonrobust"
    inference : bool, default=True
    intercept : bool, default=True

    Attributes
    ----------
    kept : ndarray of int
        Columns in the regression.

    depends_on : dict of int to list of int
        Columns left out, with what they follow from (nothing: constant).

    regression : Regression
    """

    def __init__(
        self,
        A,
        y,
        *,
        classification,
        groups=None,
        cov_type="nonrobust",
        inference=True,
        intercept=True,
    ):
        self.classification = classification
        self.kept, self.depends_on = independent_columns(A, intercept=intercept)
        self.regression = fit_regression(
            A[:, self.kept],
            y,
            classification=classification,
            groups=groups,
            cov_type=cov_type,
            inference=inference,
            intercept=intercept,
        )

    def predict(self, A):
        """Give the expected target: a probability, or a number."""
        params = self.regression.params
        linear = params[0] + A[:, self.kept] @ params[1:]
        return expit(linear) if self.classification else linear


class HeldOut(NamedTuple):
    """Predictions by regressions that were not fitted on the rows they predict.

    Attributes
    ----------
    predicted : ndarray of shape (n_predicted,)

    rows : ndarray of int of shape (n_predicted,)
        Positions of the rows; all, unless a fold could not be used.

    fold : ndarray of int of shape (n_predicted,)
    """

    predicted: np.ndarray
    rows: np.ndarray
    fold: np.ndarray


def cross_fit(A, y, *, classification, groups=None, random_state=0):
    """Predict every row by a regression that was not fitted on it.

    Five folds: stratified for a classification, never with one group on both sides.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_columns)
    y : ndarray of shape (n_samples,)
    classification : bool
    groups : ndarray of int of shape (n_samples,), default=None
    random_state : int or RandomState instance, default=0
        Shuffles rows into folds, because they may come sorted by y.

    Returns
    -------
    held_out : HeldOut or None
        None where there are too few rows, groups or rows of a class to fold.
    """
    folds = _folds(y, classification, groups, random_state)
    if folds is None:
        return None
    with warnings.catch_warnings():
        # scikit-learn warns of classes in few groups; folds without both are left out below.
        warnings.simplefilter("ignore", UserWarning)
        splits = list(folds.split(A, y, groups))
    parts = []
    for fold, (train, test) in enumerate(splits):
        if np.ptp(y[train]) == 0 or (classification and np.ptp(y[test]) == 0):
            continue
        predictor = Predictor(A[train], y[train], classification=classification, inference=False)
        parts.append((predictor.predict(A[test]), test, np.full(len(test), fold)))
    if not parts:
        return None
    return HeldOut(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _folds(y, classification, groups, random_state):
    """Choose the folds; None where not even two can be made."""
    n_units = len(y) if groups is None else len(np.unique(groups))
    n_folds = min(N_FOLDS, n_units)
    if classification:
        rarest = int(min(y.sum(), len(y) - y.sum()))
        n_folds = min(n_folds, rarest)
    if n_folds < 2:
        return None
    options = {"n_splits": n_folds, "shuffle": True, "random_state": random_state}
    if classification:
        return StratifiedKFold(**options) if groups is None else StratifiedGroupKFold(**options)
    return KFold(**options) if groups is None else GroupKFold(**options)


def held_out_score(held_out, y, *, classification, groups=None, random_state=0):
    """Score held-out predictions, with a bootstrap interval.

    The AUC is the mean over the folds, because predictions of different fits cannot be ranked
    against each other; R² is taken over all rows. Rows are resampled with their predictions, the
    regressions are not fitted again.

    Parameters
    ----------
    held_out : HeldOut or None
    y : ndarray of shape (n_samples,)
    classification : bool
    groups : ndarray of int of shape (n_samples,), default=None
        Resampled as a whole.
    random_state : int or RandomState instance, default=0

    Returns
    -------
    score, low, high : float
        AUC or R² and its 95% percentile interval; NaN where nothing could be predicted.
    """
    if held_out is None:
        return np.nan, np.nan, np.nan
    score = _mean_auc if classification else _r2
    predicted, rows, fold = held_out
    point = score(y[rows], predicted, fold, np.ones((1, len(rows))))[0]
    resampled = np.concatenate(
        [
            score(y[rows], predicted, fold, counts[:, rows])
            for counts in _bootstrap_counts(len(y), groups, random_state)
        ]
    )
    if np.isnan(resampled).all():
        return float(point), np.nan, np.nan
    low, high = np.nanquantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(point), float(low), float(high)


def _bootstrap_counts(n_samples, groups, random_state):
    """Yield how often each row is drawn, some bootstrap samples (rows) at a time."""
    groups = np.arange(n_samples) if groups is None else groups
    n_groups = int(groups.max()) + 1
    rng = np.random.default_rng(random_state)
    chunk = max(1, VALUES_PER_CHUNK // n_samples)
    for start in range(0, N_BOOTSTRAP, chunk):
        size = min(chunk, N_BOOTSTRAP - start)
        draws = rng.integers(n_groups, size=(size, n_groups))
        counts = np.zeros((size, n_groups))
        np.add.at(counts, (np.arange(size)[:, None], draws), 1)
        yield counts[:, groups]


def _mean_auc(y, predicted, fold, counts):
    """Compute the mean AUC over folds for each row of counts; NaN where a fold lacks a class."""
    scores = [
        _auc(y[fold == k], predicted[fold == k], counts[:, fold == k]) for k in np.unique(fold)
    ]
    return np.mean(scores, axis=0)


def _auc(y, predicted, counts):
    order = np.argsort(predicted, kind="stable")
    values = predicted[order]
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    counts, positive = counts[:, order], y[order] == 1
    n_positive = np.add.reduceat(counts * positive, starts, axis=1)
    n_negative = np.add.reduceat(counts * ~positive, starts, axis=1)
    # Of pairs of one positive and one negative row: ordered rightly, ties by half.
    below = np.cumsum(n_negative, axis=1) - n_negative / 2
    with np.errstate(invalid="ignore"):
        return np.sum(n_positive * below, axis=1) / (
            n_positive.sum(axis=1) * n_negative.sum(axis=1)
        )


def _r2(y, predicted, fold, counts):
    errors = counts @ (y - predicted) ** 2
    centred = y - y.mean()  # the difference of squares is then exact for y far from zero
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = counts @ centred**2 - (counts @ centred) ** 2 / counts.sum(axis=1)
        return np.where(spread > 0, 1 - errors / spread, np.nan)


def scores(predictor, rows, random_state):
    """Score the regression in-sample and cross-fitted, and the covariates alone beside it.

    Pairs are scored both ways round, and a pair is resampled as one.

    Parameters
    ----------
    predictor : Predictor
        Fitted on the rows.

    rows : Rows

    random_state : RandomState instance

    Returns
    -------
    scores : dict
        auc or r2, the same with "_cv" and "_cv_ci", and with covariates "_cv_covariates".
    """
    name, score = ("auc", roc_auc_score) if predictor.classification else ("r2", r2_score)
    design, y, groups = rows.design, rows.y, rows.groups
    if rows.pairs:
        groups = np.tile(np.arange(len(y)) if groups is None else groups, 2)
        design, y = mirrored(design), mirrored(y, about=0.5 * predictor.classification)
    options = {
        "classification": predictor.classification,
        "groups": groups,
        # An integer, so that folds and resamples are the same with and without hypotheses.
        "random_state": random_state.randint(np.iinfo(np.int32).max),
    }

    def cross_fitted(design):
        return held_out_score(cross_fit(design, y, **options), y, **options)

    in_sample = float(score(y, predictor.predict(design)))
    point, low, high = cross_fitted(design)
    found = {name: in_sample, f"{name}_cv": point, f"{name}_cv_ci": (low, high)}
    n_covariates = rows.covariates.shape[1]
    if n_covariates:
        found[f"{name}_cv_covariates"] = cross_fitted(design[:, :n_covariates])[0]
    return found
