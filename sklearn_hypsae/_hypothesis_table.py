"""The table of tested hypotheses, one row a column of annotations."""

from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import norm

from ._permutation import misleads_t_test, permutation_pvalues
from ._regression import in_few_units, robust_units
from ._score_tests import few_events, simulated_pvalues
from ._statistics import correct_pvalues, presence, separation
from ._warning import warn

MIN_ROWS = 20
# Of p-values that an interval is made from: one of 1 says that it has no end.
LARGEST_IMPLIED = 0.99
MISLEADS = "p-value likely too small"


def tabulate(
    predictor,
    rows,
    names,
    *,
    cov_type="nonrobust",
    n_permutations=0,
    random_state=None,
):
    """Build the table of hypotheses, before any correction for their number.

    Parameters
    ----------
    predictor : Predictor
        Fitted on the rows.

    rows : Rows

    names : list of str
        All hypotheses; those without any annotation get a row that says so.

    cov_type : str, default="nonrobust"

    n_permutations : int, default=0
        None where 0.

    random_state : RandomState instance, default=None
        Draws the permutations.

    Returns
    -------
    table : DataFrame of shape (n_hypotheses, 13), or 14 for classification
    """
    annotated = [names[j] for j in rows.annotated]
    options = {"cov_type": cov_type, "n_permutations": n_permutations}
    table = _tabulate_annotated(predictor, rows, annotated, **options, random_state=random_state)
    table = table.set_index(rows.annotated).reindex(range(len(names)))
    table["hypothesis"] = pd.Series(names, dtype=object)
    left_out = np.setdiff1d(np.arange(len(names)), rows.annotated)
    table.loc[left_out, "n_present"] = 0
    table.loc[left_out, "note"] = "untested: not annotated in any row"
    return table.astype({"n_present": "int64"})


def _tabulate_annotated(predictor, rows, names, *, cov_type, n_permutations, random_state):
    present = presence(rows.A, above=rows.present_above, pairs=rows.pairs)
    counts = np.abs(present).sum(axis=0).astype(int)
    is_rare = np.minimum(counts, _n_absent(counts, rows)) < MIN_ROWS
    alone = _each_alone(present, rows, predictor, cov_type)
    joint = coefficient_table(predictor, rows.design.shape[1])
    joint = joint.iloc[rows.covariates.shape[1] :].reset_index(drop=True)
    alone.loc[is_rare, ["separation_pvalue", "welch_pvalue"]] = np.nan
    is_hopeless = is_rare | _is_beyond_robust_errors(present, rows, predictor, cov_type)
    joint.loc[is_hopeless, "regression_pval"] = np.nan
    joint["permutation_pval"] = np.nan
    is_tested = joint["regression_pval"].notna().to_numpy()
    misled = []
    if n_permutations:
        chosen, pvalues = _permute(
            predictor, rows, present, is_tested, cov_type, n_permutations, random_state
        )
        joint.loc[chosen, "permutation_pval"] = pvalues
    else:
        misled = _misled(predictor, rows, present, is_tested, cov_type)
    _let_intervals_agree(joint)
    names = pd.Series(names, dtype=object, name="hypothesis")
    table = pd.concat([names, alone, joint], axis=1)
    table["feature_prevalence"] = rows.mean(np.abs(present))
    table["n_present"] = counts
    table["note"] = [_note(j, table, predictor, rows) for j in range(len(names))]
    for j in misled:
        table.loc[j, "note"] = ", ".join(filter(None, [table.loc[j, "note"], MISLEADS]))
    return table


