"""What cannot work is one clear sentence, before the first request that is paid for."""

import pickle

import numpy as np
import pytest
from llm_server import LLMServer, WordRule
from llm_tools import CONCEPTS, ask, planted_frame

from sklearn_hypsae import LLMInterpreter
from sklearn_hypsae.llm import ChatModel, Completion, LLMError, OpenAIBatch, OpenAIChat

pytestmark = pytest.mark.usefixtures("no_key_of_the_user")


@pytest.fixture(scope="module")
def frame():
    return planted_frame()


@pytest.fixture
def server():
    with LLMServer(WordRule(CONCEPTS)) as running:
        yield running


def n_paid(server):
    return sum(server.answered.values())


def is_one_sentence(error):
    said = str(error)
    return 20 < len(said) < 400 and "\n" not in said


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"concepts_per_request": 0}, "concepts_per_request"),
        ({"max_requests": 0}, "max_requests"),
        ({"max_tokens_total": 0}, "max_tokens_total"),
        ({"interpretation_prompt": "{silent_texts}"}, "lacks {firing_texts}"),
        ({"refinement_prompt": "{firing_texts}"}, "lacks {hypothesis}"),
        ({"annotation_prompt": "{hypothesis}"}, "lacks {text}"),
        ({"quantile_range": (1, 0)}, "quantile_range"),
    ],
)
def test_parameters_that_cannot_work(frame, server, parameters, said):
    interpreter = LLMInterpreter(OpenAIChat("test-model", server.url), cache=None, **parameters)
    with pytest.raises(ValueError, match=said) as caught:
        interpreter.fit(frame)
    assert is_one_sentence(caught.value) and server.n_requests == 0


@pytest.mark.parametrize("role", ["llm", "annotator_llm"])
@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": "nope"}, LLMError, r"\(404\): The model nope does not exist"),
        ({"base_url": "http://127.0.0.1:9/v1"}, LLMError, "No server answers at"),
        ({"base_url": None}, ValueError, "found no key: set .*OPENAI_API_KEY"),
        ({"temprature": 1.0}, ValueError, "did you mean 'temperature'"),
        ({"max_outage": -1}, ValueError, "max_outage=-1"),
        ({"prices": 5}, ValueError, "two prices.*got 5"),
        ({"base_url": "http://host:port/v1"}, ValueError, "needs a base_url"),
        ({"extra_body": {"x": object()}}, ValueError, "cannot send the option 'extra_body'"),
        ({"extra_headers": {"X-Number": 3}}, ValueError, "values that are not strings"),
        ({"extra_headers": {"X-Api-Key": "k"}}, ValueError, "no secret in extra_headers.*X-Api"),
        ({"extra_headers": {"X-Api-Key": "$NOT_SET"}}, ValueError, "variable NOT_SET: set it to"),
        ({"extra_query": {"token": "k"}}, ValueError, "no secret in extra_query.*'token'"),
        ({"extra_body": {"a": [{"password": "k"}]}}, ValueError, "no secret in extra_body"),
        ({"extra_headers": {"X-A": "Bearer sk-1"}}, ValueError, "no secret in extra_headers"),
        ({"extra_headers": {"authorization": "Basic x"}}, ValueError, "no secret in extra_headers"),
        ({"extra_body": {"auth": {"value": "k"}}}, ValueError, "no secret in extra_body.*'value'"),
        ({"extra_query": {"key": ["k"]}}, ValueError, "no secret in extra_query.*'key'"),
        ({"user": "sk-a-key"}, ValueError, "no secret in user"),
        ({"extra_headers": {"X-A": "a\nb"}}, ValueError, "'X-A' cannot hold its value"),
        ({"extra_headers": {"X A": "a"}}, ValueError, "names that no header can have"),
        ({"extra_headers": ["X-A"]}, ValueError, "takes a dict of names and values as extra_head"),
        ({"extra_body": "x"}, ValueError, "takes a dict of names and values as extra_body"),
        ({"base_url": "http://host/a b"}, ValueError, "needs a base_url"),
        ({"base_url": "http://.host/v1"}, ValueError, "needs a base_url"),
        ({"timeout": 0}, ValueError, "timeout=0: it has to be a number of seconds above 0"),
        ({"timeout": "60"}, ValueError, "timeout='60'"),
        ({"max_retries": 1.5}, ValueError, "max_retries=1.5: it has to be a whole number"),
        ({"max_concurrency": float("inf")}, ValueError, "max_concurrency=inf"),
        ({"max_concurrency": True}, ValueError, "max_concurrency=True"),
    ],
)
def test_clients_that_cannot_work_cost_nothing_in_either_role(
    frame, server, role, options, error, said
):
    """Also as annotator, whose first request comes after others were paid for."""
    good = OpenAIChat("test-model", server.url)
    bad = OpenAIChat(**{"model": "test-model", "base_url": server.url, "max_outage": 2, **options})
    clients = {"llm": good, "annotator_llm": good, role: bad}
    with pytest.raises(error, match=said) as caught:
        LLMInterpreter(**clients, cache=None).fit(frame)
    assert is_one_sentence(caught.value) and n_paid(server) == 0


