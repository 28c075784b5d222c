"""VLLMChat's own part, with a stand-in for vLLM; the real one runs in benchmarks/llm_vllm.py."""

import sys
import time
import types

import pytest

from sklearn_hypsae.llm import CompletionError, Request, VLLMChat, vllm_chat

YES_NO = Request("Is it?", ("yes", "no"))


def output(text, finish_reason="stop", logprobs=None):
    tokens = list(range(len(text.split())))
    completion = types.SimpleNamespace(
        text=text, token_ids=tokens, finish_reason=finish_reason, logprobs=logprobs
    )
    return types.SimpleNamespace(outputs=[completion], prompt_token_ids=[1, 2, 3])


class StandIn:
    """As much of vllm.LLM as is used."""

    shutdown_seconds = 0.0
    started = 0

    def __init__(self, model, **arguments):
        StandIn.started += 1
        self.arguments = arguments
        config = types.SimpleNamespace(max_model_len=100)
        core = types.SimpleNamespace(shutdown=self.shutdown)
        self.llm_engine = types.SimpleNamespace(model_config=config, engine_core=core)

    def shutdown(self):
        time.sleep(self.shutdown_seconds)

    def get_tokenizer(self):
        return types.SimpleNamespace(encode=str.split)

    def chat(self, conversations, sampling, **options):
        return [self.answer(messages[0]["content"]) for messages in conversations]

    answer = staticmethod(lambda prompt: output("yes"))


@pytest.fixture(autouse=True)
def vllm(monkeypatch):
    class SamplingParams:
        def __init__(self, max_tokens=None, structured_outputs=None, temperature=None):
            self.structured_outputs = structured_outputs

    class StructuredOutputsParams:
        def __init__(self, json=None, choice=None):
            self.json, self.choice = json, choice

    module = types.SimpleNamespace(LLM=StandIn, SamplingParams=SamplingParams)
    parameters = types.SimpleNamespace(StructuredOutputsParams=StructuredOutputsParams)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", parameters)
    monkeypatch.setattr(StandIn, "started", 0)
    yield
    vllm_chat._ENGINES.clear()


def test_the_engine_starts_at_the_first_prompt_with_prefix_caching_and_ends_with_the_block():
    with VLLMChat("m", engine={"max_model_len": 100}) as chat:
        assert StandIn.started == 0
        chat.complete([YES_NO])
        chat.complete([YES_NO])
        (engine,) = vllm_chat._ENGINES.values()
        assert StandIn.started == 1
        assert engine.arguments == {"enable_prefix_caching": True, "max_model_len": 100}
    assert not vllm_chat._ENGINES


def test_a_choice_is_held_to_its_form_and_a_long_prompt_fails_alone():
    chat = VLLMChat("m")
    assert chat._sampling(YES_NO).structured_outputs.choice == ["yes", "no"]
    several = chat._sampling(YES_NO._replace(n_items=2)).structured_outputs.json
    assert several["required"] == ["1", "2"]
    too_long, fine = chat.complete([Request("word " * 200), YES_NO])
    assert isinstance(too_long, CompletionError) and fine.text == "yes"


def test_free_text_that_was_cut_off_and_unfinished_thinking_are_no_answers(monkeypatch):
    answers = {"cut": output("Okay, so", "length"), "think": output("<think>Hm, yes")}
    answers["done"] = output("<think>Hm</think> mentions a dog")
    monkeypatch.setattr(StandIn, "answer", staticmethod(answers.get))
    found = VLLMChat("m").complete([Request("cut"), Request("think"), Request("done")])
    assert [completion.text for completion in found] == ["", "", "mentions a dog"]


def test_soft_labels_come_from_the_token_that_chooses(monkeypatch):
    def logprob(token, value):
        return types.SimpleNamespace(decoded_token=token, logprob=value)

    said = [{0: logprob("<think>", -1.0)}, {1: logprob("</think>", -1.0)}]
    said += [{2: logprob("yes", -0.5), 7: logprob("no", -1.0)}]
    answer = output("<think> </think> yes", logprobs=said)
    monkeypatch.setattr(StandIn, "answer", staticmethod(lambda prompt: answer))
    (found,) = VLLMChat("m").complete([YES_NO])
    assert list(found.probabilities) == ["yes", "no"]


def test_ctrl_c_is_not_held_up_by_an_engine_that_is_slow_to_end(monkeypatch):
    def interrupted(prompt):
        raise KeyboardInterrupt

    monkeypatch.setattr(StandIn, "answer", staticmethod(interrupted))
    monkeypatch.setattr(StandIn, "shutdown_seconds", 10.0)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        VLLMChat("m").complete([YES_NO])
    assert time.monotonic() - started < 6
    assert not vllm_chat._ENGINES, "the next prompt starts another"


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (VLLMChat(""), "needs a model"),
        (VLLMChat("m", temprature=1), "unknown option 'temprature'.*SamplingParams"),
        (VLLMChat("m", engine={"hf_token": "hf_x"}), "no secret in engine.*HF_TOKEN"),
        (VLLMChat("m", batch_size=0), "batch_size=0"),
    ],
)
def test_what_cannot_work_is_said_before_a_model_is_loaded(client, said):
    with pytest.raises(ValueError, match=said):
        client.complete([YES_NO])
    assert StandIn.started == 0
