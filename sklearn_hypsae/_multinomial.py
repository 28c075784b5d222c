"""One multinomial regression of several classes, and a joint test of each hypothesis in it."""

import warnings
from typing import NamedTuple

import numpy as np

from ._optional import import_optional
from ._regression import covariance_options, in_few_units, independent_columns
from ._statistics import correct_pvalues, presence


def fit_multinomial(rows, n_classes, cov_type="nonrobust"):
    """Fit a multinomial logistic regression by maximum likelihood, with statsmodels.

    Parameters
    ----------
    rows : Rows
        With the numbers of the classes as y.

    n_classes : int

    cov_type : str, default="nonrobust"

    Returns
    -------
    result : statsmodels result or None
        None where there is no finite answer (the annotations separate classes), no degree of
        freedom is left, or rows are weighted, which MNLogit cannot do.
    """
    kept, _ = independent_columns(rows.design)
    if rows.sample_weight is not None or len(rows.y) <= (len(kept) + 1) * (n_classes - 1):
        return None
    api = import_optional("statsmodels.api", purpose="HypothesisValidator")
    design = np.column_stack([np.ones(len(rows.y)), rows.design[:, kept]])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            options = covariance_options(cov_type, rows.groups)
            result = api.MNLogit(rows.y.astype(int), design).fit(disp=0, **options)
        except np.linalg.LinAlgError:
            return None
        if not result.mle_retvals["converged"] or not np.isfinite(result.bse).all():
            return None
    return result


def joint_tests(result, rows, hypotheses, correction):
    """Test for each hypothesis whether it says anything about any of the classes.

    Parameters
    ----------
    result : statsmodels result or None
        What :func:`fit_multinomial` returns.

    rows : Rows

    hypotheses : DataFrame of shape (n_hypotheses, n_statistics)
        The table of one class against the rest.

    correction : str
        For the number of hypotheses.

    Returns
    -------
    table : DataFrame of shape (n_hypotheses, 5)
        hypothesis, statistic, df and pvalue of the Wald test that all its coefficients are 0,
        and corrected_pval. NaN where there is no result, the hypothesis is not tested, or it is
        in too few groups: cluster-robust p-values are then too small, and none is permuted.
    """
    table = hypotheses[["hypothesis"]].copy()
    table[["statistic", "df", "pvalue"]] = np.nan
    is_tested = hypotheses["regression_pval"].notna().to_numpy(copy=True)
    if rows.groups is not None:
        present = presence(rows.A, above=rows.present_above, pairs=rows.pairs)
        is_tested[rows.annotated] &= ~in_few_units(present != 0, rows.groups)
    if result is not None:
        kept, _ = independent_columns(rows.design)
        for j in np.flatnonzero(is_tested):
            column = rows.covariates.shape[1] + np.searchsorted(rows.annotated, j)
            test = _wald_test(result, 1 + np.searchsorted(kept, column))
            table.loc[j, ["statistic", "df", "pvalue"]] = test.statistic, test.df, test.pvalue
    corrected = correct_pvalues(table["pvalue"].to_numpy(), method=correction)
    return table.assign(corrected_pval=corrected)


class _Wald(NamedTuple):
    statistic: float
    df: int
    pvalue: float


def _wald_test(result, position):
    """Test that one row of coefficients is 0 for every class but the first."""
    n_params, n_contrasts = np.shape(result.params)
    # Parameters stand class by class.
    restriction = np.zeros((n_contrasts, n_params * n_contrasts))
    restriction[np.arange(n_contrasts), np.arange(n_contrasts) * n_params + position] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = result.wald_test(restriction, scalar=True)
    return _Wald(float(test.statistic), n_contrasts, float(test.pvalue))
