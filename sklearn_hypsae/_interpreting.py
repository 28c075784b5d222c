"""Neurons to rows of a table: their words, and how well the words fit."""

import pandas as pd
import scipy.sparse as sp

from ._fidelity import METRICS, fidelity
from ._keyphrases import (
    hypothesis_to_phrases,
    learn_keyphrases,
    match_phrases,
    phrases_to_hypothesis,
)
from ._sampling import column_of, draw_examples, first_rows, nearest_by_tfidf
from .llm.describing import describe

FIT_ROWS, UNSEEN = "fit rows", "unseen"


def interpretation_table(rows, metrics=METRICS):
    """Put rows into the table that users see.

    Parameters
    ----------
    rows : list of dict

    metrics : sequence of str
        Fidelity columns.

    Returns
    -------
    table : DataFrame
    """
    columns = ["neuron", "hypothesis", "candidates", *metrics, "n_scoring_examples", "scored_on"]
    return pd.DataFrame(rows, columns=columns)


def keyphrase_rows(texts, activations, y):
    """Describe neurons by keyphrases.

    Parameters
    ----------
    texts : ndarray of shape (n_samples,) of str

    activations : ndarray or CSR of shape (n_samples, n_neurons)

    y : ndarray of shape (n_samples,) or None

    Returns
    -------
    rows : list of dict
        One for each neuron that phrases set apart. Fidelity is on all rows.
    """
    phrases = learn_keyphrases(texts, activations, y)
    described = [neuron for neuron, found in enumerate(phrases) if len(found)]
    matches = match_phrases(texts, [phrases[neuron] for neuron in described])
    rows = []
    for column, neuron in enumerate(described):
        hypothesis = phrases_to_hypothesis(phrases[neuron])
        activation = column_of(activations, neuron)
        scores = fidelity(matches[:, column], activation > 0, activation)
        rows.append(_row(neuron, hypothesis, [hypothesis], scores, FIT_ROWS))
    return rows


def llm_rows(runner, texts, activations, asking, *, negatives, rng, **drawing):
    """Describe neurons by a language model.

    Parameters
    ----------
    runner : Runner

    texts : ndarray of shape (n_samples,) of str

    activations : ndarray or CSR of shape (n_samples, n_neurons)

    asking : Asking

    negatives : {"random", "hard"}

    rng : RandomState

    **drawing
        For :func:`~sklearn_hypsae._sampling.draw_examples`.

    Returns
    -------
    rows : list of dict
        One for each neuron that fires and that the model found words for.

    errors : list of CompletionError
        Why requests failed.
    """
    columns = sp.csc_array(activations) if sp.issparse(activations) else activations
    live = [i for i in range(activations.shape[1]) if column_of(columns, i).max() > 0]
    distinct = first_rows(texts)
    nearest = nearest_by_tfidf(texts) if negatives == "hard" and live else None
    examples = [
        draw_examples(column_of(columns, neuron), distinct, nearest=nearest, rng=rng, **drawing)
        for neuron in live
    ]
    wordings, errors = describe(
        runner, texts, lambda i: column_of(columns, live[i]), examples, asking
    )
    rows = [
        _row(live[i], found.hypothesis, found.candidates, found.scores, UNSEEN)
        for i, found in sorted(wordings.items())
    ]
    return rows, errors


def own_rows(statements, *, has_model):
    """Check the user's own statements; they have no neuron and no fidelity.

    Parameters
    ----------
    statements : sequence of str

    has_model : bool
        Whether a language model will annotate. If not, each has to quote its phrases.

    Returns
    -------
    rows : list of dict
    """
    statements = list(statements)
    if not statements or not all(isinstance(s, str) and s.strip() for s in statements):
        raise ValueError(
            "hypotheses must be a list of at least one statement, each a string that is not empty."
        )
    unquoted = [i for i, s in enumerate(statements) if not hypothesis_to_phrases(s)]
    if unquoted and not has_model:
        raise ValueError(
            f"Without a language model each of hypotheses has to quote the phrases to look "
            f'for, such as \'mentions "refund" or "money back"\', but number {unquoted[0]} '
            f"(from 0; {len(unquoted)} in all) quotes none: quote phrases, or give an llm."
        )
    return [_row(None, s, [s], {"n_scored": 0}, None) for s in statements]


def unique_names(names):
    """Number the repeats of a name.

    Examples
    --------
    >>> from sklearn_hypsae._interpreting import unique_names
    >>> unique_names(["a", "b", "a", "a"])
    ['a', 'b', 'a (2)', 'a (3)']
    """
    unique = []
    for name in names:
        candidate, number = name, 2
        while candidate in unique:
            candidate, number = f"{name} ({number})", number + 1
        unique.append(candidate)
    return unique


def _row(neuron, hypothesis, candidates, scores, scored_on):
    return {
        "neuron": neuron,
        "hypothesis": hypothesis,
        "candidates": candidates,
        "n_scoring_examples": scores["n_scored"],
        "scored_on": scored_on,
        **scores,
    }
