"""Yes or no for each text and hypothesis."""

from typing import NamedTuple

import numpy as np

from . import prompts
from .base import Completion, Request

CHOICES = ("yes", "no")
ASK_PROBABILITIES = (("logprobs", True), ("top_logprobs", 10))


def annotation_requests(
    texts, hypotheses, *, per_request=1, max_words=None, prompt=None, soft=False, options=()
):
    """Write the requests that ask each distinct (hypothesis, text) once.

    Requests about one text follow one another and begin alike, so that servers which cache
    prefixes read the text once.

    Parameters
    ----------
    texts : array-like of shape (n_texts,) of str
        Distinct texts.

    hypotheses : list of str
        Distinct hypotheses.

    per_request : int, default=1
        Hypotheses in one request.

    max_words : int, default=None
        Where texts are cut.

    prompt : str, default=None
        Instead of :data:`~sklearn_hypsae.llm.prompts.ANNOTATE` or, for more than one
        hypothesis a request, :data:`~sklearn_hypsae.llm.prompts.ANNOTATE_MANY`.

    soft : bool, default=False
        Whether to ask for the probabilities of the first token too.

    options : tuple of (str, value) pairs, default=()
        Options of each request.

    Returns
    -------
    requests : list of Request

    places : list of (int, list of int)
        Text and hypotheses that each request is about.
    """
    groups = [
        list(range(start, min(start + per_request, len(hypotheses))))
        for start in range(0, len(hypotheses), per_request)
    ]
    if per_request == 1:
        asked = [prompts.one_line(hypothesis) for hypothesis in hypotheses]
        template, field = prompt or prompts.ANNOTATE, "hypothesis"
    else:
        asked = [prompts.numbered([hypotheses[i] for i in group]) for group in groups]
        template, field = prompt or prompts.ANNOTATE_MANY, "hypotheses"
    if soft:
        options = (*options, *ASK_PROBABILITIES)
    requests, places = [], []
    for row, text in enumerate(texts):
        shown = prompts.tagged(text, max_words)
        for group, words in zip(groups, asked, strict=True):
            n_items = len(group) if per_request > 1 else 0
            filled = template.format(text=shown, **{field: words})
            requests.append(Request(filled, CHOICES, n_items, options))
            places.append((row, group))
    return requests, places


def read_annotations(request, text):
    """Read an answer.

    Returns
    -------
    present : list of float or None
        One value a hypothesis of the request; None where the answer is not in its form.
    """
    if request.n_items:
        return prompts.parse_numbered(text, request.n_items)
    present = prompts.parse_yes_no(text)
    return None if present is None else [present]


def accepts(request, text):
    """Whether an answer is in the form its request asks for."""
    return read_annotations(request, text) is not None


def probability_of_yes(probabilities):
    """Weigh yes against no among the alternatives for the first token.

    Parameters
    ----------
    probabilities : dict of str to float or None

    Returns
    -------
    probability : float or None
        None where neither is among them.

    Examples
    --------
    >>> from sklearn_hypsae.llm.annotation import probability_of_yes
    >>> probability_of_yes({"Yes": 0.5, " yes": 0.25, "no": 0.25})
    0.75
    """
    weights = {"yes": 0.0, "no": 0.0}
    for token, probability in (probabilities or {}).items():
        word = token.strip().lower()
        if word in weights:
            weights[word] += probability
    total = sum(weights.values())
    return weights["yes"] / total if total else None


def _values(request, completion, *, soft):
    """Annotations of one request; a hard one where the server gave no probabilities."""
    if soft:
        probability = probability_of_yes(completion.probabilities)
        if probability is not None:
            return [probability]
    return read_annotations(request, completion.text)


def annotate(runner, client, pairs, *, description, **asking):
    """Annotate texts with hypotheses, each distinct pair once.

    Parameters
    ----------
    runner : Runner

    client : ChatModel

    pairs : list of (texts, hypotheses)
        Every hypothesis of an entry is asked of every text of that entry.

    description : str
        For progress bar and log.

    **asking
        For :func:`annotation_requests`.

    Returns
    -------
    annotations : list of ndarray of shape (n_texts, n_hypotheses)
        1.0, 0.0 or NaN, for each entry of ``pairs``; with ``soft`` the probability of yes.
    """
    blocks = _blocks(pairs)
    requests, places = [], []
    for number, block in enumerate(blocks):
        written, where = annotation_requests(block.texts, block.hypotheses, **asking)
        requests += written
        places += [(number, row, group) for row, group in where]
    outcomes = runner.ask(client, requests, accept=accepts, description=description)
    for request, outcome, (number, row, group) in zip(requests, outcomes, places, strict=True):
        if isinstance(outcome, Completion):
            values = _values(request, outcome, soft=asking.get("soft", False))
            blocks[number].values[row, group] = values
    where = {text: (b, row) for b, block in enumerate(blocks) for row, text in enumerate(block[0])}
    return [_entry(texts, hypotheses, blocks, where) for texts, hypotheses in pairs]


class _Block(NamedTuple):
    """Distinct texts of which the same distinct hypotheses are asked, and the answers."""

    texts: list
    hypotheses: list
    values: np.ndarray


def _blocks(pairs):
    """Gather what is asked of each distinct text, from whichever entries it comes."""
    asked = {}
    for texts, hypotheses in pairs:
        own = tuple(dict.fromkeys(hypotheses))
        for text in dict.fromkeys(texts):
            before = asked.setdefault(text, own)
            if before is not own:
                asked[text] = tuple(dict.fromkeys((*before, *own)))
    texts_by_hypotheses = {}
    for text, hypotheses in asked.items():
        texts_by_hypotheses.setdefault(hypotheses, []).append(text)
    return [
        _Block(texts, list(hypotheses), np.full((len(texts), len(hypotheses)), np.nan))
        for hypotheses, texts in texts_by_hypotheses.items()
    ]


def _entry(texts, hypotheses, blocks, where):
    """Collect the answers to one entry of pairs, (n_texts, n_hypotheses)."""
    found = np.empty((len(texts), len(hypotheses)))
    places = np.array([where[text] for text in texts]).reshape(-1, 2)
    for number in np.unique(places[:, 0]):
        block, here = blocks[number], places[:, 0] == number
        columns = [block.hypotheses.index(hypothesis) for hypothesis in hypotheses]
        found[here] = block.values[np.ix_(places[here, 1], columns)]
    return found
