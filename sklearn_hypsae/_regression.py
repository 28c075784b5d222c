"""The joint regression of a target on annotations: least squares or logistic.

statsmodels estimates, and computes the standard errors. What statsmodels does not have, the
penalised fit for separated classes, is here: maximum likelihood has no finite answer there.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, special, stats

from ._optional import import_optional

COV_TYPES = ("nonrobust", "HC0", "HC1", "HC2", "HC3", "cluster")
CONFIDENCE = 0.95
MAX_NEWTON_STEPS = 100
# "Few" clusters range from less than 20 to less than 50 (Cameron and Miller 2015, A
# practitioner's guide to cluster-robust inference, Journal of Human Resources 50(2)).
FEW_UNITS = 50
DEPENDENCE_TOLERANCE = 1e-8


class Regression(NamedTuple):
    """A fitted joint regression.

    Attributes
    ----------
    params : ndarray of shape (n_columns + 1,)
        Intercept (0 where there is none) and coefficients.

    pvalues : ndarray of shape (n_columns,)
        Two-sided p-value of each coefficient; NaN where no degree of freedom is left.

    intervals : ndarray of shape (n_columns, 2)
        95% confidence interval of each coefficient.

    is_penalised : bool
        Whether separation forced a penalised logistic fit.

    result : object
        What statsmodels returned; None without any column or intercept.

    is_perfect : bool
        Whether least squares left no residuals. p-values are then 0, and 1 for a column that
        contributes nothing but rounding.
    """

    params: np.ndarray
    pvalues: np.ndarray
    intervals: np.ndarray
    is_penalised: bool
    result: Any
    is_perfect: bool = False


def independent_columns(A, *, intercept=True):
    """Find the columns that a regression can tell apart.

    Columns are taken from left to right; one that is constant (without an intercept: zero), or
    a linear combination of those already taken, is left out.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_columns)

    intercept : bool, default=True
        Whether the regression has one.

    Returns
    -------
    kept : ndarray of int
        The columns that stay, in order.

    depends_on : dict of int to list of int
        For each column left out, the kept columns it follows from; empty: constant.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._regression import independent_columns
    >>> A = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0], [1, 0, 1, 1.0]])
    >>> independent_columns(A)
    (array([1, 2]), {0: [], 3: [1]})
    """
    centred = A - A.mean(axis=0) if intercept else A
    norms = np.linalg.norm(centred, axis=0)
    # A constant column keeps the rounding of its mean after centring.
    is_constant = norms <= DEPENDENCE_TOLERANCE * np.linalg.norm(A, axis=0)
    basis = np.empty((len(A), 0))
    kept, depends_on = [], {}
    for j in range(A.shape[1]):
        if is_constant[j]:
            depends_on[j] = []
            continue
        column = centred[:, j] / norms[j]
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)  # once more: rounding of the first projection
        size = np.linalg.norm(rest)
        if size <= DEPENDENCE_TOLERANCE:
            weights = np.linalg.lstsq(centred[:, kept] / norms[kept], column, rcond=None)[0]
            depends_on[j] = [k for k, w in zip(kept, weights, strict=True) if abs(w) > 1e-6]
        else:
            kept.append(j)
            basis = np.column_stack([basis, rest / size])
    return np.array(kept, dtype=int), depends_on


def fit_regression(
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
    """Regress y on all columns at once.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_columns)
        Linearly independent columns, none of them constant (see
        :func:`independent_columns`).

    y : ndarray of shape (n_samples,)
        Numbers; 0.0 and 1.0 for classification.

    classification : bool
        Logistic regression if true, else least squares.

    groups : ndarray of int of shape (n_samples,), default=None
        Numbered from 0 without gaps; for "cluster".

    cov_type : {"nonrobust", "HC0", "HC1", "HC2", "HC3", "cluster"}, default="nonrobust"
        How standard errors are estimated, as statsmodels names it. For a logistic regression
        statsmodels gives HC0 for all of HC0 to HC3.

    inference : bool, default=True
        Whether p-values and intervals are wanted. Without them a penalised fit is much
        quicker.

    intercept : bool, default=True
        Without it the regression goes through the origin, as pairs want it: if the texts of a
        pair change places, its columns and y change sign (for classification y becomes
        1 - y), and nothing else may change. For a binary y that is the model of Bradley and
        Terry (1952), Rank analysis of incomplete block designs, Biometrika 39(3/4), with the
        strength of a text linear in its concepts.

    sample_weight : ndarray of shape (n_samples,), default=None
        How much each row counts, with mean 1.

    Returns
    -------
    regression : Regression
    """
    design = np.column_stack([np.ones(len(A)), A]) if intercept else A
    if design.shape[1] == 0:
        # Pairs that no column tells apart: an even chance, or 0, is all there is to expect.
        return Regression(np.zeros(1), np.empty(0), np.empty((0, 2)), False, None)
    if len(design) <= design.shape[1]:
        # No degree of freedom is left to estimate an error from.
        cov_type, inference = "nonrobust", False
    options = covariance_options(cov_type, groups)
    if not classification:
        regression = _fit_least_squares(design, y, options, inference, intercept, sample_weight)
    else:
        regression = _fit_logistic(design, y, options, sample_weight)
        if regression is None:
            clusters = robust_units(cov_type, groups, len(y))
            regression = _fit_penalised_logistic(design, y, clusters, inference, sample_weight)
    return _of_columns(regression, intercept)


def _of_columns(regression, intercept):
    """Tell the intercept from the columns: a coefficient only, and 0 where there is none."""
    if not intercept:
        return regression._replace(params=np.append(0.0, regression.params))
    return regression._replace(pvalues=regression.pvalues[1:], intervals=regression.intervals[1:])


def robust_units(cov_type, groups, n_samples):
    """Give the units a robust covariance takes as independent; None for a nonrobust one."""
    if cov_type == "nonrobust":
        return None
    return groups if cov_type == "cluster" else np.arange(n_samples)


def in_few_units(present, units):
    """Find the columns whose robust p-values are likely too small.

    Parameters
    ----------
    present : ndarray of bool of shape (n_samples, n_columns)

    units : ndarray of int of shape (n_samples,)
        What a robust covariance takes as independent.

    Returns
    -------
    is_few : ndarray of bool of shape (n_columns,)
        Whether a column is present in few units, or absent from few.
    """
    n_units = [[len(np.unique(units[side])) for side in (column, ~column)] for column in present.T]
    return np.min(n_units, axis=1, initial=FEW_UNITS) < FEW_UNITS


def covariance_options(cov_type, groups):
    """Give what statsmodels' fit has to be told for a kind of standard errors."""
    if cov_type == "nonrobust":
        return {}
    # With few groups the normal distribution is too narrow; t has one df less than groups.
    options = {"cov_type": cov_type, "use_t": True}
    return options | ({"cov_kwds": {"groups": groups}} if cov_type == "cluster" else {})


