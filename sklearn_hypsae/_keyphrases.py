"""Neurons put into words without a language model.

A neuron becomes a short list of words and word pairs, each in all its forms ("waited",
"waiting"). Candidates are phrases that set the texts that fire the neuron apart from the others;
from them the list grows greedily, so that "any of these phrases occurs" goes with the neuron and,
where there is a target, also with the target. What a hypothesis lists is exactly what is tested.
"""

import re

import numpy as np
import scipy.sparse as sp

from ._phrases import find_phrases, list_phrases, says_something
from ._word_forms import base_forms, written_out

# Straight or curly double quotes around a phrase.
QUOTED = re.compile(r'"((?:[^"\\]|\\.)+)"|\u201c([^\u201c\u201d]+)\u201d', re.DOTALL)


def learn_keyphrases(
    texts,
    activations,
    y=None,
    *,
    neuron_weight=0.3,
    max_phrases=20,
    ngram_range=(1, 2),
    min_df=3,
    min_z=1.0,
    min_gain=0.002,
    prior_strength=0.005,
    paired=False,
):
    """Choose for each neuron the phrases that say when it fires.

    A phrase is a candidate for a neuron if it is more frequent in the texts that fire
    it: the log-odds ratio with an informative Dirichlet prior [1]_, divided by its standard
    error, is above ``min_z``. With a target the phrase also has to go with y in the direction
    of the neuron, again by ``min_z`` standard errors. The neurons then take turns; each adds
    the phrase that most raises the correlation between "any phrase of the list occurs" and a
    blend of the neuron and the target. A phrase is used once, so no two hypotheses share words.

    Forms of an English word ("waited", "waiting") are counted together, as one phrase: few
    texts say more about a word than about each of its forms. The forms that occur are listed,
    and only they are looked for.

    Few texts leave little evidence. A neuron without a candidate that also goes with y takes
    those that go with the neuron alone; one without any of these takes its single clearest
    phrase. Whether the words hold is for the validation to say.

    Parameters
    ----------
    texts : sequence of str of length n_samples
        The texts.

    activations : array or sparse array of shape (n_samples, n_neurons)
        How strongly each text fires each neuron. Positive is firing.

    y : ndarray of shape (n_samples,) or (n_samples, n_targets), default=None
        Numeric target; of several (one a class) each neuron takes that with which it goes most
        strongly. None: the phrases describe the neurons alone.

    neuron_weight : float in [0, 1], default=0.3
        How much the neuron counts beside the target in the blend, both standardised. 1 leaves
        the target out. Smaller values predict better and describe the neuron less faithfully.

    max_phrases : int, default=20
        Longest list, where the forms of a phrase count as one.

    ngram_range : (int, int), default=(1, 2)
        Shortest and longest phrase, in words.

    min_df : int, default=3
        Fewest texts a phrase has to occur in.

    min_z : float, default=1.0
        How many standard errors a phrase has to be ahead in the firing texts.

    min_gain : float, default=0.002
        Smallest relative gain in correlation for which a phrase is added.

    prior_strength : float, default=0.005
        Size of the prior, as a share of the counts over all texts. More asks more evidence of
        rare phrases.

    paired : bool, default=False
        Whether the second half of the texts are the other texts of pairs, as
        :func:`~sklearn_hypsae._singles.as_singles` gives them. What counts is then that one
        text of a pair has a phrase and the other has not, and the lists are grown for the
        correlation of "any phrase occurs" in the first text less the same in the second.

    Returns
    -------
    phrases : list of n_neurons lists of tuples of str
        Strongest phrase first, each as the tuple of its forms, the most frequent first. Empty for
        a neuron that is silent, constant or not set apart by any phrase.

    References
    ----------
    .. [1] Monroe, Colaresi and Quinn (2008). Fightin' Words: Lexical Feature Selection and
       Evaluation for Identifying the Content of Political Conflict. Political Analysis 16(4).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_hypsae._keyphrases import learn_keyphrases
    >>> texts = ["The waiter was rude.", "The waiter was lovely."] * 20
    >>> learn_keyphrases(texts, np.tile([[1.0], [0.0]], (20, 1)))
    [[('rude',)]]
    """
    occurs, phrases, vocabulary = find_phrases(texts, ngram_range, min_df=min_df, as_one=base_forms)
    kept = np.flatnonzero([says_something(phrase) for phrase in phrases])
    occurs, phrases = occurs[:, kept], [phrases[i] for i in kept]
    if sp.issparse(activations):
        activations = activations.toarray()
    neurons = _standardised(np.asarray(activations, dtype=np.float64))
    fires = activations > 0
    in_both = _in_both_texts(occurs) if paired else None
    telling = occurs - in_both if paired else occurs
    candidates = _log_odds_z(telling, fires, prior_strength) > min_z
    candidates &= fires.any(axis=0)[:, None]
    goals = neurons
    if y is not None and neuron_weight < 1:
        targets = _standardised(np.asarray(y, dtype=np.float64).reshape(len(neurons), -1))
        strength = neurons.T @ targets
        best = np.abs(strength).argmax(axis=1)
        direction = np.sign(np.take_along_axis(strength, best[:, None], axis=1))
        agrees = direction * _correlation_z(telling, targets)[best] > min_z
        candidates = _unless_none(candidates & agrees, candidates)
        directed = targets[:, best] * direction.T
        goals = _standardised(neuron_weight * neurons + (1 - neuron_weight) * directed)
    clearest = _clearest(_correlation_z(telling, neurons * fires.any(axis=0)))
    candidates = _unless_none(candidates, clearest)
    lists = _grow_lists(occurs, in_both, candidates, goals, max_phrases, min_gain)
    named = [phrases[i] for chosen in lists for i in chosen]
    forms = iter(written_out(texts, named, vocabulary))
    return [[next(forms) for _ in chosen] for chosen in lists]