def _let_intervals_agree(joint):
    """Give intervals of a width that the p-value that decides implies, where theirs is another.

    That is Altman and Bland (2011), "How to obtain the confidence interval from a P value", BMJ
    343: d2090. An interval is made wider where permutations find a larger p-value, and either
    where it would say the opposite about zero, as after a penalised fit, whose p-value is that of
    a score test.

    Parameters
    ----------
    joint : DataFrame
        Changed in place.
    """
    coef, usual = joint["regression_coef"], joint["regression_pval"]
    low, high = joint["regression_coef_low"], joint["regression_coef_high"]
    decides = joint["permutation_pval"].fillna(usual)
    implied = coef.abs() * norm.isf(0.025) / norm.isf(decides.clip(upper=LARGEST_IMPLIED) / 2)
    is_larger = (decides > usual) & (implied > (high - low) / 2)
    contradicts = (decides < 0.05) != ((low > 0) | (high < 0))
    changed = usual.notna() & low.notna() & (implied > 0) & (is_larger | contradicts)
    joint.loc[changed, "regression_coef_low"] = (coef - implied)[changed]
    joint.loc[changed, "regression_coef_high"] = (coef + implied)[changed]


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
    options = {
        "groups": rows.groups,
        "cov_type": cov_type,
        "intercept": not rows.pairs,
        "sample_weight": rows.sample_weight,
    }
    found = [separation(column, y, **options) for column in present.T]
    names = ["separation_score", "standardised_effect", "separation_pvalue", "welch_pvalue"]
    return pd.DataFrame(found).set_axis(names, axis=1)


def stack_classes(tables, classes):
    """Put the tables of several classes below one another, with the class as first column.

    Parameters
    ----------
    tables : list of DataFrame

    classes : ndarray of labels, or None
        None: there is one table, and it stays as it is.

    Returns
    -------
    table : DataFrame
    """
    if classes is None:
        return tables[0]
    labels = np.repeat(classes, [len(table) for table in tables])
    table = pd.concat(tables, ignore_index=True)
    table.insert(
        0, "class", pd.Series(labels, dtype=object if labels.dtype.kind in "OUS" else None)
    )
    return table


def warn_misleading(table):
    """Warn of p-values that are likely too small, where permutations were forbidden.

    Parameters
    ----------
    table : DataFrame
    """
    n_misleading = table["note"].str.endswith(MISLEADS).sum()
    if n_misleading:
        warn(
            f"{n_misleading} p-values are likely too small, as the notes in the table say: t- and "
            "sandwich tests mislead for rare concepts and few groups; set n_permutations=9999.",
        )


def warn_of_floor(table, *, alpha, n_permutations, correction):
    """Warn where no number of permutations so small can make a hypothesis significant.

    Parameters
    ----------
    table : DataFrame
        With the columns that :func:`correct` adds.

    alpha : float

    n_permutations : int

    correction : str
    """
    least = 1 / (n_permutations + 1)
    is_lowest = table["permutation_pval"] <= least * (1 + 1e-9)
    n_stopped = int((is_lowest & ~table["significant"]).sum())
    if n_stopped:
        n_tests = 1 if correction == "none" else len(table)
        if correction == "fdr_by":
            n_tests *= np.sum(1 / np.arange(1, n_tests + 1))
        n_needed = max(int(np.ceil(2 * n_tests / alpha)), 2 * n_permutations)
        warn(
            f"{n_stopped} hypotheses have the smallest p-value that n_permutations="
            f"{n_permutations} allows, {least:.2g}, which is not enough for alpha={alpha:g} and "
            f"{len(table)} tests: set n_permutations={n_needed}."
        )


def covariate_table(predictor, rows):
    """Build the table of the coefficients of covariates.

    Parameters
    ----------
    predictor : Predictor

    rows : Rows

    Returns
    -------
    table : DataFrame of shape (n_covariates, 5), or 6 for classification
    """
    table = coefficient_table(predictor, rows.design.shape[1]).head(rows.covariates.shape[1])
    table.insert(0, "covariate", rows.covariates.columns)
    return table


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