def _fit_least_squares(design, y, options, inference, intercept, sample_weight):
    api = import_optional("statsmodels.api", purpose="HypothesisValidator")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if sample_weight is None:
            model = api.OLS(y, design)
        else:
            model = api.WLS(y, design, weights=sample_weight)
        result = model.fit(**options)
        if not inference:
            return _without_inference(result)
        regression = _from_result(result)
    if not is_perfect(result.resid, y, intercept=intercept):
        return regression
    contributed = np.abs(regression.params) * _extent(design, intercept)
    contributes = contributed > 1e-8 * _extent(y, intercept)
    return regression._replace(pvalues=np.where(contributes, 0.0, 1.0), is_perfect=True)


def is_perfect(residuals, y, *, intercept=True):
    """Say whether residuals are nothing but rounding.

    Parameters
    ----------
    residuals, y : ndarray of shape (n_samples,)

    intercept : bool, default=True
        Whether the regression has one.

    Returns
    -------
    is_perfect : bool
    """
    return bool(_extent(residuals, intercept) <= 1e-10 * _extent(y, intercept))


def _extent(values, intercept):
    """How far values are apart; without an intercept, from what they are with the sign changed."""
    return np.ptp(values, axis=0) if intercept else 2 * np.abs(values).max(axis=0)


def _fit_logistic(design, y, options, sample_weight):
    """Fit by maximum likelihood, or give None where that has no finite, stable answer."""
    api = import_optional("statsmodels.api", purpose="HypothesisValidator")
    tools = import_optional("statsmodels.tools.sm_exceptions", purpose="HypothesisValidator")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            if sample_weight is None:
                result = api.Logit(y, design).fit(disp=0, **options)
                converged = result.mle_retvals["converged"]
            else:
                result = _fit_weighted_logistic(design, y, options, sample_weight)
                converged = result.converged
        except (np.linalg.LinAlgError, tools.PerfectSeparationError, ValueError):
            return None
        if not converged or not np.isfinite(result.bse).all():
            return None
        return _from_result(result)


