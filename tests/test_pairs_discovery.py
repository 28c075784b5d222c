"""HypothesisGenerator on pairs of texts: split, test, predict and tell."""

import warnings

import numpy as np
import pandas as pd
import pytest
from llm_server import INTERPRETS_PAIRS, LLMServer, WordRule, texts_in
from pair_tools import swap_texts, word_pipeline, worded_pairs
from sklearn.pipeline import Pipeline

from sklearn_hypsae import HypothesisGenerator, HypothesisValidator, LLMInterpreter
from sklearn_hypsae._discovery_run import checked_rows
from sklearn_hypsae.datasets import make_planted_pairs
from sklearn_hypsae.llm import OpenAIChat


def discover(X, y, pipeline=None, **options):
    pipeline = word_pipeline() if pipeline is None else pipeline
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return HypothesisGenerator(pipeline, random_state=0).fit(X, y, **options)


@pytest.fixture(scope="module", params=["binary", "regression"])
def planted(request):
    task = request.param
    data = make_planted_pairs(1000, n_concepts=4, effect_size=2.0, task=task, random_state=0)
    return data, task == "binary"


@pytest.fixture(scope="module")
def fitted(planted):
    return discover(planted[0].pairs, planted[0].y)


@pytest.fixture(scope="module")
def new(planted):
    task = "binary" if planted[1] else "regression"
    return make_planted_pairs(400, n_concepts=4, effect_size=2.0, task=task, random_state=1)


def test_planted_concepts_are_found_with_the_sign_of_their_effect(planted, fitted):
    data, _ = planted
    found = fitted.hypotheses_[fitted.hypotheses_["significant"]]
    assert len(found) >= 2
    annotations = np.asarray(fitted.transform(data.pairs))
    for row, column in zip(found.itertuples(), annotations.T, strict=True):
        agreement = column @ data.concepts / np.linalg.norm(data.concepts, axis=0)
        concept = np.abs(agreement).argmax()
        assert np.sign(row.regression_coef) == np.sign(agreement[concept] * data.coef[concept])
        assert np.sign(row.separation_score) == np.sign(row.regression_coef)


@pytest.mark.parametrize("which", ["all", "some"])
def test_which_text_comes_first_changes_nothing(planted, fitted, new, which):
    data, binary = planted
    rng = np.random.default_rng(1)
    rows = rng.random(len(data.y)) < (1 if which == "all" else 0.5)
    X, y = swap_texts(data.pairs, data.y, rows, binary=binary)
    other = discover(X, y)
    np.testing.assert_array_equal(other.validation_rows_, fitted.validation_rows_)
    pd.testing.assert_frame_equal(other.hypotheses_, fitted.hypotheses_, rtol=0, atol=1e-9)
    for name, value in {**fitted.metrics_, **fitted.signal_}.items():
        found = {**other.metrics_, **other.signal_}[name]
        assert found == pytest.approx(value, abs=1e-9), name
    rows = rng.random(len(new.y)) < 0.5
    X, y = swap_texts(new.pairs, new.y, rows, binary=binary)
    assert other.score(X, y) == pytest.approx(fitted.score(new.pairs, new.y), abs=1e-9)
    one, two = fitted.validate(new.pairs, new.y), fitted.validate(X, y)
    pd.testing.assert_frame_equal(two.hypotheses_, one.hypotheses_, rtol=0, atol=1e-9)


def test_the_ceiling_and_the_scores_are_of_the_same_kind(planted, fitted, new):
    _, binary = planted
    assert fitted.signal_["metric"] == ("auc" if binary else "r2")
    assert fitted.signal_["ci_low"] > fitted.signal_["chance"]
    assert 0 < fitted.metrics_["share_of_ceiling"] < 1.5
    assert fitted.score(new.pairs, new.y) > fitted.signal_["chance"] + 0.03


