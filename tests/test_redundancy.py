"""Twenty hypotheses are twenty ideas: neurons and wordings that repeat another one."""

import numpy as np
import pytest
import scipy.sparse as sp
from llm_server import LLMServer, WordRule
from llm_tools import CONCEPTS, planted

from sklearn_hypsae import LLMInterpreter, NeuronSelector, make_hypothesis_pipeline
from sklearn_hypsae._distinct_neurons import distinct_neurons
from sklearn_hypsae._redundancy import content_words
from sklearn_hypsae.llm import OpenAIChat

# Neurons that fire on the same rows --------------------------------------------------------------


@pytest.fixture(scope="module")
def repeating():
    """Ten sparse neurons, each followed by a near-copy; the first ones go with y most."""
    rng = np.random.default_rng(0)
    base = rng.exponential(size=(500, 10)) * (rng.random((500, 10)) < 0.2)
    near = base * rng.uniform(0.8, 1.2, base.shape)
    activations = np.stack([base, near], axis=2).reshape(500, 20)
    y = base @ np.linspace(3, 1, 10) + rng.normal(size=500)
    return activations, y


@pytest.mark.parametrize("method", ["correlation", "balanced_correlation", "separation_score"])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_the_next_neuron_takes_the_place_of_one_that_repeats_another(repeating, method, container):
    activations, y = repeating
    selector = NeuronSelector(5, method=method, n_top_activating=20).fit(container(activations), y)
    assert len(selector.selected_) == 5
    assert len(set(selector.selected_ // 2)) == 5
    assert all(skipped // 2 == kept // 2 for skipped, kept in selector.redundant_.items())
    assert len(selector.redundant_) > 0


def test_the_stronger_of_two_alike_is_kept(repeating):
    activations, y = repeating
    selector = NeuronSelector(5).fit(activations, y)
    for skipped, kept in selector.redundant_.items():
        assert kept in selector.selected_
        assert abs(selector.scores_[kept]) >= abs(selector.scores_[skipped])


def test_no_neuron_is_passed_over_where_that_is_not_wanted(repeating):
    activations, y = repeating
    selector = NeuronSelector(10, max_correlation=1.0).fit(activations, y)
    np.testing.assert_array_equal(selector.selected_, np.argsort(-np.abs(selector.scores_))[:10])
    assert selector.redundant_ == {}


def test_opposite_neurons_of_pairs_are_one_idea_whichever_text_comes_first(repeating):
    activations, y = repeating
    rng = np.random.default_rng(1)
    flips = rng.choice([-1.0, 1.0], len(y))[:, None]
    signs = np.where(np.arange(20) % 2, -1.0, 1.0)
    signed = activations * rng.choice([-1.0, 1.0], (len(y), 1)) * signs
    order = np.arange(20)
    kept, repeats = distinct_neurons(signed, order, n_select=10, max_correlation=0.8)
    assert kept.tolist() == list(range(0, 20, 2))
    assert repeats == {neuron: neuron - 1 for neuron in range(1, 18, 2)}
    flipped = distinct_neurons(signed * flips, order, n_select=10, max_correlation=0.8)
    np.testing.assert_array_equal(flipped[0], kept)


def test_too_few_distinct_neurons_are_said(repeating):
    with pytest.warns(UserWarning, match="Only 10 of the 20 neurons .* other rows than the rest"):
        selector = NeuronSelector(15).fit(*repeating)
    assert len(selector.selected_) == 10


@pytest.mark.parametrize("method", ["forward", "mrmr", "lasso", "correlation"])
def test_every_method_is_reached_from_the_pipeline(method):
    pipeline = make_hypothesis_pipeline(selection_method=method)
    assert pipeline["select"].method == method
    pipeline["select"]._validate_params()


@pytest.mark.parametrize("method", ["forward", "mrmr"])
@pytest.mark.parametrize("target", ["regression", "binary", "three classes"])
def test_stepwise_selection_takes_every_target_dense_and_csr(repeating, method, target):
    activations, y = repeating
    if target != "regression":
        y = np.digitize(y, np.quantile(y, [0.5] if target == "binary" else [0.33, 0.67]))
    selector = NeuronSelector(
        5, method=method, task="auto" if target != "three classes" else "classification"
    )
    dense = selector.fit(activations, y).selected_
    assert len(set(dense // 2)) == 5  # no near-copy of a chosen neuron
    np.testing.assert_array_equal(selector.fit(sp.csr_array(activations), y).selected_, dense)


# Wordings that say the same ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("mentions slow service", "describes the slow services"),
        ("The waiters were rude", "mentions a rude waiter"),
        ("mentions waiting", "mentions that they waited"),
        ('mentions "slow service" or "rude"', 'mentions "rude" or "slow services"'),
    ],
)
def test_forms_of_the_same_words_say_the_same(first, second):
    first, second = content_words([first, second])
    assert first == second


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("praises the food", "criticizes the food"),
        ("is funny", "is not funny"),
        ("mentions notes", "is not"),
        ("mentions long waits", "mentions short waits"),
        ('mentions "slow" or "service"', 'mentions "slow service"'),
    ],
)
def test_other_words_do_not(first, second):
    first, second = content_words([first, second])
    assert first != second


def test_neurons_with_the_same_words_become_one_hypothesis_before_annotation():
    texts, activations = planted(300)
    doubled = np.hstack([activations[:, :3], activations[:, :2]])
    with LLMServer(WordRule(CONCEPTS)) as server:
        chat = OpenAIChat("test-model", server.url)
        interpreter = LLMInterpreter(chat, n_scoring_examples=20, cache=None, random_state=0)
        with pytest.warns(UserWarning, match="2 of 5 neurons got the words of another"):
            interpreter.fit(doubled, texts=texts)
        assert len(set(interpreter.hypotheses_)) == len(interpreter.hypotheses_) == 3
        table = interpreter.interpretations_
        together = zip(table["neuron"], table["merged"], strict=True)
        assert sorted(sorted([neuron, *merged]) for neuron, merged in together) == [
            [0, 3],
            [1, 4],
            [2],
        ]
        before = server.n_requests
        assert interpreter.transform(doubled[:10], texts=texts[:10]).shape == (10, 3)
        assert server.n_requests - before == 30
        interpreter.set_params(merge_redundant=False).fit(doubled, texts=texts)
        assert len(interpreter.hypotheses_) == 5
        assert interpreter.interpretations_["merged"].tolist() == [[]] * 5


def test_the_users_own_statements_are_never_merged():
    own = ['mentions "soup"', 'mentions "soup"', 'says "soup"']
    interpreter = LLMInterpreter(hypotheses=own).fit(["soup", "bread"])
    assert interpreter.hypotheses_ == own
