"""Neurons put into words without a language model, and words found again in texts."""

import time

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from sklearn_hypsae._keyphrases import (
    all_forms,
    hypothesis_to_phrases,
    learn_keyphrases,
    match_phrases,
    phrases_to_hypothesis,
)
from sklearn_hypsae._phrases import find_phrases, says_something, words_of
from sklearn_hypsae._word_forms import base_forms, written_out

FILLER = [f"filler{i}" for i in range(200)]
THEMES = [["rude", "waiter", "slow"], ["lovely", "garden", "terrace"], ["soggy", "cold", "raw"]]


def themed_texts(n_samples, seed):
    """Texts in which each theme shows by one of its words, and which themes they have."""
    rng = np.random.RandomState(seed)
    has = rng.rand(n_samples, len(THEMES)) < 0.2
    texts = []
    for row in has:
        words = list(rng.choice(FILLER, 12))
        words += [rng.choice(theme) for theme, present in zip(THEMES, row, strict=True) if present]
        texts.append(" ".join(rng.permutation(words)))
    return texts, has.astype(float)


@pytest.fixture(scope="module")
def themed():
    return themed_texts(600, seed=0)


@pytest.fixture(scope="module")
def learned(themed):
    texts, has = themed
    return all_forms(learn_keyphrases(texts, has))


def learned_forms(*args, **kwargs):
    return all_forms(learn_keyphrases(*args, **kwargs))