def test_a_text_is_on_one_side_of_the_split_in_whichever_column_it_comes_again():
    data = make_planted_pairs(300, random_state=0)
    texts = data.pairs.to_numpy()
    # Every second pair compares the first text of the pair before with something new.
    texts[1::2, 1] = texts[::2, 0]
    X = pd.DataFrame(texts, columns=["a", "b"])
    generator = discover(X, data.y)
    discovery, validation = (
        set(texts[rows].ravel()) for rows in (generator.discovery_rows_, generator.validation_rows_)
    )
    assert not discovery & validation
    seen = X.iloc[generator.discovery_rows_[:100]]
    with pytest.warns(UserWarning, match="100 of the 100 rows have a text that discovery saw"):
        assert generator.validate(seen[["b", "a"]].set_axis(["a", "b"], axis=1), data.y[:100])


def test_pairs_that_all_hang_together_cannot_be_split():
    rng = np.random.default_rng(0)
    texts = np.array([f"text {i}" for i in range(12)], dtype=object)
    tournament = pd.DataFrame(texts[[rng.permutation(12)[:2] for _ in range(200)]])
    with pytest.raises(ValueError, match="hang together"):
        discover(tournament.set_axis(["a", "b"], axis=1), rng.integers(0, 2, 200))


def test_identical_texts_and_ties_are_kept_and_say_nothing():
    data = make_planted_pairs(400, n_concepts=4, effect_size=1.5, task="regression", random_state=2)
    X, y = data.pairs.copy(), data.y.copy()
    X.loc[:39, "headline_b"] = X.loc[:39, "headline_a"]
    y[40:80] = 0.0
    generator = discover(X, y)
    assert generator.metrics_["n_rows"] == 100
    same = generator.transform(X.iloc[:40])
    assert not np.asarray(same).any()
    np.testing.assert_array_equal(generator.predict(X.iloc[:40]), 0)


@pytest.mark.slow
def test_p_values_on_noise_are_honest():
    below, quick = [], word_pipeline().set_params(sae__n_epochs=5, sae__target_coef=0.0)
    for seed in range(16):
        data = make_planted_pairs(300, n_informative=0, random_state=seed)
        table = discover(data.pairs, data.y, quick).hypotheses_
        below += (table["regression_pval"].dropna() < 0.05).tolist()
    assert len(below) > 20
    assert np.mean(below) < 0.15


def test_all_about_one_hypothesis_shows_pairs(planted, fitted):
    data, binary = planted
    info = fitted.get_hypothesis_info(0, data.pairs, data.y, n_texts=2)
    assert list(info["texts"]) == ["wins", "loses"]
    pairs = {frozenset(pair) for pair in data.pairs.to_numpy()}
    for kind, shown in info["texts"].items():
        assert len(shown) == 2
        for marked, other in shown:
            assert "**" in marked
            assert "**" not in other
            text = marked.replace("**", "")
            assert frozenset((text, other)) in pairs
            is_pair = data.pairs.isin([text]).any(axis=1) & data.pairs.isin([other]).any(axis=1)
            (row,) = np.flatnonzero(is_pair)
            ahead = 2 * data.y[row] - 1 if binary else data.y[row]
            ahead = ahead if data.pairs.iloc[row, 0] == text else -ahead
            assert (ahead > 0) == (kind == "wins")
    assert list(fitted.get_hypothesis_info(0, data.pairs)["texts"]) == ["all"]


def test_sentences_compare_the_two_texts_of_a_pair(planted, fitted):
    sentence = fitted.sentences(subject="Headlines")[0]
    assert ", against one to which it does not, at equal other hypotheses (95% CI" in sentence
    assert ("the odds of being the winner" in sentence) == planted[1]


