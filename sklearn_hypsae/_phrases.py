"""Words and phrases found in texts.

Learning phrases and matching them read a text the same way, so that a phrase that was counted
is the phrase that is found.
"""

import re
import sys
import unicodedata
from array import array
from collections import defaultdict
from functools import cache
from itertools import count, repeat

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

# Scripts that put no spaces between words, where every character counts as a word:
# Thai and Lao, Myanmar, Khmer, kana, Han.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U000323af"
)
APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07", "'"))

# scikit-learn's list of stop words has some that say something, and lacks a few that do not.
_CONTENT_AMONG_STOP_WORDS = """
bill bottom cry describe detail empty fill fire full interest mill move serious sincere system
thick thin top
"""
_MORE_STOP_WORDS = "did does doing having just"
# Function words that change what the next word says.
_MODIFIERS = "no not never nothing without less more most too very so"
FUNCTION_WORDS = (ENGLISH_STOP_WORDS - set(_CONTENT_AMONG_STOP_WORDS.split())).union(
    _MORE_STOP_WORDS.split()
)
MODIFIERS = frozenset(_MODIFIERS.split())


def words_of(text):
    """Split a text into lower-case words.

    Apostrophes belong to a word ("don't"), but the ending "'s" is a word of its own, so that
    "film" is found in "the film's end". Hyphens and other punctuation part words. Symbols such
    as emoji are words, and so is every character of a script without spaces.

    Parameters
    ----------
    text : str

    Returns
    -------
    words : list of str

    Examples
    --------
    >>> from sklearn_hypsae._phrases import words_of
    >>> words_of("Don't miss the film's well-made END \N{PARTY POPPER}")
    ["don't", 'miss', 'the', 'film', "'s", 'well', 'made', 'end', '🎉']
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(APOSTROPHES)
    return _word_pattern().findall(text.casefold())


def says_something(phrase):
    """Tell whether a phrase can stand in a hypothesis by itself.

    It needs a word that is neither a function word nor a number, and neither begins nor ends
    with a function word, unless that is a leading negation or degree ("not funny", "too long").

    Parameters
    ----------
    phrase : str

    Returns
    -------
    says_something : bool

    Examples
    --------
    >>> from sklearn_hypsae._phrases import says_something
    >>> [says_something(phrase) for phrase in ["not funny", "funny", "was funny", "not", "10"]]
    [True, True, False, False, False]
    """
    words = words_of(phrase)
    is_function = [_is_function_word(word) for word in words]
    has_content = any(
        not function and not word.isdecimal()
        for word, function in zip(words, is_function, strict=True)
    )
    return has_content and not is_function[-1] and (not is_function[0] or _modifies(words[0]))


def _is_function_word(word):
    stem = word.split("'")[0]
    is_letter = len(stem) < 2 and stem.isascii() and not stem.isdecimal()
    return stem in FUNCTION_WORDS or is_letter or word.endswith("n't")


def _modifies(word):
    return word in MODIFIERS or word.endswith("n't")


def find_phrases(texts, ngram_range, *, min_df, as_one=None):
    """Find all phrases that occur in enough texts.

    Parameters
    ----------
    texts : sequence of str of length n_samples

    ngram_range : (int, int)
        Shortest and longest phrase, in words.

    min_df : int
        Fewest texts a phrase has to occur in.

    as_one : callable, default=None
        Takes the list of all words and gives the name that each is counted under, so that
        words of one name are one word. None: every word counts by itself.

    Returns
    -------
    occurs : csc_array of shape (n_samples, n_phrases)
        1.0 where a text has the phrase.

    phrases : list of str
        The phrases, shorter ones first; with ``as_one``, of names.

    vocabulary : list of str
        All words.
    """
    number = defaultdict(count().__next__)
    rows, words = _number_words(texts, lambda words: map(number.__getitem__, words))
    vocabulary = names = list(number)
    if as_one is not None:
        number = defaultdict(count().__next__)
        words = np.array([number[name] for name in as_one(vocabulary)], dtype=np.int64)[words]
        names = list(number)
    lowest, highest = ngram_range
    occurs, phrases = _occurrences(rows, words, names, len(texts), lowest, highest, min_df)
    return occurs, phrases, vocabulary


def list_phrases(texts, phrases):
    """Find given phrases in texts.

    Parameters
    ----------
    texts : sequence of str of length n_samples

    phrases : list of str

    Returns
    -------
    occurs : csc_array of shape (n_samples, n_phrases)
        1.0 where a text has the phrase.

    Raises
    ------
    ValueError
        If a phrase has no word to look for.
    """
    wanted = [words_of(phrase) for phrase in phrases]
    _refuse_wordless(phrases, wanted)
    vocabulary = sorted({word for words in wanted for word in words})
    number = {word: i for i, word in enumerate(vocabulary)}
    longest = max((len(words) for words in wanted), default=1)
    # A word outside the vocabulary ends every phrase, so only few survive to be counted.
    rows, words = _number_words(texts, lambda words: map(number.get, words, repeat(-1)))
    occurs, found = _occurrences(rows, words, vocabulary, len(texts), 1, longest, min_df=1)
    column = {phrase: i for i, phrase in enumerate(found)}
    nowhere = sp.csc_array((len(texts), 1))
    columns = [column.get(joined(words), len(found)) for words in wanted]
    return sp.hstack([occurs, nowhere], format="csc")[:, columns]


def _refuse_wordless(phrases, wanted):
    for phrase, words in zip(phrases, wanted, strict=True):
        if not words:
            raise ValueError(
                f"The phrase {phrase!r} has no word to look for, so no text could match it: "
                "quote at least one word, number or symbol."
            )


def _number_words(texts, numbers_of):
    """Every word of every text as a number, with the row of its text."""
    numbers, lengths = array("q"), array("q")
    for text in texts:
        words = words_of(text)
        lengths.append(len(words))
        numbers.extend(numbers_of(words))
    lengths = np.frombuffer(lengths, dtype=np.int64) if lengths else np.zeros(0, np.int64)
    numbers = np.frombuffer(numbers, dtype=np.int64) if numbers else np.zeros(0, np.int64)
    return np.repeat(np.arange(len(texts)), lengths), numbers


def _occurrences(rows, words, names, n_texts, lowest, highest, min_df):
    """Count phrases length by length; a phrase is frequent only if its parts are.

    ``words`` and, below, ``grams`` number what begins at each position; -1 is nothing.
    """
    occurs, words, kept = _presence(rows, words, len(names), n_texts, min_df)
    names = [names[i] for i in kept]
    grams, gram_names = words, names
    columns, phrases = [], []
    for length in range(1, highest + 1):
        if length > 1:
            grams, firsts, lasts = _lengthen(rows, grams, words, length)
            occurs, grams, kept = _presence(rows, grams, len(firsts), n_texts, min_df)
            gram_names = [joined([gram_names[firsts[i]], names[lasts[i]]]) for i in kept]
        if length >= lowest:
            columns.append(occurs)
            phrases += gram_names
    return sp.hstack(columns, format="csc"), phrases


def _lengthen(rows, grams, words, length):
    """Number each gram that goes on with a word in the same text, and tell its two parts."""
    n_starts = max(len(words) - length + 1, 0)
    last = words[len(words) - n_starts :]
    goes_on = (grams[:n_starts] >= 0) & (last >= 0)
    goes_on &= rows[:n_starts] == rows[len(words) - n_starts :]
    n_words = words.max(initial=0) + 1
    pairs, numbers = np.unique(
        grams[:n_starts][goes_on] * n_words + last[goes_on], return_inverse=True
    )
    longer = np.full(len(words), -1)
    longer[:n_starts][goes_on] = numbers
    return longer, pairs // n_words, pairs % n_words


def _presence(rows, numbers, n_numbers, n_texts, min_df):
    """Which text has which number, without the rare ones, and the numbers made dense again."""
    present = numbers >= 0
    positions = (rows[present], numbers[present])
    occurs = sp.coo_array(
        (np.ones(len(positions[0])), positions), shape=(n_texts, n_numbers)
    ).tocsc()
    occurs.data[:] = 1.0
    kept = np.flatnonzero(np.diff(occurs.indptr) >= min_df)
    dense = np.full(n_numbers + 1, -1)
    dense[kept] = np.arange(len(kept))
    return occurs[:, kept], dense[numbers], kept


def joined(words):
    """Write words as they are read: no space before "'s" or inside an unspaced script.

    Parameters
    ----------
    words : list of str

    Returns
    -------
    phrase : str
    """
    phrase = " ".join(words).replace(" '", "'")
    return re.sub(f"(?<=[{UNSPACED}]) (?=[{UNSPACED}])", "", phrase)


@cache
def _word_pattern():
    marks = _character_class("M")
    letters = rf"[^\W{UNSPACED}]+(?:[{marks}]+[^\W{UNSPACED}]*)*"
    ending = rf"'s(?![\w{marks}])"
    word = rf"{letters}(?:(?!{ending})'{letters})*"
    return re.compile(rf"{word}|{ending}|[{UNSPACED}][{marks}]*|[{_character_class('S')}]")


def _character_class(category):
    """All characters whose Unicode category begins so, as the inside of a regular expression."""
    codes = [c for c in range(sys.maxunicode) if unicodedata.category(chr(c))[0] == category]
    breaks = np.flatnonzero(np.diff(codes) > 1)
    firsts = np.r_[codes[0], np.take(codes, breaks + 1)]
    lasts = np.r_[np.take(codes, breaks), codes[-1]]
    return "".join(
        f"{re.escape(chr(first))}-{re.escape(chr(last))}"
        for first, last in zip(firsts, lasts, strict=True)
    )