class TestLearning:
    def test_each_neuron_gets_the_words_of_its_theme_strongest_first(self, learned):
        assert [set(phrases[:3]) for phrases in learned] == [set(theme) for theme in THEMES]

    def test_the_words_find_the_theme_in_new_texts(self, learned):
        texts, has = themed_texts(300, seed=1)
        matches = match_phrases(texts, learned)
        for neuron in range(3):
            assert np.corrcoef(matches[:, neuron], has[:, neuron])[0, 1] > 0.9

    def test_the_target_favours_the_words_that_go_with_it(self, themed):
        texts, has = themed
        says_rude = np.array([float("rude" in text.split()) for text in texts])
        with_target = learned_forms(texts, has, says_rude)
        assert with_target[0][0] == "rude"
        assert "waiter" not in with_target[0]
        assert with_target[0] != learned_forms(texts, has)[0]

    def test_phrases_speak_for_the_direction_of_the_neuron(self, themed):
        texts, has = themed
        y = has[:, 0] - has[:, 1]
        for_y, against_y = learned_forms(texts, has[:, :2], y)
        assert set(for_y) & set(THEMES[0])
        assert set(against_y) & set(THEMES[1])
        columns = match_phrases(texts, [for_y, against_y])
        assert np.corrcoef(columns[:, 0], y)[0, 1] > 0 > np.corrcoef(columns[:, 1], y)[0, 1]

    def test_a_neuron_weight_of_one_leaves_the_target_out(self, themed):
        texts, has = themed
        noise = np.random.RandomState(0).rand(len(texts))
        assert learned_forms(texts, has, noise, neuron_weight=1) == learned_forms(texts, has)

    def test_no_phrase_is_used_by_two_hypotheses(self, themed):
        texts, has = themed
        copies = np.repeat(has, 3, axis=1)
        phrases = [p for found in learned_forms(texts, copies, has[:, 0]) for p in found]
        assert len(phrases) == len(set(phrases)) > 0

    def test_copies_of_a_neuron_share_its_words_out(self, themed):
        texts, has = themed
        first, second = learned_forms(texts, np.repeat(has[:, :1], 2, axis=1), max_phrases=2)
        assert len({*first[:1], *second[:1]} & set(THEMES[0])) == 2

    def test_sparse_activations_and_repetition_change_nothing(self, themed, learned):
        texts, has = themed
        assert learned_forms(texts, has) == learned
        assert learned_forms(texts, sp.csr_array(has)) == learned
        assert learned_forms(texts, sp.csr_matrix(has.astype(np.float32))) == learned
        assert learned_forms(np.array(texts, dtype=object), has) == learned

    def test_no_list_is_longer_than_max_phrases(self, themed):
        texts, has = themed
        lengths = [len(found) for found in learned_forms(texts, has, max_phrases=2)]
        assert lengths == [2, 2, 2]

    def test_word_pairs_are_found_where_only_the_pair_tells(self):
        texts = ["service slow food good", "food slow service good", "slow food service good"] * 20
        fires = np.tile([1.0, 0.0, 0.0], 20)[:, None]
        assert learned_forms(texts, fires)[0][0] in {"service slow", "food good"}
        assert learned_forms(texts, fires, ngram_range=(1, 1)) == [[]]

    def test_rare_phrases_are_left_out(self):
        texts = ["rude waiter"] * 2 + ["rude cook"] * 20 + ["lovely cook"] * 40
        fires = np.r_[np.ones(22), np.zeros(40)][:, None]
        assert learned_forms(texts, fires, min_df=3) == [["rude"]]

    @pytest.mark.parametrize("level", [0.0, 0.3, 1e9])
    def test_dead_and_constant_neurons_get_no_phrases(self, themed, level):
        texts, has = themed
        activations = np.column_stack([np.full(len(texts), level), has[:, 0]])
        for y in (None, has[:, 0], has[:, 1] - has[:, 0]):
            constant, alive = learned_forms(texts, activations, y)
            assert constant == []
            assert len(alive) > 0

    @pytest.mark.parametrize(
        "texts",
        [[""] * 6, ["the was of"] * 6, ["same text again"] * 6, ["a", "b", "c", "d", "e", "f"]],
        ids=["empty", "function words", "identical", "all different"],
    )
    def test_texts_that_nothing_sets_apart_give_no_phrases(self, texts):
        fires = np.array([[1.0], [0], [1], [0], [1], [0]])
        assert learned_forms(texts, fires) == [[]]
        assert learned_forms(texts, fires, fires.ravel()) == [[]]

    def test_one_word_that_says_it_all(self):
        assert learned_forms(["rude", ""] * 20, np.tile([[1.0], [0.0]], (20, 1))) == [["rude"]]

    def test_on_shuffled_targets_held_out_words_are_at_chance(self):
        areas = []
        for seed in range(8):
            texts, has = themed_texts(800, seed)
            rng = np.random.RandomState(seed)
            y = rng.permutation(has[:, 0])
            activations = np.abs(rng.randn(800, 10)) * (rng.rand(800, 10) < 0.05 + 0.1 * y[:, None])
            columns = match_phrases(texts, learned_forms(texts[:400], activations[:400], y[:400]))
            signs = np.sign(np.cov(columns[:400].T, y[:400])[-1, :-1])
            areas.append(roc_auc_score(y[400:], columns[400:] @ signs))
        assert abs(np.mean(areas) - 0.5) < 0.05


