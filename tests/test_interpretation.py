"""LLMInterpreter: keyphrases, language models over HTTP, and the manners of an estimator."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from llm_server import LLMServer, WordRule, texts_in
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_hypsae import LLMInterpreter
from sklearn_hypsae._fidelity import fidelity
from sklearn_hypsae._sampling import draw_examples, firing_and_silent, first_rows
from sklearn_hypsae._texts import FIT_ROWS_ATTR, text_index
from sklearn_hypsae.llm import OpenAIChat, estimate_cost, prompts

WORDS = ["dog", "train", "soup", "rain", "piano", "garden", "doctor", "winter"]
INTERPRETS = prompts.INTERPRET.split("{")[0]
CONCEPTS = {f"mentions a {word}": [word] for word in WORDS}


def planted(n_rows, seed=0):
    """Texts of random words, and neurons that fire where their word occurs."""
    rng = np.random.RandomState(seed)
    filler = ["house", "road", "table", "walk", "light", "paper", "story", "river", "bread"]
    present = rng.uniform(size=(n_rows, len(WORDS))) < 0.25
    texts = []
    for row in range(n_rows):
        words = [WORDS[i] for i in np.flatnonzero(present[row])]
        words += list(rng.choice(filler, 4)) + [str(row)]
        texts.append(" ".join(rng.permutation(words)))
    return np.array(texts, object), (present * rng.uniform(0.5, 2, present.shape)).astype("f4")


@pytest.fixture(scope="module")
def data():
    return planted(300)


@pytest.fixture(scope="module")
def frame(data):
    texts, activations = data
    columns = [f"neuron_{3 * i}" for i in range(activations.shape[1])]
    return pd.DataFrame(activations, index=text_index(texts), columns=columns)


@pytest.fixture(scope="module")
def keyphrases(frame):
    return LLMInterpreter().fit(frame)


@pytest.fixture(scope="module")
def server():
    with LLMServer(WordRule(CONCEPTS)) as running:
        yield running


@pytest.fixture(scope="module")
def described(frame, server):
    chat = OpenAIChat("test-model", server.url)
    return LLMInterpreter(chat, n_scoring_examples=40, random_state=0).fit(frame)


# Keyphrases


def test_keyphrases_name_the_planted_words_and_find_them_again(keyphrases, data):
    new_texts, new_activations = planted(200, seed=1)
    for word, hypothesis in zip(WORDS, keyphrases.hypotheses_, strict=True):
        assert f'"{word}"' in hypothesis
    found = keyphrases.transform(new_activations, texts=new_texts)
    assert np.mean(found == (new_activations > 0)) > 0.95
    assert set(np.unique(found)) == {0.0, 1.0}


def test_keyphrase_interpretations_say_what_their_fidelity_rests_on(keyphrases, data):
    table = keyphrases.interpretations_
    assert table.columns.tolist() == [
        *["neuron", "hypothesis", "candidates", "f1", "precision", "recall", "correlation"],
        *["n_scoring_examples", "scored_on"],
    ]
    assert table["neuron"].tolist() == list(range(len(WORDS)))
    assert (table["scored_on"] == "fit rows").all()
    assert (table["n_scoring_examples"] == len(data[0])).all()
    assert table["f1"].min() > 0.9
    assert set(keyphrases.usage_.values()) == {0, None}


def test_a_target_changes_which_phrases_are_preferred(data):
    texts, activations = data
    has_dog, has_train = activations[:, 0] > 0, activations[:, 1] > 0
    neuron = (has_dog | has_train)[:, None].astype(float)
    plain = LLMInterpreter().fit(neuron, texts=texts).hypotheses_[0]
    aimed = LLMInterpreter().fit(neuron, has_dog, texts=texts).hypotheses_[0]
    assert '"dog"' in plain and '"train"' in plain
    assert '"dog"' in aimed and '"train"' not in aimed


@pytest.mark.parametrize("labels", [["good", "bad"], [True, False], [1, 4]])
def test_any_two_valued_target_will_do(data, labels):
    texts, activations = data
    y = np.array(labels, object)[(activations[:, 0] > 0).astype(int)].tolist()
    assert LLMInterpreter().fit(activations, y, texts=texts).hypotheses_


def test_dead_neurons_are_left_out_by_name(frame):
    X = frame.assign(neuron_3=0.0)
    with pytest.warns(UserWarning, match=r"1 of 8 neurons, which are left out \(neuron_3\)"):
        interpreter = LLMInterpreter().fit(X)
    assert len(interpreter.hypotheses_) == 7
    assert interpreter.interpretations_["neuron"].tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert interpreter.transform(X).shape == (300, 7)


def test_all_neurons_dead_is_one_sentence(frame):
    with pytest.raises(ValueError, match="none of the 8 neurons into words.*smaller M"):
        LLMInterpreter().fit(frame * 0)


def test_keyphrases_are_the_same_from_run_to_run(frame, keyphrases):
    assert LLMInterpreter().fit(frame).hypotheses_ == keyphrases.hypotheses_


# The user's own hypotheses


def test_own_hypotheses_with_phrases_need_neither_neurons_nor_a_model():
    own = ['mentions "dog" or "puppy"', 'mentions "rain"']
    texts = pd.Series(["A dog in the rain", "Puppy!", "doghouse"])
    interpreter = LLMInterpreter(hypotheses=own).fit(texts)
    expected = [[1, 1], [1, 0], [0, 0]]
    np.testing.assert_array_equal(interpreter.transform(list(texts)), expected)
    np.testing.assert_array_equal(interpreter.transform(texts.to_frame()), expected)
    np.testing.assert_array_equal(interpreter.transform(np.zeros((3, 1)), texts=texts), expected)
    assert interpreter.hypotheses_ == own
    assert interpreter.interpretations_["f1"].isna().all()


def test_own_hypotheses_without_phrases_ask_for_quotes_or_a_model():
    with pytest.raises(ValueError, match="number 1 .*quote phrases, or give an llm"):
        LLMInterpreter(hypotheses=['mentions "dog"', "is about dogs"]).fit(["a", "b"])


@pytest.mark.parametrize("wrong", [[], [""], ["fine", None], [3]])
def test_own_hypotheses_have_to_be_statements(wrong):
    with pytest.raises(ValueError, match="list of at least one statement"):
        LLMInterpreter(hypotheses=wrong).fit(["a"])


def test_own_hypotheses_are_annotated_by_the_model(server):
    interpreter = LLMInterpreter(
        OpenAIChat("test-model", server.url), hypotheses=["mentions a dog"], cache=None
    )
    found = interpreter.fit_transform(["my dog", "my train"])
    np.testing.assert_array_equal(found, [[1], [0]])
    assert interpreter.usage_["requests"] == 2


# Language models


def test_planted_concepts_are_recovered_over_http(described):
    assert described.hypotheses_ == list(CONCEPTS)
    table = described.interpretations_
    assert (table["scored_on"] == "unseen").all()
    assert (table["n_scoring_examples"] == 40).all()
    assert (table[["f1", "precision", "recall"]] == 1).all(axis=None)
    assert (table["correlation"] > 0.7).all()


def test_annotations_follow_the_hypotheses(described, frame):
    found = described.transform(frame)
    assert found.columns.tolist() == list(CONCEPTS)
    assert found.index.equals(frame.index)
    np.testing.assert_array_equal(found.to_numpy(), frame.to_numpy() > 0)


def test_fit_annotates_nothing_beyond_scoring(frame):
    with LLMServer(WordRule(CONCEPTS)) as server:
        LLMInterpreter(OpenAIChat("test-model", server.url), n_scoring_examples=10, cache=None).fit(
            frame.iloc[:, :2]
        )
    assert server.n_requests == 2 + 2 * 10


def test_the_best_candidate_is_kept(frame):
    """The first wording offered is a wrong one; scoring finds the right one."""
    rule = WordRule(CONCEPTS)
    offered = {}

    def misleading(prompt):
        answer = rule(prompt)
        if not prompt.startswith(INTERPRETS):
            return answer
        offered[answer] = offered.get(answer, 0) + 1
        return "mentions a piano" if offered[answer] == 1 else answer

    with LLMServer(misleading) as server:
        chat = OpenAIChat("test-model", server.url, max_concurrency=1)
        interpreter = LLMInterpreter(
            chat, n_candidates=2, n_scoring_examples=20, cache=None, random_state=0
        ).fit(frame.iloc[:, :3])
    assert interpreter.hypotheses_ == list(CONCEPTS)[:3]
    assert interpreter.interpretations_["candidates"].tolist() == [
        [right, "mentions a piano"] for right in list(CONCEPTS)[:3]
    ]


def test_fidelity_is_scored_on_texts_that_were_not_shown(frame):
    with LLMServer(WordRule(CONCEPTS)) as server:
        LLMInterpreter(
            OpenAIChat("test-model", server.url), n_candidates=3, cache=None, random_state=1
        ).fit(frame.iloc[:, :1])
        asked = [body["messages"][0]["content"] for body in server.bodies]
    is_shown = [prompt.startswith(INTERPRETS) for prompt in asked]
    shown = {t for p, s in zip(asked, is_shown, strict=True) if s for t in texts_in(p)}
    scored = {t for p, s in zip(asked, is_shown, strict=True) if not s for t in texts_in(p)}
    assert sum(is_shown) == 3
    assert len(scored) == 100 or len(scored) > 80
    assert not shown & scored


def test_a_prompt_shows_firing_and_silent_texts_and_the_instructions(frame):
    with LLMServer(WordRule(CONCEPTS)) as server:
        LLMInterpreter(
            OpenAIChat("test-model", server.url),
            n_examples=6,
            n_scoring_examples=0,
            max_words_per_example=2,
            task_specific_instructions="These are diary entries.",
            cache=None,
        ).fit(frame.iloc[:, :1])
    (body,) = server.bodies
    prompt = body["messages"][0]["content"]
    assert "\nThese are diary entries.\n" in prompt
    shown = texts_in(prompt)
    assert len(shown) == 6 and all(text.endswith(" […]") for text in shown)
    strongest = frame.iloc[:, 0].sort_values(ascending=False).index[:3]
    assert shown[:3] == [prompts.cut_words(text, 2) for text in strongest]


def test_without_scoring_the_first_wording_is_taken(frame, server):
    interpreter = LLMInterpreter(
        OpenAIChat("test-model", server.url), n_scoring_examples=0, cache=None
    ).fit(frame.iloc[:, :2])
    assert interpreter.hypotheses_ == list(CONCEPTS)[:2]
    assert interpreter.interpretations_["f1"].isna().all()
    assert interpreter.usage_["requests"] == 2


def test_a_budget_leaves_nan_and_counts_all_transforms_together(server):
    interpreter = LLMInterpreter(
        OpenAIChat("test-model", server.url),
        hypotheses=["mentions a dog"],
        max_requests=3,
        cache=None,
    ).fit(["anything"])
    first = interpreter.transform(["my dog", "your dog"])
    second = interpreter.transform(["his dog", "her dog"])
    np.testing.assert_array_equal(first.ravel(), [1, 1])
    np.testing.assert_array_equal(second.ravel(), [1, np.nan])
    assert interpreter.usage_["requests"] == 3


def test_neurons_whose_requests_fail_are_left_out(frame):
    rule = WordRule(CONCEPTS)

    def silent_on_trains(prompt):
        answer = rule(prompt)
        return "" if answer == "mentions a train" else answer

    with LLMServer(silent_on_trains) as server:
        chat = OpenAIChat("test-model", server.url, max_retries=1)
        with pytest.warns(UserWarning, match=r"1 of 3 neurons.*\(neuron_3\).*requests for them"):
            interpreter = LLMInterpreter(chat, cache=None, n_scoring_examples=10).fit(
                frame.iloc[:, :3]
            )
    assert interpreter.hypotheses_ == ["mentions a dog", "mentions a soup"]


def test_the_annotator_may_be_another_model(frame):
    with LLMServer(WordRule(CONCEPTS), models=("big", "small")) as server:
        LLMInterpreter(
            OpenAIChat("big", server.url),
            OpenAIChat("small", server.url),
            n_scoring_examples=10,
            cache=None,
        ).fit(frame.iloc[:, :1])
    assert [body["model"] for body in server.bodies] == ["big"] + ["small"] * 10


@pytest.mark.parametrize("llm", ["gpt-5-mini", "openai:gpt-5-mini", OpenAIChat("gpt-5-mini")])
def test_a_missing_key_is_said_before_any_work(frame, monkeypatch, llm):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_KEY_SAE", raising=False)
    with pytest.raises(ValueError, match="set the environment variable OPENAI_API_KEY"):
        LLMInterpreter(llm).fit(frame)


def test_a_missing_package_names_the_extra(frame, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h11", None)
    with pytest.raises(ImportError, match=r"pip install .sklearn-hypsae\[openai\]"):
        LLMInterpreter("gpt-5-mini").fit(frame)


def test_refining_shows_the_mistakes_and_keeps_the_better_wording(frame):
    rule = WordRule({**CONCEPTS, "mentions an animal": ["dog", "train"]})
    refined = []

    def hasty(prompt):
        if "first attempt" in prompt:
            refined.append(prompt)
            return "mentions a dog"
        return "mentions an animal" if prompt.startswith(INTERPRETS) else rule(prompt)

    with LLMServer(hasty) as server:
        chat = OpenAIChat("test-model", server.url)
        found = {
            refine: LLMInterpreter(chat, refine=refine, cache=None, random_state=0).fit(
                frame.iloc[:, :1]
            )
            for refine in (False, True)
        }
    assert found[False].hypotheses_ == ["mentions an animal"]
    assert found[True].hypotheses_ == ["mentions a dog"]
    table = found[True].interpretations_
    assert table["candidates"][0] == ["mentions a dog", "mentions an animal"]
    assert table["f1"][0] == 1 and table["n_scoring_examples"][0] == 50
    (prompt,) = refined
    missed, mistaken = prompt.split("The detector stays silent on these texts")
    assert texts_in(missed) == []
    assert any("train" in text for text in texts_in(mistaken))


def test_soft_labels_are_probabilities_and_give_an_auc(frame):
    with LLMServer(WordRule(CONCEPTS)) as server:
        interpreter = LLMInterpreter(
            OpenAIChat("test-model", server.url),
            soft_labels=True,
            scoring_metric="auc",
            n_scoring_examples=20,
            cache=None,
        ).fit(frame.iloc[:, :2])
        found = interpreter.transform(frame.iloc[:, :2])
    expected = np.where(frame.iloc[:, :2].to_numpy() > 0, 0.9, 0.1)
    np.testing.assert_allclose(found.to_numpy(), expected)
    assert interpreter.interpretations_["auc"].tolist() == [1.0, 1.0]
    assert interpreter.interpretations_["f1"].tolist() == [1.0, 1.0]


def test_soft_labels_fall_back_to_answers_where_the_server_gives_no_probabilities():
    class Plain(LLMServer):
        async def _complete(self, writer, headers, body):
            await super()._complete(writer, headers, {**body, "logprobs": False})

    with Plain(WordRule(CONCEPTS)) as server:
        found = LLMInterpreter(
            OpenAIChat("test-model", server.url),
            hypotheses=["mentions a dog"],
            soft_labels=True,
            cache=None,
        ).fit_transform(["my dog", "my cat"])
    np.testing.assert_array_equal(found, [[1], [0]])


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"soft_labels": True, "concepts_per_request": 2}, "concepts_per_request=1"),
        ({"scoring_metric": "auc"}, "soft_labels=True"),
        ({"interpretation_prompt": "{firing_texts}"}, "lacks {silent_texts}"),
        ({"annotation_prompt": "{text}"}, "lacks {hypothesis}"),
        ({"annotation_prompt": "{text} {hypothesis}", "concepts_per_request": 2}, "{hypotheses}"),
    ],
)
def test_what_cannot_go_together_is_refused_before_any_request(frame, parameters, said):
    chat = OpenAIChat("test-model", "http://127.0.0.1:1/v1")
    with pytest.raises(ValueError, match=said):
        LLMInterpreter(chat, **parameters).fit(frame)


def test_own_prompts_are_used(frame):
    with LLMServer(lambda prompt: "Yes" if "Claim" in prompt else "mentions a dog") as server:
        LLMInterpreter(
            OpenAIChat("test-model", server.url),
            interpretation_prompt="A: {firing_texts} B: {silent_texts}",
            annotation_prompt="{text} Claim: {hypothesis}?",
            n_scoring_examples=2,
            cache=None,
        ).fit(frame.iloc[:, :1])
    first, *others = (body["messages"][0]["content"] for body in server.bodies)
    assert first.startswith("A: <text>")
    assert all(prompt.endswith("</text> Claim: mentions a dog?") for prompt in others)


def test_an_estimate_says_what_a_run_then_takes(frame):
    with LLMServer(WordRule(CONCEPTS)) as server:
        interpreter = LLMInterpreter(
            OpenAIChat("test-model", server.url, prices=(1.0, 10.0)),
            n_candidates=2,
            n_scoring_examples=10,
            concepts_per_request=3,
            cache=None,
            random_state=0,
        )
        X = frame.iloc[:40, :4]
        cost = estimate_cost(interpreter, X, count_tokens=lambda text: len(text.split()))
        assert server.n_requests == 0 and not hasattr(interpreter, "usage_")
        interpreter.fit(X).transform(X)
        used = interpreter.usage_
    assert cost["transform"]["requests"] == 40 * 2
    assert cost["requests"] >= used["requests"]
    assert 1 <= cost["prompt_tokens"] / used["prompt_tokens"] < 1.4
    expected = (cost["prompt_tokens"] + 10 * cost["completion_tokens"]) / 1e6
    assert cost["money"] == pytest.approx(expected)
    assert used["money"] == pytest.approx(
        (used["prompt_tokens"] + 10 * used["completion_tokens"]) / 1e6
    )
    only_fit = estimate_cost(interpreter, X, n_annotate=0)
    assert only_fit["requests"] == cost["fit"]["requests"]
    more = estimate_cost(interpreter, X, n_annotate=400)
    assert more["transform"]["requests"] == 400 * 2


def test_the_right_wording_is_chosen_in_planted_texts_even_where_the_model_often_errs():
    """One answer in three names a concept at random; fidelity sorts these out."""
    texts, activations = planted(500, seed=3)
    activations = np.hstack([activations, activations**2])
    rule = WordRule(CONCEPTS)
    rng = np.random.RandomState(0)

    def erring(prompt):
        errs = prompt.startswith(INTERPRETS) and rng.uniform() < 1 / 3
        return str(rng.choice(list(CONCEPTS))) if errs else rule(prompt)

    with LLMServer(erring) as server:
        interpreter = LLMInterpreter(
            OpenAIChat("test-model", server.url, max_concurrency=1),
            n_candidates=4,
            n_scoring_examples=20,
            cache=None,
            random_state=0,
        ).fit(activations, texts=texts)
    right = [
        found == list(CONCEPTS)[neuron % 8]
        for neuron, found in zip(
            interpreter.interpretations_["neuron"], interpreter.hypotheses_, strict=True
        )
    ]
    assert len(right) == 16 and np.mean(right) >= 0.95


# Which texts are shown


def activation_of(n=200, n_firing=60):
    activation = np.zeros(n)
    activation[:n_firing] = np.arange(n_firing, 0, -1)
    return activation


def draw(activation, n_examples=20, n_scoring=40, **options):
    rng = np.random.RandomState(0)
    return draw_examples(
        activation,
        np.arange(len(activation)),
        n_examples=n_examples,
        n_scoring=n_scoring,
        rng=rng,
        **options,
    )


def test_top_shows_the_strongest_and_scores_on_the_next():
    examples = draw(activation_of())
    ((firing, silent),) = examples.shown
    assert firing.tolist() == list(range(10))
    assert len(silent) == 10 and (silent >= 60).all()
    assert examples.scoring_rows[examples.scoring_fires].tolist() == list(range(10, 30))
    assert (~examples.scoring_fires).sum() == 20


def test_quantile_shows_a_draw_from_its_range():
    examples = draw(activation_of(), sampling="quantile", quantile_range=(0.5, 0.9))
    ((firing, _),) = examples.shown
    assert len(firing) == 10
    assert firing.min() >= 6 and firing.max() <= 30
    assert firing.tolist() != sorted(firing)[:10] or len(set(firing)) == 10


def test_candidates_differ_and_nothing_shown_is_scored():
    examples = draw(activation_of(), n_candidates=4, n_scoring=100)
    seen = np.concatenate([np.concatenate(pair) for pair in examples.shown])
    assert not np.isin(examples.scoring_rows, seen).any()
    assert len({tuple(firing) for firing, _ in examples.shown}) == 4
    assert len({tuple(silent) for _, silent in examples.shown}) == 4


@pytest.mark.parametrize("n_firing", [1, 2, 3, 7, 199, 200])
def test_few_firing_or_few_silent_texts_are_shared_out(n_firing):
    examples = draw(activation_of(n_firing=n_firing), n_candidates=2)
    for firing, silent in examples.shown:
        assert len(firing) == min(
            10, max(1, -(-min(n_firing, 100 if n_firing == 200 else 200) // 2))
        )
        assert 1 <= len(silent) <= 10
    if 1 < n_firing < 199:
        assert examples.scoring_fires.any() and not examples.scoring_fires.all()


def test_a_neuron_that_is_never_silent_is_split_at_its_median():
    firing, silent = firing_and_silent(np.arange(1.0, 7.0), np.arange(6))
    assert firing.tolist() == [5, 4, 3] and silent.tolist() == [2, 1, 0]


def test_own_sampling_is_obeyed():
    def own(activation, rows, n_examples, rng):
        return rows[:2], rows[-3:]

    ((firing, silent),) = draw(activation_of(), sampling=own).shown
    assert firing.tolist() == [0, 1] and silent.tolist() == [197, 198, 199]


def test_hard_negatives_share_words_with_the_firing_texts():
    texts = ["soup was cold"] * 5 + ["soup was hot"] * 5 + ["a long walk home"] * 50
    texts = np.array([f"{text} {i}" for i, text in enumerate(texts)], object)
    activations = np.zeros((60, 1))
    activations[:5] = 1
    shown = {}
    for negatives in ("random", "hard"):
        with LLMServer(lambda prompt: "mentions cold soup") as server:
            LLMInterpreter(
                OpenAIChat("test-model", server.url),
                negatives=negatives,
                n_examples=10,
                n_scoring_examples=0,
                cache=None,
                random_state=0,
            ).fit(activations, texts=texts)
        shown[negatives] = texts_in(server.bodies[0]["messages"][0]["content"])
    assert sum("hot" in text for text in shown["hard"]) == 5
    assert sum("hot" in text for text in shown["random"]) < 4


def test_repeated_texts_are_shown_and_scored_once():
    assert first_rows(["a", "b", "a", "c", "b"]).tolist() == [0, 1, 3]


# Fidelity


def test_fidelity_against_hand_counts():
    scores = fidelity(
        np.array([1, 1, 0, 0, np.nan, 1]),
        np.array([True, False, True, False, True, True]),
        np.array([3.0, 0, 2, 0, 9, 1]),
    )
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["recall"] == pytest.approx(2 / 3)
    assert scores["f1"] == pytest.approx(2 / 3)
    expected = np.corrcoef([1, 1, 0, 0, 1], [3, 0, 2, 0, 1])[0, 1]
    assert scores["correlation"] == pytest.approx(expected)
    assert scores["n_scored"] == 5


def test_fidelity_of_degenerate_annotations():
    fires, activations = np.array([True, False]), np.array([1.0, 0.0])
    never = fidelity(np.zeros(2), fires, activations)
    assert [never[m] for m in ("f1", "precision", "recall", "correlation")] == [0, 0, 0, 0]
    failed = fidelity(np.full(2, np.nan), fires, activations)
    assert np.isnan(failed["f1"]) and failed["n_scored"] == 0
    one_kind = fidelity(np.ones(2), np.array([True, True]), activations)
    assert np.isnan(one_kind["f1"])


# Manners of an estimator


def test_clone_and_params():
    chat = OpenAIChat("test-model", "http://h/v1", seed=3)
    interpreter = LLMInterpreter(chat, n_examples=8, hypotheses=['has "a"'])
    copied = clone(interpreter)
    assert copied is not interpreter
    assert copied.get_params()["n_examples"] == 8
    assert vars(copied.llm) == vars(chat)
    assert copied.set_params(n_examples=5, cache=None) is copied
    assert copied.n_examples == 5 and interpreter.n_examples == 8
    with pytest.raises(ValueError, match="Invalid parameter 'nothing'"):
        copied.set_params(nothing=1)


def test_every_parameter_is_stored_as_given_and_has_a_constraint():
    params = LLMInterpreter().get_params()
    assert set(params) == set(LLMInterpreter._parameter_constraints)
    marks = {name: object() for name in params}
    interpreter = LLMInterpreter(**marks)
    assert all(getattr(interpreter, name) is mark for name, mark in marks.items())


@pytest.mark.parametrize(
    "wrong",
    [
        {"llm": 3},
        {"llm": object()},
        {"hypotheses": "one"},
        {"n_examples": 1},
        {"sampling": "best"},
        {"quantile_range": 0.9},
        {"negatives": "easy"},
        {"max_words_per_example": 0},
        {"n_candidates": 0},
        {"n_scoring_examples": -1},
        {"scoring_metric": "accuracy"},
        {"temperature": -0.1},
        {"max_tokens": 0},
        {"task_specific_instructions": 3},
        {"concepts_per_request": 0},
        {"max_requests": 0},
        {"cache": 3},
        {"random_state": "seed"},
        {"verbose": "loud"},
        {"refine": "yes"},
        {"soft_labels": "yes"},
        {"max_tokens_total": 0},
        {"interpretation_prompt": 3},
        {"annotation_prompt": 3},
    ],
)
def test_wrong_parameters_are_named(frame, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"The '{name}' parameter of LLMInterpreter"):
        LLMInterpreter(**wrong).fit(frame)


@pytest.mark.parametrize("wrong", [(0.9, 0.5), (0.5,), (-0.1, 1.0), (0.0, 1.5)])
def test_quantile_range_has_to_be_a_range(frame, wrong):
    with pytest.raises(ValueError, match="quantile_range has to be two increasing numbers"):
        LLMInterpreter(quantile_range=wrong).fit(frame)


def test_repr_and_html_show_what_is_set(keyphrases):
    interpreter = LLMInterpreter(OpenAIChat("test-model"), n_candidates=3)
    assert repr(interpreter) == "LLMInterpreter(llm=OpenAIChat('test-model'), n_candidates=3)"
    assert "LLMInterpreter" in interpreter._repr_html_()
    assert "LLMInterpreter" in keyphrases._repr_html_()


def test_pickle_and_joblib_round_trips(keyphrases, described, frame, tmp_path):
    for fitted in (keyphrases, described):
        joblib.dump(fitted, tmp_path / "fitted")
        for again in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "fitted")):
            pd.testing.assert_frame_equal(again.transform(frame), fitted.transform(frame))


def test_containers_of_activations_give_the_same(keyphrases, frame, data):
    texts, activations = data
    expected = keyphrases.transform(frame).to_numpy()
    for X in (
        activations,
        activations.tolist(),
        activations.astype("f8"),
        sp.csr_array(activations),
    ):
        interpreter = LLMInterpreter().fit(X, texts=texts)
        assert interpreter.hypotheses_ == keyphrases.hypotheses_
        found = interpreter.transform(X, texts=texts)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [list, tuple, pd.Series, pd.Index, np.array])
def test_containers_of_texts(data, kind):
    texts, activations = data
    found = LLMInterpreter().fit(activations, texts=kind(texts)).hypotheses_
    assert len(found) == len(WORDS)


def test_frames_come_back_as_frames_with_the_same_index(keyphrases, frame):
    found = keyphrases.transform(frame.iloc[::-1])
    assert found.index.equals(frame.index[::-1])
    assert found.columns.tolist() == keyphrases.hypotheses_
    assert found.columns.tolist() == keyphrases.get_feature_names_out().tolist()
    assert keyphrases.n_features_in_ == 8
    assert keyphrases.feature_names_in_.tolist() == frame.columns.tolist()


def test_frames_tell_fit_rows_from_others(frame):
    interpreter = LLMInterpreter()
    assert interpreter.fit_transform(frame).attrs[FIT_ROWS_ATTR] is True
    assert interpreter.transform(frame).attrs[FIT_ROWS_ATTR] is False


def test_equal_wordings_get_columns_of_their_own(frame):
    twice = pd.concat([frame.iloc[:, :1], frame.iloc[:, :1].add_suffix("0")], axis=1)
    with LLMServer(lambda prompt: "mentions a dog" if "detector" in prompt else "Yes") as server:
        interpreter = LLMInterpreter(
            OpenAIChat("test-model", server.url), n_scoring_examples=0, cache=None
        ).fit(twice)
        n_before = server.n_requests
        found = interpreter.transform(twice)
        assert server.n_requests - n_before == len(twice)
    assert interpreter.hypotheses_ == ["mentions a dog"] * 2
    assert found.columns.tolist() == ["mentions a dog", "mentions a dog (2)"]


def test_set_output_is_honoured(frame, data):
    texts, activations = data
    interpreter = LLMInterpreter()
    as_array = interpreter.set_output(transform="default").fit_transform(frame)
    assert type(as_array) is np.ndarray
    as_frame = interpreter.set_output(transform="pandas").fit(activations, texts=texts)
    found = as_frame.transform(activations, texts=texts)
    assert isinstance(found, pd.DataFrame)
    np.testing.assert_array_equal(found.to_numpy(), as_array)


def test_texts_lost_on_the_way_name_both_ways_back(data, frame):
    texts, activations = data
    with pytest.raises(ValueError, match=r"pass texts= .*set_output\(transform=\"pandas\"\)"):
        LLMInterpreter().fit(activations)
    fitted = LLMInterpreter().fit(activations, texts=texts)
    with pytest.raises(ValueError, match="pass texts="):
        fitted.transform(activations)
    with pytest.raises(ValueError, match="300 rows but 299 texts"):
        fitted.transform(activations, texts=texts[:-1])


def test_wrong_input_is_refused(data, frame):
    texts, activations = data
    for wrong, said in [
        (activations[:, 0], "2D array"),
        (activations[:, :, None], "dim 3"),
        (list(texts), "could not convert|2D array|dtype"),
        (np.full_like(activations, np.nan), "NaN"),
        (activations.astype(complex), "Complex"),
    ]:
        with pytest.raises(ValueError, match=said):
            LLMInterpreter().fit(wrong, texts=texts)
    with pytest.raises(ValueError, match="None"):
        LLMInterpreter().fit(activations, texts=[None, *texts[1:]])
    with pytest.raises(ValueError, match="one-dimensional"):
        LLMInterpreter().fit(activations, texts=texts[:, None])


def test_too_few_rows_are_refused(frame):
    with pytest.raises(ValueError, match="19 rows, fewer than n_examples=20"):
        LLMInterpreter().fit(frame.iloc[:19])


@pytest.mark.parametrize(
    ("y", "said"), [([1] * 300, "constant"), ([0, 1], "300 rows"), ([np.nan] * 300, "NaN")]
)
def test_an_unusable_target_is_refused(frame, y, said):
    with pytest.raises(ValueError, match=said):
        LLMInterpreter().fit(frame, y)


def test_unfitted_is_said(frame):
    with pytest.raises(NotFittedError):
        LLMInterpreter().transform(frame)
    with pytest.raises(NotFittedError):
        LLMInterpreter().get_feature_names_out()


def test_other_columns_are_refused_in_transform(keyphrases, frame):
    with pytest.raises(ValueError, match="feature names should match"):
        keyphrases.transform(frame.rename(columns={"neuron_0": "neuron_1"}))
    with pytest.raises(ValueError, match="expecting 8 features"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keyphrases.transform(frame.to_numpy()[:, :3], texts=frame.index)


def test_parameters_and_input_are_not_changed(frame):
    own = ['mentions "dog"']
    chat = OpenAIChat("test-model", "http://127.0.0.1:1/v1")
    interpreter = LLMInterpreter(hypotheses=own, quantile_range=[0.5, 1.0], annotator_llm=None)
    before, X = copy.deepcopy(interpreter.get_params()), frame.copy()
    interpreter.fit_transform(frame, None)
    assert interpreter.get_params() == before and own == ['mentions "dog"']
    pd.testing.assert_frame_equal(frame, X)
    assert vars(chat) == vars(copy.deepcopy(chat))


def test_fit_returns_itself_and_can_be_called_again(frame):
    interpreter = LLMInterpreter()
    assert interpreter.fit(frame) is interpreter
    interpreter.fit(frame.iloc[:, :2])
    assert interpreter.n_features_in_ == 2 and len(interpreter.hypotheses_) == 2


def test_texts_are_routed_through_a_pipeline(data):
    texts, activations = data
    with sklearn.config_context(enable_metadata_routing=True):
        interpreter = LLMInterpreter().set_fit_request(texts=True).set_transform_request(texts=True)
        pipe = Pipeline([("same", FunctionTransformer()), ("interpret", interpreter)])
        found = pipe.fit(activations, texts=texts).transform(activations, texts=texts)
    assert np.mean(found == (activations > 0)) > 0.95


def test_the_frame_index_carries_texts_through_a_pipeline(frame):
    pipe = Pipeline([("same", FunctionTransformer()), ("interpret", LLMInterpreter())])
    found = pipe.fit_transform(frame)
    assert found.index.equals(frame.index) and found.attrs[FIT_ROWS_ATTR] is True
