"""Planted texts and a server that knows what is in them: is the right wording chosen?"""

import json

import numpy as np
import pytest
from llm_server import BETWEEN, LLMServer, concepts_in, texts_in
from llm_tools import INTERPRETS

from sklearn_hypsae import LLMInterpreter
from sklearn_hypsae.datasets import make_planted_texts
from sklearn_hypsae.llm import OpenAIChat

SEEDS = range(5)


class Knowing:
    """Knows the concepts of every review, and yet words one neuron in three at random."""

    def __init__(self, data, seed):
        self.names = data.concept_names
        self.concepts = dict(zip(data.texts, data.concepts, strict=True))
        self.rng = np.random.RandomState(seed)

    def __call__(self, prompt):
        if prompt.startswith(INTERPRETS):
            return self.wording(prompt)
        has = self.concepts[texts_in(prompt)[0]]
        answers = ["yes" if has[self.names.index(c)] else "no" for c in concepts_in(prompt)]
        return json.dumps({str(i): answer for i, answer in enumerate(answers, start=1)})

    def wording(self, prompt):
        if self.rng.uniform() < 1 / 3:
            return self.names[self.rng.randint(len(self.names))]
        firing, silent = (
            np.mean([self.concepts[text] for text in texts_in(part)], axis=0)
            for part in prompt.split(BETWEEN)
        )
        return self.names[np.argmax(firing - silent)]


def neurons_of(concepts, rng):
    """A neuron for each concept that one in ten of its texts fail to fire, and some others do."""
    missed = rng.uniform(size=concepts.shape) < 0.1
    mistaken = rng.uniform(size=concepts.shape) < 0.05
    fires = np.where(concepts == 1, ~missed, mistaken)
    return fires * rng.uniform(0.5, 2.0, size=concepts.shape)


def share_right(seed, sampling, negatives):
    data = make_planted_texts(600, n_concepts=12, random_state=seed)
    activations = neurons_of(data.concepts, np.random.RandomState(seed))
    with LLMServer(Knowing(data, seed)) as server:
        interpreter = LLMInterpreter(
            OpenAIChat("test-model", server.url, max_concurrency=1),
            sampling=sampling,
            negatives=negatives,
            n_candidates=5,
            n_scoring_examples=60,
            concepts_per_request=5,
            cache=None,
            random_state=seed,
            # Each neuron's wording is judged, two neurons' equal ones too.
            merge_redundant=False,
        ).fit(activations, texts=data.texts)
    assert len(interpreter.hypotheses_) == 12
    return np.mean(np.array(interpreter.hypotheses_) == data.concept_names)


@pytest.mark.parametrize(("sampling", "negatives"), [("top", "random"), ("quantile", "hard")])
def test_the_right_wording_is_chosen_for_95_of_100_neurons(sampling, negatives):
    shares = [share_right(seed, sampling, negatives) for seed in SEEDS]
    assert np.mean(shares) >= 0.95, f"of {12 * len(shares)} neurons: {shares}"
