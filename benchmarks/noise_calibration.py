"""On pure noise: how often is a p-value small, and how often is anything significant?

    python benchmarks/noise_calibration.py annotations     # the validator alone, minutes
    python benchmarks/noise_calibration.py texts           # HypothesisGenerator on reviews
    python benchmarks/noise_calibration.py splits          # the same over five splits
    python benchmarks/noise_calibration.py misleading      # where usual tests mislead, a minute

For each kind of target, y is drawn without any relation to the rows, 100 times. Printed are the
share of tested hypotheses whose regression p-value is below .05 (at most 7% is wanted), the
share whose p-value that decides is, and the share of runs in which any hypothesis is significant
after Bonferroni at .1 (at most 18% is wanted; 10% is what the level promises at most).

"annotations" draws annotations at prevalences from 1% to 40%, overlapping; with documents of
ten chunks each (and y a property of the document) also with groups. "texts" runs all steps on the
openings of IMDB reviews, and on long ones cut into ten chunks each. "splits" runs n_repeats=5 and
cv=5 on the openings: printed is how many ideas a run have a combined p-value below .05, of the
twenty hypotheses that each split tests (at most one is promised), and how often any is significant.
"misleading" has concepts that say nothing of y, but go with a covariate that acts on the logit,
with a larger variance of y, or meet a rare class in few rows.

Measured, 100 runs each, regression p < .05 / deciding p < .05 / any significant:

    openings, keyphrases    binary 4.4 / 4.4 / 5%   stars 5.7 / 5.7 / 10%  skewed 5.1 / 5.2 / 12%
    annotations, 640 rows   binary 4.4 / 4.4 / 6%   stars 4.1 / 4.1 / 7%   skewed 5.4 / 5.5 / 6%
    200 documents, groups   binary 5.5 / 4.6 / 17%  stars 8.1 / 5.2 / 5%   skewed 10.2 / 6.5 / 17%
    the same, no groups     binary 24.9 / 24.9 / 95%
"""

import argparse
import logging
import time
import warnings
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm
from sklearn.pipeline import Pipeline

from sklearn_hypsae import (
    EmbeddingTransformer,
    HypothesisGenerator,
    HypothesisValidator,
    make_hypothesis_pipeline,
)
from sklearn_hypsae.datasets import load_movie_reviews

TARGETS = {
    "binary": lambda rng, n: rng.integers(0, 2, n),
    "binary, 10% positive": lambda rng, n: (rng.random(n) < 0.1).astype(int),
    "five stars": lambda rng, n: rng.choice(5, n, p=[0.1, 0.1, 0.15, 0.25, 0.4]) + 1.0,
    "skewed (lognormal)": lambda rng, n: rng.lognormal(size=n),
    "skewed (lognormal, sigma 1.5)": lambda rng, n: rng.lognormal(sigma=1.5, size=n),
}
WITH_TEXTS = ("binary", "five stars", "skewed (lognormal)")
CHUNKS = 10
N_WORDS = 80


def draw_annotations(rng, n_documents, n_chunks, n_concepts=20):
    """Draw concepts that overlap, and that go by document in varying degree."""
    n_rows = n_documents * n_chunks
    prevalence = np.exp(rng.uniform(np.log(0.01), np.log(0.4), n_concepts))
    by_document = np.sqrt(rng.random(n_concepts)) if n_chunks > 1 else np.zeros(n_concepts)
    document = np.repeat(rng.normal(size=(n_documents, n_concepts)), n_chunks, axis=0)
    chunk = rng.normal(size=(n_rows, n_concepts))
    chunk = 0.4 * rng.normal(size=(n_rows, 1)) + np.sqrt(1 - 0.4**2) * chunk
    latent = by_document * document + np.sqrt(1 - by_document**2) * chunk
    return (latent < norm.ppf(prevalence)).astype(float)


def run_on_annotations(n_runs):
    settings = [
        ("640 rows", 640, 1, False),
        ("2,000 rows", 2000, 1, False),
        ("60 documents of 10 chunks, groups", 60, CHUNKS, True),
        ("200 documents of 10 chunks, groups", 200, CHUNKS, True),
        ("200 documents of 10 chunks, no groups", 200, CHUNKS, False),
    ]
    for setting, n_documents, n_chunks, with_groups in settings:
        documents = np.repeat(np.arange(n_documents), n_chunks)
        for target, draw in TARGETS.items():
            validators = []
            for seed in range(n_runs):
                rng = np.random.default_rng(seed)
                annotations = draw_annotations(rng, n_documents, n_chunks)
                y = draw(rng, n_documents)[documents]
                groups = documents if with_groups else None
                validator = HypothesisValidator(_task(y))
                validators.append(validator.fit(annotations, y, groups=groups))
            report(setting, target, validators)


