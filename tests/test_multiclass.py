"""More than two classes: each against the rest, one joint test, through the whole package."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from annotated import draw_annotations
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from statsmodels.stats.multitest import multipletests

from sklearn_hypsae import (
    HypothesisGenerator,
    HypothesisValidator,
    LLMInterpreter,
    make_hypothesis_pipeline,
)
from sklearn_hypsae._cross_fitting import cross_fit, held_out_score
from sklearn_hypsae._keyphrases import hypothesis_to_phrases, learn_keyphrases
from sklearn_hypsae.inspection import plot_hypotheses

NAMES = ["mentions cost", "mentions war", "mentions judges"]


def draw(n_samples=600, seed=0):
    rng = np.random.default_rng(seed)
    annotations = pd.DataFrame(draw_annotations(rng, n_samples, [0.3, 0.4, 0.5]), columns=NAMES)
    latent = rng.gumbel(size=(n_samples, 3))
    latent[:, 0] += 1.5 * annotations["mentions cost"]
    latent[:, 2] += 1.5 * annotations["mentions war"]
    return annotations, np.array(["economy", "law", "war"])[latent.argmax(axis=1)]


@pytest.fixture(scope="module")
def fitted():
    annotations, y = draw()
    return HypothesisValidator().fit(annotations, y), annotations, y


# The validator


def test_each_class_has_the_table_it_has_against_the_rest(fitted):
    validator, annotations, y = fitted
    table = validator.hypotheses_
    assert table.columns[0] == "class"
    assert list(table["class"]) == np.repeat(["economy", "law", "war"], 3).tolist()
    assert list(table["hypothesis"]) == NAMES * 3
    for k, label in enumerate(validator.classes_):
        alone = HypothesisValidator(correction="none").fit(annotations, y == label)
        expected = alone.hypotheses_.drop(columns=["corrected_pval", "significant"])
        found = table[table["class"] == label].reset_index(drop=True)
        pd.testing.assert_frame_equal(found[expected.columns], expected)
        np.testing.assert_allclose(validator.coef_[k], alone.coef_)
        assert validator.intercept_[k] == pytest.approx(alone.intercept_)


def test_p_values_are_corrected_over_classes_and_hypotheses(fitted):
    validator, _, _ = fitted
    pvalues = validator.hypotheses_["regression_pval"]
    np.testing.assert_allclose(
        validator.hypotheses_["corrected_pval"], multipletests(pvalues, method="bonferroni")[1]
    )
    metrics = validator.metrics_
    assert metrics["p_threshold"] == pytest.approx(0.1 / 9)
    assert (metrics["n_hypotheses"], metrics["n_tested"], metrics["n_tests"]) == (3, 3, 9)
    assert metrics["n_significant"] == 2


@pytest.mark.parametrize("with_groups", [False, True])
def test_the_joint_test_is_that_of_a_multinomial_regression(with_groups):
    annotations, y = draw()
    groups = np.arange(len(y)) // 3 if with_groups else None
    validator = HypothesisValidator(n_permutations=99).fit(annotations, y, groups=groups)
    design = sm.add_constant(annotations.to_numpy())
    codes = np.searchsorted(validator.classes_, y)
    options = {"disp": 0}
    if with_groups:
        options |= {"cov_type": "cluster", "cov_kwds": {"groups": groups}, "use_t": True}
    expected = sm.MNLogit(codes, design).fit(**options)
    np.testing.assert_allclose(validator.result_.params, expected.params, atol=1e-10)
    table = validator.multinomial_
    if with_groups:
        assert np.isfinite(table["pvalue"]).all()
        return
    for j in range(3):
        without = sm.MNLogit(codes, np.delete(design, j + 1, axis=1)).fit(disp=0)
        likelihood_ratio = 2 * (expected.llf - without.llf)
        # Wald's statistic is close to that of the likelihood ratio.
        assert table["statistic"][j] == pytest.approx(likelihood_ratio, rel=0.2, abs=0.1)
    assert (table["df"] == 2).all()
    assert list(table["corrected_pval"] < 0.01) == [True, True, False]


def test_a_concept_that_gives_a_class_away_is_said_to():
    annotations, y = draw()
    rng = np.random.default_rng(1)
    annotations["tells"] = ((y == "law") & (rng.random(len(y)) < 0.3)).astype(float)
    validator = HypothesisValidator().fit(annotations, y)
    table = validator.hypotheses_
    assert (table.loc[table["class"] == "law", "note"] == "penalised fit").all()
    assert np.isfinite(table["regression_coef"]).all()
    assert table.query("hypothesis == 'tells' and `class` == 'law'")["significant"].all()
    assert validator.result_ is None and validator.multinomial_["pvalue"].isna().all()
    assert np.isfinite(validator.predict_proba(annotations)).all()


def test_probabilities_add_up_and_the_likeliest_class_is_predicted(fitted):
    validator, annotations, y = fitted
    probabilities = validator.predict_proba(annotations)
    assert probabilities.shape == (600, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    predicted = validator.predict(annotations)
    np.testing.assert_array_equal(predicted, validator.classes_[probabilities.argmax(axis=1)])
    assert np.mean(predicted == y) > 0.45
    expected = roc_auc_score(y, probabilities, multi_class="ovr")
    assert validator.score(annotations, y) == pytest.approx(expected)
    assert validator.metrics_["auc"] == pytest.approx(expected)
    assert validator.metrics_["auc_cv_ci"][0] < validator.metrics_["auc_cv"] < expected


def test_the_cross_fitted_score_is_the_mean_over_folds_and_classes():
    annotations, y = draw(300)
    codes = np.unique(y, return_inverse=True)[1].astype(float)
    held_out = cross_fit(annotations.to_numpy(), codes, n_classes=3)
    expected = [
        roc_auc_score(
            codes[held_out.rows][held_out.fold == k] == c, held_out.predicted[held_out.fold == k, c]
        )
        for k in range(5)
        for c in range(3)
    ]
    score, low, high = held_out_score(held_out, codes, n_classes=3)
    assert score == pytest.approx(np.mean(expected), abs=1e-12)
    assert low < score < high


def test_transform_keeps_what_is_significant_for_any_class(fitted):
    validator, annotations, _ = fitted
    assert list(validator.transform(annotations)) == NAMES[:2]
    assert list(validator.get_feature_names_out()) == NAMES[:2]


def test_covariates_groups_and_weights_go_with_several_classes():
    annotations, y = draw()
    rng = np.random.default_rng(0)
    options = {
        "groups": np.arange(len(y)) // 3,
        "covariates": pd.DataFrame({"age": rng.normal(size=len(y))}),
        "sample_weight": rng.exponential(size=len(y)),
    }
    validator = HypothesisValidator(n_permutations=99).fit(annotations, y, **options)
    assert list(validator.covariates_["class"]) == ["economy", "law", "war"]
    table = validator.hypotheses_
    assert table["permutation_pval"].notna().all()
    assert validator.metrics_["cov_type"] == "cluster"
    alone = HypothesisValidator(n_permutations=99).fit(annotations, y == "economy", **options)
    np.testing.assert_allclose(
        table["regression_pval"].head(3), alone.hypotheses_["regression_pval"]
    )


def test_a_class_without_a_complete_row_is_named():
    annotations, y = draw()
    annotations.loc[y == "law", NAMES[0]] = np.nan
    with pytest.raises(ValueError, match="no row of class 'law' left"):
        HypothesisValidator().fit(annotations, y)


def test_numbers_are_classes_where_the_task_says_so():
    annotations, y = draw()
    codes = np.unique(y, return_inverse=True)[1] + 1
    assert "class" not in HypothesisValidator().fit(annotations, codes).hypotheses_
    validator = HypothesisValidator("classification").fit(annotations, codes)
    assert validator.hypotheses_["class"].tolist() == np.repeat([1, 2, 3], 3).tolist()
    assert validator.hypotheses_["class"].dtype == codes.dtype
    assert "class" not in clone(validator).fit(annotations, codes > 1).hypotheses_


def test_refitted_on_two_classes_it_forgets_the_joint_test(fitted):
    _, annotations, y = fitted
    validator = HypothesisValidator().fit(annotations, y)
    validator.fit(annotations, y == "law")
    assert not hasattr(validator, "multinomial_") and validator.coef_.shape == (3,)


# What readers see


def test_tables_and_sentences_name_the_class(fitted):
    validator, _, _ = fitted
    head, rule, first, *_ = validator.to_markdown().split("\n")
    assert head.startswith("| Class | Hypothesis | Separation | Log-odds [95% CI] | Odds ratio |")
    assert rule.startswith("| --- | --- | ---: |")
    assert first.startswith("| economy | mentions cost |")
    assert validator.to_latex().startswith(r"\begin{tabular}{lp{0.35\linewidth}rrrrrl}")
    row = validator.hypotheses_.iloc[0]
    assert validator.sentences(subject="Speeches")[0] == (
        "Speeches to which “mentions cost” applies have "
        f"{row['odds_ratio']:.2f} times the odds of being economy rather than any other class at "
        f"equal other hypotheses (95% CI {np.exp(row['regression_coef_low']):.2f} to "
        f"{np.exp(row['regression_coef_high']):.2f}; corrected p < 0.001)."
    )


def test_the_plot_has_a_row_for_each_class_and_hypothesis(fitted):
    ax = plot_hypotheses(fitted[0])
    assert len(ax.get_yticklabels()) == 9
    assert any(t.get_text() == "war: mentions war" for t in ax.get_yticklabels())
    assert "the class against the rest" in ax.get_xlabel()


# The other steps


def test_keyphrases_go_with_the_class_of_their_neuron():
    rng = np.random.default_rng(0)
    words = np.array([["bank", "tax"], ["judge", "court"], ["army", "tank"]])
    classes = rng.integers(0, 3, 300)
    texts = [f"the {rng.choice(words[k])} again" for k in classes]
    activations = (classes[:, None] == np.arange(3)) * rng.uniform(0.5, 1, (300, 1))
    targets = (classes[:, None] == np.arange(3)).astype(float)
    found = learn_keyphrases(texts, activations, targets)
    said = [{form for forms in phrases for form in forms} for phrases in found]
    assert said == [set(pair) for pair in words.tolist()]


@pytest.fixture(scope="module")
def topics():
    rng = np.random.default_rng(0)
    words = {
        "economy": ["bank", "tax", "price", "wage"],
        "law": ["judge", "court", "crime", "appeal"],
        "war": ["army", "tank", "border", "treaty"],
    }
    filler = ["people", "today", "country", "question", "member", "house", "again", "time"]
    y = rng.choice(list(words), 480, p=[0.4, 0.35, 0.25])
    texts = [
        " ".join([*rng.choice(words[label], 2), *rng.choice(filler, 6), str(i)])
        for i, label in enumerate(y)
    ]
    return texts, y


@pytest.fixture(scope="module")
def generator(topics):
    texts, y = topics
    vocabulary = sorted({word for text in texts for word in text.split() if word.isalpha()})

    def embed(batch):
        counts = np.array([[text.split().count(word) for word in vocabulary] for text in batch])
        return counts.astype(np.float32)

    pipeline = make_hypothesis_pipeline(model=embed, M=16, K=3, n_hypotheses=6)
    pipeline.set_params(sae__n_epochs=12, sae__target_coef=0.3)
    return HypothesisGenerator(pipeline, random_state=0).fit(texts, y)


def test_the_generator_finds_and_tests_hypotheses_of_several_classes(generator, topics):
    texts, y = topics
    table = generator.hypotheses_
    assert list(table["class"].unique()) == ["economy", "law", "war"] == list(generator.classes_)
    assert generator.metrics_["n_significant"] > 0
    best = table.loc[table["corrected_pval"].idxmin()]
    assert hypothesis_to_phrases(best["hypothesis"])
    assert 0.5 < generator.metrics_["auc_cv"] <= 1
    assert generator.signal_["metric"] == "auc" and generator.signal_["score"] > 0.9
    assert generator.score(texts, y) > 0.6
    assert generator.predict_proba(texts[:5]).shape == (5, 3)
    assert len(generator.multinomial_) == 6
    shares = [
        np.mean(np.asarray(y)[rows] == "war")
        for rows in (generator.discovery_rows_, generator.validation_rows_)
    ]
    assert shares[0] == pytest.approx(shares[1], abs=0.01)


def test_all_about_a_hypothesis_has_a_row_and_texts_of_each_class(generator, topics):
    texts, y = topics
    info = generator.get_hypothesis_info(5, texts, y, n_texts=1)
    assert list(info["effect"]["class"]) == ["economy", "law", "war"]
    assert set(info["effect"]["hypothesis"]) == {info["hypothesis"]}
    assert set(info["texts"]) == {"economy", "law", "war"}
    with pytest.raises(IndexError, match="6 rows"):
        generator.get_hypothesis_info(6)


def test_classes_that_are_numbers_reach_every_step_as_classes(topics):
    texts, y = topics
    codes = np.unique(y, return_inverse=True)[1]
    own = LLMInterpreter(hypotheses=['mentions "tax" or "bank"', 'mentions "army"'])
    pipeline = make_pipeline(own, HypothesisValidator("classification"))
    generator = HypothesisGenerator(pipeline, random_state=0).fit(texts, codes)
    assert list(generator.classes_) == [0, 1, 2]
    assert generator.hypotheses_["class"].tolist() == [0, 0, 1, 1, 2, 2]
    assert set(generator.predict(texts)) <= {0, 1, 2}
    with pytest.raises(ValueError, match="other classes"):
        generator.validate(texts, np.where(codes == 2, 1, codes))


def test_a_class_with_too_few_rows_is_named_before_any_work(topics):
    texts, y = topics
    few = np.where(np.arange(len(y)) < 3, "sport", y)
    pipeline = make_hypothesis_pipeline(model=lambda texts: 1 / 0)
    with pytest.raises(ValueError, match="needs 4 rows of every class.*'sport' of y has 3"):
        HypothesisGenerator(pipeline).fit(texts, few)


def test_the_joint_test_of_a_concept_in_few_groups_is_not_given():
    annotations, y = draw()
    groups = np.arange(len(y)) // 5
    annotations["of few groups"] = (groups < 10).astype(float)
    validator = HypothesisValidator(n_permutations=99).fit(annotations, y, groups=groups)
    assert validator.hypotheses_["permutation_pval"].notna().all()
    assert validator.multinomial_["pvalue"].isna().tolist() == [False, False, False, True]
