"""Wordings for neurons: asked of a language model, tested on texts it was not shown."""

from typing import NamedTuple

import numpy as np

from .._fidelity import fidelity
from . import prompts
from .annotation import annotate
from .base import Completion, CompletionError, Request


class Wording(NamedTuple):
    """The best wording of a neuron.

    Attributes
    ----------
    hypothesis : str

    candidates : list of str
        All distinct wordings, the best first.

    scores : dict
        From :func:`~sklearn_hypsae._fidelity.fidelity`.
    """

    hypothesis: str
    candidates: list
    scores: dict


class Asking(NamedTuple):
    """How neurons are put into words.

    Attributes
    ----------
    client, annotator : ChatModel
        Who words, and who answers whether a wording holds.

    metric : str
        What decides between wordings.

    instructions : str, default=None
        About this collection of texts.

    prompt : str, default=None
        Instead of :data:`~sklearn_hypsae.llm.prompts.INTERPRET`.

    max_words : int, default=None
        Where texts are cut.

    options : tuple of (str, value) pairs, default=()
        Options of each request.

    annotating : dict, default={}
        For :func:`~sklearn_hypsae.llm.annotation.annotation_requests`.
    """

    client: object
    annotator: object
    metric: str = "f1"
    instructions: str | None = None
    prompt: str | None = None
    max_words: int | None = None
    options: tuple = ()
    annotating: dict = {}


def describe(runner, texts, activations, examples, asking):
    """Put neurons into words, and score the words on texts that were not shown.

    Parameters
    ----------
    runner : Runner

    texts : ndarray of shape (n_samples,) of str

    activations : callable
        ``neuron -> ndarray of shape (n_samples,)``, by position in ``examples``.

    examples : list of NeuronExamples
        One a neuron.

    asking : Asking

    Returns
    -------
    wordings : dict of int to Wording
        By position in ``examples``; neurons of which every request failed are missing.

    errors : list of CompletionError
        Why requests failed.
    """
    candidates, errors = propose(runner, texts, examples, asking)
    scored = score(runner, texts, activations, examples, candidates, asking)
    return {neuron: _best(own, asking.metric) for neuron, own in scored.items()}, errors


def interpretation_request(texts, firing, silent, asking):
    """Write the request that shows firing and silent texts and asks what tells them apart.

    Parameters
    ----------
    texts : ndarray of shape (n_samples,) of str

    firing, silent : ndarray of int
        Rows to show.

    asking : Asking

    Returns
    -------
    request : Request
    """
    prompt = (asking.prompt or prompts.INTERPRET).format(
        instructions=_lines(asking.instructions),
        firing_texts=prompts.tagged_list(texts[firing], asking.max_words),
        silent_texts=prompts.tagged_list(texts[silent], asking.max_words),
    )
    return Request(prompt, options=asking.options)


def propose(runner, texts, examples, asking):
    """Ask for the candidate wordings of every neuron.

    Parameters
    ----------
    runner, texts, examples, asking
        As for :func:`describe`.

    Returns
    -------
    candidates : dict of int to list of str
        Distinct wordings of each neuron that has any.

    errors : list of CompletionError
        Why requests failed.
    """
    requests, owners = [], []
    for neuron, own in enumerate(examples):
        for firing, silent in own.shown:
            requests.append(interpretation_request(texts, firing, silent, asking))
            owners.append(neuron)
    return ask_for_wordings(runner, requests, owners, asking, description="Interpreting")


def ask_for_wordings(runner, requests, owners, asking, *, description):
    """Send requests for wordings, and collect the answers by neuron.

    Parameters
    ----------
    runner : Runner

    requests : list of Request

    owners : list of int
        Neuron of each request.

    asking : Asking

    description : str
        For progress bar and log.

    Returns
    -------
    candidates : dict of int to list of str

    errors : list of CompletionError
    """
    outcomes = runner.ask(asking.client, requests, accept=has_wording, description=description)
    candidates = {}
    for neuron, outcome in zip(owners, outcomes, strict=True):
        if isinstance(outcome, Completion):
            wording = prompts.parse_hypothesis(outcome.text)
            candidates.setdefault(neuron, {})[wording] = None
    errors = [outcome for outcome in outcomes if isinstance(outcome, CompletionError)]
    return {neuron: list(wordings) for neuron, wordings in candidates.items()}, errors


def has_wording(request, text):
    """Whether an answer holds a wording."""
    return bool(prompts.parse_hypothesis(text))


def score(runner, texts, activations, examples, candidates, asking):
    """Annotate texts that were not shown with every candidate, and compare with the neuron.

    Parameters
    ----------
    runner, texts, activations, examples, asking
        As for :func:`describe`.

    candidates : dict of int to list of str
        Wordings by neuron.

    Returns
    -------
    scored : dict of int to dict of str to dict
        Fidelity of each wording of each neuron. NaN where there was nothing to score on.
    """
    pairs = [
        (texts[examples[neuron].scoring_rows], wordings) for neuron, wordings in candidates.items()
    ]
    found = annotate(
        runner, asking.annotator, pairs, description="Scoring wordings", **asking.annotating
    )
    scored = {}
    for (neuron, wordings), answers in zip(candidates.items(), found, strict=True):
        fires = examples[neuron].scoring_fires
        own = activations(neuron)[examples[neuron].scoring_rows]
        scored[neuron] = {
            wording: fidelity(column, fires, own)
            for wording, column in zip(wordings, answers.T, strict=True)
        }
    return scored


def _best(scored, metric):
    """The wording with the best score; the first asked for where none has any."""
    worth = np.array([scores[metric] for scores in scored.values()])
    order = np.argsort(-np.where(np.isnan(worth), -np.inf, worth), kind="stable")
    wordings = [list(scored)[i] for i in order]
    return Wording(wordings[0], wordings, scored[wordings[0]])


def _lines(instructions):
    return f"{instructions.strip()}\n" if instructions else ""
