"""How much of the target the embeddings hold: the ceiling of any hypothesis table."""

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold

from ._cross_fitting import HeldOut, held_out_score
from ._pairs import mirrored
from ._warning import warn

# Unit-length embeddings want a weak penalty; the range covers raw ones of larger norm too.
INVERSE_PENALTIES = (0.1, 1.0, 10.0, 100.0)
RIDGE_PENALTIES = tuple(np.logspace(-3, 4, 22))


def probe_signal(discovery, validation, *, task, groups=None, pairs=False, rng, sample_weight=None):
    """Score a linear probe of y on embeddings, on rows it was not fitted on.

    Parameters
    ----------
    discovery, validation : tuple of (embeddings, y)
        Rows to fit on and rows to score on; embeddings of shape (n, d), y of shape (n,) in
        numbers.

    task : {"classification", "regression"}
        Logistic regression scored by AUC (of more than two classes the mean over each against
        the rest), or ridge regression scored by R².

    groups : array-like of shape (n_validation,), default=None
        Rows that depend on each other; resampled together.

    pairs : bool, default=False
        Whether rows are differences of two texts: the probe then has no intercept, and is
        fitted and scored on every pair both ways round.

    rng : RandomState
        Draws the bootstrap samples.

    sample_weight : array-like of shape (n_validation,), default=None
        How much each row counts in the score.

    Returns
    -------
    signal : dict
        ``metric`` ("auc" or "r2"), ``score``, the bounds ``ci_low`` and ``ci_high`` of its
        95% percentile bootstrap interval, and ``chance`` (0.5 or 0).
    """
    is_classification = task == "classification"
    if pairs:
        groups = np.arange(len(validation[1])) if groups is None else groups
        groups = np.tile(groups, 2)
        sample_weight = None if sample_weight is None else np.tile(sample_weight, 2)
        about = 0.5 if is_classification else 0.0
        discovery, validation = (
            (mirrored(embeddings), mirrored(y, about=about))
            for embeddings, y in (discovery, validation)
        )
    embeddings, y = discovery
    # R² does not change, and a target far from zero would lose its digits in the fit.
    centre, scale = (0.0, 1.0) if is_classification else (y.mean(), y.std())
    predict = _fitted_probe(embeddings, (y - centre) / scale, task, pairs)
    predicted = predict(np.asarray(validation[0]))
    every = np.arange(len(predicted))
    score, low, high = held_out_score(
        HeldOut(predicted, every, np.zeros_like(every)),
        (validation[1] - centre) / scale,
        n_classes=int(y.max()) + 1 if is_classification else None,
        sample_weight=sample_weight,
        groups=None if groups is None else np.unique(groups, return_inverse=True)[1],
        random_state=rng.randint(np.iinfo(np.int32).max),
    )
    return {
        "metric": "auc" if is_classification else "r2",
        "score": score,
        "ci_low": low,
        "ci_high": high,
        "chance": 0.5 if is_classification else 0.0,
    }


def warn_no_signal(signal):
    """Warn where the interval of the probe's score covers chance.

    Parameters
    ----------
    signal : dict
        What :func:`probe_signal` returns.
    """
    if signal["ci_low"] <= signal["chance"]:
        warn(
            f"A probe of the embeddings reaches {signal['metric']} {signal['score']:.3f} on the "
            f"validation rows (95% interval {signal['ci_low']:.3f} to {signal['ci_high']:.3f}), "
            f"which covers chance ({signal['chance']}): the texts may say nothing about y here, "
            "so expect no hypothesis to hold; more rows or another embedding model may help.",
        )


def _fitted_probe(embeddings, y, task, pairs):
    embeddings = np.asarray(embeddings)
    n_samples = len(y) // 2 if pairs else len(y)
    if task == "regression":
        # A pair left out may not stay in the other way round: one way is enough here.
        probe = RidgeCV(alphas=RIDGE_PENALTIES, fit_intercept=not pairs)
        return probe.fit(embeddings[:n_samples], y[:n_samples]).predict
    n_in_class = np.bincount(y.astype(int))
    n_folds = int(min(5, n_in_class.min()))
    probe = LogisticRegression(max_iter=1000, fit_intercept=not pairs)
    if n_folds >= 2:
        folds = n_folds
        if pairs:
            # Made beforehand: what takes groups depends on scikit-learn's metadata routing.
            groups = np.tile(np.arange(n_samples), 2)
            folds = list(GroupKFold(n_folds).split(embeddings, y, groups))
        search = GridSearchCV(probe, {"C": INVERSE_PENALTIES}, scoring="roc_auc_ovr", cv=folds)
        probe = search.fit(embeddings, y).best_estimator_
    probe = probe.fit(embeddings, y)
    return probe.predict_proba if len(n_in_class) > 2 else probe.decision_function
