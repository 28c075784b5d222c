"""All there is about one hypothesis, with texts it applies to and what was found in them."""

import copy
import unicodedata
from numbers import Integral

import numpy as np
import pandas as pd

from ._counts import n_hypotheses
from ._keyphrases import hypothesis_to_phrases
from ._phrases import APOSTROPHES, _word_pattern, words_of
from ._pipeline_parts import annotate, cut
from ._texts import has_texts, row_keys

CALLER = "HypothesisGenerator.get_hypothesis_info"


def check_info_request(i, X, y, n_texts, *, n_hypotheses):
    """Refuse a request that cannot be answered, before any text is annotated.

    Parameters
    ----------
    i : int

    X, y : array-like or None

    n_texts : int

    n_hypotheses : int

    Raises
    ------
    TypeError
        If i is no whole number.

    IndexError
        If there is no such position.

    ValueError
        If n_texts is not positive, or y comes without X.
    """
    if not isinstance(i, Integral):
        raise TypeError(
            f"{CALLER} takes the position of a hypothesis in hypotheses_ as a whole number, got "
            f"{type(i).__name__}: pass a number from 0 to {n_hypotheses - 1}."
        )
    if not 0 <= i < n_hypotheses:
        raise IndexError(
            f"{CALLER} got position {i}, but hypotheses_ has {n_hypotheses} rows: pass a number "
            f"from 0 to {n_hypotheses - 1}."
        )
    if not isinstance(n_texts, Integral) or n_texts < 1:
        raise ValueError(f"{CALLER} needs n_texts to be a whole number above 0, got {n_texts!r}.")
    if y is not None and X is None:
        raise ValueError(f"{CALLER} got y without X: pass the texts that y belongs to as X.")


def hypothesis_info(i, X, target, n_texts, *, effect, pipeline):
    """Gather what is known about a hypothesis.

    Parameters
    ----------
    i : int
        Position among the hypotheses of the pipeline.

    X : ndarray of str, DataFrame or None
        Checked rows to choose texts from.

    target : Target or None
        Of X.

    n_texts : int
        Most texts to show of each kind.

    effect : Series
        Its row of ``hypotheses_``.

    pipeline : Pipeline
        Fitted.

    Returns
    -------
    info : dict
        See :meth:`HypothesisGenerator.get_hypothesis_info`.

    Raises
    ------
    ValueError
        If X is a frame without texts.
    """
    if isinstance(X, pd.DataFrame) and not has_texts(X):
        raise ValueError(
            f"{CALLER} found no texts in X to show: pass a frame whose index is the texts and is "
            "named 'text', or X=None."
        )
    found = {"hypothesis": np.atleast_1d(effect["hypothesis"])[0], "neuron": None, "candidates": []}
    parts, fidelity = cut(pipeline), {}
    if parts.interpret is not None:
        fidelity = parts.interpret.interpretations_.iloc[i].to_dict()
        found = {name: fidelity.pop(name) for name in found}
        found["neuron"] = None if pd.isna(found["neuron"]) else found["neuron"]
    texts = None
    if X is not None:
        keys, column = row_keys(X), _annotation(i, X, parts)
        above = pipeline.steps[-1][1].present_above
        column = np.where(np.abs(column) > above, column, 0)
        choose = _texts_by_kind if keys.ndim == 1 else _pairs_by_kind
        texts = choose(keys, column, target, n_texts)
        if parts.interpret is not None and not parts.interpret._has_model():
            phrases = hypothesis_to_phrases(found["hypothesis"])
            texts = {
                kind: [_marked(entry, phrases) for entry in shown] for kind, shown in texts.items()
            }
    return {**found, "fidelity": fidelity, "effect": effect.copy(), "texts": texts}


def _marked(entry, phrases):
    """Mark a text, or the one of a pair to which the hypothesis applies."""
    if isinstance(entry, str):
        return mark_phrases(entry, phrases)
    return mark_phrases(entry[0], phrases), entry[1]


def effect_of(i, table):
    """Give the row of a hypothesis; with more than two classes a table of one row a class."""
    if "class" not in table:
        return table.iloc[i]
    return table.iloc[i :: n_hypotheses(table)].reset_index(drop=True)


