"""Hypotheses of several splits: which are the same idea, and what all of them say together."""

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

# Hypotheses are the same idea where they go together this well on rows both were looked up on.
MIN_CORRELATION = 0.4
# Farther than any two ideas, so that two hypotheses of one split are never taken for one.
SAME_SPLIT = 1e6
# Corrections of which something valid is known over several splits; the false discovery rate's
# are not among them.
COMBINABLE_CORRECTIONS = ("bonferroni", "holm", "none")

P_VALUES = ("separation_pvalue", "welch_pvalue", "regression_pval", "permutation_pval")


def match_hypotheses(columns, splits, alike=None):
    """Number the ideas: hypotheses of different splits that hold for the same rows.

    Average-linkage clustering on 1 less the correlation: the hypotheses of an idea go together
    by at least .4 on average. An idea has at most one hypothesis of a split.

    Parameters
    ----------
    columns : ndarray of shape (n_rows, n_hypotheses)
        Where each hypothesis holds (or how strongly its neuron fires), on common rows.

    splits : ndarray of int of shape (n_hypotheses,)
        The split each was found in.

    alike : ndarray of bool of shape (n_hypotheses, n_hypotheses), default=None
        Pairs that are the same whatever the rows: those of the same words.

    Returns
    -------
    ideas : ndarray of int of shape (n_hypotheses,)
        Numbered from 0.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._repeats import match_hypotheses
    >>> columns = np.array([[1, 0, 1, 0], [1, 0, 1, 1], [0, 1, 0, 1], [0, 1, 0, 0]])
    >>> match_hypotheses(columns, np.array([0, 0, 1, 1])).tolist()
    [0, 1, 0, 2]
    """
    if len(splits) < 2:
        return np.zeros(len(splits), dtype=int)
    centred = columns - columns.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0))
    varies = norms > 1e-12
    centred = np.where(varies, centred / np.where(varies, norms, 1), 0)
    distance = 1 - centred.T @ centred
    if alike is not None:
        distance[alike] = 0
    distance[splits[:, None] == splits] = SAME_SPLIT
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance.clip(0), checks=False), method="average")
    labels = fcluster(tree, 1 - MIN_CORRELATION, criterion="distance")
    return pd.factorize(labels)[0]


def twice_the_median(pvalues, n_splits):
    """Combine the p-values that one idea got in several splits.

    In splits that did not find the idea, or could not test it, its p-value is 1. The median is
    the smallest value that at least half of the p-values do not exceed. Valid however the
    splits depend on each other ([1]_, theorem 3.1 at gamma = 1/2), and however ideas are matched:
    an idea below a level has at least half its p-values below half that level.

    Parameters
    ----------
    pvalues : array-like of shape (n_found,)
        NaN where not tested.

    n_splits : int
        Splits there are in all.

    Returns
    -------
    pvalue : float
        NaN where no split could test the idea.

    References
    ----------
    .. [1] Meinshausen, Meier and Bühlmann (2009), "p-Values for High-Dimensional Regression",
       Journal of the American Statistical Association 104.

    Examples
    --------
    >>> from sklearn_hypsae._repeats import twice_the_median
    >>> twice_the_median([0.01, 0.04], n_splits=3), twice_the_median([0.01], n_splits=3)
    (0.08, 1.0)
    """
    pvalues = np.asarray(pvalues, dtype=float)
    tested = pvalues[~np.isnan(pvalues)]
    if not len(tested):
        return np.nan
    everywhere = np.r_[tested, np.ones(n_splits - len(tested))]
    return float(min(1.0, 2 * np.quantile(everywhere, 0.5, method="inverted_cdf")))


def representatives(columns, ideas):
    """Choose for each idea the hypothesis that goes best with the others of the idea.

    Parameters
    ----------
    columns : ndarray of shape (n_rows, n_hypotheses)
        As for :func:`match_hypotheses`.

    ideas : ndarray of int of shape (n_hypotheses,)

    Returns
    -------
    chosen : ndarray of int of shape (n_ideas,)
        Positions of hypotheses. The p-values have no say, or the wording would be the luckiest.
    """
    chosen = []
    for idea in range(ideas.max() + 1):
        members = np.flatnonzero(ideas == idea)
        with np.errstate(invalid="ignore", divide="ignore"):
            correlations = np.atleast_2d(np.corrcoef(columns[:, members].T))
        chosen.append(members[np.argmax(np.nan_to_num(correlations).sum(axis=1))])
    return np.array(chosen)


def combine_tables(tables, ideas, chosen, *, n_splits, alpha):
    """Put the tables of all splits into one with a row an idea.

    Parameters
    ----------
    tables : DataFrame of shape (n_hypotheses, n_statistics)
        Tables of the validators, one below the other, with a column ``split``.

    ideas : ndarray of int of shape (n_hypotheses,)

    chosen : ndarray of int of shape (n_ideas,)
        The hypothesis that words each idea.

    n_splits : int

    alpha : float
        Level of significance.

    Returns
    -------
    table : DataFrame of shape (n_ideas, n_statistics + 1)
        Numbers are medians over the splits that found the idea, p-values are combined by
        :func:`twice_the_median`. ``n_found`` comes after the wording.

    order : ndarray of int of shape (n_ideas,)
        The idea of each row: most often found first, then by the p-value.
    """
    # Permutations decide where there are any, in each split by itself.
    deciding = tables["permutation_pval"].fillna(tables["regression_pval"])
    rows = [
        _combined(tables[ideas == idea], deciding[ideas == idea], n_splits)
        | {"hypothesis": tables["hypothesis"].iloc[representative]}
        for idea, representative in enumerate(chosen)
    ]
    table = pd.DataFrame(rows)
    table["significant"] = table["corrected_pval"] <= alpha
    columns = [name for name in tables.columns if name not in ("split", "hypothesis")]
    table = table[["hypothesis", "n_found", *columns]]
    order = np.lexsort([table["corrected_pval"].fillna(1.0), -table["n_found"]])
    return table.iloc[order].reset_index(drop=True), order


def _combined(found, deciding, n_splits):
    """Give one idea's row of the table, but for the wording."""
    numbers = found.select_dtypes("number").drop(columns="split").median().to_dict()
    numbers["n_present"] = int(numbers["n_present"])
    if "odds_ratio" in numbers:
        # The median of an even number of them would be another coefficient's.
        with np.errstate(over="ignore"):
            numbers["odds_ratio"] = float(np.exp(numbers["regression_coef"]))
    for name in (*P_VALUES, "corrected_pval"):
        numbers[name] = twice_the_median(found[name], n_splits)
    permuted = found["permutation_pval"].notna().any()
    numbers["permutation_pval"] = twice_the_median(deciding, n_splits) if permuted else np.nan
    return {**numbers, "n_found": len(found), "note": _note(found, n_splits, permuted)}


def _note(found, n_splits, permuted):
    n_tested = int(found["corrected_pval"].notna().sum())
    if not n_tested:
        return found["note"].iloc[0]
    if 2 * n_tested < n_splits:
        return f"tested in {n_tested} of {n_splits} splits, half are needed"
    return "judged by permutation" if permuted else ""
