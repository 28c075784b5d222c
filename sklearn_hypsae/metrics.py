"""How well hypotheses recover concepts that are known to be in the texts."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment


class ConceptRecovery(NamedTuple):
    """What :func:`concept_recovery` returns.

    Attributes
    ----------
    f1 : float
        Mean F1 over the concepts, 0 for those without an annotation.
    matching : DataFrame of shape (n_concepts, 5)
        One row a concept, in their order, with the columns concept, annotation (None where
        unmatched), f1, precision and recall (NaN where unmatched).
    """

    f1: float
    matching: pd.DataFrame


def concept_recovery(annotations, concepts):
    """Score how well annotations recover planted concepts: Hungarian F1.

    Each concept is paired with at most one annotation and each annotation with at most one
    concept, so that the sum of the F1 scores is as large as it can be. The score is the mean
    over concepts: annotations beyond the number of concepts cost nothing, a concept without one
    counts 0.

    Parameters
    ----------
    annotations : DataFrame or array-like of shape (n_samples, n_annotations)
        1 where a hypothesis holds, 0 where not, NaN where unknown. A row is left out for the
        annotations that are NaN there, and for no other.

    concepts : DataFrame or array-like of shape (n_samples, n_concepts)
        1 where a row has the concept, else 0. Rows stand in the same order as annotations;
        an index is not looked at.

    Returns
    -------
    recovery : ConceptRecovery
        Named tuple of ``f1`` and ``matching``.

    Raises
    ------
    ValueError
        If a table is not two-dimensional, holds other values, has no rows, or the numbers of rows
        differ; if there is no concept, or one is missing in a row.

    Notes
    -----
    The F1 of annotations that never agree with a concept is 0, also where both are absent from
    every row, and such a pair is not matched. A concept in a share p of the rows has F1
    2p / (1 + p) with an annotation that always holds: compare with that, not with 0.

    References
    ----------
    Movva, Peng, Garg, Kleinberg and Pierson (2025), "Sparse Autoencoders for Hypothesis
    Generation", arXiv 2502.04382: the synthetic task.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_hypsae.metrics import concept_recovery
    >>> concepts = pd.DataFrame({"slow service": [1, 1, 0, 0], "high prices": [0, 1, 1, 0]})
    >>> annotations = pd.DataFrame(
    ...     {"mentions bills": [0, 1, 1, 1], "mentions waiting": [1, 1, 0, 0]}
    ... )
    >>> recovery = concept_recovery(annotations, concepts)
    >>> round(recovery.f1, 2)
    0.9
    >>> recovery.matching[["concept", "annotation", "f1"]].round(2)
            concept        annotation   f1
    0  slow service  mentions waiting  1.0
    1   high prices    mentions bills  0.8
    """
    A, annotation_names = _checked(annotations, "annotations")
    C, concept_names = _checked(concepts, "concepts")
    if len(A) != len(C):
        raise ValueError(
            f"concept_recovery got {len(A)} rows of annotations and {len(C)} of concepts: pass "
            "the same rows in both."
        )
    if not len(C) or not C.shape[1]:
        raise ValueError(
            f"concept_recovery needs at least one row and one concept, got concepts of shape "
            f"{C.shape}."
        )
    if np.isnan(C).any():
        raise ValueError(
            "concept_recovery needs 0 or 1 for every concept of every row, but concepts holds "
            "NaN: leave those rows out."
        )
    matching = _matched(*_agreement(A, C), annotation_names, concept_names)
    return ConceptRecovery(float(matching["f1"].mean()), matching)


def _checked(table, name):
    """Values as floats, and the names of the columns: positions for an array."""
    if np.ndim(table) != 2:
        raise ValueError(
            f"concept_recovery needs {name} of two dimensions, rows and columns, got "
            f"{np.ndim(table)}: reshape a single column with [:, None]."
        )
    frame = pd.DataFrame(table)
    try:
        values = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        values = np.full(frame.shape, np.inf)
    if not np.isin(values[~np.isnan(values)], (0, 1)).all():
        raise ValueError(
            f"concept_recovery takes 0 and 1 in {name}, but other values are in it: cut "
            "activations or probabilities at a threshold first."
        )
    return values, list(frame.columns)


def _agreement(A, C):
    """F1, precision and recall of every annotation for every concept, 0 where undefined."""
    known = (~np.isnan(A)).astype(np.float64)
    A = np.nan_to_num(A)
    hits = A.T @ C
    n_annotated = A.sum(axis=0)[:, None]
    n_with_concept = known.T @ C
    return (
        _ratio(2 * hits, n_annotated + n_with_concept),
        _ratio(hits, n_annotated),
        _ratio(hits, n_with_concept),
    )


def _ratio(part, whole):
    whole = np.broadcast_to(whole, part.shape)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _matched(f1, precision, recall, annotation_names, concept_names):
    matching = pd.DataFrame(
        {
            "concept": pd.Series(concept_names, dtype=object),
            "annotation": pd.Series([None] * len(concept_names), dtype=object),
            "f1": 0.0,
            "precision": np.nan,
            "recall": np.nan,
        }
    )
    for i, j in zip(*linear_sum_assignment(f1, maximize=True), strict=True):
        # The assignment pairs all it can; which pairs of F1 0 it makes is arbitrary.
        if f1[i, j] > 0:
            matching.at[j, "annotation"] = annotation_names[i]
            matching.loc[j, ["f1", "precision", "recall"]] = f1[i, j], precision[i, j], recall[i, j]
    return matching
