"""What a fitted validator expects of other rows, and how well."""

import numpy as np
from scipy.special import expit
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._cross_fitting import auc
from ._pairs import check_pair_target, mirrored
from ._predictor import normalised


def _is_classification(validator):
    """Say whether predict_proba exists: known from the task, or once fitted."""
    if validator.task == "auto":
        check_is_fitted(validator)
        if validator.task_ == "classification":
            return True
    elif validator.task == "classification":
        return True
    raise AttributeError("predict_proba is for classification; this task is regression.")


class PredictionsMixin:
    """Predictions by ``intercept_`` and ``coef_``, for an estimator that validates X."""

    def _linear(self, X):
        check_is_fitted(self)
        A = self._validate(X, reset=False)
        A = np.where(np.isnan(A), self._means, A)
        return self.intercept_ + A @ self.coef_.T

    def _expected(self, X):
        linear = self._linear(X)
        if self.task_ == "regression":
            return linear
        return expit(linear) if linear.ndim == 1 else normalised(expit(linear))

    def predict(self, X):
        """Predict the target from annotations.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_hypotheses)
            A NaN stands for the column's mean in fit.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels for classification, else numbers.
        """
        expected = self._expected(X)
        if self.task_ == "regression":
            return expected
        is_binary = expected.ndim == 1
        codes = (expected > 0.5).astype(int) if is_binary else expected.argmax(axis=1)
        return self.classes_[codes]

    @available_if(_is_classification)
    def predict_proba(self, X):
        """Predict the probability of each class; classification only.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_hypotheses)
            A NaN stands for the column's mean in fit.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``. With more than two, those of each class against the
            rest, scaled to add up to 1.
        """
        expected = self._expected(X)
        return np.column_stack([1 - expected, expected]) if expected.ndim == 1 else expected

    def score(self, X, y, sample_weight=None):
        """Score predictions: AUC for classification, R² for regression.

        With more than two classes, the mean AUC of each class of y against the rest.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_hypotheses)

        y : array-like of shape (n_samples,)

        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.

        Returns
        -------
        score : float
        """
        # Log-odds rank as probabilities do, and change sign exactly.
        expected = self._linear(X)
        name = type(self).__name__
        weights = sample_weight
        if self._pairs:
            y = check_pair_target(y, task=self.task_, n_samples=len(expected), caller=name).values
            about = 0.5 if self.task_ == "classification" else 0.0
            y, expected = mirrored(y, about=about), mirrored(expected)
            weights = None if sample_weight is None else np.tile(sample_weight, 2)
        elif self.task_ == "classification":
            y = self._class_numbers(y)
        if self.task_ == "regression":
            return float(r2_score(y, expected, sample_weight=weights))
        return auc(y, expected if expected.ndim == 1 else normalised(expit(expected)), weights)

    def _class_numbers(self, y):
        y = column_or_1d(y, warn=True)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"{type(self).__name__} was fitted on {len(self.classes_)} classes, but y has "
                f"{len(unknown)} other label(s): score it on the same classes."
            )
        return np.searchsorted(self.classes_, y)