def test_a_server_that_lists_no_models_is_asked_a_short_prompt(frame):
    class Unlisted(LLMServer):
        async def _answer_one(self, writer, method, path, headers, body):
            path = "/v1/unknown" if path.endswith("/models") else path
            await super()._answer_one(writer, method, path, headers, body or b"{}")

        async def _complete(self, writer, headers, body):
            if body:
                return await super()._complete(writer, headers, body)
            writer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")

    with Unlisted(lambda prompt: "Yes") as server:
        OpenAIChat("test-model", server.url).reach()
        with pytest.raises(LLMError, match="model nope does not exist"):
            OpenAIChat("nope", server.url).reach()
    assert n_paid(server) == 1


def test_nothing_is_looked_up_where_the_cache_has_all_answers(frame, tmp_path):
    with LLMServer(WordRule(CONCEPTS), models=("big", "small")) as server:
        clients = OpenAIChat("big", server.url), OpenAIChat("small", server.url)
        interpreter = LLMInterpreter(*clients, cache=tmp_path / "c", random_state=0)
        before = interpreter.fit(frame).hypotheses_
    assert interpreter.fit(frame).hypotheses_ == before, "with no server there"


@pytest.mark.parametrize("key", ["sk-line\nbreak", "sk-ä", "sk with spaces"])
def test_a_key_that_no_header_can_hold_is_not_quoted(monkeypatch, server, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ValueError, match="OPENAI_API_KEY holds characters") as caught:
        ask(OpenAIChat("test-model", server.url), ["a text"])
    assert key not in str(caught.value) and server.n_requests == 0


def test_batches_have_numbers_of_their_own(server):
    for wrong in ({"poll_seconds": -1}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="OpenAIBatch got"):
            OpenAIBatch("test-model", server.url, **wrong).check()
    with pytest.raises(ValueError, match="OpenAIBatch got max_concurrency, .*: leave it out"):
        OpenAIBatch("test-model", server.url, max_concurrency=3).check()


def test_numbers_of_numpy_are_numbers(frame, server):
    chat = OpenAIChat("test-model", server.url, seed=np.int64(3))
    LLMInterpreter(
        chat,
        max_tokens=np.int64(50),
        temperature=np.float32(0.5),
        n_scoring_examples=2,
        cache=None,
    ).fit(frame.iloc[:, :1])
    assert server.bodies[0]["seed"] == 3
    assert server.bodies[0]["max_tokens"] == 50 and server.bodies[0]["temperature"] == 0.5


@pytest.mark.parametrize(
    "chosen", [None, ([], []), ([1],), ([True] * 3, [False] * 3), ([10**6], [1]), ([0.5], [1])]
)
def test_a_sampling_that_gives_no_rows(frame, server, chosen):
    interpreter = LLMInterpreter(
        OpenAIChat("test-model", server.url), sampling=lambda *_: chosen, cache=None
    )
    with pytest.raises(ValueError, match="sampling has to give two arrays of row numbers"):
        interpreter.fit(frame)
    assert server.n_requests == 0


def test_a_budget_that_ends_in_fit_is_named(frame, server):
    chat = OpenAIChat("test-model", server.url)
    with pytest.warns(UserWarning, match=r"7 of 8 .*budget ended \(raise max_requests, now 1\)"):
        found = LLMInterpreter(chat, max_requests=1, cache=None).fit(frame)
    assert len(found.hypotheses_) == 1 and found.usage_["requests"] == 1
    with pytest.warns(UserWarning, match="scored on unseen texts .raise max_requests, now 12"):
        LLMInterpreter(chat, max_requests=12, cache=None).fit(frame)
    with pytest.raises(ValueError, match=r"none of the 8 .*\(raise max_tokens_total, now 1\)\.$"):
        LLMInterpreter(chat, max_tokens_total=1, cache=None).fit(frame)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concepts_per_request": 0}, "concepts_per_request"),
        ({"max_requests": 0}, "max_requests"),
        ({"annotation_prompt": "Answer yes."}, "lacks {hypothesis} and lacks {text}"),
    ],
)
def test_what_is_set_after_fit_is_checked_before_transform_asks(settings, message):
    with LLMServer() as server:
        client = OpenAIChat("test-model", server.url)
        interpreter = LLMInterpreter(client, hypotheses=["mentions a dog"], cache=None)
        interpreter.fit(["a"]).set_params(**settings)
        with pytest.raises(ValueError, match=message):
            interpreter.transform(["a dog"])
        assert server.n_requests == 0


def test_a_key_in_a_parameter_is_not_even_pickled(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "the-key-in-use")
    for options in ({"api_key": "k"}, {"user": "the-key-in-use"}, {"extra_body": {"token": "k"}}):
        with pytest.raises(ValueError, match="takes no (key|secret)"):
            pickle.dumps(OpenAIChat("test-model", **options))


def test_names_that_only_sound_like_secrets_are_taken():
    schema = {"type": "object", "properties": {"key": {"type": "string"}}}
    options = {
        "metadata": {"author": "the lab"},
        "prompt_cache_key": "study 1",
        "extra_body": {"guided_json": schema, "max_tokens": 3},
    }
    OpenAIChat("test-model", "http://127.0.0.1:9/v1", **options).check()


@pytest.mark.parametrize(
    "answer", [lambda r: ["Yes"] * len(r), lambda r: [], lambda r: [Completion(None)] * len(r)]
)
def test_what_a_backend_must_not_return_is_said_to_its_author(answer):
    class Own(ChatModel):
        def complete(self, requests, monitor=None):
            return answer(requests)

    with pytest.raises(LLMError, match=r"Own.complete\(\) has to return a list"):
        ask(Own(), ["a text"])
