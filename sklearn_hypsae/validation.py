"""Step five: test the hypotheses, all at once, on rows that discovery has not seen."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.utils import ClassifierTags, RegressorTags, check_random_state, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from ._covariates import covariate_frame
from ._cross_fitting import Predictor, scores
from ._hypothesis_table import coefficient_table, correct, tabulate
from ._pairs import check_pair_target, mirrored, rows_are_pairs
from ._regression import COV_TYPES
from ._sklearn import Interval, StrOptions, fit_context
from ._statistics import CORRECTIONS
from ._tables import TablesMixin
from ._targets import check_target
from ._texts import like_input
from ._validation_rows import complete_rows, rows_chose_hypotheses


def _is_classification(validator):
    """Say whether predict_proba exists: known from the task, or once fitted."""
    if validator.task == "auto":
        check_is_fitted(validator)
        if validator.task_ == "classification":
            return True
    elif validator.task == "classification":
        return True
    raise AttributeError("predict_proba is for classification; this task is regression.")


class HypothesisValidator(TablesMixin, SelectorMixin, BaseEstimator):
    """Test hypotheses: effect, p-value and joint prediction of the target.

    One multivariate regression of y on all annotations (least squares, or logistic for a binary
    y) gives each hypothesis a coefficient and a p-value given all the others; the separation
    score is what it says alone.

    p-values mean something only on rows that did not choose the hypotheses:
    :class:`~sklearn_hypsae.HypothesisGenerator` keeps such rows apart. Where fit can tell that
    its rows are those that chose the hypotheses, it marks ``in_sample`` and warns.

    Parameters
    ----------
    task : {"auto", "classification", "regression"}, default="auto"
        Kind of target. "auto" takes two distinct values or a non-numeric y for classification
        and everything else for regression. scikit-learn's tags say classifier or regressor for
        an explicit task, and for "auto" once fitted: set "classification" to have
        cross-validation stratify its folds.

    alpha : float, default=0.1
        A hypothesis is significant where its corrected p-value is at most this.

    correction : {"bonferroni", "holm", "fdr_bh", "fdr_by", "none"}, default="bonferroni"
        How p-values are corrected for the number of hypotheses. Untested hypotheses count.

    cov_type : {"auto", "nonrobust", "HC0", "HC1", "HC2", "HC3", "cluster"}, default="auto"
        How standard errors are estimated, for the regression and for separation. "auto" is
        "cluster" where groups are given, else "nonrobust". For a logistic regression
        statsmodels gives HC0 for all of HC0 to HC3.

    n_permutations : int, default=9999
        Permutations for p-values where those of the regression mislead (see Notes). 0: none are
        made, and the regression's p-values decide.

    random_state : int, RandomState instance or None, default=0
        Draws the permutations and the folds of the cross-fitted score. The default gives the
        same numbers every time.

    Attributes
    ----------
    hypotheses_ : DataFrame of shape (n_hypotheses, n_statistics)
        One row a column of X, in the same order.

        - hypothesis : its wording, the name of the column.
        - separation_score : mean of y with the concept less mean without it. For pairs, see
          Notes.
        - standardised_effect : the same in standard deviations of y (Cohen's d).
        - separation_pvalue : of the pooled t-test of that difference.
        - welch_pvalue : of Welch's t-test, for variances that differ; NaN with groups and for
          pairs.
        - regression_coef : coefficient in the joint regression; log-odds for classification.
        - regression_coef_low, regression_coef_high : its 95% confidence interval.
        - odds_ratio : exp(regression_coef); only for classification.
        - regression_pval : p-value of the coefficient, NaN where it is not tested.
        - permutation_pval : p-value by permutation where that of the regression misleads, else
          NaN.
        - corrected_pval : the permutation's p-value where there is one, else the regression's,
          corrected for the number of hypotheses.
        - significant : whether that is at most ``alpha``.
        - feature_prevalence : share of rows with the concept; for pairs, of pairs of which
          exactly one text has it.
        - n_present : number of such rows.
        - note : why a hypothesis is not tested, or how its p-value came about; else empty.

    metrics_ : dict
        - auc or r2 : of the regression on the very rows it was fitted on, as the paper
          reports it. It flatters: with 20 columns of noise and 640 rows the AUC is .60.
        - auc_cv or r2_cv : the same cross-fitted over five folds; the one to quote.
        - auc_cv_ci or r2_cv_ci : its 95% bootstrap interval (low, high), over rows or groups.
        - auc_cv_covariates or r2_cv_covariates : cross-fitted, of the covariates alone; only
          where there are any.
        - n_significant, n_hypotheses, n_tested : counts of hypotheses.
        - p_threshold : the largest p-value that is significant; None where that depends on the
          other p-values (holm, fdr_bh, fdr_by).
        - n_rows, n_rows_dropped : rows used, and rows left out because of a NaN.
        - n_groups : number of groups; only where groups were given.
        - cov_type : how standard errors were estimated.
        - in_sample : True where the rows are known to have chosen the hypotheses, False where
          they are known not to have, None where it cannot be known.

    result_ : statsmodels results
        Of the joint regression, for its summary and diagnostics. Its columns are the intercept,
        the covariates and the columns of X, less those left out. Under separation it is the
        weighted binomial fit equivalent to the penalised one: take p-values from
        ``hypotheses_``.

    covariates_ : DataFrame of shape (n_covariates, n_statistics)
        Coefficients of the covariates, as for the hypotheses; empty without covariates.

    intercept_ : float
        Intercept of the regression; covariates are held at their means.

    coef_ : ndarray of shape (n_hypotheses,)
        Coefficients; 0 for columns left out.

    classes_ : ndarray of shape (2,)
        The labels in sorted order; classification only.

    task_ : {"classification", "regression"}
        The task that "auto" came to.

    n_features_in_ : int
        Number of hypotheses.

    feature_names_in_ : ndarray of shape (n_hypotheses,)
        The hypotheses; only where X has column names.

    Notes
    -----
    Annotations are 1 (present), 0 (absent) or NaN (unknown). Anything else is taken for
    activations: present means above 0 for prevalence and separation, and the regression uses
    the values as they are. Rows with a NaN are dropped in fit and counted; in predict a NaN
    stands for the column's mean in fit. A column without any annotation is left out by name.

    Rows are pairs of texts where the index of X is ("text_a", "text_b") or annotations are in
    {-1, 0, 1}: those of the first text less those of the second. y is then 1 where the first
    text wins and 0 (or -1) where the second does, or a number that says by how much the first
    is ahead, 0 for a tie. The regression has no intercept, for a binary y the model of Bradley
    and Terry: nothing depends on which text comes first. separation_score is the mean, over
    pairs of which one text only has the concept, of y counted in favour of that text: for a
    number by how much it is ahead, for a binary y how often it wins, less 1/2. Effect and
    p-value are those of that one slope. AUC and R² score every pair both ways round,
    covariates are differences, and permutations flip the signs of residuals.

    A column that is constant, a copy of another or a linear combination of others is left out of
    the regression and named in ``note``; its p-value is NaN and it still counts in the
    correction. A concept with fewer than 20 rows with it, or without it, stays in the regression
    but is not tested: on noise, such p-values are far too often small.

    Where the annotations separate the classes, maximum likelihood has no finite answer. The
    regression is then fitted with Firth's penalty and p-values are those of score tests; ``note``
    says "penalised fit". Where least squares leaves no residuals it says "perfect fit".

    With groups, standard errors are cluster-robust, for the regression and for separation.

    With covariates, coefficients and their p-values are given the covariates, separation is
    not. Both auc and r2 are then of hypotheses and covariates together, and predictions hold the
    covariates at their means.

    Two kinds of regression p-values are too small on noise, so that permutation p-values decide
    in their stead ("judged by permutation"): those of rare concepts where y is skewed or
    heavy-tailed, and robust ones, which a concept in few rows or groups misleads. Residuals are
    permuted over rows; with groups, their means over the groups and the rest within groups.

    References
    ----------
    Movva, Peng, Garg, Kleinberg and Pierson (2025), "Sparse Autoencoders for Hypothesis
    Generation", arXiv 2502.04382.
    Bradley and Terry (1952), "Rank analysis of incomplete block designs. I. The method of
    paired comparisons", Biometrika 39(3/4).
    Heinze and Schemper (2002), "A solution to the problem of separation in logistic
    regression", Statistics in Medicine 21(16).

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn_hypsae import HypothesisValidator
    >>> rng = np.random.default_rng(0)
    >>> annotations = pd.DataFrame(
    ...     rng.integers(0, 2, size=(300, 2)), columns=["praises the food", "mentions a date"]
    ... )
    >>> stars = 3 + annotations["praises the food"] + rng.normal(size=300)
    >>> validator = HypothesisValidator().fit(annotations, stars)
    >>> validator.hypotheses_[["hypothesis", "separation_score", "significant"]].round(2)
             hypothesis  separation_score  significant
    0  praises the food              1.08         True
    1   mentions a date             -0.06        False
    >>> validator.transform(annotations).columns.to_list()
    ['praises the food']
    """

    _parameter_constraints = {
        "task": [StrOptions({"auto", "classification", "regression"})],
        "alpha": [Interval(Real, 0, 1, closed="right")],
        "correction": [StrOptions(set(CORRECTIONS))],
        "cov_type": [StrOptions({"auto", *COV_TYPES})],
        "n_permutations": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        task="auto",
        *,
        alpha=0.1,
        correction="bonferroni",
        cov_type="auto",
        n_permutations=9999,
        random_state=0,
    ):
        self.task = task
        self.alpha = alpha
        self.correction = correction
        self.cov_type = cov_type
        self.n_permutations = n_permutations
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, groups=None, *, covariates=None):
        """Test every column of X against y.

        Parameters
        ----------
        X : DataFrame, array-like or CSR of shape (n_samples, n_hypotheses)
            Annotations or activations; NaN where unknown.

        y : array-like of shape (n_samples,)
            Target: numbers, or two classes.

        groups : array-like of shape (n_samples,), default=None
            Rows of one group (chunks of a document, texts of an author) depend on each other.

        covariates : DataFrame, array-like of shape (n_samples, n_covariates), str or list of \
                str, default=None
            What else may explain y: hypotheses are tested given it. Columns that are not numeric
            become one indicator a category. Names stand for what is made from the texts in the
            index of X: "n_words", "log_n_words", "n_characters".

        Returns
        -------
        self : HypothesisValidator

        Raises
        ------
        ValueError
            If nothing is annotated, no row is complete, lengths differ, or y is constant or has
            missing values.
        """
        annotations = self._validate(X, reset=True)
        self._pairs = rows_are_pairs(X, annotations)
        check = check_pair_target if self._pairs else check_target
        target = check(y, task=self.task, n_samples=len(annotations), caller=type(self).__name__)
        if covariates is not None:
            covariates = covariate_frame(covariates, X)
        rows = complete_rows(annotations, target.values, groups, covariates, pairs=self._pairs)
        in_sample = rows_chose_hypotheses(X)
        cov_type = self._resolve_cov_type(rows.groups)
        random_state = check_random_state(self.random_state)
        self._set_task(target)
        predictor = Predictor(
            rows.design,
            rows.y,
            classification=self.task_ == "classification",
            groups=rows.groups,
            cov_type=cov_type,
            intercept=not self._pairs,
        )
        self._set_regression(predictor, rows)
        self.hypotheses_ = self._tabulate(predictor, rows, cov_type, random_state)
        self.metrics_ = {
            **scores(predictor, rows, random_state),
            **self._counts(rows),
            "cov_type": cov_type,
            "in_sample": in_sample,
        }
        return self

    def _validate(self, X, *, reset):
        X = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=np.float64,
            ensure_all_finite="allow-nan",
        )
        # A few selected neurons of a sparse autoencoder: small once dense.
        return X.toarray() if issparse(X) else X

    def _set_task(self, target):
        self.task_ = target.task
        if target.classes is not None:
            self.classes_ = target.classes
        elif hasattr(self, "classes_"):
            del self.classes_

    def _resolve_cov_type(self, groups):
        if self.cov_type == "auto":
            return "nonrobust" if groups is None else "cluster"
        if self.cov_type == "cluster" and groups is None:
            raise ValueError(
                'HypothesisValidator(cov_type="cluster") needs to know which rows belong '
                "together: pass groups= to fit."
            )
        return self.cov_type

    def _set_regression(self, predictor, rows):
        regression = predictor.regression
        coefficients = np.zeros(rows.design.shape[1])
        coefficients[predictor.kept] = regression.params[1:]
        of_covariates, of_annotations = np.split(coefficients, [rows.covariates.shape[1]])
        self.coef_ = np.zeros(self.n_features_in_)
        self.coef_[rows.annotated] = of_annotations
        # Two texts are alike where nothing is known.
        usual = 0.0 if self._pairs else 1.0
        held = usual * rows.covariates.mean().to_numpy() @ of_covariates
        self.intercept_ = float(regression.params[0] + held)
        self.covariates_ = coefficient_table(predictor, rows.design.shape[1]).head(
            len(of_covariates)
        )
        self.covariates_.insert(0, "covariate", rows.covariates.columns)
        self.result_ = regression.result
        self._means = np.zeros(self.n_features_in_)
        self._means[rows.annotated] = usual * rows.A.mean(axis=0)

    def _tabulate(self, predictor, rows, cov_type, random_state):
        names = self._names()
        table = tabulate(
            predictor,
            rows,
            [names[j] for j in rows.annotated],
            cov_type=cov_type,
            n_permutations=self.n_permutations,
            random_state=random_state,
        )
        table = table.set_index(rows.annotated).reindex(range(len(names)))
        table["hypothesis"] = pd.Series(names, dtype=object)
        left_out = np.setdiff1d(np.arange(len(names)), rows.annotated)
        table.loc[left_out, "n_present"] = 0
        table.loc[left_out, "note"] = "untested: not annotated in any row"
        table = table.astype({"n_present": "int64"})
        return correct(table, method=self.correction, alpha=self.alpha)

    def _names(self):
        names = getattr(self, "feature_names_in_", None)
        return [f"x{i}" for i in range(self.n_features_in_)] if names is None else list(names)

    def _counts(self, rows):
        thresholds = {"bonferroni": self.alpha / self.n_features_in_, "none": self.alpha}
        counts = {
            "n_significant": int(self.hypotheses_["significant"].sum()),
            "n_hypotheses": self.n_features_in_,
            "n_tested": int(self.hypotheses_["regression_pval"].notna().sum()),
            "p_threshold": thresholds.get(self.correction),
            "n_rows": len(rows.y),
            "n_rows_dropped": rows.n_dropped,
        }
        return counts if rows.groups is None else counts | {"n_groups": int(rows.groups.max()) + 1}

    def _linear(self, X):
        check_is_fitted(self)
        A = self._validate(X, reset=False)
        A = np.where(np.isnan(A), self._means, A)
        return self.intercept_ + A @ self.coef_

    def _expected(self, X):
        linear = self._linear(X)
        return expit(linear) if self.task_ == "classification" else linear

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
        return self.classes_[(expected > 0.5).astype(int)]

    @available_if(_is_classification)
    def predict_proba(self, X):
        """Predict the probability of each class; classification only.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_hypotheses)
            A NaN stands for the column's mean in fit.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, 2)
            In the order of ``classes_``.
        """
        positive = self._expected(X)
        return np.column_stack([1 - positive, positive])

    def score(self, X, y, sample_weight=None):
        """Score predictions: AUC for classification, R² for regression.

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
            y = self._is_second_class(y)
        score = r2_score if self.task_ == "regression" else roc_auc_score
        return float(score(y, expected, sample_weight=weights))

    def _is_second_class(self, y):
        y = column_or_1d(y, warn=True)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"{type(self).__name__} was fitted on two classes, but y has {len(unknown)} "
                "other label(s): score it on the same classes."
            )
        return y == self.classes_[1]

    def transform(self, X):
        """Keep the columns of the significant hypotheses.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_hypotheses)

        Returns
        -------
        X_kept : DataFrame or ndarray of shape (n_samples, n_significant)
            A frame with the same index for a frame, else an array.
        """
        check_is_fitted(self)
        A = self._validate(X, reset=False)
        return like_input(A[:, self.get_support()], X, self)

    def _get_support_mask(self):
        check_is_fitted(self)
        return self.hypotheses_["significant"].to_numpy()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        task = getattr(self, "task_", None) if self.task == "auto" else self.task
        if task == "classification":
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags(multi_class=False)
        elif task == "regression":
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
        return tags
