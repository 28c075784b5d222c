"""Wordings for neurons: asked of a language model, tested on texts it was not shown."""

from typing import NamedTuple

import numpy as np

from .._fidelity import fidelity
from . import prompts
from .annotation import annotate
from .base import Completion, CompletionError, Request

MOST_MISTAKES = 10


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

    refine : bool, default=False
        Whether to ask for a second wording that mends the mistakes of the first.

    refinement_prompt : str, default=None
        Instead of :data:`~sklearn_hypsae.llm.prompts.REFINE`.

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
    refine: bool = False
    refinement_prompt: str | None = None
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
    if asking.refine:
        halves = [_halves(own) for own in examples]
        first, examples = [half[0] for half in halves], [half[1] for half in halves]
        better, more_errors = refine(runner, texts, activations, first, candidates, asking)
        errors += more_errors
        for neuron, wordings in better.items():
            candidates[neuron] = list(dict.fromkeys([*candidates[neuron], *wordings]))
    scored = score(runner, texts, activations, examples, candidates, asking)
    return {neuron: _best(own, asking.metric) for neuron, own in scored.items()}, errors


def refine(runner, texts, activations, examples, candidates, asking):
    """Show the model where the best wording and the neuron disagree, and ask for a better one.

    Parameters
    ----------
    runner, texts, activations, asking
        As for :func:`describe`.

    examples : list of NeuronExamples
        Whose scoring rows supply the mistakes.

    candidates : dict of int to list of str

    Returns
    -------
    wordings : dict of int to list of str
        For neurons whose best wording makes mistakes.

    errors : list of CompletionError
    """
    annotations = annotate_scoring(runner, texts, examples, candidates, asking)
    requests, owners = [], []
    for neuron, wordings in candidates.items():
        own = examples[neuron]
        scored = _fidelities(wordings, annotations[neuron], own, activations(neuron))
        best = _best(scored, asking.metric).hypothesis
        says = annotations[neuron][:, wordings.index(best)] > 0.5
        missed = own.scoring_rows[own.scoring_fires & ~says]
        mistaken = own.scoring_rows[~own.scoring_fires & says]
        if len(missed) or len(mistaken):
            shown = texts[missed], texts[mistaken], texts[own.shown[0][0]]
            requests.append(_refinement_request(best, *shown, asking))
            owners.append(neuron)
    return ask_for_wordings(runner, requests, owners, asking, description="Refining")


def _refinement_request(hypothesis, missed, mistaken, firing, asking):
    prompt = (asking.refinement_prompt or prompts.REFINE).format(
        hypothesis=hypothesis,
        instructions=_lines(asking.instructions),
        missed_texts=prompts.tagged_list(missed[:MOST_MISTAKES], asking.max_words) or "(none)",
        mistaken_texts=prompts.tagged_list(mistaken[:MOST_MISTAKES], asking.max_words) or "(none)",
        firing_texts=prompts.tagged_list(firing[:MOST_MISTAKES], asking.max_words),
    )
    return Request(prompt, options=asking.options)


def _halves(examples):
    """Split the scoring rows in two, each with both kinds."""
    rows, fires = examples.scoring_rows, examples.scoring_fires
    position = np.empty(len(rows), int)
    for kind in (True, False):
        position[fires == kind] = np.arange(np.count_nonzero(fires == kind))
    return [
        examples._replace(scoring_rows=rows[part], scoring_fires=fires[part])
        for part in (position % 2 == 0, position % 2 == 1)
    ]


def interpretation_request(texts, firing, silent, asking, *, paired=False):
    """Write the request that shows firing and silent texts and asks what tells them apart.

    Parameters
    ----------
    texts : ndarray of shape (n_samples,) of str

    firing, silent : ndarray of int
        Rows to show.

    asking : Asking

    paired : bool, default=False
        Whether the silent rows are the other texts of the firing ones, in their order.

    Returns
    -------
    request : Request
    """
    template = asking.prompt or (prompts.INTERPRET_PAIRS if paired else prompts.INTERPRET)
    shown = {
        "firing_texts": prompts.tagged_list(texts[firing], asking.max_words),
        "silent_texts": prompts.tagged_list(texts[silent], asking.max_words),
    }
    if paired:
        shown["pairs"] = prompts.tagged_pairs(texts[firing], texts[silent], asking.max_words)
    prompt = template.format(instructions=_lines(asking.instructions), **shown)
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
            request = interpretation_request(texts, firing, silent, asking, paired=own.paired)
            requests.append(request)
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
    also = () if asking.annotator is asking.client else (asking.annotator,)
    outcomes = runner.ask(
        asking.client, requests, accept=has_wording, description=description, also=also
    )
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
    found = annotate_scoring(runner, texts, examples, candidates, asking)
    return {
        neuron: _fidelities(wordings, found[neuron], examples[neuron], activations(neuron))
        for neuron, wordings in candidates.items()
    }


def annotate_scoring(runner, texts, examples, candidates, asking):
    """Annotate the scoring rows of each neuron with its candidates.

    Parameters
    ----------
    runner, texts, examples, candidates, asking
        As for :func:`score`.

    Returns
    -------
    annotations : dict of int to ndarray of shape (n_scoring, n_candidates)
    """
    pairs = [
        (texts[examples[neuron].scoring_rows], wordings) for neuron, wordings in candidates.items()
    ]
    found = annotate(
        runner, asking.annotator, pairs, description="Scoring wordings", **asking.annotating
    )
    return dict(zip(candidates, found, strict=True))


def _fidelities(wordings, annotations, examples, activation):
    own = activation[examples.scoring_rows]
    if examples.paired:
        annotations = annotations - np.roll(annotations, len(own) // 2, axis=0)
    return {
        wording: fidelity(column, examples.scoring_fires, own)
        for wording, column in zip(wordings, annotations.T, strict=True)
    }


def _best(scored, metric):
    """The wording with the best score; the first asked for where none has any."""
    worth = np.array([scores[metric] for scores in scored.values()])
    order = np.argsort(-np.where(np.isnan(worth), -np.inf, worth), kind="stable")
    wordings = [list(scored)[i] for i in order]
    return Wording(wordings[0], wordings, scored[wordings[0]])


def _lines(instructions):
    return f"{instructions.strip()}\n" if instructions else ""
