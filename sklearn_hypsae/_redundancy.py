"""Hypotheses that say the same as another one."""

import numpy as np
import pandas as pd

from ._keyphrases import hypothesis_to_phrases
from ._phrases import FUNCTION_WORDS, MODIFIERS, words_of
from ._warning import warn
from ._word_forms import base_forms

# Verbs by which a hypothesis says that a text has something: all say the same.
REPORTING = frozenset(
    ["contain", "describe", "discuss", "express", "include", "mention", "refer", "talk"]
)


def merge_same_words(table, *, merge=True):
    """Make one row of neurons whose wordings say the same, and list the others.

    Parameters
    ----------
    table : DataFrame
        With ``neuron``, ``hypothesis`` and ``f1``.

    merge : bool, default=True
        False: only add the column.

    Returns
    -------
    table : DataFrame
        Of rows that say the same, the first of those with the best F1. ``merged`` lists the
        neurons of the others.
    """
    said = content_words(table["hypothesis"])
    keys = [words or wording for words, wording in zip(said, table["hypothesis"], strict=True)]
    codes = pd.factorize(pd.Series(keys, dtype=object))[0] if merge else np.arange(len(table))
    f1 = table["f1"].fillna(-1.0) if merge else pd.Series(0.0, table.index)
    merged = pd.Series([[] for _ in range(len(table))], table.index, dtype=object)
    for _, same in f1.groupby(codes):
        kept = same.idxmax()
        merged[kept] = [table["neuron"][other] for other in same.index if other != kept]
        merged[[other for other in same.index if other != kept]] = None
    table = table.assign(merged=merged)[merged.notna()].reset_index(drop=True)
    n_merged = len(merged) - len(table)
    if n_merged:
        warn(
            f"{n_merged} of {len(merged)} neurons got the words of another and are merged with "
            "it (see merged in interpretations_), so there are fewer hypotheses: select more "
            "neurons to have as many as before.",
        )
    return table


def content_words(wordings):
    """Reduce hypotheses to what they say: the base forms of their words of content.

    Function words and verbs such as "mentions" are left out; negations and degrees ("not",
    "too") stay. Of keyphrases only what is quoted counts, phrase by phrase.

    Parameters
    ----------
    wordings : iterable of str
        A word is taken for a form of another by all of them.

    Returns
    -------
    said : list of frozenset of str

    Examples
    --------
    >>> from sklearn_hypsae._redundancy import content_words
    >>> first, second, third = content_words(
    ...     ["mentions slow waiters", "The waiter was slow", 'mentions "slow" or "too slow"']
    ... )
    >>> sorted(first), first == second, sorted(third)
    (['slow', 'waiter'], True, ['slow', 'too slow'])
    """
    wordings = list(wordings)
    vocabulary = sorted({word for wording in wordings for word in words_of(wording)})
    base = dict(zip(vocabulary, base_forms(vocabulary), strict=True))
    said = []
    for wording in wordings:
        phrases = hypothesis_to_phrases(wording)
        if phrases:
            said.append(frozenset(" ".join(base[w] for w in words_of(p)) for p in phrases))
        else:
            kept = {base[w] for w in words_of(wording) if w in MODIFIERS or _has_content(w)}
            said.append(frozenset(kept - REPORTING))
    return said


def _has_content(word):
    return word not in FUNCTION_WORDS and word != "'s"
