"""Counts of hypotheses, tests and rows."""

from ._warning import warn


def counts(table, rows, *, alpha, correction):
    """Count hypotheses and rows.

    Parameters
    ----------
    table : DataFrame
        ``hypotheses_``: with several classes, one block of rows a class.

    rows : Rows

    alpha : float

    correction : str

    Returns
    -------
    counts : dict
        With the names of ``metrics_`` of :class:`HypothesisValidator`.
    """
    n_columns = n_hypotheses(table)
    thresholds = {"bonferroni": alpha / len(table), "none": alpha}
    found = {
        "n_significant": int(of_any_class(table["significant"], n_columns).sum()),
        "n_hypotheses": n_columns,
        "n_tested": int(of_any_class(table["regression_pval"].notna(), n_columns).sum()),
        "p_threshold": thresholds.get(correction),
        "n_rows": len(rows.y),
        "n_rows_dropped": rows.n_dropped,
    }
    if len(table) > n_columns:
        found["n_tests"] = int(table["regression_pval"].notna().sum())
    if rows.groups is not None:
        found["n_groups"] = int(rows.groups.max()) + 1
    return found


def of_any_class(column, n_hypotheses):
    """Say for each hypothesis whether something holds for any of the classes.

    Parameters
    ----------
    column : Series of bool
        One block of n_hypotheses entries a class.

    n_hypotheses : int

    Returns
    -------
    holds : ndarray of bool of shape (n_hypotheses,)
    """
    return column.to_numpy().reshape(-1, n_hypotheses).any(axis=0)


def warn_if_none(n_significant):
    """Warn where ``transform`` has no column to give, which later steps would stumble over.

    Parameters
    ----------
    n_significant : int
    """
    if not n_significant:
        warn(
            "No hypothesis is significant, so transform gives no columns: fit on more rows, or "
            "with a larger alpha."
        )


def n_hypotheses(table):
    """Count the hypotheses of a table that may have a block of rows for each class."""
    return len(table) // (table["class"].nunique() if "class" in table else 1)
