"""Permutation p-values of a joint regression, for where the usual ones mislead.

The t-test of a coefficient rests on its estimate being about normal. For a concept in few rows
and a skewed target it is not, and cluster-robust errors are too small for a concept in few
groups: on noise, small p-values then come far too often.
"""

import numpy as np
from scipy import special, stats

from ._regression import is_perfect

# Of the distribution of a coefficient's estimate. At these, noise gives p < .005 about 1.2
# times as often as it should (benchmarks/noise_calibration.py); far above, several times.
MAX_SKEWNESS = 0.25
MAX_KURTOSIS = 0.25
# Of the robust variance of a coefficient over the usual one, and in standard deviations of what
# it would be by chance. A smaller variance errs to the safe side.
LARGEST_EXCESS, N_DEVIATIONS = 0.25, 2
# Coefficients with a p-value above this after the first permutations need no more of them.
N_FIRST = 999
SMALLEST_PROBABILITY = 1e-6
CLEARLY_LARGE = 0.1
VALUES_PER_CHUNK = 1_000_000


def misleads_t_test(A, y, *, intercept=True, sample_weight=None):
    """Find the coefficients that a t-test of a least-squares fit misleads about.

    A coefficient is a weighted sum of the errors, where the weights are the part of its column
    that no other column explains: its skewness and excess kurtosis follow from those of the
    residuals. Its variance follows from theirs too, and the t-test takes that for the same in
    all rows, which it is not where a concept goes with more, or less, spread.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_columns)
        Linearly independent columns, none of them constant.

    y : ndarray of shape (n_samples,)

    intercept : bool, default=True
        Without it errors are taken for symmetric about 0.

    sample_weight : ndarray of shape (n_samples,), default=None

    Returns
    -------
    skewed : ndarray of bool of shape (n_columns,)
        Estimates too far from normal.

    uneven : ndarray of bool of shape (n_columns,)
        Estimates that are not skewed, of a larger variance than that of rows alike (HC0 of
        White 1980, Econometrica 48(4), over the usual one).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._permutation import misleads_t_test
    >>> rng = np.random.default_rng(0)
    >>> rare_and_common = np.arange(800)[:, None] % [40, 2] == 0
    >>> misleads_t_test(rare_and_common, rng.lognormal(size=800))[0]
    array([ True, False])
    >>> y = rng.normal(size=800)
    >>> misleads_t_test(rare_and_common, y)
    (array([False, False]), array([False, False]))
    >>> misleads_t_test(rare_and_common, y * (1 + rare_and_common[:, 1]))[1]
    array([False, False])
    >>> misleads_t_test(rare_and_common, y * (1 + rare_and_common[:, 0]))[1]
    array([ True, False])
    """
    root = _root(sample_weight, y)
    basis, weights = _basis_and_weights(A, root, intercept)
    errors = _residuals(basis, y, root)
    if is_perfect(errors, y, intercept=intercept):
        return np.zeros((2, A.shape[1]), dtype=bool)
    weights /= np.linalg.norm(weights, axis=0)
    scaled = root * errors
    scaled = scaled**2 / np.mean(scaled**2)
    excess = (weights**2).T @ scaled - 1
    chance = np.sqrt(np.var(scaled) * np.sum(weights**4, axis=0))
    uneven = (excess > LARGEST_EXCESS) & (excess > N_DEVIATIONS * chance)
    errors = errors if intercept else np.concatenate([errors, -errors])
    weights = root[:, None] * weights
    weights /= np.linalg.norm(weights, axis=0)
    # Weights have unit length, so their power sums are the standardised ones.
    is_skewed = np.abs(stats.skew(errors) * np.sum(weights**3, axis=0)) > MAX_SKEWNESS
    is_heavy = stats.kurtosis(errors) * np.sum(weights**4, axis=0) > MAX_KURTOSIS
    # The spread of a skewed y grows with its mean, and robust errors of few rows of it are poor:
    # permutations that are exact where the concept says nothing at all find twice as much there.
    return is_skewed | is_heavy, uneven & ~is_skewed


