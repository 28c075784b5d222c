"""What HypothesisGenerator hands its validator for the held-out rows, and reads off it."""

import numpy as np
import pandas as pd

from ._covariates import covariate_frame
from ._texts import holds_pairs, row_keys, text_index


def check_covariates(covariates, X):
    """Refuse covariates that the validator would refuse, before anything is embedded.

    Parameters
    ----------
    covariates : DataFrame, array-like of shape (n_samples, n_covariates), str or list of str, \
            or None
        As for :meth:`HypothesisValidator.fit`.

    X : ndarray of str or DataFrame
        Checked rows.

    Returns
    -------
    covariates : DataFrame, array-like or None
        One row for each row of X. Ready-made ones are made from the texts here, since later
        steps need not keep the texts as an index.

    Raises
    ------
    ValueError
        If the number of rows is another, a value is missing or infinite, or a name is unknown.
    """
    if covariates is None:
        return None
    is_texts = not isinstance(X, pd.DataFrame) or holds_pairs(X)
    rows = pd.DataFrame(index=text_index(row_keys(X))) if is_texts else X
    frame = covariate_frame(covariates, rows)
    names = [covariates] if isinstance(covariates, str) else covariates
    is_named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    # Other ones as they came: categories that some rows lack are no columns for these rows.
    return frame if is_named else covariates


def take_covariates(covariates, rows):
    """Give some rows, by position, of what :func:`check_covariates` returns."""
    if covariates is None:
        return None
    if isinstance(covariates, pd.DataFrame | pd.Series):
        return covariates.iloc[rows]
    return np.asarray(covariates)[rows]


def share_of_ceiling(metrics, signal):
    """How much of what a probe of the embeddings says about y the hypotheses say.

    Parameters
    ----------
    metrics : dict
        Of a validator, with the cross-fitted score.

    signal : dict or None
        What :func:`~sklearn_hypsae._probe.probe_signal` returns.

    Returns
    -------
    share : float
        1.0 where both are equally far above chance. NaN where there is no ceiling, or it does
        not exceed chance.

    Examples
    --------
    >>> from sklearn_hypsae._held_out import share_of_ceiling
    >>> share_of_ceiling({"auc_cv": 0.625}, {"metric": "auc", "score": 0.75, "chance": 0.5})
    0.5
    """
    if signal is None or not signal["score"] > signal["chance"]:
        return float("nan")
    above_chance = metrics[f"{signal['metric']}_cv"] - signal["chance"]
    return float(above_chance / (signal["score"] - signal["chance"]))
