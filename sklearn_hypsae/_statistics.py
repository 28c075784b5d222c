"""Statistics of annotations against a target, one column at a time or over all rows.

Functions of arrays, without estimator state. statsmodels and scikit-learn do the arithmetic.
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import expit
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from ._optional import import_optional
from ._regression import fit_regression, independent_columns

CORRECTIONS = ("bonferroni", "holm", "fdr_bh", "fdr_by", "none")
N_FOLDS = 5


def presence(A):
    """Say where each concept is present.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_columns)
        Annotations in {0, 1}; differences of annotations in {-1, 0, 1} for pairs of texts;
        or activations, where present means above 0.

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
    >>> presence(np.array([[-1.0, 1.0], [0.0, 0.0]]))
    array([[-1.,  1.],
           [ 0.,  0.]])
    """
    if np.isin(A, (-1, 0, 1)).all():
        return A.astype(np.float64)
    return (A > 0).astype(np.float64)


def separation(present, y, *, groups=None, cov_type="nonrobust"):
    """Measure what one concept alone says about the target.

    The score is the least-squares slope of y on the annotation. For annotations in {0, 1}
    that is the mean of y where the concept is present less the mean where it is absent, and
    the p-value is that of the pooled t-test. For pairs, in {-1, 0, 1}, effect and p-value
    are of the same slope: how much y changes for a concept that one text has and the other
    has not. Both texts swapped in every row, and y reversed, it stays the same.

    Parameters
    ----------
    present : ndarray of shape (n_samples,)

    y : ndarray of shape (n_samples,)

    groups : ndarray of int of shape (n_samples,), default=None
        For the cov_type "cluster".

    cov_type : str, default="nonrobust"
        How the standard error is estimated; see
        :func:`~sklearn_hypsae._regression.fit_regression`.

    Returns
    -------
    separation : Separation
        All NaN for a constant annotation.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._statistics import separation
    >>> result = separation(np.array([1, 1, 0, 0.0]), np.array([5, 4, 2, 1.0]))
    >>> round(result.score, 6), round(result.standardised, 4), round(result.pvalue, 4)
    (3.0, 4.2426, 0.0513)
    """
    if np.ptp(present) == 0:
        return Separation(np.nan, np.nan, np.nan, np.nan)
    fit = fit_regression(
        present[:, None], y, classification=False, groups=groups, cov_type=cov_type
    )
    score = float(fit.params[1])
    spread = float(np.sqrt(fit.result.ssr / (len(y) - 2))) if len(y) > 2 else 0.0
    standardised = score / spread if spread > 0 else np.nan
    return Separation(score, standardised, float(fit.pvalues[0]), _welch(present, y, groups))


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
        Of Welch's t-test, which does not take both variances for equal; NaN for pairs and with
        groups, for which that test is not made.
    """

    score: float
    standardised: float
    pvalue: float
    welch_pvalue: float


def _welch(present, y, groups):
    if groups is not None or (present < 0).any():
        return np.nan
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

    Attributes
    ----------
    kept : ndarray of int
        Columns in the regression.

    depends_on : dict of int to list of int
        Columns left out, with what they follow from (nothing: constant).

    regression : Regression
    """

    def __init__(self, A, y, *, classification, groups=None, cov_type="nonrobust", inference=True):
        self.classification = classification
        self.kept, self.depends_on = independent_columns(A)
        self.regression = fit_regression(
            A[:, self.kept],
            y,
            classification=classification,
            groups=groups,
            cov_type=cov_type,
            inference=inference,
        )

    def predict(self, A):
        """Give the expected target: a probability, or a number."""
        params = self.regression.params
        linear = params[0] + A[:, self.kept] @ params[1:]
        return expit(linear) if self.classification else linear


def cross_fitted_score(A, y, *, classification, groups=None, random_state=0):
    """Score the regression on rows that did not fit it.

    Five folds: stratified for a classification, never with one group on both sides. The AUC is
    the mean over the folds, because predictions of different fits cannot be ranked against
    each other; R² is taken over the held-out predictions of all rows.

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
    score : float
        AUC or R²; NaN where there are too few rows, groups or rows of a class to fold.
    """
    folds = _folds(y, classification, groups, random_state)
    if folds is None:
        return np.nan
    predicted = np.full(len(y), np.nan)
    aucs = []
    with warnings.catch_warnings():
        # scikit-learn warns of classes in few groups; folds without both are skipped below.
        warnings.simplefilter("ignore", UserWarning)
        splits = list(folds.split(A, y, groups))
    for train, test in splits:
        if np.ptp(y[train]) == 0:
            continue
        predictor = Predictor(A[train], y[train], classification=classification, inference=False)
        predicted[test] = predictor.predict(A[test])
        if classification and np.ptp(y[test]) > 0:
            aucs.append(roc_auc_score(y[test], predicted[test]))
    if classification:
        return float(np.mean(aucs)) if aucs else np.nan
    done = ~np.isnan(predicted)
    return float(r2_score(y[done], predicted[done])) if done.sum() > 1 else np.nan


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
