"""How well the joint regression predicts rows that did not fit it."""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from ._pairs import mirrored
from ._predictor import fit_predictors, predict_jointly

N_FOLDS = 5
N_BOOTSTRAP = 500
CONFIDENCE = 0.95
VALUES_PER_CHUNK = 1_000_000


class HeldOut(NamedTuple):
    """Predictions by regressions that were not fitted on the rows they predict.

    Attributes
    ----------
    predicted : ndarray of shape (n_predicted,) or (n_predicted, n_classes)

    rows : ndarray of int of shape (n_predicted,)
        Positions of the rows; all, unless a fold could not be used.

    fold : ndarray of int of shape (n_predicted,)
    """

    predicted: np.ndarray
    rows: np.ndarray
    fold: np.ndarray


def cross_fit(A, y, *, n_classes=None, groups=None, random_state=0, sample_weight=None):
    """Predict every row by a regression that was not fitted on it.

    Five folds: stratified for a classification, never with one group on both sides.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_columns)
    y : ndarray of shape (n_samples,)
        With classes, their numbers.
    n_classes : int, default=None
        None: a regression.
    groups : ndarray of int of shape (n_samples,), default=None
    random_state : int or RandomState instance, default=0
        Shuffles rows into folds, because they may come sorted by y.
    sample_weight : ndarray of shape (n_samples,), default=None
        How much each row counts in the fits.

    Returns
    -------
    held_out : HeldOut or None
        None where there are too few rows, groups or rows of a class to fold.
    """
    folds = _folds(y, n_classes, groups, random_state)
    if folds is None:
        return None
    with warnings.catch_warnings():
        # scikit-learn warns of classes in few groups; folds without them are left out below.
        warnings.simplefilter("ignore", UserWarning)
        splits = list(folds.split(A, y, groups))
    parts = []
    for fold, (train, test) in enumerate(splits):
        if not _is_usable(y[train], y[test], n_classes):
            continue
        weights = None if sample_weight is None else sample_weight[train]
        predictors = fit_predictors(
            A[train], y[train], n_classes=n_classes, inference=False, sample_weight=weights
        )
        parts.append((predict_jointly(predictors, A[test]), test, np.full(len(test), fold)))
    if not parts:
        return None
    return HeldOut(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _is_usable(train, test, n_classes):
    """Whether all classes can be learnt, and how well they are told apart can be seen."""
    if n_classes is None:
        return np.ptp(train) > 0
    return len(np.unique(train)) == n_classes and np.ptp(test) > 0


def _folds(y, n_classes, groups, random_state):
    """Choose the folds; None where not even two can be made."""
    n_units = len(y) if groups is None else len(np.unique(groups))
    n_folds = min(N_FOLDS, n_units)
    if n_classes is not None:
        rarest = int(np.bincount(y.astype(int), minlength=n_classes).min())
        n_folds = min(n_folds, rarest)
    if n_folds < 2:
        return None
    options = {"n_splits": n_folds, "shuffle": True, "random_state": random_state}
    if n_classes is not None:
        return StratifiedKFold(**options) if groups is None else StratifiedGroupKFold(**options)
    return KFold(**options) if groups is None else GroupKFold(**options)


def held_out_score(held_out, y, *, n_classes=None, groups=None, random_state=0, sample_weight=None):
    """Score held-out predictions, with a bootstrap interval.

    The AUC is the mean over the folds, because predictions of different fits cannot be ranked
    against each other, and over the classes where there are more than two, each against the
    rest; R² is taken over all rows. Rows are resampled with their predictions, the
    regressions are not fitted again.

    Parameters
    ----------
    held_out : HeldOut or None
    y : ndarray of shape (n_samples,)
    n_classes : int, default=None
    groups : ndarray of int of shape (n_samples,), default=None
        Resampled as a whole.
    random_state : int or RandomState instance, default=0
    sample_weight : ndarray of shape (n_samples,), default=None
        How much each row counts in the score.

    Returns
    -------
    score, low, high : float
        AUC or R² and its 95% percentile interval; NaN where nothing could be predicted.
    """
    if held_out is None:
        return np.nan, np.nan, np.nan
    score = _r2 if n_classes is None else _mean_auc
    predicted, rows, fold = held_out
    weights = np.ones(len(rows)) if sample_weight is None else sample_weight[rows]
    point = score(y[rows], predicted, fold, weights[None])[0]
    resampled = np.concatenate(
        [
            score(y[rows], predicted, fold, counts[:, rows] * weights)
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
    """Compute the mean AUC over folds for each row of counts; NaN where a fold lacks a class.

    With several classes the mean over them too, each in the folds that have rows of it.
    """
    if predicted.ndim == 2:
        classes = range(predicted.shape[1])
        return np.mean([_mean_auc(y == k, predicted[:, k], fold, counts) for k in classes], axis=0)
    folds = [k for k in np.unique(fold) if np.ptp(y[fold == k].astype(int)) > 0]
    scores = [_auc(y[fold == k], predicted[fold == k], counts[:, fold == k]) for k in folds]
    return np.mean(scores, axis=0) if scores else np.full(len(counts), np.nan)


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


def scores(predictors, rows, n_classes, random_state):
    """Score the regression in-sample and cross-fitted, and the covariates alone beside it.

    Pairs are scored both ways round, and a pair is resampled as one.

    Parameters
    ----------
    predictors : list of Predictor
        Fitted on the rows.

    rows : Rows

    n_classes : int or None

    random_state : RandomState instance

    Returns
    -------
    scores : dict
        auc or r2, the same with "_cv" and "_cv_ci", and with covariates "_cv_covariates".
    """
    name, score = ("r2", _weighted_r2) if n_classes is None else ("auc", auc)
    design, y, groups, weights = rows.design, rows.y, rows.groups, rows.sample_weight
    if rows.pairs:
        groups = np.tile(np.arange(len(y)) if groups is None else groups, 2)
        design, y = mirrored(design), mirrored(y, about=0.0 if n_classes is None else 0.5)
        weights = None if weights is None else np.tile(weights, 2)
    options = {
        "n_classes": n_classes,
        "groups": groups,
        "sample_weight": weights,
        # An integer, so that folds and resamples are the same with and without hypotheses.
        "random_state": random_state.randint(np.iinfo(np.int32).max),
    }

    def cross_fitted(design):
        return held_out_score(cross_fit(design, y, **options), y, **options)

    in_sample = score(y, predict_jointly(predictors, design), weights)
    point, low, high = cross_fitted(design)
    found = {name: in_sample, f"{name}_cv": point, f"{name}_cv_ci": (low, high)}
    n_covariates = rows.covariates.shape[1]
    if n_covariates:
        found[f"{name}_cv_covariates"] = cross_fitted(design[:, :n_covariates])[0]
    return found


def _weighted_r2(y, predicted, sample_weight):
    return float(r2_score(y, predicted, sample_weight=sample_weight))


def auc(y, predicted, sample_weight=None):
    """Compute the AUC; of several classes the mean of each against the rest.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Numbers of the classes.

    predicted : ndarray of shape (n_samples,) or (n_samples, n_classes)

    sample_weight : ndarray of shape (n_samples,), default=None

    Returns
    -------
    auc : float
        Classes without a row are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._cross_fitting import auc
    >>> auc(np.array([0, 1, 2]), np.array([[0.9, 0.1, 0.0], [0.2, 0.2, 0.6], [0.0, 0.1, 0.9]]))
    1.0
    """
    if predicted.ndim == 1:
        return float(roc_auc_score(y, predicted, sample_weight=sample_weight))
    scores = [
        roc_auc_score(y == k, predicted[:, k], sample_weight=sample_weight)
        for k in np.unique(y).astype(int)
    ]
    return float(np.mean(scores))