class TestWordForms:
    def test_forms_count_as_one_phrase_and_are_listed_with_the_most_frequent_first(self):
        texts = ["we waited", "we waited", "waiting", "she waits", "fine food", "good food"] * 4
        fires = np.tile([1.0, 1, 1, 1, 0, 0], 4)[:, None]
        assert learn_keyphrases(texts, fires) == [[("waited", "waiting", "waits")]]

    def test_word_pairs_are_found_in_all_their_forms(self):
        texts = ["slow waiter", "waiter slow", "slow waiters", "waiters slow"] * 5
        fires = np.tile([1.0, 0, 1, 0], 5)[:, None]
        assert learn_keyphrases(texts, fires) == [[("slow waiter", "slow waiters")]]

    def test_forms_too_rare_by_themselves_are_found_together(self):
        texts = ["hoped", "hoping", "hopes"] + ["fine food"] * 20
        fires = np.r_[np.ones(3), np.zeros(20)][:, None]
        assert set(learn_keyphrases(texts, fires, min_df=3)[0][0]) == {"hoped", "hoping", "hopes"}

    def test_what_is_matched_is_what_was_counted(self, reviews):
        occurs, phrases, vocabulary = find_phrases(
            reviews.texts, (1, 2), min_df=5, as_one=base_forms
        )
        forms = written_out(reviews.texts, phrases, vocabulary)
        assert max(map(len, forms)) > 3
        np.testing.assert_array_equal(match_phrases(reviews.texts, forms), occurs.toarray())

    @pytest.mark.parametrize(
        "forms",
        [
            "wait waits waited waiting",
            "hope hopes hoped hoping",
            "hop hops hopped hopping",
            "fall falls falling",
            "story stories",
            "movie movies",
            "cry cries cried crying",
            "glass glasses",
            "horse horses",
            "pass passes passed passing",
            "meet meeting meetings",
        ],
    )
    def test_regular_forms_have_one_base(self, forms):
        assert len(set(base_forms(forms.split()))) == 1

    @pytest.mark.parametrize(
        "words",
        [
            "care car",
            "plan plane",
            "news new",
            "evening even",
            "bring string",
            "speed spe",
            "bus bu",
        ],
    )
    def test_other_words_keep_apart(self, words):
        words = words.split()
        assert len(set(base_forms([*words, "cares", "cars", "planes", "plans"])[:2])) == 2


class TestSayingSomething:
    @pytest.mark.parametrize(
        "phrase", ["funny", "not funny", "isn't funny", "too long", "10 minutes"]
    )
    def test_content_with_a_leading_negation_or_degree_says_something(self, phrase):
        assert says_something(phrase)

    @pytest.mark.parametrize(
        "phrase", ["the", "not", "isn't", "'s", "it's", "10", "7 10", "was funny", "film it", "x"]
    )
    def test_function_words_numbers_and_ragged_ends_do_not(self, phrase):
        assert not says_something(phrase)


class TestWording:
    def test_a_hypothesis_lists_the_phrases_that_are_tested(self):
        assert phrases_to_hypothesis([("rude",)]) == 'mentions "rude"'
        assert phrases_to_hypothesis([("rude",), ("slow",)]) == 'mentions "rude" or "slow"'
        hypothesis = phrases_to_hypothesis([("slow service",), ("waited", "waits"), ("rude",)])
        assert hypothesis == 'mentions "slow service", "waited"/"waits" or "rude"'

    @pytest.mark.parametrize(
        "phrases",
        [
            ["rude"],
            ["don't", "chef's special", "rock 'n' roll"],
            ["well-made", "10/10", "3.5 stars"],
            ['say "cheese"', '"', 'ends with "'],
            ["a\\b", "ends with \\", '\\"'],
            ["\u201ccurly\u201d", "it\u2019s"],
            ["a, b or c", "or", "\n"],
            ["退款", "😡", "naïve"],
        ],
    )
    def test_phrases_survive_the_round_trip(self, phrases):
        alone = [(phrase,) for phrase in phrases]
        assert hypothesis_to_phrases(phrases_to_hypothesis(alone)) == phrases
        assert hypothesis_to_phrases(phrases_to_hypothesis([tuple(phrases)])) == phrases

    def test_phrases_are_read_off_a_users_own_statement(self):
        assert hypothesis_to_phrases('asks for a "refund" or "money back"') == [
            "refund",
            "money back",
        ]
        assert hypothesis_to_phrases("asks for a \u201crefund\u201d") == ["refund"]
        assert hypothesis_to_phrases("asks for a refund, in the customer's words") == []


