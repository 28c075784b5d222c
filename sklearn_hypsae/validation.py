"""Step five: test the hypotheses, all at once, on rows that discovery has not seen."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import ClassifierTags, RegressorTags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ._counts import counts, of_any_class, warn_if_none
from ._covariates import covariate_frame
from ._cross_fitting import scores
from ._fit_rows import rows_chose_hypotheses
from ._hypothesis_table import (
    correct,
    covariate_table,
    stack_classes,
    tabulate,
    warn_misleading,
    warn_of_floor,
)
from ._multinomial import fit_multinomial, joint_tests
from ._pairs import check_pair_target, rows_are_pairs
from ._predictions import PredictionsMixin
from ._predictor import fit_predictors
from ._regression import COV_TYPES
from ._sklearn import Interval, StrOptions, fit_context
from ._statistics import CORRECTIONS
from ._tables import TablesMixin
from ._targets import check_target, targets_of
from ._texts import like_input, refuse_texts
from ._validation_rows import complete_rows


class HypothesisValidator(TablesMixin, PredictionsMixin, SelectorMixin, BaseEstimator):
    """Test hypotheses: effect, p-value and joint prediction of the target.

    One multivariate regression of y on all annotations (least squares, or logistic for a binary
    y) gives each hypothesis a coefficient and a p-value given all the others; the separation
    score is what it says alone. With more than two classes there is one such regression, and
    one table, for each class against the rest.

    p-values mean something only on rows that did not choose the hypotheses:
    :class:`~sklearn_hypsae.HypothesisGenerator` keeps such rows apart. Where fit can tell that
    its rows are those that chose the hypotheses, it marks ``in_sample`` and warns.

    Parameters
    ----------
    task : {"auto", "classification", "regression"}, default="auto"
        Kind of target. "auto" takes two distinct values, a non-numeric y or categories without
        an order (pandas) for classification and everything else for regression: set
        "classification" for three or more classes that are numbers. scikit-learn's tags say
        classifier or regressor for an explicit task, and for "auto" once fitted: set
        "classification" to have cross-validation stratify its folds.

    alpha : float, default=0.1
        A hypothesis is significant where its corrected p-value is at most this.

    correction : {"bonferroni", "holm", "fdr_bh", "fdr_by", "none"}, default="bonferroni"
        How p-values are corrected for the number of hypotheses (times the number of classes,
        where there are more than two). Untested hypotheses count.

    cov_type : {"auto", "nonrobust", "HC0", "HC1", "HC2", "HC3", "cluster"}, default="auto"
        How standard errors are estimated, for the regression and for separation. "auto" is
        "cluster" where groups are given, "HC1" where rows are weighted, else "nonrobust". For a
        logistic regression
        statsmodels gives HC0 for all of HC0 to HC3.

    n_permutations : int, default=9999
        Permutations for p-values where those of the regression mislead (see Notes). 0: none are
        made, the regression's p-values decide, and a warning and the table say which mislead.

    present_above : float, default=0.0
        A concept is present in a row whose annotation is above this. Set 0.5 for probabilities,
        as from ``LLMInterpreter(soft_labels=True)``; HypothesisGenerator does so by itself.

    random_state : int, RandomState instance or None, default=0
        Draws the permutations and the folds of the cross-fitted score. The default gives the
        same numbers every time.

    Attributes
    ----------
    hypotheses_ : DataFrame of shape (n_hypotheses, n_statistics)
        One row a column of X, in the same order; with more than two classes a block of such
        rows for each class, in the order of ``classes_``. Wordings and notes are str,
        ``significant`` is bool, ``n_present`` int64, all else float64.

        - class : the class that is told from the rest; only with more than two.
        - hypothesis : its wording, the name of the column.
        - separation_score : mean of y with the concept less mean without it. For pairs, see
          Notes.
        - standardised_effect : the same in standard deviations of y (Cohen's d).
        - separation_pvalue : of the pooled t-test of that difference.
        - welch_pvalue : of Welch's t-test, for variances that differ; NaN with groups, with
          weights and for pairs.
        - regression_coef : coefficient in the joint regression; log-odds for classification.
        - regression_coef_low, regression_coef_high : its 95% confidence interval; where another
          p-value than the regression's decides, of the width that one implies.
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

    multinomial_ : DataFrame of shape (n_hypotheses, 5)
        Only with more than two classes: whether a hypothesis says anything about any of them,
        by a Wald test in one multinomial regression (statsmodels' MNLogit): hypothesis,
        statistic (chi², or F with robust errors), df, pvalue, corrected_pval (for the number
        of hypotheses). All NaN where the annotations separate classes, since no finite fit
        exists then, and where rows are weighted, which MNLogit cannot do; NaN for a concept in
        (or absent from) fewer than 50 groups, whose robust p-value would be too small.

    metrics_ : dict
        - auc or r2 : of the regression on the very rows it was fitted on, as the paper
          reports it. It flatters: with 20 columns of noise and 640 rows the AUC is .60. Of
          more than two classes the mean over each against the rest.
        - auc_cv or r2_cv : the same cross-fitted over five folds; the one to quote.
        - auc_cv_ci or r2_cv_ci : its 95% bootstrap interval (low, high), over rows or groups.
        - auc_cv_covariates or r2_cv_covariates : cross-fitted, of the covariates alone; only
          where there are any.
        - n_significant, n_hypotheses, n_tested : counts of hypotheses; significant or tested
          for any class, where there are more than two.
        - n_tests : tests over all classes; only with more than two.
        - p_threshold : the largest p-value that is significant; None where that depends on the
          other p-values (holm, fdr_bh, fdr_by).
        - n_rows, n_rows_dropped : rows used, and rows left out because of a NaN.
        - n_groups : number of groups; only where groups were given.
        - cov_type : how standard errors were estimated.
        - in_sample : True where rows (by their texts, more than one in twenty) are among those
          that chose the hypotheses, else False; None where it cannot be known: from arrays, or
          rows without texts.

    result_ : statsmodels results
        Of the joint regression, for its summary and diagnostics. Its columns are the intercept,
        the covariates and the columns of X, by name, less those left out. Under separation it is
        the weighted binomial fit equivalent to the penalised one: take p-values from
        ``hypotheses_``. With more than two classes the multinomial fit. None where there is none.

    covariates_ : DataFrame of shape (n_covariates, n_statistics)
        Coefficients of the covariates, as for the hypotheses; empty without covariates.

    intercept_ : float, or ndarray of shape (n_classes,)
        Intercept of the regression; covariates are held at their means.

    coef_ : ndarray of shape (n_hypotheses,), or (n_classes, n_hypotheses)
        Coefficients; 0 for columns left out. One row a class where there are more than two.

    classes_ : ndarray of shape (n_classes,)
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
    activations: present means above ``present_above`` for prevalence and separation, and the
    regression uses the values as they are. Rows with a NaN are dropped in fit and counted; in
    predict a NaN stands for the column's mean in fit. A column without any annotation is left
    out by name.

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

    With groups, standard errors are cluster-robust, for the regression and for separation; of
    separation they are too small for a concept in few groups, and its p-values not permuted.

    Weights are those of surveys (inverse probabilities of being sampled): a row of weight 2
    stands for twice as many texts and is still one observation, so only the ratios of weights
    matter, and standard errors are robust, as Stata's ``pweight`` has it and Solon, Haider and
    Wooldridge advise. Means, separation, prevalence, coefficients and scores are weighted,
    n_present is not. Equal weights are none. To weigh by counts, repeat the rows.

    With covariates, coefficients and their p-values are given the covariates, separation is
    not. Both auc and r2 are then of hypotheses and covariates together, and predictions hold the
    covariates at their means.

    Some regression p-values are too small on noise, so that others decide in their stead
    ("judged by permutation"): of rare concepts where y is skewed or heavy-tailed; of concepts
    that go with a larger variance of y; robust ones, which a concept in few rows or groups
    misleads; and of concepts that meet a rare class in fewer than 5 rows, as far as chance would
    have it. Residuals are permuted over rows; with groups, their means over the groups and the
    rest within groups; for a logistic regression both of the linear probabilities and its own
    (Pearson) residuals, and the larger p-value decides. Of a rare class, outcomes are drawn from
    the fit without the concept; with robust errors such a concept is not tested. A confidence
    interval is then as wide as the p-value implies (Altman and Bland), so that the two never
    contradict each other.

    References
    ----------
    Movva, Peng, Garg, Kleinberg and Pierson (2025), "Sparse Autoencoders for Hypothesis
    Generation", arXiv 2502.04382.
    Bradley and Terry (1952), "Rank analysis of incomplete block designs. I. The method of
    paired comparisons", Biometrika 39(3/4).
    Solon, Haider and Wooldridge (2015), "What are we weighting for?", Journal of Human
    Resources 50(2).
    Altman and Bland (2011), "How to obtain the confidence interval from a P value", BMJ 343:
    d2090.
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
        "present_above": [Interval(Real, 0, None, closed="left")],
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
        present_above=0.0,
        random_state=0,
    ):
        self.task = task
        self.alpha = alpha
        self.correction = correction
        self.cov_type = cov_type
        self.n_permutations = n_permutations
        self.present_above = present_above
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, groups=None, *, covariates=None, sample_weight=None):
        """Test every column of X against y.

        Parameters
        ----------
        X : DataFrame, array-like or CSR of shape (n_samples, n_hypotheses)
            Annotations or activations; NaN where unknown.

        y : array-like of shape (n_samples,)
            Target: numbers, or two classes or more.

        groups : array-like of shape (n_samples,), default=None
            Rows of one group (chunks of a document, texts of an author) depend on each other.

        covariates : DataFrame, array-like of shape (n_samples, n_covariates), str or list of \
                str, default=None
            What else may explain y: hypotheses are tested given it. Columns that are not numeric
            become one indicator a category. Names stand for what is made from the texts in the
            index of X: "n_words", "log_n_words", "n_characters".

        sample_weight : array-like of shape (n_samples,), default=None
            How many texts each row stands for, from 0 up; 0 leaves the row out (see Notes).

        Returns
        -------
        self : HypothesisValidator

        Raises
        ------
        ValueError
            If nothing is annotated, no row is complete, lengths differ, y is constant or has
            missing values, a class has no row left, or weights are no weights.
        """
        annotations = self._validate(X, reset=True)
        self._pairs = rows_are_pairs(X, annotations)
        check = check_pair_target if self._pairs else partial(check_target, max_classes=None)
        target = check(y, task=self.task, n_samples=len(annotations), caller=type(self).__name__)
        if covariates is not None:
            covariates = covariate_frame(covariates, X)
        rows = complete_rows(
            annotations, target, groups, covariates, pairs=self._pairs, sample_weight=sample_weight
        )._replace(present_above=self.present_above)
        in_sample = rows_chose_hypotheses(X)
        cov_type = self._resolve_cov_type(rows)
        random_state = check_random_state(self.random_state)
        self._set_task(target)
        predictors = fit_predictors(
            rows.design,
            rows.y,
            n_classes=self._n_classes(),
            groups=rows.groups,
            cov_type=cov_type,
            intercept=not self._pairs,
            sample_weight=rows.sample_weight,
        )
        self._set_regression(predictors, rows)
        self.hypotheses_ = self._tabulate(predictors, rows, cov_type, random_state)
        self._set_multinomial(predictors, rows, cov_type)
        self.metrics_ = {
            **scores(predictors, rows, self._n_classes(), random_state),
            **counts(self.hypotheses_, rows, alpha=self.alpha, correction=self.correction),
            "cov_type": cov_type,
            "in_sample": in_sample,
        }
        return self

    def _validate(self, X, *, reset):
        refuse_texts(X, caller=type(self).__name__, expected="annotations", step="LLMInterpreter")
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

    def _resolve_cov_type(self, rows):
        if self.cov_type == "auto":
            of_rows = "nonrobust" if rows.sample_weight is None else "HC1"
            return of_rows if rows.groups is None else "cluster"
        if self.cov_type == "cluster" and rows.groups is None:
            raise ValueError(
                'HypothesisValidator(cov_type="cluster") needs to know which rows belong '
                "together: pass groups= to fit."
            )
        return self.cov_type

    def _set_regression(self, predictors, rows):
        n_covariates, is_multiclass = rows.covariates.shape[1], len(predictors) > 1
        coefficients = np.array([p.coefficients(rows.design.shape[1]) for p in predictors])
        # Two texts are alike where nothing is known.
        usual = 0.0 if self._pairs else 1.0
        held = usual * coefficients[:, :n_covariates] @ rows.mean(rows.covariates.to_numpy())
        intercepts = np.array([p.intercept for p in predictors]) + held
        coef = np.zeros((len(predictors), self.n_features_in_))
        coef[:, rows.annotated] = coefficients[:, n_covariates:]
        self.coef_ = coef if is_multiclass else coef[0]
        self.intercept_ = intercepts if is_multiclass else float(intercepts[0])
        self.covariates_ = stack_classes(
            [covariate_table(p, rows) for p in predictors], self._tested_classes()
        )
        self._means = np.zeros(self.n_features_in_)
        self._means[rows.annotated] = usual * rows.mean(rows.A)

    def _set_multinomial(self, predictors, rows, cov_type):
        """Keep the joint regression of all classes: with two, that is the only one there is."""
        if len(predictors) == 1:
            self.result_ = predictors[0].regression.result
            self._name_columns(predictors[0].kept, rows)
            if hasattr(self, "multinomial_"):
                del self.multinomial_
            return
        self.result_ = fit_multinomial(rows, len(predictors), cov_type)
        self._name_columns(predictors[0].kept, rows)
        self.multinomial_ = joint_tests(
            self.result_, rows, self.hypotheses_.head(self.n_features_in_), self.correction
        )

    def _name_columns(self, kept, rows):
        """Call the columns of the regression in its summary as the table does."""
        if self.result_ is None:
            return
        names = [*rows.covariates, *np.array(self._names(), dtype=object)[rows.annotated]]
        names = [str(names[i]) for i in kept]
        model = self.result_.model
        model.data.xnames = ["const"] * (model.exog.shape[1] - len(names)) + names

    def _tabulate(self, predictors, rows, cov_type, random_state):
        options = {
            "cov_type": cov_type,
            "n_permutations": self.n_permutations,
            "random_state": random_state,
        }
        targets = targets_of(rows.y, self._n_classes())
        tables = [
            tabulate(predictor, rows._replace(y=target), self._names(), **options)
            for predictor, target in zip(predictors, targets, strict=True)
        ]
        table = stack_classes(tables, self._tested_classes())
        warn_misleading(table)
        table = correct(table, method=self.correction, alpha=self.alpha)
        warn_of_floor(
            table,
            alpha=self.alpha,
            n_permutations=self.n_permutations,
            correction=self.correction,
        )
        return table

    def _names(self):
        names = getattr(self, "feature_names_in_", None)
        return [f"x{i}" for i in range(self.n_features_in_)] if names is None else list(names)

    def _n_classes(self):
        return len(self.classes_) if self.task_ == "classification" else None

    def _tested_classes(self):
        """Give the classes that have a table each; None where one table is enough."""
        return self.classes_ if (self._n_classes() or 2) > 2 else None

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
        support = self.get_support()
        warn_if_none(support.sum())
        return like_input(A[:, support], X, self)

    def _get_support_mask(self):
        check_is_fitted(self)
        return of_any_class(self.hypotheses_["significant"], self.n_features_in_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        task = getattr(self, "task_", None) if self.task == "auto" else self.task
        if task == "classification":
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags()
        elif task == "regression":
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
        return tags
