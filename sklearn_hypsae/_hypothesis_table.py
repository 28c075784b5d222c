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
    present = presence(rows.A, pairs=rows.pairs)
    counts = np.abs(present).sum(axis=0).astype(int)
    is_rare = np.minimum(counts, _n_absent(counts, rows)) < MIN_ROWS
    alone = _each_alone(present, rows, predictor, cov_type)
    joint = coefficient_table(predictor, rows.design.shape[1])
    joint = joint.iloc[rows.covariates.shape[1] :].reset_index(drop=True)
    alone.loc[is_rare, ["separation_pvalue", "welch_pvalue"]] = np.nan
    joint.loc[is_rare, "regression_pval"] = np.nan
    joint["permutation_pval"] = np.nan
    if n_permutations:
        is_tested = joint["regression_pval"].notna().to_numpy()
        chosen, pvalues = _permute(
            predictor, rows, is_tested, cov_type, n_permutations, random_state
        )
        joint.loc[chosen, "permutation_pval"] = pvalues
    names = pd.Series(names, dtype=object, name="hypothesis")
    table = pd.concat([names, alone, joint], axis=1)
    table["feature_prevalence"] = counts / len(present)
    table["n_present"] = counts
    table["note"] = [_note(j, table, predictor, rows) for j in range(len(names))]
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


def _n_absent(n_present, rows):
    """Rows without the concept; of pairs, where it is in one text only, always enough."""
    return np.full_like(n_present, len(rows.y)) if rows.pairs else len(rows.y) - n_present


def _numbers(rows, predictor):
    """Give y for least squares: that one text wins counts from the middle, as pairs want it."""
    return rows.y - 0.5 if rows.pairs and predictor.classification else rows.y


def _each_alone(present, rows, predictor, cov_type):
    y = _numbers(rows, predictor)
    options = {"groups": rows.groups, "cov_type": cov_type, "intercept": not rows.pairs}
    found = [separation(column, y, **options) for column in present.T]
    names = ["separation_score", "standardised_effect", "separation_pvalue", "welch_pvalue"]
    return pd.DataFrame(found).set_axis(names, axis=1)


def coefficient_table(predictor, n_columns):
    """Build the table of coefficients, NaN for columns left out of the regression.

    Parameters
    ----------
    predictor : Predictor

    n_columns : int
        Number of columns of the design, covariates included.

    Returns
    -------
    table : DataFrame of shape (n_columns, 4), or 5 for classification
    """
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


def _permute(predictor, rows, is_tested, cov_type, n_permutations, random_state):
    """Choose the hypotheses whose ordinary p-value cannot be relied on, and permute for them.

    With robust errors all of them: they are too small for a concept in few rows or groups.
    Without, a logistic regression's p-values are, if anything, too large for a rare concept.
    """
    y, intercept = _numbers(rows, predictor), not rows.pairs
    units = robust_units(cov_type, rows.groups, len(y))
    design = rows.design[:, predictor.kept]
    positions = np.searchsorted(
        predictor.kept, rows.covariates.shape[1] + np.flatnonzero(is_tested)
    )
    if units is None:
        if predictor.classification or not len(positions):
            return [], []
        positions = positions[misleads_t_test(design, y, intercept=intercept)[positions]]
    pvalues = permutation_pvalues(
        design,
        y,
        intercept=intercept,
        columns=positions,
        n_permutations=n_permutations,
        random_state=random_state,
        groups=units,
    )
    return predictor.kept[positions] - rows.covariates.shape[1], pvalues


def _note(j, table, predictor, rows):
    """Say in a few words why a hypothesis is untested, or how its p-value came about."""
    column = rows.covariates.shape[1] + j
    if column in predictor.depends_on:
        names = [*rows.covariates.columns, *table["hypothesis"]]
        return _note_left_out(column, predictor.depends_on[column], names, rows.design)
    n_present = table["n_present"][j]
    n_absent = int(_n_absent(n_present, rows))
    if min(n_present, n_absent) < MIN_ROWS:
        found = f"present in {n_present}" if n_present < MIN_ROWS else f"absent from {n_absent}"
        units = "pairs (in one text only)" if rows.pairs else "rows"
        return f"untested: {found} {units}, {MIN_ROWS} are needed"
    if np.isnan(table["regression_pval"][j]):
        return "untested: too few rows for so many hypotheses"
    notes = ["penalised fit"] if predictor.regression.is_penalised else []
    notes += ["perfect fit"] if predictor.regression.is_perfect else []
    if not np.isnan(table["permutation_pval"][j]):
        notes.append("judged by permutation")
    return ", ".join(notes)


def _note_left_out(column, others, names, design):
    if not others:
        return "untested: constant"
    is_copy = len(others) == 1 and np.array_equal(design[:, column], design[:, others[0]])
    named = ", ".join(repr(str(names[k])) for k in others)
    return f"untested: {'copy of' if is_copy else 'follows exactly from'} {named}"