def test_own_hypotheses_are_tested_on_pairs_and_each_text_is_paid_for_once():
    pairs, _ = worded_pairs(80)
    X = pd.DataFrame(pairs, columns=["a", "b"])
    y = np.random.default_rng(0).integers(0, 2, 80)
    concepts = {"mentions a dog": ["dog"], "mentions a garden": ["garden"]}
    with LLMServer(WordRule(concepts)) as server:
        chat = OpenAIChat("test-model", server.url)
        interpret = LLMInterpreter(chat, hypotheses=list(concepts), cache=None)
        pipeline = Pipeline([("interpret", interpret), ("validate", HypothesisValidator())])
        generator = discover(X, y, pipeline)
        asked = [body["messages"][0]["content"] for body in server.bodies]
    texts = pairs[generator.validation_rows_].ravel()
    assert generator.hypotheses_["hypothesis"].tolist() == list(concepts)
    assert not any(prompt.startswith(INTERPRETS_PAIRS) for prompt in asked)
    assert sorted(texts_in(prompt)[0] for prompt in asked) == sorted([*texts, *texts])


@pytest.mark.slow
def test_several_splits_of_pairs_do_not_depend_on_which_text_comes_first():
    data = make_planted_pairs(600, n_concepts=4, effect_size=2.0, task="regression", random_state=0)
    rows = np.random.default_rng(1).random(len(data.y)) < 0.5
    X, y = swap_texts(data.pairs, data.y, rows, binary=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, two = (
            HypothesisGenerator(word_pipeline(), n_repeats=2, random_state=0).fit(*each)
            for each in ((data.pairs, data.y), (X, y))
        )
    pd.testing.assert_frame_equal(two.hypotheses_, one.hypotheses_, rtol=0, atol=1e-9)
    assert two.score(X, y) == pytest.approx(one.score(data.pairs, data.y), abs=1e-9)


@pytest.mark.slow
def test_folds_and_weights_of_pairs_do_not_depend_on_which_text_comes_first():
    data = make_planted_pairs(400, n_concepts=4, effect_size=2.0, random_state=0)
    rng = np.random.default_rng(1)
    rows, weights = rng.random(len(data.y)) < 0.5, rng.exponential(size=len(data.y))
    X, y = swap_texts(data.pairs, data.y, rows, binary=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, two = (
            HypothesisGenerator(word_pipeline(), cv=2, random_state=0).fit(
                *each, sample_weight=weights
            )
            for each in ((data.pairs, data.y), (X, y))
        )
    pd.testing.assert_frame_equal(two.hypotheses_, one.hypotheses_, rtol=0, atol=1e-9)
    held_out = np.concatenate([split.validation_rows_ for split in one.splits_])
    np.testing.assert_array_equal(np.sort(held_out), np.arange(len(data.y)))
    assert {split.metrics_["cov_type"] for split in one.splits_} == {"HC1"}


THREE = pd.DataFrame({"a": ["x"] * 40, "b": ["y"] * 40, "c": ["z"] * 40})
TWO = make_planted_pairs(40, random_state=0).pairs
NONE_IN_ONE = TWO.assign(headline_a=[*TWO["headline_a"][:39], None])


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (THREE, [0, 1] * 20, "frame with 3 columns"),
        (NONE_IN_ONE, [0, 1] * 20, r"column 'headline_a' of X .* at position 39"),
        (TWO.assign(headline_b=1.0), [0, 1] * 20, "column 'headline_b' of X to be a string"),
        (TWO, ["a", "b", "c", "a"] * 10, "3 labels in y that are no numbers"),
        (TWO, [1, 2] * 20, "cannot tell what y means for pairs"),
    ],
)
def test_bad_pairs_are_refused_before_anything_is_embedded(X, y, message):
    def embed(texts):
        raise AssertionError("nothing is to be embedded")

    pipeline = word_pipeline().set_params(embed__model=embed)
    with pytest.raises(ValueError, match=message):
        HypothesisGenerator(pipeline).fit(X, y)


def test_rows_of_pairs_hang_together_through_texts_of_either_column():
    X = pd.DataFrame({"a": ["p", "q", "r", "s"], "b": ["q", "t", "u", "v"]})
    rows = checked_rows(X, [0, 1, 1, 0], word_pipeline(), groups=None, covariates=None)
    assert rows.units.tolist() == [0, 0, 1, 2]
