"""The generator of texts with known concepts and known effects."""

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from sklearn_hypsae.datasets import make_planted_texts
from sklearn_hypsae.embedding import EmbeddingTransformer


@pytest.fixture(scope="module")
def data():
    return make_planted_texts(4000, n_concepts=12, random_state=0)


def test_concepts_are_independent_and_as_frequent_as_asked():
    asked = np.linspace(0.05, 0.6, 10)
    data = make_planted_texts(4000, n_concepts=10, prevalence=asked, random_state=0)
    standard_errors = np.sqrt(asked * (1 - asked) / 4000)
    assert (np.abs(data.concepts.mean(axis=0) - asked) < 4 * standard_errors).all()
    correlations = np.corrcoef(data.concepts.T) - np.eye(10)
    assert np.abs(correlations).max() < 4 / np.sqrt(4000)
    assert set(np.unique(data.concepts)) == {0, 1}


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_regression_on_the_concepts_recovers_the_effects(noise):
    effects = [1.5, -1, 0.5, -0.25, 0.1]
    data = make_planted_texts(3000, n_concepts=5, effect_size=effects, noise=noise, random_state=1)
    np.testing.assert_array_equal(data.coef, effects)
    fit = sm.OLS(data.y, sm.add_constant(data.concepts)).fit()
    assert (np.abs(fit.params[1:] - effects) < 4 * fit.bse[1:]).all()
    assert np.sqrt(fit.scale) == pytest.approx(noise, rel=0.05)


def test_logistic_regression_on_the_concepts_recovers_log_odds_ratios():
    data = make_planted_texts(4000, n_concepts=6, task="binary", random_state=0)
    fit = sm.Logit(data.y, sm.add_constant(data.concepts)).fit(disp=False)
    assert (np.abs(fit.params[1:] - data.coef) < 4 * fit.bse[1:]).all()
    assert set(np.unique(data.y)) == {0, 1}
    assert data.y.mean() == pytest.approx(0.5, abs=0.05)


def test_only_informative_concepts_have_effects_with_the_sign_guests_would_give_them():
    data = make_planted_texts(2, n_concepts=6, n_informative=4, effect_size=0.5, random_state=0)
    assert data.coef.tolist() == [-0.5, 0.5, -0.5, 0.5, 0, 0]
    assert "slow service" in data.concept_names[0]
    without = make_planted_texts(50, n_informative=0, noise=0, random_state=0)
    assert (without.y == 3).all()


def test_texts_vary(data):
    assert len(set(data.texts)) > 0.99 * len(data.texts)
    lengths = [len(text.split()) for text in data.texts]
    assert np.percentile(lengths, 5) < 0.5 * np.percentile(lengths, 95)
    assert not any("{" in text or "  " in text for text in data.texts)


def test_no_word_or_pair_of_words_gives_a_concept_away(data):
    counts = CountVectorizer(binary=True, min_df=20, ngram_range=(1, 2)).fit_transform(data.texts)
    n_true = data.concepts.sum(axis=0)
    n_both = counts.T @ data.concepts
    n_said = np.asarray(counts.sum(axis=0)).reshape(-1, 1)
    f1 = 2 * n_both / (n_said + n_true)
    always = f1_score(data.concepts[:, 0], np.ones(len(data.texts)))
    assert f1.max() < always + 0.1


def test_concepts_can_be_read_from_embeddings():
    data = make_planted_texts(300, n_concepts=4, n_distractors=2, random_state=0)
    embeddings = EmbeddingTransformer(device="cpu").fit_transform(data.texts).to_numpy()
    aucs = []
    for concept in data.concepts.T:
        probe = LogisticRegression(C=10).fit(embeddings[:200], concept[:200])
        aucs.append(roc_auc_score(concept[200:], probe.decision_function(embeddings[200:])))
    assert min(aucs) > 0.75, aucs
    assert np.mean(aucs) > 0.85, aucs


def test_seed_decides_everything():
    one, two = (make_planted_texts(50, task="binary", random_state=3) for _ in range(2))
    other = make_planted_texts(50, task="binary", random_state=4)
    assert one.texts.tolist() == two.texts.tolist()
    assert one.y.tolist() == two.y.tolist()
    assert one.texts.tolist() != other.texts.tolist()
    texts, y = make_planted_texts(50, task="binary", random_state=3, return_X_y=True)
    assert texts.tolist() == one.texts.tolist()
    assert y.tolist() == one.y.tolist()


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_samples": 0},
        {"n_concepts": 13},
        {"n_informative": 9},
        {"effect_size": [1, 2]},
        {"noise": -1},
        {"prevalence": 0},
        {"prevalence": [0.5]},
        {"n_distractors": -1},
        {"task": "multiclass"},
    ],
)
def test_parameters_out_of_range_are_refused_by_name(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        make_planted_texts(**parameters)
