"""Neurons put into words without a language model, and words found again in texts.

A neuron becomes a short list of words and word pairs. Candidates are n-grams that set the
texts that fire the neuron apart from the others; from them the list is put together greedily,
so that "any of these phrases occurs" goes with the neuron and, where there is a target, also
with the target. What a hypothesis lists is exactly what is tested.
"""

import re
import sys
import unicodedata
from functools import cache

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

# Scripts written without spaces, where every character counts as a word of its own:
# Thai and Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U000323af"
)
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\uff07": "'"})


def learn_keyphrases(
    texts,
    activations,
    y=None,
    *,
    neuron_weight=0.5,
    max_phrases=15,
    ngram_range=(1, 2),
    min_df=3,
    min_z=3.0,
    min_gain=0.01,
    prior_strength=0.1,
):
    """Choose a list of phrases for each neuron, strongest phrase first."""
    activations = sp.csc_array(activations)
    n_samples, n_neurons = activations.shape
    occurs, phrases = _count_phrases(texts, ngram_range, min_df=min_df)
    wordable = np.array([_has_content(p) for p in phrases], dtype=bool)
    occurs, phrases = occurs[:, wordable], phrases[wordable]
    zscores = _log_odds_z((activations > 0).astype(np.float64), occurs, prior_strength)
    goals = _goals(activations.toarray(), y, neuron_weight)
    return _choose(occurs, phrases, zscores, goals, max_phrases, min_z, min_gain)


def _goals(activations, y, w):
    z = _standardise(activations)
    if y is None:
        return z
    zy = _standardise(np.asarray(y, float)[:, None])
    sign = np.sign(z.T @ zy).ravel()
    return _standardise(w * z + (1 - w) * sign * zy)


def _standardise(X):
    X = X - X.mean(axis=0)
    s = X.std(axis=0)
    return X / np.where(s > 0, s, 1)


def _log_odds_z(fires, occurs, prior_strength):
    total = np.asarray(occurs.sum(axis=0)).ravel()
    inside = (fires.T @ occurs).toarray()
    outside = total - inside
    prior = prior_strength * total
    n_in = inside.sum(1, keepdims=True)
    n_out = outside.sum(1, keepdims=True)
    n_prior = prior.sum()
    li = np.log((inside + prior) / (n_in + n_prior - inside - prior))
    lo = np.log((outside + prior) / (n_out + n_prior - outside - prior))
    return (li - lo) / np.sqrt(1 / (inside + prior) + 1 / (outside + prior))


def _choose(occurs, phrases, zscores, goals, max_phrases, min_z, min_gain):
    n = occurs.shape[0]
    free = np.ones(len(phrases), bool)
    out = []
    for z, t in zip(zscores, goals.T, strict=True):
        cand = np.flatnonzero((z > min_z) & free)
        B = occurs[:, cand].T.tocsr()
        chosen = []
        u = np.ones(n)
        S = N = best = 0.0
        while len(chosen) < max_phrases and len(cand):
            s = S + B @ (t * u)
            m = N + B @ u
            with np.errstate(all="ignore"):
                r = s / np.sqrt(m * (n - m))
            r[~np.isfinite(r)] = -1
            r[chosen] = -1
            j = int(np.argmax(r))
            if r[j] <= best * (1 + min_gain) or r[j] <= 0:
                break
            best = r[j]
            S, N = s[j], m[j]
            chosen.append(j)
            u[B.indices[B.indptr[j] : B.indptr[j + 1]]] = 0
        free[cand[chosen]] = False
        out.append([str(p) for p in phrases[cand[chosen]]])
    return out


def _has_content(phrase):
    return not all(t in ENGLISH_STOP_WORDS for t in phrase.split(" "))


def phrases_to_hypothesis(phrases):
    """Say in a hypothesis which phrases are looked for."""
    quoted = ['"' + re.sub(r'(["\\])', r"\\\1", p) + '"' for p in phrases]
    if not quoted:
        return ""
    listed = " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
    return f"mentions {listed}"


