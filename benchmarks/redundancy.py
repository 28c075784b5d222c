"""On film reviews: how many of twenty hypotheses repeat another, and does leaving them out cost?

    python benchmarks/redundancy.py

For each seed, once with neurons that fire on the same rows kept (max_correlation=1) and once with
them passed over (the default): how many of the twenty selected neurons repeat one before them
(correlation above .8 on all rows), the held-out AUC of the neurons, and that of the keyphrase
hypotheses. With a target in the autoencoder's loss (target_coef) neurons repeat one another more.
"""

import argparse
import tempfile
import warnings

import numpy as np
from sklearn.pipeline import Pipeline

from sklearn_hypsae import EmbeddingTransformer, HypothesisGenerator, make_hypothesis_pipeline
from sklearn_hypsae.datasets import load_movie_reviews


def n_repeating(columns):
    """Count columns that go with an earlier one."""
    correlations = np.triu(np.corrcoef(columns.T), k=1)
    return int(np.sum(correlations.max(axis=0) > 0.8))


def run(embeddings, y, memory, *, target_coef, max_correlation, seed):
    pipeline = make_hypothesis_pipeline(M=256, K=8, task="classification")
    pipeline.set_params(
        sae__target_coef=target_coef,
        sae__n_epochs=30,
        select__max_correlation=max_correlation,
    )
    # The autoencoder of a seed is trained once.
    pipeline = Pipeline(pipeline.steps[1:], memory=memory)
    words = HypothesisGenerator(pipeline, random_state=seed).fit(embeddings, y)
    pipeline.set_params(interpret="passthrough")
    neurons = HypothesisGenerator(pipeline, random_state=seed).fit(embeddings, y)
    selected = neurons.pipeline_[:2].transform(embeddings)
    return (
        n_repeating(np.asarray(selected)),
        neurons.metrics_["auc_cv"],
        words.metrics_["auc_cv"],
        words.metrics_["n_significant"],
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    reviews = load_movie_reviews("rotten_tomatoes")
    embeddings = EmbeddingTransformer().fit_transform(reviews.texts)
    print("target_coef  repeats  repeat another of 20  AUC of neurons  AUC in words  significant")
    memory = tempfile.TemporaryDirectory()
    for target_coef in (0.0, 0.3):
        for name, max_correlation in (("kept", 1.0), ("passed", 0.8)):
            rows = [
                run(
                    embeddings,
                    reviews.y,
                    memory.name,
                    target_coef=target_coef,
                    max_correlation=max_correlation,
                    seed=seed,
                )
                for seed in range(args.seeds)
            ]
            means = np.mean(rows, axis=0)
            print(
                f"{target_coef:11} {name:>8} {means[0]:21.1f} {means[1]:15.3f} {means[2]:13.3f} "
                f"{means[3]:12.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
