import numpy as np
import pytest

from sklearn_hypsae._keyphrases import (
    hypothesis_to_phrases,
    learn_keyphrases,
    match_phrases,
    phrases_to_hypothesis,
)


def test_hypothesis_lists_the_phrases_that_are_tested():
    hypothesis = phrases_to_hypothesis(["slow service", "waited", "rude"])
    assert hypothesis == 'mentions "slow service", "waited" or "rude"'


@pytest.mark.parametrize("phrases", [["rude"], ["don't", "well made"], ['say "cheese"', "a\\b"]])
def test_phrases_survive_the_round_trip_through_a_hypothesis(phrases):
    assert hypothesis_to_phrases(phrases_to_hypothesis(phrases)) == phrases


def test_phrases_match_whole_words_in_any_case():
    texts = ["RUDE staff", "a crude joke", "Slow-service kitchen", ""]
    matched = match_phrases(texts, [["rude"], ["slow service"], []])
    np.testing.assert_array_equal(matched, [[1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_learned_phrases_are_those_of_the_texts_that_fire():
    texts = ["the waiter was rude", "the waiter was lovely"] * 20
    fires = np.tile([1.0, 0.0], 20)
    assert learn_keyphrases(texts, fires[:, None], fires) == [["rude"]]
