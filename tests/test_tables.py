"""The hypothesis table as a reader gets it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from sklearn_hypsae import HypothesisGenerator, HypothesisValidator, LLMInterpreter


@pytest.fixture(scope="module")
def annotations():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "mentions slow service": rng.random(500) < 0.3,
            'says "5% off" | a_b': rng.random(500) < 0.4,
            "never": np.zeros(500, bool),
        }
    ).astype(float)


@pytest.fixture(scope="module")
def stars(annotations):
    y = 4 - 0.8 * annotations["mentions slow service"]
    return HypothesisValidator().fit(annotations, y + np.random.default_rng(1).normal(size=500))


def test_markdown_has_a_row_a_hypothesis_with_the_numbers_of_the_table(stars):
    head, rule, slow, says, never = stars.to_markdown().split("\n")
    assert head.startswith("| Hypothesis | Separation | Coefficient [95% CI] | Corrected p |")
    assert set(rule) == set("| -:")
    row = stars.hypotheses_.iloc[0]
    assert f"| {row['separation_score']:.2f} | {row['regression_coef']:.2f} [" in slow
    assert "| <0.001* |" in slow
    assert r'says "5% off" \| a_b' in says and "*" not in says
    assert never == "| never |  |  |  | 0.0% | untested: constant |"


def test_latex_escapes_what_a_wording_may_hold(stars):
    table = stars.to_latex()
    assert r"says \textquotedbl{}5\% off\textquotedbl{} | a\_b" in table
    assert r"Coefficient [95\% CI]" in table
    assert table.count(r"\\") == 4
    assert table.startswith(r"\begin{tabular}") and table.endswith(r"\end{tabular}")


def test_only_significant_hypotheses_where_asked(stars):
    assert len(stars.to_markdown(only_significant=True).split("\n")) == 3


def test_sentences_state_effect_interval_and_p_value(stars):
    slow, says, never = stars.sentences(subject="Reviews", unit="stars")
    row = stars.hypotheses_.iloc[0]
    assert slow == (
        "Reviews to which “mentions slow service” applies score "
        f"{-row['regression_coef']:.2f} stars lower at equal other hypotheses (95% CI "
        f"{-row['regression_coef_high']:.2f} to {-row['regression_coef_low']:.2f} lower; "
        "corrected p < 0.001)."
    )
    assert " lower to " in says and says.endswith("not significant).")
    assert never == "Reviews to which “never” applies could not be compared (constant)."


def test_sentences_on_classes_are_in_odds(annotations):
    rng = np.random.default_rng(2)
    liked = rng.random(500) < np.where(annotations["mentions slow service"], 0.3, 0.7)
    labels = np.where(liked, "positive", "negative")
    validator = HypothesisValidator().fit(annotations, labels)
    row = validator.hypotheses_.iloc[0]
    sentence = validator.sentences()[0]
    assert f"have {row['odds_ratio']:.2f} times the odds of being positive" in sentence
    assert f"95% CI {np.exp(row['regression_coef_low']):.2f} to " in sentence
    validator.fit(annotations, labels, covariates=rng.random(500))
    assert "positive at equal other hypotheses and covariates (95%" in validator.sentences()[0]


def test_the_generator_gives_the_tables_of_its_validator(reviews):
    own = LLMInterpreter(hypotheses=['mentions "the"', 'mentions "film" or "movie"'])
    pipeline = make_pipeline(own, HypothesisValidator())
    generator = HypothesisGenerator(pipeline, random_state=0)
    for covariates in (None, "n_words"):
        generator.fit(reviews.texts, reviews.y, covariates=covariates)
        validator = generator.pipeline_[-1]
        assert generator.to_markdown(digits=3) == validator.to_markdown(digits=3)
        assert generator.to_latex() == validator.to_latex()
        assert generator.sentences(subject="Reviews") == validator.sentences(subject="Reviews")
    the, _ = generator.sentences()
    assert '“mentions "the"” applies have ' in the
    assert "at equal other hypotheses and covariates (95% CI" in the


@pytest.mark.parametrize("estimator", [HypothesisValidator(), HypothesisGenerator()])
def test_tables_need_a_fit(estimator):
    for method in ("to_markdown", "to_latex", "sentences"):
        with pytest.raises(NotFittedError):
            getattr(estimator, method)()


@pytest.mark.parametrize("digits", [-1, 1.5, "2"])
def test_digits_have_to_be_a_number_of_them(stars, digits):
    with pytest.raises(ValueError, match="digits has to be a whole number"):
        stars.to_markdown(digits=digits)