def permutation_pvalues(
    A,
    y,
    *,
    n_permutations,
    random_state,
    groups=None,
    columns=None,
    intercept=True,
    sample_weight=None,
    expected=None,
):
    """Test each coefficient of a regression against fits to permuted residuals.

    Without groups, residuals are permuted over all rows and compared by t². With groups, the
    means of the groups are permuted over the groups, what remains within each group, and the
    comparison is by the cluster-robust t². Without an intercept the signs of the residuals are
    drawn anew, by group where there are any.

    A logistic regression is the least-squares fit that its last step came from: to the linear
    predictor plus (y - p) / (p (1 - p)), with weights p (1 - p). What is permuted are Pearson
    residuals, which all have variance 1.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_columns)
        Linearly independent columns, none of them constant, fewer than rows less one.

    y : ndarray of shape (n_samples,)

    n_permutations : int
        Coefficients with a clearly large p-value get 999.

    random_state : RandomState instance

    groups : ndarray of int of shape (n_samples,), default=None
        Numbered from 0 without gaps.

    columns : ndarray of int of shape (n_tested,), default=None
        The columns to test. None: all.

    intercept : bool, default=True
        Whether the regression has one.

    sample_weight : ndarray of shape (n_samples,), default=None
        Weights stay with their rows; the residuals that are permuted are not weighted, the fits
        to them are.

    expected : ndarray of shape (n_samples,), default=None
        Fitted probabilities of a logistic regression; y is 0 and 1 then. None: least squares.

    Returns
    -------
    pvalues : ndarray of shape (n_tested,)
        Two-sided; at least 1 / (n_permutations + 1). NaN where the fit is perfect, so that
        there are no residuals to permute.

    References
    ----------
    Ter Braak (1992), Permutation versus bootstrap significance tests in multiple regression
    and ANOVA, in Bootstrapping and Related Techniques.
    Phipson and Smyth (2010), Permutation p-values should never be zero, Statistical
    Applications in Genetics and Molecular Biology 9(1).
    DiCiccio and Romano (2017), Robust permutation tests for correlation and regression
    coefficients, JASA 112(519), for the studentised statistic.
    """
    root, deviation = _root(sample_weight, y), np.ones(len(y))
    if expected is not None:
        y, deviation = _working_response(y, expected)
        root = root * deviation
    basis, weights = _basis_and_weights(A, root, intercept)
    weights = weights if columns is None else weights[:, columns]
    n_columns = weights.shape[1]
    errors = deviation * _residuals(basis, y, root)
    if n_columns == 0 or is_perfect(errors, y, intercept=intercept):
        return np.full(n_columns, np.nan)
    if groups is None:
        order, starts = np.arange(len(y)), None
    else:
        order = np.argsort(groups, kind="stable")
        starts = np.searchsorted(groups[order], np.arange(groups.max() + 1))
    basis, weights, errors = basis[order], weights[order], errors[order]
    target, root = (root * y)[order], (root / deviation)[order]
    make_permuter = _permuter if intercept else _sign_flipper
    permute = make_permuter(errors, starts, random_state)
    observed = _squared_t(basis, weights, target[None], starts)[0]
    reached, done = np.zeros(n_columns, dtype=int), np.zeros(n_columns, dtype=int)
    open_columns = np.arange(n_columns)
    for n_more in (min(N_FIRST, n_permutations), max(0, n_permutations - N_FIRST)):
        for permuted in _permuted(permute, len(errors), n_more):
            permuted *= root
            reached[open_columns] += _n_reached(
                basis, weights[:, open_columns], permuted, starts, observed[open_columns]
            )
        done[open_columns] += n_more
        open_columns = np.flatnonzero((reached + 1) / (done + 1) <= CLEARLY_LARGE)
        if not len(open_columns):
            break
    return (reached + 1) / (done + 1)


def _working_response(y, expected):
    """Give what the last step of a logistic regression was fitted to, and deviations of y."""
    expected = np.clip(expected, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    variance = expected * (1 - expected)
    return special.logit(expected) + (y - expected) / variance, np.sqrt(variance)


def _root(sample_weight, y):
    """Give the factor by which a weighted fit multiplies every row."""
    return np.ones(len(y)) if sample_weight is None else np.sqrt(sample_weight)


def _residuals(basis, y, root):
    return y - basis @ (basis.T @ (root * y)) / root


def _basis_and_weights(A, root, intercept):
    """Give an orthonormal basis of the design, and each coefficient as a sum over rows.

    Both are for rows multiplied by the root of their weights. Each column of weights has unit
    length, which no t-test notices.
    """
    design = A / np.abs(A).max(axis=0)
    if intercept:
        design = np.column_stack([design, np.ones(len(A))])
    design = root[:, None] * design
    weights = np.linalg.pinv(design).T[:, : A.shape[1]]
    return np.linalg.qr(design)[0], weights / np.linalg.norm(weights, axis=0)


def _permuted(permute, n_samples, n_permutations):
    """Yield permuted residuals, some permutations (rows) at a time."""
    chunk = max(1, VALUES_PER_CHUNK // n_samples)
    for start in range(0, n_permutations, chunk):
        permuted = np.empty((min(chunk, n_permutations - start), n_samples))
        for row in permuted:
            permute(row)
        yield permuted


def _permuter(errors, starts, random_state):
    """Make the function that fills a row with one permutation."""
    if starts is None:

        def permute(row):
            row[:] = errors
            random_state.shuffle(row)

        return permute
    sizes = np.diff(np.append(starts, len(errors)))
    means = np.add.reduceat(errors, starts) / sizes
    group = np.repeat(np.arange(len(sizes)), sizes)
    within = errors - means[group]
    varies_within = np.abs(within).max() > 1e-10 * np.abs(errors).max()

    def permute(row):
        row[:] = random_state.permutation(means)[group]
        if varies_within:
            # Random keys below 1 shuffle rows without leaving their group.
            row += within[np.argsort(group + random_state.random_sample(len(group)))]

    return permute


def _sign_flipper(errors, starts, random_state):
    """Make the function that fills a row with residuals whose signs are drawn anew, by group.

    For pairs: which text comes first says nothing, so a residual is as likely as its negative.
    """
    n_groups = len(errors) if starts is None else len(starts)
    sizes = 1 if starts is None else np.diff(np.append(starts, len(errors)))

    def permute(row):
        row[:] = errors * np.repeat(2 * random_state.randint(2, size=n_groups) - 1, sizes)

    return permute


def _n_reached(basis, weights, permuted, starts, observed):
    """Count the permutations whose statistic reaches the observed one.

    The margin keeps ties, which are common for counts, ties in spite of rounding.
    """
    statistics = _squared_t(basis, weights, permuted, starts)
    return np.sum(statistics >= observed * (1 - 1e-9), axis=0)


def _squared_t(basis, weights, targets, starts):
    """Compute t², up to a constant factor, for each target (a row) and coefficient."""
    effects = (targets @ weights) ** 2
    residuals = targets - (targets @ basis) @ basis.T
    if starts is None:
        variances = np.einsum("ij,ij->i", residuals, residuals)[:, None]
    else:
        variances = np.column_stack(
            [
                np.sum(np.add.reduceat(residuals * column, starts, axis=1) ** 2, axis=1)
                for column in weights.T
            ]
        )
    return effects / np.maximum(variances, np.finfo(float).tiny)
