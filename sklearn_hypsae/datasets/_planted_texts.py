"""Texts whose concepts and their effects on the target are known."""

import random
import re
from numbers import Integral, Real

import numpy as np
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_scalar

from ._restaurant_grammar import CONCEPTS, DISTRACTORS, OPENERS, SLOTS

MEAN_STARS = 3.0
PROBABILITY_OF_A_SECOND_SENTENCE = 0.25


def make_planted_texts(
    n_samples=1000,
    *,
    n_concepts=8,
    n_informative=None,
    effect_size=1.0,
    noise=1.0,
    prevalence=0.3,
    n_distractors=3,
    task="regression",
    random_state=None,
    return_X_y=False,
):
    """Make restaurant reviews that say known things with known effects on a target.

    Every review says some of ``n_concepts`` things, each independently of the others, in one or two
    sentences out of many that share no single word, among sentences that say nothing of
    the kind. The target is linear in the concepts:
    ``latent = (concepts - prevalence) @ coef + noise * e``. For a regression
    ``y = 3 + latent`` with standard normal e; for a binary target ``y = (latent > 0)`` with
    standard logistic e, so that with ``noise=1`` the coefficients are log odds ratios.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of reviews.

    n_concepts : int, default=8
        Number of concepts, up to 12.

    n_informative : int, default=None
        How many of the concepts, the first ones, have an effect; the others say nothing about
        y and every hypothesis about them is false. None: all.

    effect_size : float or array-like of shape (n_concepts,), default=1.0
        Effect of a concept. A number is the size for every informative concept, with the sign
        that guests would give it; an array is taken as it is.

    noise : float, default=1.0
        Scale of what the concepts do not explain.

    prevalence : float or array-like of shape (n_concepts,), default=0.3
        Share of the reviews that have a concept.

    n_distractors : float, default=3
        Mean number of sentences about none of the concepts (Poisson, at least one).

    task : {"regression", "binary"}, default="regression"
        Kind of target.

    random_state : int, RandomState instance or None, default=None
        Draws everything.

    return_X_y : bool, default=False
        Whether to return ``(texts, y)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With the attributes

        texts : ndarray of shape (n_samples,), dtype=object
            The reviews.
        y : ndarray of shape (n_samples,)
            The target: floats, or 0 and 1.
        concepts : ndarray of shape (n_samples, n_concepts)
            1 where a review has a concept, else 0.
        concept_names : list of str
            Each concept as a hypothesis about a text.
        coef : ndarray of shape (n_concepts,)
            True effects, before noise.
        prevalence : ndarray of shape (n_concepts,)
            Share of reviews asked for.
        DESCR : str
            What the data are.

    Raises
    ------
    ValueError
        If a parameter is out of range or of the wrong length.

    Examples
    --------
    >>> from sklearn_hypsae.datasets import make_planted_texts
    >>> data = make_planted_texts(2000, n_concepts=3, random_state=0)
    >>> data.concept_names
    ['complains about slow service', 'praises large portions', 'mentions high prices']
    >>> data.coef
    array([-1.,  1., -1.])

    The target is what it says it is:

    >>> from sklearn.linear_model import LinearRegression
    >>> LinearRegression().fit(data.concepts, data.y).coef_.round(1)
    array([-1.1,  1. , -1. ])
    """
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    check_scalar(n_concepts, "n_concepts", Integral, min_val=1, max_val=len(CONCEPTS))
    check_scalar(noise, "noise", Real, min_val=0)
    check_scalar(n_distractors, "n_distractors", Real, min_val=0)
    if task not in ("regression", "binary"):
        raise ValueError(f'make_planted_texts takes task "regression" or "binary", got {task!r}.')
    coef = _coefficients(effect_size, n_informative, n_concepts)
    prevalence = _prevalences(prevalence, n_concepts)
    rng = check_random_state(random_state)

    concepts = (rng.uniform(size=(n_samples, n_concepts)) < prevalence).astype(np.int64)
    latent = (concepts - prevalence) @ coef
    if task == "regression":
        y = MEAN_STARS + latent + noise * rng.normal(size=n_samples)
    else:
        y = (latent + noise * rng.logistic(size=n_samples) > 0).astype(np.int64)
    texts = _reviews(concepts, rng.poisson(n_distractors, size=n_samples), rng)
    if return_X_y:
        return texts, y
    return Bunch(
        texts=texts,
        y=y,
        concepts=concepts,
        concept_names=[concept.statement for concept in CONCEPTS[:n_concepts]],
        coef=coef,
        prevalence=prevalence,
        DESCR="Made-up restaurant reviews with known concepts and known effects on the target.",
    )


def _coefficients(effect_size, n_informative, n_concepts):
    if n_informative is None:
        n_informative = n_concepts
    check_scalar(n_informative, "n_informative", Integral, min_val=0, max_val=n_concepts)
    is_informative = np.arange(n_concepts) < n_informative
    if np.ndim(effect_size) == 0:
        effect_size = effect_size * np.array([c.valence for c in CONCEPTS[:n_concepts]])
    return np.where(is_informative, _of_length(effect_size, n_concepts, "effect_size"), 0.0)


def _prevalences(prevalence, n_concepts):
    if np.ndim(prevalence) == 0:
        prevalence = np.full(n_concepts, prevalence)
    prevalence = _of_length(prevalence, n_concepts, "prevalence")
    if not ((prevalence > 0) & (prevalence < 1)).all():
        raise ValueError("make_planted_texts needs every prevalence between 0 and 1.")
    return prevalence


def _of_length(values, n_concepts, name):
    values = np.asarray(values, dtype=float)
    if values.shape != (n_concepts,) or not np.isfinite(values).all():
        raise ValueError(
            f"make_planted_texts needs one number, or one for each of the {n_concepts} concepts, "
            f"as {name}; got an array of shape {values.shape}."
        )
    return values


def _reviews(concepts, n_distractors, rng):
    # Python's own generator picks single items many times faster than numpy's.
    draw = random.Random(int(rng.randint(2**31 - 1)))
    texts = np.empty(len(concepts), dtype=object)
    for i, row in enumerate(concepts):
        present = [CONCEPTS[j].sentences for j in np.flatnonzero(row)]
        texts[i] = _review(present, max(1, int(n_distractors[i])), draw)
    return texts


def _review(present, n_distractors, draw):
    patterns = draw.sample(DISTRACTORS, min(n_distractors, len(DISTRACTORS)))
    for sentences in present:
        n_ways = 2 if draw.random() < PROBABILITY_OF_A_SECOND_SENTENCE else 1
        patterns += draw.sample(sentences, n_ways)
    draw.shuffle(patterns)
    opener = _filled(draw.choice(OPENERS), draw)
    body = " ".join(_sentence(pattern, draw) for pattern in patterns)
    return f"{opener} {body}".strip()


def _sentence(pattern, draw):
    sentence = draw.choice(SLOTS["lead"]) + _filled(pattern, draw)
    return sentence[0].upper() + sentence[1:] + "."


def _filled(pattern, draw):
    return re.sub(r"\{(\w+)\}", lambda slot: draw.choice(SLOTS[slot[1]]), pattern)
