"""LLMInterpreter: keyphrases, and language models over HTTP."""

import numpy as np
import pandas as pd
import pytest
from llm_server import LLMServer, WordRule, texts_in
from llm_tools import CONCEPTS, INTERPRETS, WORDS, planted, planted_frame
from sklearn.pipeline import Pipeline

from sklearn_hypsae import HypothesisValidator, LLMInterpreter
from sklearn_hypsae._discovery_run import seeded_pipeline
from sklearn_hypsae.llm import OpenAIChat, estimate_cost, prompts


@pytest.fixture(scope="module")
def data():
    return planted(300)


@pytest.fixture(scope="module")
def frame():
    return planted_frame()


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
        *["n_scoring_examples", "scored_on", "merged"],
    ]
    assert table["neuron"].tolist() == [f"neuron_{3 * i}" for i in range(len(WORDS))]
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


def test_neurons_without_names_go_by_their_position(data):
    texts, activations = data
    table = LLMInterpreter().fit(activations[:, :3], texts=texts).interpretations_
    assert table["neuron"].tolist() == [0, 1, 2]


def test_dead_neurons_are_left_out_by_name(frame):
    X = frame.assign(neuron_3=0.0)
    with pytest.warns(UserWarning, match=r"1 of 8 neurons, which are left out \(neuron_3\)"):
        interpreter = LLMInterpreter().fit(X)
    assert len(interpreter.hypotheses_) == 7
    kept = X.columns.drop("neuron_3").tolist()
    assert interpreter.interpretations_["neuron"].tolist() == kept
    assert interpreter.transform(X).shape == (300, 7)


def test_all_neurons_dead_is_one_sentence(frame):
    with pytest.raises(ValueError, match="none of the 8 neurons into words.*smaller M"):
        LLMInterpreter().fit(frame * 0)


def test_keyphrases_are_the_same_from_run_to_run(frame, keyphrases):
    assert LLMInterpreter().fit(frame).hypotheses_ == keyphrases.hypotheses_


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
    said = r"1 of 2 annotations are missing.*budget.*1 requests.*\(raise max_requests, now 3\)"
    with pytest.warns(UserWarning, match=said) as caught:
        second = interpreter.transform(["his dog", "her dog"])
    assert len(caught) == 1 and caught[0].filename == __file__
    np.testing.assert_array_equal(first, [[1], [1]])
    np.testing.assert_array_equal(second, [[1], [np.nan]])
    assert interpreter.usage_["requests"] == 3


def test_annotations_whose_requests_fail_are_counted_and_the_budget_named():
    texts = ["my dog", "odd one", "your dog", "odd two"]
    with LLMServer(lambda prompt: "" if "odd" in prompt else "Yes") as server:
        interpreter = LLMInterpreter(
            OpenAIChat("test-model", server.url, max_retries=1, max_concurrency=1),
            hypotheses=["mentions a dog"],
            cache=None,
        ).fit(texts)
        with pytest.warns(UserWarning, match=r"2 of 4 .*: 2 requests failed.*max_retries"):
            interpreter.transform(texts)
        interpreter.set_params(max_tokens_total=1).fit(texts)
        with pytest.warns(UserWarning, match=r"4 of 4 .*\(raise max_tokens_total, now 1\)"):
            interpreter.transform(texts)


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
            refine: LLMInterpreter(
                chat,
                refine=refine,
                refinement_prompt="Mine. " + prompts.REFINE,
                cache=None,
                random_state=0,
            ).fit(frame.iloc[:, :1])
            for refine in (False, True)
        }
    assert found[False].hypotheses_ == ["mentions an animal"]
    assert found[True].hypotheses_ == ["mentions a dog"]
    table = found[True].interpretations_
    assert table["candidates"][0] == ["mentions a dog", "mentions an animal"]
    assert table["f1"][0] == 1 and table["n_scoring_examples"][0] == 50
    (prompt,) = refined
    assert prompt.startswith("Mine. ")
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


def test_probabilities_count_as_present_above_a_half(frame):
    """Hardly any is 0, which is where presence of activations begins."""
    soft = pd.DataFrame(np.where(frame.iloc[:, :2].to_numpy() > 0, 0.9, 0.1))
    y = frame.iloc[:, 0].to_numpy() + np.random.RandomState(0).normal(size=len(frame))
    found = HypothesisValidator(present_above=0.5, n_permutations=0).fit(soft, y).hypotheses_
    hard = HypothesisValidator(n_permutations=0).fit((soft > 0.5).astype(float), y).hypotheses_
    for column in ("n_present", "feature_prevalence", "separation_score", "separation_pvalue"):
        np.testing.assert_allclose(found[column], hard[column])
    pipeline = Pipeline(
        [("interpret", LLMInterpreter(soft_labels=True)), ("validate", HypothesisValidator())]
    )
    seeded = seeded_pipeline(pipeline, np.random.RandomState(0))
    assert seeded[-1].present_above == 0.5


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
    assert 1 <= cost["prompt_tokens"] / used["prompt_tokens"] < 1.5
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
            merge_redundant=False,
        ).fit(activations, texts=texts)
    right = [
        found == list(CONCEPTS)[neuron % 8]
        for neuron, found in zip(
            interpreter.interpretations_["neuron"], interpreter.hypotheses_, strict=True
        )
    ]
    assert len(right) == 16 and np.mean(right) >= 0.95


def test_hard_negatives_of_texts_without_a_word_share_signs_with_the_firing_texts():
    faces = [chr(0x1F600 + i) for i in range(60)]
    dogs, cats = ([sign + face for face in faces] for sign in ("\N{DOG FACE}", "\N{CAT FACE}"))
    texts = np.array(dogs[:20] + cats[20:], object)
    neuron = np.repeat([[1.0], [0.0]], [10, 50], axis=0)
    with LLMServer(lambda prompt: "mentions a dog") as server:
        LLMInterpreter(
            OpenAIChat("test-model", server.url),
            negatives="hard",
            n_examples=10,
            n_scoring_examples=0,
            cache=None,
            random_state=0,
        ).fit(neuron, texts=texts)
    shown = texts_in(server.bodies[0]["messages"][0]["content"])
    assert len(shown) == 10 and set(shown) <= set(dogs)


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
