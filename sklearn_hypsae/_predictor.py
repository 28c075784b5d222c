"""The joint regression as a function of annotations; with several classes, one for each."""

import numpy as np
from scipy.special import expit

from ._regression import fit_regression, independent_columns
from ._targets import targets_of


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
    sample_weight : ndarray of shape (n_samples,), default=None

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
        sample_weight=None,
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
            sample_weight=sample_weight,
        )

    @property
    def intercept(self):
        return float(self.regression.params[0])

    def coefficients(self, n_columns):
        """Give one coefficient a column, 0 for those left out."""
        coefficients = np.zeros(n_columns)
        coefficients[self.kept] = self.regression.params[1:]
        return coefficients

    def predict(self, A):
        """Give the expected target: a probability, or a number."""
        linear = self.intercept + A @ self.coefficients(A.shape[1])
        return expit(linear) if self.classification else linear


def fit_predictors(A, y, *, n_classes=None, **options):
    """Fit one regression, or with more than two classes each class against the rest.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_columns)

    y : ndarray of shape (n_samples,)
        With classes, their numbers.

    n_classes : int, default=None
        None: a regression.

    **options : dict
        For :class:`Predictor`.

    Returns
    -------
    predictors : list of Predictor
        One, or one a class.
    """
    return [
        Predictor(A, target, classification=n_classes is not None, **options)
        for target in targets_of(y, n_classes)
    ]


def predict_jointly(predictors, A):
    """Give what is expected of y, from what :func:`fit_predictors` returns.

    Parameters
    ----------
    predictors : list of Predictor

    A : ndarray of shape (n_samples, n_columns)

    Returns
    -------
    expected : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Numbers; the probability of the second class; or probabilities of several classes.
    """
    if len(predictors) == 1:
        return predictors[0].predict(A)
    return normalised(np.column_stack([predictor.predict(A) for predictor in predictors]))


def normalised(scores):
    """Scale probabilities of each class against the rest so that they add up to 1.

    As scikit-learn's OneVsRestClassifier does it.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)

    Returns
    -------
    probabilities : ndarray of shape (n_samples, n_classes)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._predictor import normalised
    >>> normalised(np.array([[0.4, 0.4, 0.8]]))
    array([[0.25, 0.25, 0.5 ]])
    """
    # Where every class is ruled out, rounding decides nothing: all are as likely.
    scores = np.maximum(scores, np.finfo(float).tiny)
    return scores / scores.sum(axis=1, keepdims=True)
