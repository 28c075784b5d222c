"""Simulated score tests of a logistic regression, for where its usual p-values mislead.

Where hardly any event is expected among the rows that a concept holds for, the estimate of its
coefficient is far from normal, and so is its score. Its distribution under the null hypothesis is
known all the same: each outcome is drawn with the probability that the fit without it gives.
"""

import numpy as np
from scipy.special import expit

from ._permutation import CLEARLY_LARGE, N_FIRST, VALUES_PER_CHUNK
from ._regression import fit_regression

# Expected rows in a cell of the table of concept and class below which a test that counts on
# normal sums misleads (Cochran 1954, "Some methods for strengthening the common chi-squared
# tests", Biometrics 10(4)).
FEW_EXPECTED = 5


def few_events(present, y):
    """Find the columns that meet a class in too few rows, going by what is expected.

    Parameters
    ----------
    present : ndarray of bool of shape (n_samples, n_columns)

    y : ndarray of shape (n_samples,)
        0.0 and 1.0.

    Returns
    -------
    is_few : ndarray of bool of shape (n_columns,)
    """
    share = present.mean(axis=0)
    rarer = min(y.mean(), 1 - y.mean())
    return np.minimum(share, 1 - share) * rarer * len(y) < FEW_EXPECTED


def simulated_pvalues(A, y, *, columns, n_draws, random_state, intercept=True):
    """Test coefficients of a logistic regression by outcomes drawn from the fit without them.

    The statistic is the score: the sum of the residuals of that fit, each times what no other
    column explains of the column tested.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_columns)
        Linearly independent columns, none of them constant.

    y : ndarray of shape (n_samples,)
        0.0 and 1.0.

    columns : ndarray of int of shape (n_tested,)
        The columns to test.

    n_draws : int
        Coefficients with a clearly large p-value get 999.

    random_state : RandomState instance

    intercept : bool, default=True
        Whether the regression has one.

    Returns
    -------
    pvalues : ndarray of shape (n_tested,)
        Two-sided; at least 1 / (n_draws + 1).

    Examples
    --------
    Two of ten rare rows have the concept, where one in forty would be expected to.

    >>> import numpy as np
    >>> from scipy import stats
    >>> from sklearn_hypsae._score_tests import simulated_pvalues
    >>> y = np.arange(1000) < 10
    >>> concept = (np.arange(1000) >= 8) & (np.arange(1000) < 33)
    >>> rng = np.random.RandomState(0)
    >>> found = simulated_pvalues(concept[:, None], y, columns=[0], n_draws=9999, random_state=rng)
    >>> exact = stats.fisher_exact([[2, 23], [8, 967]]).pvalue
    >>> [round(float(p), 2) for p in (found[0], exact)]
    [0.01, 0.02]
    """
    return np.array(
        [
            _pvalue(*_null_score(A, y, j, intercept=intercept), y, n_draws, random_state)
            for j in columns
        ]
    )


def _null_score(A, y, j, *, intercept):
    """Give what only column j explains, and the probabilities without it."""
    others = np.delete(A, j, axis=1).astype(float)
    null = fit_regression(others, y, classification=True, inference=False, intercept=intercept)
    expected = expit(null.params[0] + others @ null.params[1:])
    design = np.column_stack([np.ones(len(y)), others]) if intercept else others
    root = np.sqrt(expected * (1 - expected))
    explained = np.linalg.lstsq(root[:, None] * design, root * A[:, j], rcond=None)[0]
    return A[:, j] - design @ explained, expected


def _pvalue(column, expected, y, n_draws, random_state):
    # The margin keeps ties, which are common for counts, ties in spite of rounding.
    bar = np.abs((y - expected) @ column) * (1 - 1e-9)
    chunk = max(1, VALUES_PER_CHUNK // len(y))
    reached = done = 0
    for n_more in (min(N_FIRST, n_draws), max(0, n_draws - N_FIRST)):
        for start in range(0, n_more, chunk):
            size = min(chunk, n_more - start), len(y)
            scores = ((random_state.random_sample(size) < expected) - expected) @ column
            reached += int(np.sum(np.abs(scores) >= bar))
        done += n_more
        if (reached + 1) / (done + 1) > CLEARLY_LARGE:
            break
    return (reached + 1) / (done + 1)
