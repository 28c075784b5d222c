"""English inflections: which words of a vocabulary are forms of one another.

A hypothesis lists every form that it looks for, so a mistake here puts an odd word on a list
that can be read; it never changes what is tested. In other languages few endings fit, and words
stay by themselves.
"""

import re
from itertools import product

from ._phrases import FUNCTION_WORDS, joined, list_phrases, words_of

# Its plural is not what it looks like.
_NO_PLURALS = frozenset(["news"])
_VOWEL = re.compile("[aeiouy]")
_SHORT_SYLLABLE = re.compile(r".*[^aeiou][aeiouy][^aeiouwxy]$")
_DOUBLED = re.compile(r".*([bdgklmnprtvz])\1$")


def base_forms(vocabulary):
    """Map each word to its base, so that words with the same base are forms of one word.

    Of the bases that an ending allows ("hoping": hope, hop), the likeliest that is itself in
    the vocabulary is taken, else the likeliest.

    Parameters
    ----------
    vocabulary : list of str
        Distinct lower-case words.

    Returns
    -------
    bases : list of str
        One for each word; a word without an ending is its own base. Need not be a word.

    Examples
    --------
    >>> from sklearn_hypsae._word_forms import base_forms
    >>> base_forms(["waited", "waiting", "movies", "movie", "caring", "cares", "care", "cars"])
    ['wait', 'wait', 'movie', 'movie', 'care', 'care', 'care', 'car']
    """
    known = set(vocabulary)
    return [_base(word, known) for word in vocabulary]


def _base(word, known):
    if word in FUNCTION_WORDS or not (word.isascii() and word.isalpha()):
        return word
    possible = [base for base in _possible_bases(word) if base not in FUNCTION_WORDS]
    if not possible:
        return word
    attested = [base for base in possible if base in known]
    return _base(attested[0], known) if attested else possible[0]


def _possible_bases(word):
    """Bases that an ending allows, the likeliest first; shorter than the word."""
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and _VOWEL.search(stem) and not word.endswith("eed"):
            if stem.endswith("i"):
                return [stem[:-1] + "y", stem + "e"]
            if _DOUBLED.match(stem):
                return [stem[:-1], stem]
            with_e = [stem + "e", stem]
            # hoping, danced, raised: an e was dropped; waited, opened: it was not.
            dropped = _SHORT_SYLLABLE.match(stem) or re.search("([cguvz]|[^s]s)$", stem)
            return with_e if dropped else with_e[::-1]
    if len(word) < 4 or word in _NO_PLURALS or not word.endswith("s"):
        return []
    if word.endswith("ies") and len(word) > 4:
        return [word[:-3] + "y", word[:-1]]
    if re.search("(s|x|z|ch|sh|o)es$", word):
        return [word[:-2], word[:-1]]
    return [] if re.search("(ss|us|is)$", word) else [word[:-1]]


def written_out(texts, phrases, vocabulary):
    """Find how phrases of bases are written in texts.

    Parameters
    ----------
    texts : sequence of str of length n_samples

    phrases : list of str
        Phrases of bases.

    vocabulary : list of str
        The words of the texts.

    Returns
    -------
    forms : list of tuples of str
        The forms of each phrase that occur, the most frequent first.
    """
    members = {}
    for word, base in zip(vocabulary, base_forms(vocabulary), strict=True):
        members.setdefault(base, []).append(word)
    possible = [
        [joined(words) for words in product(*(members[base] for base in words_of(phrase)))]
        for phrase in phrases
    ]
    occurs = list_phrases(texts, [form for forms in possible for form in forms])
    counts = iter(occurs.sum(axis=0).tolist())
    forms_of = []
    for forms in possible:
        counted = sorted((-next(counts), form) for form in forms)
        forms_of.append(tuple(form for count, form in counted if count))
    return forms_of