def mark_phrases(text, phrases):
    """Put ``**`` around the phrases that occur in a text.

    Words are told apart as in :func:`~sklearn_hypsae._keyphrases.match_phrases`, so that a text
    has a mark if and only if it is annotated as having one of the phrases.

    Parameters
    ----------
    text : str

    phrases : list of str

    Returns
    -------
    marked : str
        In Unicode's composed form (NFC). Phrases that overlap get one mark together.

    Examples
    --------
    >>> from sklearn_hypsae._hypothesis_info import mark_phrases
    >>> mark_phrases("So well-made, so crude, so rude!", ["well made", "rude", "SO"])
    '**So** **well-made**, **so** crude, **so** **rude**!'
    """
    text = text if text.isascii() else unicodedata.normalize("NFC", text)
    words, spans = _words_with_spans(text)
    found = []
    for phrase in {tuple(words_of(phrase)) for phrase in phrases}:
        n_words = len(phrase)
        for first in range(len(words) - n_words + 1):
            if tuple(words[first : first + n_words]) == phrase:
                found.append((spans[first][0], spans[first + n_words - 1][1]))
    marked, end = [], 0
    for low, high in _merged(found):
        marked += [text[end:low], "**", text[low:high], "**"]
        end = high
    return "".join([*marked, text[end:]])


def _words_with_spans(text):
    """Words as words_of gives them, and where in the text (in NFC) each begins and ends."""
    # Folding may lengthen a character (ß to ss), so each folded one remembers where it was.
    folded = [character.casefold() for character in text.translate(APOSTROPHES)]
    origin = np.repeat(np.arange(len(folded)), [len(character) for character in folded])
    matches = list(_word_pattern().finditer("".join(folded)))
    spans = [(origin[match.start()], origin[match.end() - 1] + 1) for match in matches]
    return [match.group() for match in matches], spans


def _merged(spans):
    merged = []
    for low, high in sorted(spans):
        if merged and low < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _annotation(i, X, parts):
    """What tested the hypothesis; for pairs negative where the second text has it."""
    if parts.interpret is None:
        annotations = annotate(parts, parts.embed.transform(X), X)
        column = annotations.iloc[:, i] if hasattr(annotations, "iloc") else annotations[:, [i]]
        column = column.toarray() if hasattr(column, "toarray") else np.asarray(column)
        return column.ravel()
    # The other hypotheses are not asked for, which may cost; usage_ is shared, so it counts.
    alone = copy.copy(parts.interpret)
    alone.hypotheses_ = [parts.interpret.hypotheses_[i]]
    return alone._annotate(row_keys(X))[:, 0]


def _pairs_by_kind(pairs, annotation, target, n_texts):
    """Choose pairs of which one text carries the hypothesis, by what becomes of that text."""
    rows = np.flatnonzero(annotation)
    shown = np.where(annotation[:, None] < 0, pairs[:, ::-1], pairs)
    _, first = np.unique(pd.factorize(pd.MultiIndex.from_arrays(shown.T))[0], return_index=True)
    rows = rows[np.isin(rows, first)]
    if target is None:
        kinds = {"all": rows}
    else:
        ahead = target.values if target.classes is None else 2 * target.values - 1
        ahead = np.sign(annotation) * ahead
        rows = rows[np.argsort(-np.abs(ahead[rows]), kind="stable")]
        kinds = {"wins": rows[ahead[rows] > 0], "loses": rows[ahead[rows] < 0]}
    return {kind: [tuple(shown[row]) for row in chosen[:n_texts]] for kind, chosen in kinds.items()}


def _texts_by_kind(texts, annotation, target, n_texts):
    """Choose texts that carry the hypothesis, of each class or of low and high y."""
    first = ~pd.Series(texts).duplicated().to_numpy()
    rows = np.flatnonzero((annotation > 0) & first)
    if target is None:
        kinds = {"all": rows}
    elif target.task == "classification":
        kinds = {
            label: rows[target.values[rows] == code] for code, label in enumerate(target.classes)
        }
    else:
        rows = rows[np.argsort(target.values[rows], kind="stable")]
        is_low = target.values[rows] <= np.median(target.values)
        kinds = {"low": rows[is_low], "high": rows[~is_low][::-1]}
    return {kind: [texts[row] for row in chosen[:n_texts]] for kind, chosen in kinds.items()}
