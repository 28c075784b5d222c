"""HypothesisGenerator over several splits: n_repeats and cv."""

import logging
import pickle

import numpy as np
import pandas as pd
import pytest
from llm_server import LLMServer, WordRule
from scipy.stats import pearsonr
from sklearn.base import clone
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from sklearn_hypsae import (
    EmbeddingTransformer,
    HypothesisGenerator,
    make_hypothesis_pipeline,
)
from sklearn_hypsae._repeats import P_VALUES, combine_tables, match_hypotheses, twice_the_median
from sklearn_hypsae._splitting import split_into_folds
from sklearn_hypsae.datasets import make_planted_texts
from sklearn_hypsae.llm import OpenAIChat

COUNTS = HashingVectorizer(n_features=256, alternate_sign=False, stop_words="english")
DIRECTIONS = np.random.default_rng(0).normal(size=(256, 48))


def embed(texts):
    """Embed by random directions of words: instant, and alike where words are."""
    return (COUNTS.transform(texts) @ DIRECTIONS).astype(np.float32)


def small_pipeline(task="classification", **params):
    pipeline = make_hypothesis_pipeline(model=embed, M=16, K=4, n_hypotheses=5, task=task)
    return pipeline.set_params(**{"sae__n_epochs": 10, **params})


FILLER = [
    *("table", "window", "street", "monday", "river", "garden"),
    *("music", "lamp", "candle", "corner", "bridge", "market"),
]


@pytest.fixture(scope="module")
def planted():
    """Texts of which a third praise the soup, and are liked."""
    rng = np.random.default_rng(0)
    soup = rng.random(400) < 0.33
    filler = [" ".join(rng.choice(FILLER, 6)) for _ in range(400)]
    praise = np.where(soup, " soup", "")
    texts = [words + more for words, more in zip(filler, praise, strict=True)]
    y = (rng.random(400) < np.where(soup, 0.85, 0.3)).astype(int)
    return texts, y


@pytest.fixture(scope="module")
def repeated(planted):
    return HypothesisGenerator(small_pipeline(), n_repeats=3, random_state=0).fit(*planted)


@pytest.fixture(scope="module")
def folded(planted):
    return HypothesisGenerator(small_pipeline(), cv=4, random_state=0).fit(*planted)


# The table ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["repeated", "folded"])
def test_the_planted_idea_comes_back_and_is_significant(kind, request):
    generator = request.getfixturevalue(kind)
    first = generator.hypotheses_.iloc[0]
    assert "soup" in first["hypothesis"]
    assert first["n_found"] == len(generator.splits_)
    assert first["significant"]
    assert first["separation_score"] > 0.3


@pytest.mark.parametrize("kind", ["repeated", "folded"])
def test_each_row_combines_the_hypotheses_of_one_idea(kind, request):
    generator = request.getfixturevalue(kind)
    n_splits, by_split = len(generator.splits_), generator.hypotheses_by_split_
    assert set(by_split["split"]) == set(range(n_splits))
    for i, row in generator.hypotheses_.iterrows():
        found = by_split[by_split["idea"] == i]
        assert row["n_found"] == len(found) == found["split"].nunique()
        assert row["hypothesis"] in set(found["hypothesis"])
        assert row["separation_score"] == found["separation_score"].median()
        combined = twice_the_median(found["corrected_pval"], n_splits)
        np.testing.assert_equal(row["corrected_pval"], combined)
    assert generator.hypotheses_["n_found"].is_monotonic_decreasing


