"""Rows put to several fitted splits: annotations, and predictions averaged over them."""

import copy

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import r2_score, roc_auc_score

from ._discovery_run import check_target_of
from ._pairs import mirrored
from ._pipeline_parts import annotate_neurons, cut
from ._texts import row_keys


def annotate_ideas(fitted, worded_by, X):
    """Annotate rows with one hypothesis an idea, each by the steps that found it.

    Parameters
    ----------
    fitted : list of HypothesisGenerator

    worded_by : ndarray of int of shape (n_ideas, 2)
        The split and the position in it of each idea's wording.

    X : ndarray of str or DataFrame

    Returns
    -------
    annotations : ndarray of shape (n_rows, n_ideas)
    """
    annotations = np.empty((len(X), len(worded_by)))
    for number, (parts, embedded) in enumerate(_embedded_by_each(fitted, X)):
        ideas = np.flatnonzero(worded_by[:, 0] == number)
        if not len(ideas):
            continue
        columns = worded_by[ideas, 1]
        neurons = parts.select.transform(embedded)
        if parts.interpret is not None:
            # Not the others, which may cost; usage_ is shared, so what is asked counts.
            asked = copy.copy(parts.interpret)
            asked.hypotheses_ = [parts.interpret.hypotheses_[i] for i in columns]
            found = annotate_neurons(parts._replace(interpret=asked), neurons, X)
        else:
            found = neurons.iloc[:, columns] if hasattr(neurons, "iloc") else neurons[:, columns]
        annotations[:, ideas] = found.toarray() if sp.issparse(found) else found
    return annotations


def mean_prediction(fitted, X):
    """Average what the splits predict: probabilities of the classes, or numbers.

    Parameters
    ----------
    fitted : list of HypothesisGenerator

    X : ndarray of str or DataFrame

    Returns
    -------
    predicted : ndarray of shape (n_rows,) or (n_rows, n_classes)
    """
    predictions = []
    embedded_by_each = _embedded_by_each(fitted, X)
    for each, (parts, embedded) in zip(fitted, embedded_by_each, strict=True):
        annotations = annotate_neurons(parts, parts.select.transform(embedded), X)
        asked = each._validator
        predict = asked.predict_proba if asked.task_ == "classification" else asked.predict
        predictions.append(predict(annotations))
    return np.mean(predictions, axis=0)


def _embedded_by_each(fitted, X):
    """Yield each split's steps and what they embed; once where all share the embedder."""
    embedder, embedded = None, None
    for each in fitted:
        parts = cut(each.pipeline_)
        steps = [id(step) for _, step in parts.embed.steps[:-1]]
        if steps != embedder:
            embedder, embedded = steps, parts.embed.transform(X)
        yield parts, embedded


def score_mean_prediction(fitted, X, y):
    """Score the averaged predictions: AUC for a classification, R² for a regression."""
    predicted = mean_prediction(fitted, X)
    if row_keys(X).ndim == 2:
        y = check_target_of(y, X, fitted[0].pipeline_).values
        is_number = predicted.ndim == 1
        about = 0.0 if is_number else 0.5
        # Rounded, so that pairs that are alike are ties whichever text comes first.
        ahead = predicted if is_number else np.round(predicted[:, 1] - predicted[:, 0], 12)
        predicted = mirrored(ahead)
        score = r2_score if is_number else roc_auc_score
        return float(score(mirrored(y, about=about), predicted))
    if predicted.ndim == 1:
        return float(r2_score(y, predicted))
    return float(roc_auc_score(np.asarray(y) == fitted[0].classes_[1], predicted[:, 1]))
