"""The table of tested hypotheses, one row a column of annotations."""

import numpy as np
import pandas as pd

from ._permutation import misleads_t_test, permutation_pvalues
from ._regression import robust_units
from ._statistics import correct_pvalues, presence, separation

MIN_ROWS = 20


def tabulate(
    predictor,
    rows,
    names,
    *,
    cov_type="nonrobust",
    n_permutations=0,
    random_state=None,
):
    """Build the table of the annotated hypotheses, before any correction for their number.

    Parameters
    ----------
    predictor : Predictor
        Fitted on the rows.

    rows : Rows

    names : list of str
        The annotated hypotheses.

    cov_type : str, default="nonrobust"

    n_permutations : int, default=0
        None where 0.

    random_state : RandomState instance, default=None
        Draws the permutations.

    Returns
    -------
    table : DataFrame of shape (n_columns, 13), or 14 for classification
    """
    A, y, groups = rows.A, rows.y, rows.groups
    present = presence(A)
    counts = np.abs(present).sum(axis=0).astype(int)
    is_rare = np.minimum(counts, len(A) - counts) < MIN_ROWS
    alone = _each_alone(present, y, groups, cov_type)
    joint = _all_together(predictor, A.shape[1])
    alone.loc[is_rare, ["separation_pvalue", "welch_pvalue"]] = np.nan
    joint.loc[is_rare, "regression_pval"] = np.nan
    joint["permutation_pval"] = np.nan
    if n_permutations:
        units = robust_units(cov_type, groups, len(y))
        is_tested = joint["regression_pval"].notna().to_numpy()
        chosen = np.flatnonzero(is_tested & _needs_permutations(predictor, A, y, units))
        joint.loc[chosen, "permutation_pval"] = permutation_pvalues(
            A[:, predictor.kept],
            y,
            columns=np.searchsorted(predictor.kept, chosen),
            n_permutations=n_permutations,
            random_state=random_state,
            groups=units,
        )
    names = pd.Series(names, dtype=object, name="hypothesis")
    table = pd.concat([names, alone, joint], axis=1)
    table["feature_prevalence"] = counts / len(A)
    table["n_present"] = counts
    table["note"] = [_note(j, table, predictor, A) for j in range(A.shape[1])]
    return table


def _each_alone(present, y, groups, cov_type):
    rows = [separation(column, y, groups=groups, cov_type=cov_type) for column in present.T]
    names = ["separation_score", "standardised_effect", "separation_pvalue", "welch_pvalue"]
    return pd.DataFrame(rows).set_axis(names, axis=1)


def _all_together(predictor, n_columns):
    regression = predictor.regression
    values = np.full((n_columns, 4), np.nan)
    values[predictor.kept] = np.column_stack(
        [regression.params[1:], regression.intervals, regression.pvalues]
    )
    names = ["regression_coef", "regression_coef_low", "regression_coef_high", "regression_pval"]
    table = pd.DataFrame(values, columns=names)
    if predictor.classification:
        with np.errstate(over="ignore"):  # activations can be on a tiny scale
            table.insert(3, "odds_ratio", np.exp(table["regression_coef"]))
    return table


def correct(table, *, method, alpha):
    """Add p-values corrected for the number of hypotheses, and what is significant.

    Where permutations had to be made, theirs is the p-value that decides.

    Parameters
    ----------
    table : DataFrame
        As :func:`tabulate` gives it, untested hypotheses included.

    method : str

    alpha : float

    Returns
    -------
    table : DataFrame
        With the columns corrected_pval and significant.
    """
    deciding = table["permutation_pval"].fillna(table["regression_pval"]).to_numpy()
    corrected = correct_pvalues(deciding, method=method)
    position = table.columns.get_loc("permutation_pval") + 1
    table.insert(position, "corrected_pval", corrected)
    table.insert(position + 1, "significant", corrected <= alpha)
    return table


def _needs_permutations(predictor, A, y, units):
    """Choose the columns whose ordinary p-value cannot be relied on.

    With robust errors all of them: they are too small for a concept in few rows or groups.
    Without, a logistic regression's p-values are, if anything, too large for a rare concept.
    """
    needed = np.zeros(A.shape[1], dtype=bool)
    if units is not None:
        needed[:] = True
    elif not predictor.classification and len(predictor.kept):
        needed[predictor.kept] = misleads_t_test(A[:, predictor.kept], y)
    return needed


def _note(j, table, predictor, A):
    """Say in a few words why a hypothesis is untested, or how its p-value came about."""
    if j in predictor.depends_on:
        return _note_left_out(j, predictor.depends_on[j], table["hypothesis"], A)
    n_present = table["n_present"][j]
    n_absent = len(A) - n_present
    if min(n_present, n_absent) < MIN_ROWS:
        found = f"present in {n_present}" if n_present < MIN_ROWS else f"absent from {n_absent}"
        return f"untested: {found} rows, {MIN_ROWS} are needed"
    if np.isnan(table["regression_pval"][j]):
        return "untested: too few rows for so many hypotheses"
    notes = ["penalised fit"] if predictor.regression.is_penalised else []
    if not np.isnan(table["permutation_pval"][j]):
        notes.append("judged by permutation")
    return ", ".join(notes)


def _note_left_out(j, others, names, A):
    if not others:
        return "untested: constant"
    is_copy = len(others) == 1 and np.array_equal(A[:, j], A[:, others[0]])
    named = ", ".join(repr(str(names[k])) for k in others)
    return f"untested: {'copy of' if is_copy else 'follows exactly from'} {named}"