def test_the_tables_of_the_splits_are_those_of_the_splits(repeated):
    by_split = repeated.hypotheses_by_split_
    for number, split in enumerate(repeated.splits_):
        mine = by_split[by_split["split"] == number]
        mine = mine.drop(columns=["split", "idea"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, split.hypotheses_)


def test_each_repeat_is_an_ordinary_fit_with_a_split_of_its_own(repeated, planted):
    second = repeated.splits_[1]
    assert (second.n_repeats, second.cv) == (1, None)
    again = clone(second).fit(*planted)
    pd.testing.assert_frame_equal(again.hypotheses_, second.hypotheses_)
    rows = [tuple(split.validation_rows_) for split in repeated.splits_]
    assert len(set(rows)) == 3


def test_repeats_have_other_seeds_even_where_the_user_set_one(planted):
    pipeline = small_pipeline(sae__random_state=7)
    generator = HypothesisGenerator(pipeline, n_repeats=2, random_state=0).fit(*planted)
    seeds = [split.pipeline_["sae"].random_state for split in generator.splits_]
    assert seeds[0] == 7 != seeds[1]


def test_with_cv_every_row_is_held_out_once(folded, planted):
    held_out = np.concatenate([split.validation_rows_ for split in folded.splits_])
    assert sorted(held_out) == list(range(400))
    assert folded.metrics_["n_rows"] == 400
    for split in folded.splits_:
        assert abs(planted[1][split.validation_rows_].mean() - planted[1].mean()) < 0.01
        assert split.metrics_["in_sample"] is False


def test_scores_are_means_over_the_splits(folded):
    scores = [split.metrics_["auc_cv"] for split in folded.splits_]
    assert folded.metrics_["auc_cv"] == pytest.approx(np.mean(scores))
    assert folded.signal_["score"] == np.mean([s.signal_["score"] for s in folded.splits_])
    assert folded.metrics_["n_splits"] == 4
    assert folded.metrics_["n_hypotheses"] == len(folded.hypotheses_)
    assert folded.metrics_["n_significant"] == folded.hypotheses_["significant"].sum()


def test_a_fixed_random_state_repeats(repeated, planted):
    again = HypothesisGenerator(small_pipeline(), n_repeats=3, random_state=0).fit(*planted)
    pd.testing.assert_frame_equal(again.hypotheses_, repeated.hypotheses_)


def test_a_splitter_may_make_the_folds(planted):
    folds = StratifiedKFold(3, shuffle=True, random_state=5)
    generator = HypothesisGenerator(small_pipeline(), cv=folds, random_state=0).fit(*planted)
    for split, (_, test) in zip(generator.splits_, folds.split(*planted), strict=True):
        np.testing.assert_array_equal(split.validation_rows_, test)


def test_groups_and_identical_texts_stay_in_one_fold(planted):
    texts, y = planted
    groups = np.arange(400) // 4
    generator = HypothesisGenerator(small_pipeline(), cv=3, random_state=0)
    generator.fit([*texts[:396], *texts[:4]], y, groups=groups)
    for split in generator.splits_:
        found = set(groups[split.discovery_rows_])
        assert not found & set(groups[split.validation_rows_])
        assert (0 in found) == (99 in found)  # they share texts
        assert split.metrics_["cov_type"] == "cluster"


def test_a_regression_with_covariates(planted):
    texts, y = planted
    stars = y + np.random.default_rng(1).normal(size=400)
    generator = HypothesisGenerator(small_pipeline("regression"), cv=3, random_state=0)
    generator.fit(texts, stars, covariates="n_characters")
    tables = [split.covariates_ for split in generator.splits_]
    (covariate,) = generator.covariates_.to_dict("records")
    assert covariate["covariate"] == "n_characters"
    assert covariate["regression_coef"] == np.median([t["regression_coef"][0] for t in tables])
    assert "r2_cv" in generator.metrics_
    assert not hasattr(generator, "predict_proba")
    assert generator.predict(texts[:3]).shape == (3,)
    assert -1 < generator.score(texts, stars) < 1


@pytest.mark.parametrize("params", [{"interpret": "passthrough"}, {"sae__sparse_output": True}])
def test_neurons_are_matched_where_there_are_no_words(planted, params):
    generator = HypothesisGenerator(small_pipeline(**params), n_repeats=3, random_state=0)
    generator.fit(*planted)
    assert generator.hypotheses_["n_found"].iloc[0] >= 2
    assert generator.transform(planted[0][:3]).shape[0] == 3


def test_each_text_is_embedded_once_for_all_splits(planted):
    seen = []

    def counting(texts):
        seen.extend(texts)
        return embed(texts)

    pipeline = small_pipeline(embed__model=counting)
    HypothesisGenerator(pipeline, n_repeats=3, random_state=0).fit(*planted)
    assert sorted(seen) == sorted(set(planted[0]))


def test_a_step_that_learns_before_the_autoencoder_learns_in_each_split(planted):
    pipeline = small_pipeline()
    pipeline.steps.insert(1, ("scale", StandardScaler().set_output(transform="pandas")))
    generator = HypothesisGenerator(pipeline, n_repeats=2, random_state=0).fit(*planted)
    means = [split.pipeline_["scale"].mean_ for split in generator.splits_]
    assert not np.array_equal(*means)


# New rows ----------------------------------------------------------------------------------------


def test_predictions_average_the_splits(repeated, planted):
    texts, y = planted[0][:50], planted[1][:50]
    mean = np.mean([split.predict_proba(texts) for split in repeated.splits_], axis=0)
    np.testing.assert_allclose(repeated.predict_proba(texts), mean)
    np.testing.assert_array_equal(repeated.predict(texts), mean.argmax(axis=1))
    assert repeated.score(texts, y) > 0.6


def test_transform_annotates_with_the_significant_ideas(repeated, planted):
    annotations = repeated.transform(planted[0][:50])
    assert list(annotations.columns) == list(repeated.get_feature_names_out())
    has_soup = np.array(["soup" in text for text in planted[0][:50]])
    np.testing.assert_array_equal(annotations.iloc[:, 0], has_soup)


def test_validate_tests_one_wording_an_idea(repeated):
    other = make_planted_texts(n_samples=100, task="binary", random_state=1)
    validator = repeated.validate(other.texts, other.y)
    assert list(validator.hypotheses_["hypothesis"]) == list(repeated.hypotheses_["hypothesis"])
    assert validator.metrics_["in_sample"] is False


@pytest.mark.filterwarnings("ignore:These p-values mean nothing:UserWarning")
def test_validate_knows_what_any_split_saw(folded, planted):
    with pytest.warns(UserWarning, match="400 of the 400 rows have a text that discovery saw"):
        assert folded.validate(*planted).metrics_["in_sample"] is True


def test_all_about_an_idea(repeated, planted):
    last = len(repeated.hypotheses_) - 1
    for i in (0, last):
        info = repeated.get_hypothesis_info(i, *planted)
        assert info["hypothesis"] == repeated.hypotheses_["hypothesis"][i]
        assert info["effect"]["n_found"] == repeated.hypotheses_["n_found"][i]
        assert "**" in "".join(text for texts in info["texts"].values() for text in texts)


def test_a_pickle_predicts_the_same(repeated, planted):
    again = pickle.loads(pickle.dumps(repeated))
    np.testing.assert_array_equal(
        again.predict_proba(planted[0][:5]), repeated.predict_proba(planted[0][:5])
    )


def test_a_second_fit_of_another_kind_leaves_nothing_of_the_first(planted):
    generator = HypothesisGenerator(small_pipeline(), n_repeats=2, random_state=0).fit(*planted)
    generator.set_params(n_repeats=1).fit(*planted)
    assert not hasattr(generator, "splits_")
    assert "n_found" not in generator.hypotheses_
    generator.set_params(cv=2).fit(*planted)
    assert not hasattr(generator, "pipeline_")


# A language model --------------------------------------------------------------------------------


def test_requests_are_announced_and_matching_asks_nothing(planted, caplog):
    rule = WordRule({f"mentions a {word}": [word] for word in ["soup", *FILLER]})
    with LLMServer(rule) as server, caplog.at_level(logging.INFO, logger="sklearn_hypsae"):
        chat = OpenAIChat("test-model", server.url)
        pipeline = small_pipeline(
            interpret__llm=chat, interpret__n_scoring_examples=0, interpret__cache=None
        )
        generator = HypothesisGenerator(pipeline, cv=2, random_state=0).fit(*planted)
        n_worded = 2 * 5
        n_annotations = sum(
            len({planted[0][row] for row in split.validation_rows_})
            * len(set(split.pipeline_["interpret"].hypotheses_))
            for split in generator.splits_
        )
        assert server.n_requests == n_worded + n_annotations
    messages = [record.getMessage() for record in caplog.records]
    announced = [message for message in messages if "splits" in message]
    assert announced == [
        f"Annotating the held-out rows of 2 splits takes up to {n_annotations} requests."
    ]


def test_a_budget_is_shared_among_the_splits(planted):
    pipeline = small_pipeline(interpret__llm="openai:gpt-5-mini", interpret__max_requests=2)
    with pytest.raises(ValueError, match="max_requests=2 cannot be divided among 3 splits"):
        HypothesisGenerator(pipeline, n_repeats=3).fit(*planted)


# Honest p-values ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"n_repeats": 3}, {"cv": 3}], ids=["n_repeats", "cv"])
@pytest.mark.filterwarnings("ignore:A probe of the embeddings:UserWarning")
def test_on_noise_few_ideas_have_a_small_p_value(planted, settings):
    embeddings = EmbeddingTransformer(embed).fit_transform(planted[0][:240])
    n_small, n_any, n_runs, n_tested = 0, 0, 8, 5
    for seed in range(n_runs):
        y = np.random.default_rng(seed).integers(0, 2, 240)
        pipeline = small_pipeline(sae__n_epochs=2, interpret="passthrough")
        generator = HypothesisGenerator(pipeline[1:], random_state=seed, **settings)
        generator.fit(embeddings, y)
        n_small += (generator.hypotheses_["regression_pval"] < 0.05).sum()
        n_any += generator.hypotheses_["significant"].any()
    assert n_small <= at_most(0.05, n_runs * n_tested)
    assert n_any <= at_most(0.1, n_runs)


def at_most(share, n):
    """Three standard errors above what is expected."""
    return share * n + 3 * np.sqrt(share * n)


@pytest.mark.parametrize("kind", ["n_repeats", "cv"])
def test_matching_and_combining_do_not_make_noise_significant(kind):
    """The same procedure on columns that stand for neurons, many times over."""
    n_rows, n_splits, n_chosen, n_runs = 200, 5, 4, 150
    n_small, n_any = 0, 0
    for seed in range(n_runs):
        rng = np.random.default_rng(seed)
        base = rng.normal(size=(n_rows, 12))
        columns = np.hstack([base, base + 0.5 * rng.normal(size=base.shape)])  # near-copies
        y = rng.normal(size=n_rows)
        order = rng.permutation(n_rows)
        chosen, pvalues = [], []
        for split in range(n_splits):
            shuffled = order if kind == "cv" else rng.permutation(n_rows)
            held_out = np.isin(np.arange(n_rows), shuffled[split::n_splits])
            found = np.abs(pearsonr(columns[~held_out], y[~held_out, None], axis=0).statistic)
            best = np.argsort(-found)[:n_chosen]
            tests = pearsonr(columns[held_out][:, best], y[held_out, None], axis=0)
            chosen.append(columns[:, best])
            pvalues.append(tests.pvalue)
        ideas = match_hypotheses(np.hstack(chosen), np.repeat(np.arange(n_splits), n_chosen))
        pvalues = np.concatenate(pvalues)
        combined = np.array(
            [twice_the_median(pvalues[ideas == i], n_splits) for i in range(ideas.max() + 1)]
        )
        n_small += np.sum(combined < 0.05)
        n_any += np.any(combined * n_chosen < 0.1)
    assert n_small <= at_most(0.05, n_runs * n_chosen)
    assert n_any <= at_most(0.1, n_runs)


def test_twice_the_median_counts_a_split_that_found_nothing_as_one():
    assert twice_the_median([0.01, 0.02, 0.03], 3) == 0.04
    assert twice_the_median([0.01, 0.02], 3) == 0.04
    assert twice_the_median([0.01, np.nan], 3) == 1
    assert twice_the_median([0.01], 2) == 0.02  # half of the splits suffice
    assert np.isnan(twice_the_median([np.nan], 3))


def test_twice_the_median_holds_its_level_whatever_the_dependence():
    rng = np.random.default_rng(0)
    for shared in (0.0, 0.5, 0.9, 1.0):
        noise = shared * rng.random((4000, 1)) + (1 - shared) * rng.random((4000, 5))
        ranks = noise.argsort(axis=0).argsort(axis=0)
        pvalues = (ranks + 0.5) / 4000  # each uniform
        combined = [twice_the_median(row, 5) for row in pvalues]
        assert np.mean(np.array(combined) <= 0.1) <= 0.11


# Matching ----------------------------------------------------------------------------------------


def test_hypotheses_that_hold_for_the_same_rows_are_one_idea():
    rng = np.random.default_rng(0)
    ideas = rng.random((500, 4)) < 0.3
    noisy = [ideas ^ (rng.random(ideas.shape) < 0.03) for _ in range(3)]
    splits = np.repeat(np.arange(3), 4)
    columns = np.hstack([noisy[0], noisy[1][:, ::-1], noisy[2]]).astype(float)
    assert match_hypotheses(columns, splits).tolist() == [0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2, 3]


def test_two_hypotheses_of_one_split_are_never_one_idea():
    column = np.arange(10.0)[:, None] % 2
    columns = np.hstack([column] * 4)
    ideas = match_hypotheses(columns, np.array([0, 0, 1, 1]))
    assert ideas[0] != ideas[1]
    assert set(ideas[:2]) == set(ideas[2:])


def test_constant_columns_match_only_by_their_words():
    columns = np.zeros((10, 2))
    splits = np.array([0, 1])
    assert match_hypotheses(columns, splits).tolist() == [0, 1]
    assert match_hypotheses(columns, splits, np.ones((2, 2), bool)).tolist() == [0, 0]


def test_the_users_own_hypotheses_are_told_apart_by_their_words(planted):
    own = ['mentions "soup"', 'mentions "nowhere"', 'mentions "river" or "bridge"']
    pipeline = small_pipeline(interpret__hypotheses=own)
    generator = HypothesisGenerator(pipeline, n_repeats=3, random_state=0).fit(*planted)
    assert sorted(generator.hypotheses_["hypothesis"]) == sorted(own)
    assert set(generator.hypotheses_["n_found"]) == {3}


# Bad input, before anything slow -----------------------------------------------------------------


TEXTS = [f"text number {i}" for i in range(100)]
BINARY = np.array([0, 1] * 50)


@pytest.mark.usefixtures("nothing_works")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_repeats": 0}, "'n_repeats' parameter"),
        ({"cv": 1}, "'cv' parameter"),
        ({"cv": "five"}, "'cv' parameter"),
        ({"n_repeats": 2, "cv": 2}, "two ways to split"),
        ({"cv": 101}, "more folds than .*100 groups or distinct texts"),
        ({"cv": ShuffleSplit(3)}, "ShuffleSplit does not hold each row out exactly once"),
        ({"n_repeats": 2, "pipeline__validate__correction": "fdr_bh"}, "correction='fdr_bh'"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_any_work(settings, message):
    generator = HypothesisGenerator(small_pipeline()).set_params(**settings)
    with pytest.raises(ValueError, match=message):
        generator.fit(TEXTS, BINARY)


@pytest.mark.usefixtures("nothing_works")
def test_rows_that_do_not_fill_the_folds_are_refused_before_any_work():
    generator = HypothesisGenerator(small_pipeline(), cv=5)
    with pytest.raises(ValueError, match="more folds than .*4 groups"):
        generator.fit(TEXTS, BINARY, groups=np.arange(100) % 4)
    with pytest.raises(ValueError, match="rarest class of y has 4 rows"):
        generator.fit(TEXTS, np.arange(100) < 4)
    with pytest.raises(ValueError, match="rarest class of y has 6 rows, too few"):
        generator.fit(TEXTS, np.arange(100) < 6)
    mixed = np.arange(100) // 17
    with pytest.raises(ValueError, match="only one group to test on"):
        generator.fit(TEXTS, BINARY, groups=mixed)
    generator.set_params(cv=KFold(2))
    with pytest.raises(ValueError, match="rows of one group, or of one text, on both sides"):
        generator.fit(TEXTS, BINARY, groups=np.arange(100) % 10)


def test_folds_keep_units_whole_and_classes_even():
    units = np.repeat(np.arange(50), 2)
    y = np.repeat(np.arange(50) % 2, 2).astype(float)
    splits = split_into_folds(units, y, n_folds=5, stratify=True, rng=np.random.RandomState(0))
    held_out = np.concatenate([validation for _, validation in splits])
    assert sorted(held_out) == list(range(100))
    for discovery, validation in splits:
        assert not set(units[discovery]) & set(units[validation])
        assert y[validation].mean() == 0.5


def test_the_odds_ratio_of_an_idea_is_that_of_its_coefficient():
    tables = pd.DataFrame(
        {
            "hypothesis": ["a", "a"],
            "split": [0, 1],
            "regression_coef": [-1.0, 2.0],
            "odds_ratio": np.exp([-1.0, 2.0]),
            "n_present": [30, 40],
            "note": ["", ""],
            **{name: [0.01, 0.02] for name in [*P_VALUES, "corrected_pval"]},
            "permutation_pval": [np.nan, np.nan],
        }
    )
    ideas, chosen = np.zeros(2, dtype=int), np.zeros(1, dtype=int)
    table, _ = combine_tables(tables, ideas, chosen, n_splits=2, alpha=0.1)
    assert table["odds_ratio"][0] == pytest.approx(np.exp(0.5))