def _fit_weighted_logistic(design, y, options, sample_weight):
    """Logit takes no weights; the binomial GLM is the same model and does."""
    api = import_optional("statsmodels.api", purpose="HypothesisValidator")
    model = api.GLM(y, design, family=api.families.Binomial(), var_weights=sample_weight)
    # As many steps as Logit makes: where classes are separated the coefficients only grow.
    return model.fit(maxiter=35, tol=1e-10, tol_criterion="params", **options)


def _from_result(result):
    intervals = np.asarray(result.conf_int(alpha=1 - CONFIDENCE))
    # HC2 and HC3 divide by nothing where a row alone decides a coefficient.
    intervals = np.where(np.isfinite(intervals), intervals, np.nan)
    return Regression(
        np.asarray(result.params), np.asarray(result.pvalues), intervals, False, result
    )


def _without_inference(result, is_penalised=False):
    params = np.asarray(result.params)
    nothing = np.full(len(params), np.nan)
    return Regression(params, nothing, np.column_stack([nothing, nothing]), is_penalised, result)


def _fit_penalised_logistic(design, y, groups, inference, sample_weight):
    """Fit with Firth's penalty; p-values by score tests.

    A Wald test would divide by a standard error that explodes (and, cluster-robust, vanishes)
    where a column separates the classes; the score test of a column only needs the fit
    without it.
    """
    if sample_weight is None:
        sample_weight = np.ones(len(y))
    params, weights, leverages = firth_logistic(design, y, sample_weight)
    result = _as_statsmodels_result(design, y, params, leverages, sample_weight)
    if not inference:
        return _without_inference(result, is_penalised=True)._replace(params=params)
    # Activations come at any scale; tests do not depend on it, rounding does.
    scale = np.abs(design).max(axis=0)
    scaled = design / scale
    pvalues = np.array([score_test(scaled, y, j, groups, sample_weight) for j in range(len(scale))])
    errors = _standard_errors(scaled, y, params * scale, weights, groups, sample_weight) / scale
    reference = stats.norm if groups is None else stats.t(len(np.unique(groups)) - 1)
    margin = reference.ppf((1 + CONFIDENCE) / 2) * errors
    intervals = np.column_stack([params - margin, params + margin])
    return Regression(params, pvalues, intervals, True, result)


def _as_statsmodels_result(design, y, params, leverages, sample_weight):
    """Give Firth's fit as the weighted binomial fit that has the same solution.

    Firth's score is that of a likelihood where each row of weight w counts w + h times and half
    of the extra h is a success.
    """
    api = import_optional("statsmodels.api", purpose="HypothesisValidator")
    counts = sample_weight + leverages
    shares = (sample_weight * y + leverages / 2) / counts
    model = api.GLM(shares, design, family=api.families.Binomial(), var_weights=counts)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return model.fit(start_params=params)


def firth_logistic(design, y, sample_weight=None):
    """Fit a logistic regression with Jeffreys' prior as penalty.

    Its estimates are finite whatever the data, and nearly unbiased.

    Parameters
    ----------
    design : ndarray of shape (n_samples, n_params)
        Full column rank, the intercept among its columns if there is one.

    y : ndarray of shape (n_samples,)
        0.0 or 1.0.

    sample_weight : ndarray of shape (n_samples,), default=None
        How much each row counts.

    Returns
    -------
    params : ndarray of shape (n_params,)

    weights : ndarray of shape (n_samples,)
        Variances p (1 - p) at the solution, times the weight of the row.

    leverages : ndarray of shape (n_samples,)
        Diagonal of the hat matrix at the solution.

    References
    ----------
    Firth (1993), Bias reduction of maximum likelihood estimates, Biometrika 80(1).
    Heinze and Schemper (2002), A solution to the problem of separation in logistic
    regression, Statistics in Medicine 21(16).

    Examples
    --------
    A concept that is only in rows with y = 1 gets a finite coefficient: that of the table of
    counts with 1/2 added to every cell.

    >>> import numpy as np
    >>> from sklearn_hypsae._regression import firth_logistic
    >>> design = np.column_stack([np.ones(6), [1, 1, 0, 0, 0, 0]])
    >>> params, _, _ = firth_logistic(design, np.array([1, 1, 1, 0, 0, 0.0]))
    >>> params.round(4)
    array([-0.8473,  2.4567])
    >>> np.log(1.5 / 3.5).round(4), (np.log(2.5 / 0.5) - np.log(1.5 / 3.5)).round(4)
    (np.float64(-0.8473), np.float64(2.4567))
    """
    # The penalty does not depend on the parametrisation, so orthonormal columns may stand in
    # for the given ones: the steps are then well conditioned at any scale.
    if design.shape[1] == 0:
        return np.zeros(0), np.full(len(y), 0.25), np.zeros(len(y))
    basis, triangle = np.linalg.qr(design)
    basis, triangle = basis * np.sqrt(len(y)), triangle / np.sqrt(len(y))
    params = np.zeros(basis.shape[1])
    sample_weight = np.ones(len(y)) if sample_weight is None else sample_weight
    state = _firth_state(basis, y, params, sample_weight)
    for _ in range(MAX_NEWTON_STEPS):
        step = linalg.cho_solve(state.factor, state.score)
        if np.abs(step).max() < 1e-10:
            break
        step *= min(1.0, 5.0 / np.abs(step).max())
        for _ in range(40):
            trial = _firth_state(basis, y, params + step, sample_weight)
            if trial is not None and trial.objective >= state.objective - 1e-12:
                break
            step /= 2
        else:
            break
        params, state = params + step, trial
    return linalg.solve_triangular(triangle, params), state.weights, state.leverages


