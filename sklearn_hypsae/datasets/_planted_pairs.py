"""Pairs of made-up headlines with known concepts that decide which of the two wins."""

import random
import re
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils import Bunch, check_random_state, check_scalar

from ._headline_grammar import CONCEPTS, DID, VERBS, WHEN, WHERE, WHO, alternatives


def make_planted_pairs(
    n_samples=1000,
    *,
    n_concepts=6,
    n_informative=None,
    effect_size=1.0,
    noise=1.0,
    prevalence=0.4,
    task="binary",
    random_state=None,
    return_X_y=False,
):
    """Make pairs of headlines for one story, and which of the two is read more.

    Both headlines of a pair tell the same made-up story; each may ask a question, promise a
    surprise and so on. With ``difference`` the concepts of the first headline less those of
    the second, ``latent = difference @ coef + noise * e``. For a binary target ``y = (latent >
    0)`` with standard logistic e: the model of Bradley and Terry [1]_, where with ``noise=1``
    the coefficients are log odds ratios. For a regression ``y = latent`` with standard normal
    e.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of pairs.

    n_concepts : int, default=6
        Number of concepts, up to 6.

    n_informative : int, default=None
        How many of the concepts, the first ones, have an effect. None: all.

    effect_size : float or array-like of shape (n_concepts,), default=1.0
        Effect of a concept. A number is the size for every informative concept, with the sign
        that an editor would expect; an array is taken as it is.

    noise : float, default=1.0
        Scale of what the concepts do not explain.

    prevalence : float, default=0.4
        Share of the headlines that have a concept.

    task : {"binary", "regression"}, default="binary"
        Which headline wins, or by how much the first is ahead.

    random_state : int, RandomState instance or None, default=None
        Draws everything.

    return_X_y : bool, default=False
        Whether to return ``(pairs, y)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With the attributes

        pairs : DataFrame of shape (n_samples, 2)
            The headlines, as columns ``headline_a`` and ``headline_b``.
        y : ndarray of shape (n_samples,)
            1 where the first headline wins, 0 where the second does; or by how much the first
            is ahead.
        concepts : ndarray of shape (n_samples, n_concepts)
            1 where the first headline only has a concept, -1 where the second only has it,
            else 0.
        concept_names : list of str
            Each concept as a hypothesis about a text.
        coef : ndarray of shape (n_concepts,)
            True effects, before noise.
        DESCR : str
            What the data are.

    Raises
    ------
    ValueError
        If a parameter is out of range or of the wrong length.

    References
    ----------
    .. [1] Bradley and Terry (1952), "Rank analysis of incomplete block designs. I. The method
       of paired comparisons", Biometrika 39(3/4).

    Examples
    --------
    >>> from sklearn_hypsae.datasets import make_planted_pairs
    >>> data = make_planted_pairs(1000, n_concepts=2, random_state=0)
    >>> data.concept_names
    ['asks the reader a question', 'promises a surprise']
    >>> from sklearn.linear_model import LogisticRegression
    >>> bradley_terry = LogisticRegression(C=1e6, fit_intercept=False)
    >>> bradley_terry.fit(data.concepts, data.y).coef_.round(1)
    array([[-1.2,  1.1]])
    """
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    check_scalar(n_concepts, "n_concepts", Integral, min_val=1, max_val=len(CONCEPTS))
    check_scalar(noise, "noise", Real, min_val=0)
    check_scalar(prevalence, "prevalence", Real, min_val=0, max_val=1)
    if task not in ("binary", "regression"):
        raise ValueError(f'make_planted_pairs takes task "binary" or "regression", got {task!r}.')
    coef = _coefficients(effect_size, n_informative, n_concepts)
    rng = check_random_state(random_state)
    concepts = (rng.uniform(size=(n_samples, 2, n_concepts)) < prevalence).astype(np.int64)
    difference = concepts[:, 0] - concepts[:, 1]
    if task == "regression":
        y = difference @ coef + noise * rng.normal(size=n_samples)
    else:
        y = (difference @ coef + noise * rng.logistic(size=n_samples) > 0).astype(np.int64)
    pairs = pd.DataFrame(_headlines(concepts, rng), columns=["headline_a", "headline_b"])
    if return_X_y:
        return pairs, y
    return Bunch(
        pairs=pairs,
        y=y,
        concepts=difference,
        concept_names=[concept.statement for concept in CONCEPTS[:n_concepts]],
        coef=coef,
        DESCR="Pairs of made-up headlines with known concepts and known effects on which wins.",
    )


def _coefficients(effect_size, n_informative, n_concepts):
    n_informative = n_concepts if n_informative is None else n_informative
    check_scalar(n_informative, "n_informative", Integral, min_val=0, max_val=n_concepts)
    sizes = np.asarray(effect_size, dtype=float)
    if sizes.ndim == 0:
        sizes = sizes * np.array([concept.valence for concept in CONCEPTS[:n_concepts]])
    if sizes.shape != (n_concepts,) or not np.isfinite(sizes).all():
        raise ValueError(
            f"make_planted_pairs needs one number, or one for each of the {n_concepts} concepts, "
            f"as effect_size; got an array of shape {sizes.shape}."
        )
    return np.where(np.arange(n_concepts) < n_informative, sizes, 0.0)


def _headlines(concepts, rng):
    # Python's own generator picks single items many times faster than numpy's.
    draw = random.Random(int(rng.randint(2**31 - 1)))
    who, did, where, when = (alternatives(words) for words in (WHO, DID, WHERE, WHEN))
    headlines = np.empty(concepts.shape[:2], dtype=object)
    for i, both in enumerate(concepts):
        story = f"{draw.choice(who)} in {draw.choice(where)} {draw.choice(did)} {draw.choice(when)}"
        headlines[i] = [_headline(story, present, draw) for present in both]
    return headlines


def _headline(story, present, draw):
    told = re.sub(r"\{(\w+)\}", lambda verb: draw.choice(VERBS[verb[1]]), story)
    parts = [told, *(draw.choice(CONCEPTS[j].fragments) for j in np.flatnonzero(present))]
    draw.shuffle(parts)
    return " ".join(_sentence(part) for part in parts)


def _sentence(part):
    return part[0].upper() + part[1:] + ("" if part.endswith("?") else ".")