def hypothesis_to_phrases(hypothesis):
    """Read the quoted phrases off a hypothesis."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|\u201c([^\u201c\u201d]*)\u201d', hypothesis)
    return [re.sub(r'\\(["\\])', r"\1", a) or b for a, b in found]


def match_phrases(texts, phrase_lists):
    """Mark the texts in which any phrase of a list occurs."""
    tokens = [[_tokens(p) for p in ps] for ps in phrase_lists]
    known = sorted({t for ps in tokens for p in ps for t in p})
    longest = max((len(p) for ps in tokens for p in ps), default=1)
    occurs, names = _count_phrases(texts, (1, longest), vocabulary=known)
    column = {name: i for i, name in enumerate(names)}
    out = np.zeros((len(texts), len(phrase_lists)))
    for h, ps in enumerate(tokens):
        cols = [column[k] for p in ps if (k := _join(p)) in column]
        if cols:
            out[:, h] = np.asarray(occurs[:, cols].sum(axis=1)).ravel() > 0
    return out


def _count_phrases(texts, ngram_range, *, min_df=1, vocabulary=None):
    lowest, highest = ngram_range
    rows, ids, words = _token_ids(texts, vocabulary)
    n = len(texts)
    mats, names = [], []
    mat, codes, kept = _presence(rows, ids, n, min_df)
    ids = codes
    words = words[kept]
    gram_names = words
    for k in range(1, highest + 1):
        if k > 1:
            V = len(words)
            a, b = codes[: len(ids) - k + 1], ids[k - 1 :]
            same = rows[: len(ids) - k + 1] == rows[k - 1 :]
            good = (a >= 0) & (b >= 0) & same
            keys = np.where(good, a * V + b, -1)
            uniq, inv = np.unique(keys[good], return_inverse=True)
            raw = np.full(len(keys), -1)
            raw[good] = inv
            mat, codes, kept = _presence(rows[: len(keys)], raw, n, min_df)
            uniq = uniq[kept]
            gram_names = np.array(
                [
                    _join([p, w])
                    for p, w in zip(
                        gram_names[uniq // max(V, 1)], words[uniq % max(V, 1)], strict=True
                    )
                ],
                dtype=object,
            )
        if k >= lowest:
            mats.append(mat)
            names.append(gram_names)
    return sp.hstack(mats, format="csc"), np.concatenate(names)


def _presence(rows, codes, n, min_df):
    seen = codes >= 0
    width = codes.max(initial=-1) + 1
    m = sp.coo_array((np.ones(seen.sum()), (rows[seen], codes[seen])), shape=(n, width)).tocsc()
    m.data[:] = 1
    df = np.diff(m.indptr)
    kept = np.flatnonzero(df >= min_df)
    new = np.full(width + 1, -1)
    new[kept] = np.arange(len(kept))
    return m[:, kept], new[codes], kept


def _token_ids(texts, vocabulary):
    if vocabulary is not None:
        number = {w: i for i, w in enumerate(vocabulary)}
        lists = [[number.get(t, -1) for t in _tokens(x)] for x in texts]
    else:
        number = {}
        lists = [[number.setdefault(t, len(number)) for t in _tokens(x)] for x in texts]
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    ids = np.fromiter((i for row in lists for i in row), np.int64, lengths.sum())
    words = np.empty(len(number), dtype=object)
    words[:] = list(number)
    return np.repeat(np.arange(len(lists)), lengths), ids, words


def _tokens(text):
    text = unicodedata.normalize("NFC", text).translate(_APOSTROPHES).casefold()
    return [t for t in _token_pattern().findall(text) if t]


def _join(tokens):
    text = " ".join(tokens).replace(" '", "'")
    return re.sub(f"(?<=[{_UNSPACED}]) (?=[{_UNSPACED}])", "", text)


@cache
def _token_pattern():
    marks = _char_class("M")
    symbols = _char_class("So")
    letter = rf"(?:(?![{_UNSPACED}])[\w{marks}])"
    word = rf"{letter}+(?:'(?!s(?![\w{marks}])){letter}+)*"
    return re.compile(
        rf"</?[a-z][a-z0-9]*\s*/?>|({word}|(?<=\w)'s(?![\w{marks}])|[{_UNSPACED}][{marks}]*|[{symbols}])"
    )


def _char_class(category):
    ranges, start = [], None
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(category)
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            ranges.append(f"{re.escape(chr(start))}-{re.escape(chr(code - 1))}")
            start = None
    return "".join(ranges)
