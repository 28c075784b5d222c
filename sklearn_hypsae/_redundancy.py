"""Hypotheses that say the same as another one."""

import re
import warnings

import numpy as np
import pandas as pd

from ._keyphrases import hypothesis_to_phrases
from ._phrases import FUNCTION_WORDS, MODIFIERS, words_of

# Stems of verbs by which a hypothesis says that a text has something: all say the same.
REPORTING = frozenset(
    ["contain", "describ", "discuss", "express", "includ", "mention", "refer", "talk"]
)
VOWELS = "aeiouy"


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
    keys = [content_words(wording) or wording for wording in table["hypothesis"]]
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
        warnings.warn(
            f"{n_merged} of {len(merged)} neurons got the words of another and are merged with "
            "it (see merged in interpretations_), so there are fewer hypotheses: select more "
            "neurons to have as many as before.",
            UserWarning,
            stacklevel=5,
        )
    return table


def content_words(wording):
    """Reduce a hypothesis to what it says: the stems of its words of content.

    Function words and verbs such as "mentions" are left out; negations and degrees ("not",
    "too") stay. Of keyphrases only what is quoted counts, phrase by phrase.

    Parameters
    ----------
    wording : str

    Returns
    -------
    words : frozenset of str

    Examples
    --------
    >>> from sklearn_hypsae._redundancy import content_words
    >>> sorted(content_words("mentions that the waiters were slow"))
    ['slow', 'waiter']
    >>> content_words("describes slow waiters") == content_words("mentions a slow waiter")
    True
    >>> sorted(content_words('mentions "slow service" or "waited"'))
    ['slow servic', 'wait']
    """
    phrases = hypothesis_to_phrases(wording)
    if phrases:
        return frozenset(" ".join(map(stem, words_of(phrase))) for phrase in phrases)
    kept = [
        word
        for word in words_of(wording)
        if word in MODIFIERS or (word not in FUNCTION_WORDS and word != "'s")
    ]
    return frozenset(map(stem, kept)) - REPORTING


def stem(word):
    """Cut the ending off an English word, so that most forms of it become one.

    The first step of Porter's algorithm [1]_ (plural, -ed, -ing) and a final e: "waited",
    "waiting" and "waits" become "wait". Other languages are hardly touched.

    Parameters
    ----------
    word : str
        In lower case.

    Returns
    -------
    stem : str

    References
    ----------
    .. [1] Porter (1980), "An algorithm for suffix stripping", Program 14(3).

    Examples
    --------
    >>> from sklearn_hypsae._redundancy import stem
    >>> [stem(word) for word in ["performances", "performance", "stories", "story", "bored"]]
    ['performanc', 'performanc', 'stori', 'stori', 'bor']
    """
    if word.endswith("sses") or word.endswith("ies"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    for ending in ("ed", "ing"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) > 2 and any(letter in VOWELS for letter in rest):
            word = re.sub(r"([^aeioulsz])\1$", r"\1", rest)
            break
    if word.endswith("y") and len(word) > 2 and word[-2] not in VOWELS:
        return word[:-1] + "i"
    stemmed = word.removesuffix("e") if len(word) > 3 else word
    return word if stemmed in MODIFIERS else stemmed  # "note" is not "not"