class TestMatching:
    @pytest.mark.parametrize(
        ("phrase", "found", "not_found"),
        [
            ("rude", ["RUDE!", "so rude.", "(rude)"], ["crude", "rudeness", ""]),
            ("slow service", ["Slow  service", "slow-service", "slow\nservice"], ["service slow"]),
            ("don't", ["Don\u2019t go", "I DON'T"], ["do not", "don"]),
            ("film", ["the film's end", "film-maker"], ["filmed"]),
            ("chef's special", ["The chef\u2019s special"], ["chef special"]),
            ("10", ["10/10", "in 10 minutes"], ["100", "1 0"]),
            ("café", ["CAFE\u0301", "Café"], ["cafe"]),
            ("straße", ["STRASSE"], ["strass"]),
            ("退款", ["我要退款。"], ["退了款"]),
            ("अच्छा", ["बहुत अच्छा है"], ["अच्छ"]),
            ("😡", ["no way😡😡"], ["😀"]),
            ("\u201crefund\u201d", ["Refund?"], ["refunds"]),
            ("$", ["costs $5"], ["costs 5"]),
        ],
    )
    def test_phrases_match_whole_words_in_any_case(self, phrase, found, not_found):
        matches = match_phrases(found + not_found, [[phrase]])
        np.testing.assert_array_equal(matches[:, 0], [1.0] * len(found) + [0.0] * len(not_found))

    def test_any_phrase_of_a_list_is_enough(self):
        matches = match_phrases(["slow", "rude", "both slow and rude", "fine"], [["slow", "rude"]])
        np.testing.assert_array_equal(matches[:, 0], [1, 1, 1, 0])
        assert matches.dtype == np.float64

    def test_phrases_of_many_lengths_that_share_words(self):
        lists = [["not very good at all"], ["very good"], ["good"], []]
        matches = match_phrases(["Not very good at all", "very good", "good at"], lists)
        np.testing.assert_array_equal(matches, [[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0]])

    def test_phrases_do_not_run_on_into_the_next_text(self):
        matches = match_phrases(["too slow", "service was fine"], [["slow service"]])
        np.testing.assert_array_equal(matches, [[0], [0]])

    def test_a_text_alone_is_matched_as_in_a_batch(self, themed, learned):
        texts = themed[0][:40]
        batch = match_phrases(texts, learned)
        alone = np.vstack([match_phrases([text], learned) for text in texts])
        np.testing.assert_array_equal(alone, batch)

    def test_matching_agrees_with_what_was_counted_in_learning(self, reviews):
        occurs, phrases, _ = find_phrases(reviews.texts, (1, 2), min_df=3)
        matches = match_phrases(reviews.texts, [[phrase] for phrase in phrases])
        np.testing.assert_array_equal(matches, occurs.toarray())

    def test_no_texts_without_words_and_no_phrases(self):
        assert match_phrases(["", " ", "...", "\u200b"], [["rude"]]).sum() == 0
        assert match_phrases(["rude"], []).shape == (1, 0)
        np.testing.assert_array_equal(match_phrases(["rude"], [[], []]), [[0, 0]])

    def test_a_phrase_without_a_word_is_refused(self):
        with pytest.raises(ValueError, match=r"'\.\.\.' has no word to look for"):
            match_phrases(["Well..."], [["well", "..."]])

    def test_a_very_long_text_takes_no_time(self):
        text = "the film is long " * 100_000 + "rude"
        start = time.process_time()
        np.testing.assert_array_equal(match_phrases([text], [["rude"], ["film is long"]]), [[1, 1]])
        assert time.process_time() - start < 20


def test_words_of_a_phrase_read_back_as_the_same_words(reviews):
    _, phrases, _ = find_phrases(reviews.texts, (2, 2), min_df=2)
    assert len(phrases) > 100
    assert all(len(words_of(phrase)) == 2 for phrase in phrases)


def test_a_neuron_that_never_fires_gets_no_phrase():
    texts = ["The waiter was rude.", "The waiter was lovely."] * 20
    activations = -np.tile([[1.0], [0.0]], (20, 1))
    assert learned_forms(texts, activations) == [[]]


def test_little_evidence_leaves_the_clearest_phrase():
    texts = ["rude waiter", "lovely waiter", "fresh soup", "cold soup"] * 3
    activations = np.tile([[1.0], [0.0], [0.0], [0.0]], (3, 1))
    y = np.tile([1.0, 0.0, 1.0, 0.0], 3)
    assert learned_forms(texts, activations, y, min_z=50) == [["rude"]]