def phrases_to_hypothesis(phrases):
    r"""Say in a hypothesis which phrases are looked for.

    Parameters
    ----------
    phrases : list of tuples of str
        At least one phrase, each as the tuple of its forms.

    Returns
    -------
    hypothesis : str
        Forms of one phrase are parted by a slash; quotation marks and backslashes in a phrase
        get a backslash before them.

    Examples
    --------
    >>> from sklearn_hypsae._keyphrases import phrases_to_hypothesis
    >>> phrases_to_hypothesis([("slow service",), ("waited", "waiting"), ("rude",)])
    'mentions "slow service", "waited"/"waiting" or "rude"'
    """
    quoted = ["/".join(map(_quoted, forms)) for forms in phrases]
    return "mentions " + " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def _quoted(phrase):
    return '"' + re.sub(r'(["\\])', r"\\\1", phrase) + '"'


def all_forms(phrase_lists):
    """Forget which forms belong to one phrase.

    Parameters
    ----------
    phrase_lists : iterable of lists of tuples of str

    Returns
    -------
    phrase_lists : list of n_hypotheses lists of str
        As :func:`match_phrases` takes them.
    """
    return [[form for forms in phrases for form in forms] for phrases in phrase_lists]


def hypothesis_to_phrases(hypothesis):
    """Read the quoted phrases off a hypothesis.

    Parameters
    ----------
    hypothesis : str
        A statement of ours, or a user's own. Straight and curly double quotes count.

    Returns
    -------
    phrases : list of str
        Empty for a statement without quotes.

    Examples
    --------
    >>> from sklearn_hypsae._keyphrases import hypothesis_to_phrases
    >>> hypothesis_to_phrases('asks for a "refund" or the "money back"')
    ['refund', 'money back']
    """
    quoted = QUOTED.findall(hypothesis)
    return [re.sub(r'\\(["\\])', r"\1", straight) or curly for straight, curly in quoted]


def match_phrases(texts, phrase_lists):
    """Mark the texts in which any phrase of a list occurs.

    A phrase occurs where its words follow one another, whatever the case and the punctuation
    in between: "well-made" is found by "well made", "crude" is not found by "rude".

    Parameters
    ----------
    texts : sequence of str of length n_samples
        The texts.

    phrase_lists : list of n_hypotheses lists of str
        The phrases of each hypothesis. An empty list occurs nowhere.

    Returns
    -------
    matches : ndarray of shape (n_samples, n_hypotheses), dtype=float64
        1.0 where a phrase of the list occurs, else 0.0.

    Raises
    ------
    ValueError
        If a phrase has no word to look for.

    Examples
    --------
    >>> from sklearn_hypsae._keyphrases import match_phrases
    >>> match_phrases(["Rude staff!", "a crude joke"], [["rude"], ["joke", "staff"]])
    array([[1., 1.],
           [0., 1.]])
    """
    occurs = list_phrases(texts, [phrase for phrases in phrase_lists for phrase in phrases])
    owner = np.repeat(np.arange(len(phrase_lists)), [len(phrases) for phrases in phrase_lists])
    shape = (len(owner), len(phrase_lists))
    belongs = sp.csr_array((np.ones(len(owner)), (np.arange(len(owner)), owner)), shape=shape)
    return ((occurs @ belongs).toarray() > 0).astype(np.float64)


def _standardised(columns):
    """Columns with mean 0 and variance 1; a constant column becomes 0."""
    varies = columns.max(axis=0, initial=-np.inf) > columns.min(axis=0, initial=np.inf)
    deviation = np.where(varies, columns.std(axis=0), np.inf)
    return (columns - columns.mean(axis=0)) / deviation