def _is_beyond_robust_errors(present, rows, predictor, cov_type):
    """Find concepts that meet a class in so few rows that robust errors of theirs say nothing."""
    if not predictor.classification or robust_units(cov_type, rows.groups, len(rows.y)) is None:
        return np.zeros(present.shape[1], dtype=bool)
    return _meets_few_events(present, rows)


def _meets_few_events(present, rows):
    if rows.pairs:  # of which either text may win
        return np.zeros(present.shape[1], dtype=bool)
    return few_events(present != 0, rows.y)


def _permute(predictor, rows, present, is_tested, cov_type, n_permutations, random_state):
    """Choose the hypotheses whose ordinary p-value cannot be relied on, and permute for them.

    With robust errors all of them: they are too small for a concept in few rows or groups.
    Without, those whose estimate is not about normal, or whose errors have another variance.
    """
    if not is_tested.any():
        return [], []
    units = robust_units(cov_type, rows.groups, len(rows.y))
    positions = _positions(predictor, rows, is_tested)
    A = rows.design[:, predictor.kept]
    options = {"random_state": random_state, "intercept": not rows.pairs}
    permuted = partial(
        permutation_pvalues,
        A,
        n_permutations=n_permutations,
        sample_weight=rows.sample_weight,
        **options,
    )
    if predictor.classification and units is None:
        positions = _positions(predictor, rows, is_tested & _meets_few_events(present, rows))
        options |= {"columns": positions, "n_draws": n_permutations}
        pvalues = simulated_pvalues(A, rows.y, **options)
    elif predictor.classification:
        # Least squares takes what acts on the logit for an effect of a column that goes with it;
        # Pearson residuals are hardly random where a class is rare or given away. The larger of
        # the two p-values holds where either does.
        chosen = {"columns": positions, "groups": units}
        linear = permuted(_numbers(rows, predictor), **chosen)
        logistic = permuted(rows.y, expected=predictor.predict(rows.design), **chosen)
        pvalues = np.maximum(linear, logistic)
    elif units is not None:
        pvalues = permuted(rows.y, columns=positions, groups=units)
    else:
        skewed, uneven = _misled_by_t_test(predictor, rows, positions)
        positions = np.concatenate([skewed, uneven])
        # Rows of their own as groups: the statistic then has robust errors.
        robust = permuted(rows.y, columns=uneven, groups=np.arange(len(rows.y)))
        pvalues = np.concatenate([permuted(rows.y, columns=skewed), robust])
    return predictor.kept[positions] - rows.covariates.shape[1], pvalues


def _positions(predictor, rows, is_tested):
    """Where the tested hypotheses stand among the columns of the regression."""
    return np.searchsorted(predictor.kept, rows.covariates.shape[1] + np.flatnonzero(is_tested))


def _misled_by_t_test(predictor, rows, positions):
    """Among columns of the regression, those far from normal, and those of uneven variance."""
    skewed, uneven = misleads_t_test(
        rows.design[:, predictor.kept],
        rows.y,
        intercept=not rows.pairs,
        sample_weight=rows.sample_weight,
    )
    return positions[(skewed & ~uneven)[positions]], positions[uneven[positions]]


def _misled(predictor, rows, present, is_tested, cov_type):
    """Find the hypotheses whose p-value should not be relied on, where none is permuted."""
    units = robust_units(cov_type, rows.groups, len(rows.y))
    if units is None:
        if predictor.classification:
            return np.flatnonzero(is_tested & _meets_few_events(present, rows))
        positions = _positions(predictor, rows, is_tested)
        positions = np.concatenate(_misled_by_t_test(predictor, rows, positions))
        return predictor.kept[positions] - rows.covariates.shape[1]
    if predictor.regression.is_penalised:  # score tests
        return []
    return np.flatnonzero(is_tested & in_few_units(present != 0, units))


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
    if np.isnan(table["regression_pval"][j]) and not np.isnan(table["regression_coef_low"][j]):
        return "untested: too few rows of the rarer class for robust errors"
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