def run_on_misleading(n_runs):
    settings = {
        "covariate on the logit": (covariate_on_the_logit, {}),
        "the same, groups of five": (covariate_on_the_logit, {"groups": np.arange(2000) // 5}),
        "the same, weights": (
            covariate_on_the_logit,
            {"sample_weight": np.random.default_rng(0).uniform(0.5, 1.5, 2000)},
        ),
        "twice the spread, one row in ten": (twice_the_spread, {}),
    }
    for n_rows, n_positive, prevalence, n_concepts in (
        (1000, 10, 0.025, 3),
        (1000, 10, 0.025, 8),
        (5000, 25, 0.005, 3),
    ):
        setting = f"{n_concepts} concepts, {prevalence:.1%} of {n_rows}, {n_positive} positive"
        settings[setting] = partial(rare_class, n_rows, n_positive, prevalence, n_concepts), {}
    for setting, (draw, options) in settings.items():
        validators = []
        for seed in range(n_runs):
            annotations, y, covariates = draw(np.random.default_rng(seed))
            validator = HypothesisValidator(_task(y))
            validators.append(validator.fit(annotations, y, covariates=covariates, **options))
        report(setting, "", validators)


def covariate_on_the_logit(rng):
    covariate = rng.normal(size=2000)
    y = rng.random(2000) < expit(2 * covariate)
    concept = (covariate > 1.8) | (rng.random(2000) < 0.02)
    return concept[:, None].astype(float), y, pd.DataFrame({"covariate": covariate})


def twice_the_spread(rng):
    concept = rng.random(1000) < 0.1
    return concept[:, None].astype(float), rng.normal(size=1000) * (1 + concept), None


def rare_class(n_rows, n_positive, prevalence, n_concepts, rng):
    concepts = rng.random((n_rows, n_concepts)) < prevalence
    return concepts.astype(float), rng.permutation(n_rows) < n_positive, None


def run_on_texts(n_runs):
    reviews = load_movie_reviews("imdb", n_samples=2000, random_state=0).texts
    openings = [" ".join(text.split()[:N_WORDS]) for text in reviews]
    openings = EmbeddingTransformer(verbose=True).fit_transform(openings)
    chunks, documents = cut_into_chunks(reviews)
    chunks = EmbeddingTransformer(verbose=True).fit_transform(chunks)
    alone = np.arange(len(openings))
    settings = [
        ("2,000 openings, keyphrases", openings, alone, {}, False),
        ("2,000 openings, neurons", openings, alone, {"interpret": "passthrough"}, False),
        ("2,000 chunks, keyphrases, groups", chunks, documents, {}, True),
        ("2,000 chunks, keyphrases, no groups", chunks, documents, {}, False),
    ]
    for setting, embeddings, units, parameters, with_groups in settings:
        for target in WITH_TEXTS:
            generators = []
            for seed in range(n_runs):
                y = TARGETS[target](np.random.default_rng(seed), units[-1] + 1)[units]
                pipeline = make_hypothesis_pipeline(M=64, K=4, task=_task(y))
                pipeline.set_params(sae__n_epochs=20, **parameters)
                generator = HypothesisGenerator(
                    Pipeline(pipeline.steps[1:]), validation_size=0.5, random_state=seed
                )
                groups = units if with_groups else None
                generators.append(generator.fit(embeddings, y, groups=groups))
            report(setting, target, generators)


def run_on_splits(n_runs):
    reviews = load_movie_reviews("imdb", n_samples=2000, random_state=0).texts
    openings = [" ".join(text.split()[:N_WORDS]) for text in reviews]
    embeddings = EmbeddingTransformer(verbose=True).fit_transform(openings)
    for name, settings in (("n_repeats=5", {"n_repeats": 5}), ("cv=5", {"cv": 5})):
        fitted = []
        for seed in range(n_runs):
            y = TARGETS["binary"](np.random.default_rng(seed), len(openings))
            pipeline = make_hypothesis_pipeline(M=64, K=4, task="classification")
            pipeline.set_params(sae__n_epochs=20)
            generator = HypothesisGenerator(pipeline[1:], random_state=seed, **settings)
            fitted.append(generator.fit(embeddings, y))
        n_found = np.concatenate([each.hypotheses_["n_found"] for each in fitted])
        n_small = [np.sum(each.hypotheses_["regression_pval"] < 0.05) for each in fitted]
        any_significant = np.mean([each.metrics_["n_significant"] > 0 for each in fitted])
        print(
            f"{name:12} {n_runs} runs   ideas a run {len(n_found) / n_runs:5.1f}, found in three "
            f"or more of five {np.sum(n_found >= 3) / n_runs:4.1f}   combined p < .05 "
            f"{np.mean(n_small):.2f} a run   any significant {any_significant:4.0%}",
            flush=True,
        )


def cut_into_chunks(reviews, n_documents=200):
    """Cut the longest reviews into ten runs of words each."""
    longest = sorted(reviews, key=len)[-n_documents:]
    chunks = [
        " ".join(words)
        for text in longest
        for words in np.array_split(np.array(text.split(), dtype=object), CHUNKS)
    ]
    return chunks, np.repeat(np.arange(n_documents), CHUNKS)


def _task(y):
    return "classification" if len(np.unique(y)) == 2 else "regression"


def report(setting, target, fitted):
    tables = pd.concat([each.hypotheses_ for each in fitted])
    tested = tables[tables["regression_pval"].notna()]
    deciding = tested["permutation_pval"].fillna(tested["regression_pval"])
    any_significant = np.mean([each.metrics_["n_significant"] > 0 for each in fitted])
    print(
        f"{setting:38} {target:30} tested {len(tested) / len(fitted):5.1f} a run   "
        f"regression p < .05 {np.mean(tested['regression_pval'] < 0.05):6.1%}   "
        f"deciding p < .05 {np.mean(deciding < 0.05):6.1%}   "
        f"any significant {any_significant:4.0%}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["annotations", "texts", "splits", "misleading"])
    parser.add_argument("--n-runs", type=int, default=100)
    args = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    warnings.simplefilter("ignore")  # that there is no signal is the point
    start = time.perf_counter()
    runs = {
        "annotations": run_on_annotations,
        "texts": run_on_texts,
        "splits": run_on_splits,
        "misleading": run_on_misleading,
    }
    runs[args.what](args.n_runs)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
