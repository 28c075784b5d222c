"""What a target-aware autoencoder learns from: a linear probe of the target, not its labels.

Neurons that fit labels directly learn the labels' noise: with thousands of encoder weights and
a few thousand rows, the held-out gain is small and the reconstruction pays for it. A ridge
probe, regularised by generalised cross-validation, is what the embeddings really say about
the target; its predictions have no noise left to memorise.
"""

import numpy as np
from sklearn.linear_model import RidgeCV

from .._warning import warn
from .source import signs_of_rows

N_ROWS = 50_000
# Of the ridge penalty, per row and unit of variance.
PENALTIES = np.logspace(-5, 1, 19)


def teach(source, y, rng, caller):
    """Replace a standardised target by what a linear probe says about it.

    Parameters
    ----------
    source : Source

    y : ndarray of shape (n_rows, n_targets)
        Standardised columns.

    rng : RandomState
        Draws the rows of the probe where there are more than 50,000.

    caller : str
        Class that asks, named in the warning.

    Returns
    -------
    taught : ndarray of shape (n_rows, n_targets), dtype=float32
        Standardised predictions; zeros for a column about which the probe says nothing.
    """
    if y.shape[1] == 0:
        return y
    sample = np.arange(len(source))
    if len(source) > N_ROWS:
        sample = np.sort(rng.permutation(len(source))[:N_ROWS])
    rows = source.take(sample).astype(np.float64)
    goal = y[sample]
    centre = rows.mean(axis=0)
    if source.is_signed:
        # Rows of one sign, so that not even the rounding depends on the signs.
        sign = signs_of_rows(rows)
        rows, goal, centre = rows * sign, goal * sign, 0.0
    penalties = PENALTIES * np.square(rows - centre).sum()
    probe = RidgeCV(penalties, alpha_per_target=True, fit_intercept=not source.is_signed)
    probe.fit(rows, goal)
    # A probe of one column may come without the axis of columns.
    coef = np.atleast_2d(probe.coef_).T.astype(np.float32)
    predictions = np.concatenate([rows @ coef for _, rows in source.blocks()])
    if not source.is_signed:
        predictions -= predictions.mean(axis=0)
    spread = np.sqrt(np.mean(np.square(predictions, dtype=np.float64), axis=0))
    # Columns have variance one, so that this is a cross-validated R2.
    says_something = (1 + probe.best_score_ > 0) & (spread > 0)
    taught = predictions * np.where(says_something, 1 / np.where(spread > 0, spread, 1), 0)
    if not says_something.any():
        warn(
            f"{caller} finds no linear signal about y in X (cross-validated R2 below 0): "
            "target_coef has no effect.",
        )
    return taught.astype(np.float32)
