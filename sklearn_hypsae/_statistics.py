"""Statistics of annotations against a target, one column at a time.

Functions of arrays, without estimator state. statsmodels and scipy do the arithmetic.
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy import stats

from ._optional import import_optional
from ._regression import fit_regression

CORRECTIONS = ("bonferroni", "holm", "fdr_bh", "fdr_by", "none")


def presence(A, *, above=0.0, pairs=False):
    """Say where each concept is present.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_columns)
        Annotations in {0, 1}, or activations, where present means above 0. For pairs of texts
        differences of annotations in {-1, 0, 1}, or activations of any sign.

    above : float, default=0.0
        What an annotation has to be above; 0.5 for probabilities.

    pairs : bool, default=False
        Whether rows are pairs.

    Returns
    -------
    present : ndarray of shape (n_samples, n_columns)
        1.0 present, 0.0 absent; for pairs -1.0 where only the second text has the concept.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._statistics import presence
    >>> presence(np.array([[0.0, 2.5], [0.3, 0.0]]))
    array([[0., 1.],
           [1., 0.]])
    >>> presence(np.array([[-1.0, 0.3], [0.0, 0.0]]), pairs=True)
    array([[-1.,  1.],
           [ 0.,  0.]])
    """
    if pairs:
        return np.where(np.abs(A) > above, np.sign(A), 0.0)
    return (above < A).astype(np.float64)


def separation(
    present, y, *, groups=None, cov_type="nonrobust", intercept=True, sample_weight=None
):
    """Measure what one concept alone says about the target.

    The score is the least-squares slope of y on the annotation. For annotations in {0, 1}
    that is the mean of y where the concept is present less the mean where it is absent, and
    the p-value is that of the pooled t-test. For pairs, in {-1, 0, 1}, the line goes through
    the origin: the score is the mean, over pairs of which one text only has the concept, of y
    counted in favour of that text. Effect and p-value are of the same slope, and stay the same
    where the texts of any pairs change places and y its sign.

    Parameters
    ----------
    present : ndarray of shape (n_samples,)

    y : ndarray of shape (n_samples,)

    groups : ndarray of int of shape (n_samples,), default=None
        For the cov_type "cluster".

    cov_type : str, default="nonrobust"
        How the standard error is estimated; see
        :func:`~sklearn_hypsae._regression.fit_regression`.

    intercept : bool, default=True
        False for pairs.

    sample_weight : ndarray of shape (n_samples,), default=None
        How much each row counts, with mean 1. Means and the slope are then weighted.

    Returns
    -------
    separation : Separation
        All NaN for a constant annotation (for pairs, one that is 0 everywhere).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._statistics import separation
    >>> result = separation(np.array([1, 1, 0, 0.0]), np.array([5, 4, 2, 1.0]))
    >>> round(result.score, 6), round(result.standardised, 4), round(result.pvalue, 4)
    (3.0, 4.2426, 0.0513)

    Pairs: where one text only has the concept, it is ahead by 2, 1 and 3.

    >>> separation(np.array([1, -1, 1, 0.0]), np.array([2, -1, 3, 7.0]), intercept=False).score
    2.0
    """
    if np.ptp(present) == 0 and (intercept or present[0] == 0):
        return Separation(np.nan, np.nan, np.nan, np.nan)
    fit = fit_regression(
        present[:, None],
        y,
        classification=False,
        groups=groups,
        cov_type=cov_type,
        intercept=intercept,
        sample_weight=sample_weight,
    )
    score = float(fit.params[1])
    n_free = len(y) - 1 - intercept
    spread = float(np.sqrt(fit.result.ssr / n_free)) if n_free > 0 else 0.0
    standardised = score / spread if spread > 0 else np.nan
    # Robust errors are what Welch's test is to groups and weights.
    is_plain = groups is None and sample_weight is None and intercept
    welch = _welch(present, y) if is_plain else np.nan
    return Separation(score, standardised, float(fit.pvalues[0]), welch)


class Separation(NamedTuple):
    """What one concept alone says about the target.

    Attributes
    ----------
    score : float
        Slope of y; for {0, 1} the difference in means.

    standardised : float
        The score in standard deviations of y around it (Cohen's d); NaN where there is none.

    pvalue : float
        Of the slope; for {0, 1} and nonrobust errors that of the pooled t-test.

    welch_pvalue : float
        Of Welch's t-test, which does not take both variances for equal; NaN for pairs, with
        groups and with weights, for which that test is not made.
    """

    score: float
    standardised: float
    pvalue: float
    welch_pvalue: float


def _welch(present, y):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # a side with one row, or with one value of y only
        return float(stats.ttest_ind(y[present == 1], y[present == 0], equal_var=False).pvalue)


def correct_pvalues(pvalues, *, method):
    """Correct p-values for the number of hypotheses.

    Parameters
    ----------
    pvalues : ndarray of shape (n_hypotheses,)
        NaN for a hypothesis that could not be tested: it counts like a p-value of 1.

    method : {"bonferroni", "holm", "fdr_bh", "fdr_by", "none"}

    Returns
    -------
    corrected : ndarray of shape (n_hypotheses,)
        NaN where the p-value is.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._statistics import correct_pvalues
    >>> correct_pvalues(np.array([0.01, np.nan, 0.5]), method="bonferroni")
    array([0.03,  nan, 1.  ])
    """
    untested = np.isnan(pvalues)
    if method == "none" or untested.all():
        return pvalues.copy()
    multitest = import_optional("statsmodels.stats.multitest", purpose="HypothesisValidator")
    corrected = multitest.multipletests(np.where(untested, 1.0, pvalues), method=method)[1]
    return np.where(untested, np.nan, corrected)