class _FirthState(NamedTuple):
    objective: float
    score: np.ndarray
    factor: tuple
    weights: np.ndarray
    leverages: np.ndarray


def _firth_state(basis, y, params, sample_weight):
    linear = basis @ params
    probabilities = special.expit(linear)
    weights = sample_weight * probabilities * special.expit(-linear)
    try:
        factor = linalg.cho_factor(basis.T @ (weights[:, None] * basis), lower=True)
    except linalg.LinAlgError:
        return None
    whitened = linalg.solve_triangular(factor[0], basis.T, lower=True)
    leverages = weights * np.sum(whitened**2, axis=0)
    log_likelihood = np.sum(sample_weight * (y * linear - np.logaddexp(0, linear)))
    half_log_det = np.log(np.diag(factor[0])).sum()
    surprises = sample_weight * (y - probabilities) + leverages * (0.5 - probabilities)
    score = basis.T @ surprises
    return _FirthState(log_likelihood + half_log_det, score, factor, weights, leverages)


def score_test(design, y, column, groups=None, sample_weight=None):
    """Test one coefficient of a logistic regression from the fit without it.

    Parameters
    ----------
    design : ndarray of shape (n_samples, n_params)

    y : ndarray of shape (n_samples,)

    column : int
        The column of the design that is tested.

    groups : ndarray of int of shape (n_samples,), default=None
        With groups, the variance of the score is that between groups.

    sample_weight : ndarray of shape (n_samples,), default=None
        How much each row counts.

    Returns
    -------
    pvalue : float

    References
    ----------
    Rao (1948), Mathematical Proceedings of the Cambridge Philosophical Society 44(1).
    With groups: Boos (1992), On generalized score tests, The American Statistician 46(4).
    """
    others = np.delete(design, column, axis=1)
    params, weights, _ = firth_logistic(others, y, sample_weight)
    residuals = y - special.expit(others @ params)
    residuals = residuals if sample_weight is None else sample_weight * residuals
    root = np.sqrt(weights)
    weighted = root * design[:, column]
    along = np.linalg.lstsq(root[:, None] * others, weighted, rcond=None)[0]
    scores = (design[:, column] - others @ along) * residuals
    if groups is None:
        variance = np.sum((weighted - root * (others @ along)) ** 2)
        return float(2 * stats.norm.sf(abs(scores.sum()) / np.sqrt(variance)))
    sums = np.bincount(groups, weights=scores)
    n_groups = len(sums)
    variance = np.sum(sums**2) * n_groups / (n_groups - 1)
    if variance == 0:
        return 1.0
    return float(2 * stats.t.sf(abs(scores.sum()) / np.sqrt(variance), n_groups - 1))


def _standard_errors(design, y, params, weights, groups, sample_weight):
    """Wald errors of a penalised fit, cluster-robust where that is the larger.

    The cluster-robust ones vanish with the residuals of a column that separates the classes.
    """
    root = np.linalg.pinv(np.sqrt(weights)[:, None] * design)
    bread = root @ root.T
    errors = np.sqrt(np.diag(bread))
    if groups is None:
        return errors
    scores = design * (sample_weight * (y - special.expit(design @ params)))[:, None]
    sums = np.zeros((groups.max() + 1, design.shape[1]))
    np.add.at(sums, groups, scores)
    # The diagonal of the sandwich as sums of squares, which rounding cannot make negative.
    robust = np.square(sums @ bread).sum(axis=0)
    return np.maximum(errors, np.sqrt(robust * len(sums) / (len(sums) - 1)))