def _in_both_texts(occurs):
    """Mark the phrases that the other text of the pair has too."""
    rows = occurs.tocsr()
    half = rows.shape[0] // 2
    common = rows[:half].multiply(rows[half:])
    return sp.vstack([common, common], format="csc")


def _log_odds_z(occurs, fires, prior_strength):
    """How clearly each phrase goes with the firing texts, (n_neurons, n_phrases)."""
    n_firing = fires.sum(axis=0)[:, None]
    n_texts = len(fires)
    total = occurs.sum(axis=0)
    firing = (occurs.T @ fires.astype(np.float64)).T
    prior, n_prior = prior_strength * total, prior_strength * n_texts
    inside, outside = firing + prior, total - firing + prior
    # A phrase of every text has infinite odds on both sides: nan, hence never a candidate.
    with np.errstate(divide="ignore", invalid="ignore"):
        log_odds_inside = np.log(inside / (n_firing + n_prior - inside))
        log_odds_outside = np.log(outside / (n_texts - n_firing + n_prior - outside))
        return (log_odds_inside - log_odds_outside) / np.sqrt(1 / inside + 1 / outside)


def _unless_none(candidates, others):
    """Candidates of each neuron, or its others where it has none."""
    return np.where(candidates.any(axis=1, keepdims=True), candidates, others)


def _clearest(zscores):
    """Mark each neuron's most typical phrase, if any phrase is typical of it at all."""
    best = np.fmax.reduce(zscores, axis=1, keepdims=True, initial=0.0)
    return (zscores > 1e-9) & (zscores == best)


def _correlation_z(occurs, targets):
    """Correlation of each phrase with each target, in standard errors, (n_targets, n_phrases)."""
    n_texts = occurs.shape[0]
    share = occurs.sum(axis=0) / n_texts
    with np.errstate(divide="ignore", invalid="ignore"):
        return (occurs.T @ targets).T / np.sqrt(n_texts * share * (1 - share))


def _grow_lists(occurs, in_both, candidates, goals, max_phrases, min_gain):
    """Let the neurons take turns in adding the phrase that helps most; lists of columns."""
    free = np.ones(occurs.shape[1], dtype=bool)
    lists = [
        _GrowingList(occurs, in_both, np.flatnonzero(candidate), goal, min_gain)
        for candidate, goal in zip(candidates, goals.T, strict=True)
    ]
    growing = lists
    for _ in range(max_phrases):
        growing = [phrase_list for phrase_list in growing if phrase_list.add_best(free)]
    return [phrase_list.chosen for phrase_list in lists]


class _GrowingList:
    """The phrases of one neuron, and the texts that none of them covers yet."""

    def __init__(self, occurs, in_both, candidates, goal, min_gain):
        self.chosen = []
        self.candidates = candidates
        self.texts_of = occurs[:, candidates].T.tocsr()
        self.pairs_of = None if in_both is None else in_both[:, candidates].T.tocsr()
        self.uncovered = np.ones(len(goal))
        self.goal = goal
        self.min_gain = min_gain
        self.correlation = 0.0
        self.goal_covered = 0.0

    def add_best(self, free):
        """Add the phrase that raises the correlation most, if one does, and take it."""
        goals = self.goal_covered + self.texts_of @ (self.goal * self.uncovered)
        correlations = self._correlations(goals)
        correlations[~free[self.candidates]] = -np.inf
        best = int(np.argmax(correlations)) if len(correlations) else None
        if best is None or correlations[best] <= self._correlation_to_beat():
            return False
        self.correlation, self.goal_covered = correlations[best], goals[best]
        rows = self.texts_of.indices[slice(*self.texts_of.indptr[best : best + 2])]
        self.uncovered[rows] = 0
        self.chosen.append(self.candidates[best])
        free[self.candidates[best]] = False
        return True

    def _correlations(self, goals):
        n_texts = len(self.goal)
        covered = n_texts - self.uncovered.sum() + self.texts_of @ self.uncovered
        if self.pairs_of is None:
            spread = np.sqrt(covered * (n_texts - covered))
        else:
            # A difference of two texts is zero where both are covered, or neither.
            spread = np.sqrt((covered - self._covered_in_both()) * n_texts / 2)
        return np.divide(goals, spread, out=np.zeros_like(goals), where=spread > 0)

    def _covered_in_both(self):
        """Texts covered, once each phrase is added, that belong to pairs covered in both."""
        uncovered, covered = self.uncovered, 1 - self.uncovered
        half = len(uncovered) // 2
        other_uncovered, other_covered = np.roll(uncovered, half), np.roll(covered, half)
        return (
            covered @ other_covered
            + 2 * (self.texts_of @ (uncovered * other_covered))
            + self.pairs_of @ (uncovered * other_uncovered)
        )

    def _correlation_to_beat(self):
        # Rounding makes a goal of zeros correlate by 1e-17.
        return max(self.correlation * (1 + self.min_gain), 1e-9)
