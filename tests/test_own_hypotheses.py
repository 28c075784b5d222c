"""LLMInterpreter with the user's own hypotheses, and with texts as X."""

import numpy as np
import pandas as pd
import pytest
from llm_server import LLMServer, WordRule
from llm_tools import CONCEPTS
from sklearn.pipeline import Pipeline

from sklearn_hypsae import HypothesisValidator, LLMInterpreter
from sklearn_hypsae._fit_rows import FIT_ROWS_ATTR
from sklearn_hypsae._texts import text_index
from sklearn_hypsae.llm import OpenAIChat


@pytest.fixture(scope="module")
def server():
    with LLMServer(WordRule(CONCEPTS)) as running:
        yield running


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


def test_texts_as_X_give_a_frame_that_names_the_hypotheses():
    texts = ["A dog in the rain", "Puppy!"]
    interpreter = LLMInterpreter(hypotheses=['mentions "dog"', 'mentions "rain"'])
    for X in (texts, pd.Series(texts, index=[7, 8]), np.array(texts), pd.DataFrame({"t": texts})):
        found = interpreter.fit_transform(X)
        assert found.columns.tolist() == interpreter.hypotheses_
        pd.testing.assert_index_equal(found.index, text_index(texts))
    assert found.attrs[FIT_ROWS_ATTR] is False
    interpreter.set_output(transform="default")
    assert type(interpreter.transform(texts)) is np.ndarray


def test_own_hypotheses_keep_their_names_and_honest_p_values_up_to_the_validator(recwarn):
    texts = [f"{word} {i}" for i in range(30) for word in ("dog", "cat")]
    y = [int(i % 7 == 0) ^ ("dog" in text) for i, text in enumerate(texts)]
    own = ['mentions "dog"', 'mentions "3"']
    pipe = Pipeline([("i", LLMInterpreter(hypotheses=own)), ("v", HypothesisValidator())])
    pipe.fit(texts, y)
    assert set(pipe["v"].hypotheses_["hypothesis"]) == set(own)
    assert pipe["v"].metrics_["in_sample"] is False  # no row chose what the user states
    assert not [w for w in recwarn if "mean nothing" in str(w.message)]


def test_texts_beside_texts_win():
    interpreter = LLMInterpreter(hypotheses=['mentions "dog"'])
    found = interpreter.fit_transform(["a", "b"], texts=["a dog", "a cat"])
    np.testing.assert_array_equal(found, [[1], [0]])
    with pytest.raises(ValueError, match="2 rows but 1 texts"):
        interpreter.fit(["a", "b"], texts=["a dog"])


def test_phrases_without_a_word_are_refused_before_any_work():
    interpreter = LLMInterpreter(hypotheses=['mentions "dog"', 'mentions "!!!"'])
    with pytest.raises(ValueError, match="word"):
        interpreter._check_before_fit(100)


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ('does not mention "dog"', "'does not'"),
        ('lacks a "dog"', "'lacks'"),
        ('goes without any "dog"', "'without'"),
        ("isn't about a “dog”", '"isn\'t"'),
        ('mentions "dog" and "rain"', "'and'"),
        ('mentions “dog”, and "rain"', "'and'"),
    ],
)
def test_without_a_model_a_statement_that_says_more_than_any_phrase_is_refused(statement, word):
    with pytest.raises(ValueError, match=f"number 1 of hypotheses .* says {word}"):
        LLMInterpreter(hypotheses=['mentions "a" or "not b"', statement]).fit(["A dog."])


def test_words_between_and_within_quotes_may_be_any():
    interpreter = LLMInterpreter(hypotheses=['food and drink ("soup", "no beer and wine")'])
    assert interpreter.fit_transform(["No beer and wine!", "Beer."]).to_numpy().tolist() == [
        [1],
        [0],
    ]
