"""How well yes/no annotations of texts agree with the neuron they are meant to describe."""

import numpy as np
from sklearn.metrics import roc_auc_score

METRICS = ("f1", "precision", "recall", "correlation")


def fidelity(annotations, fires, activations):
    """Score the annotations of one hypothesis against its neuron.

    Parameters
    ----------
    annotations : ndarray of shape (n_texts,)
        1 present, 0 absent, or a probability; NaN where the request failed, which is left out.

    fires : ndarray of shape (n_texts,) of bool
        Whether the text counts as firing the neuron.

    activations : ndarray of shape (n_texts,)
        The neuron's activations.

    Returns
    -------
    scores : dict
        ``f1``, ``precision`` and ``recall`` of the annotation, present above one half, for
        ``fires``, the Pearson ``correlation`` of annotation and activation, ``auc`` of the
        annotation for ``fires`` and ``n_scored``, the number of texts
        they rest on. All NaN where the texts scored do not hold both kinds; annotations
        that never vary have correlation 0, ones that are never 1 have precision 0.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._fidelity import fidelity
    >>> scores = fidelity(
    ...     np.array([1, 1, 0, 1.0]), np.array([True, True, False, False]),
    ...     np.array([3.0, 2.0, 0.0, 0.0]),
    ... )
    >>> round(scores["f1"], 2), scores["recall"]
    (0.8, 1.0)
    """
    scored = ~np.isnan(annotations)
    present, fires = annotations[scored] > 0.5, np.asarray(fires, bool)[scored]
    if fires.all() or not fires.any():
        return {**dict.fromkeys((*METRICS, "auc"), np.nan), "n_scored": int(scored.sum())}
    hits = np.count_nonzero(present & fires)
    precision = hits / present.sum() if present.any() else 0.0
    recall = hits / fires.sum()
    return {
        "f1": float(2 * hits / (present.sum() + fires.sum())),
        "precision": float(precision),
        "recall": float(recall),
        "correlation": _correlation(annotations[scored], activations[scored]),
        "auc": float(roc_auc_score(fires, annotations[scored])),
        "n_scored": int(scored.sum()),
    }


def _correlation(annotations, activations):
    activations = np.asarray(activations, np.float64)
    if np.ptp(annotations) == 0 or np.ptp(activations) == 0:
        return 0.0
    return float(np.corrcoef(annotations, activations)[0, 1])
