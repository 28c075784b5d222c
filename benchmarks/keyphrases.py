"""Hypotheses in words without a language model, beside two yardsticks and the ceiling.

    python benchmarks/keyphrases.py                          # Rotten Tomatoes and IMDB
    python benchmarks/keyphrases.py --yelp yelp.json         # also Yelp reviews and their stars
    python benchmarks/keyphrases.py --show                   # also the hypotheses themselves

Everything is learned on training rows; phrases are matched on held-out rows, where 20 columns
of 0 and 1 predict y, cross-fitted over five folds: AUC, or R² for stars. The yardsticks need no
autoencoder: the 20 one- and two-word n-grams most correlated with y, and 20 lists of up to 15
n-grams put together for y alone. The ceiling is a linear probe on the embeddings.

Columns, each a mean over seeds (of the split and of the autoencoder): held-out score and its
range; significant hypotheses after Bonferroni at .1; correlation of a list with its neuron on
held-out rows; the score of the neurons themselves; the mean absolute correlation of two neurons;
hypotheses whose phrases speak for a higher y; phrases a list, all forms counted; share of texts a
list is found in; mean cosine of phrase embeddings within and between lists; seconds to learn and
match.
"""

import argparse
import json
import time
import warnings

import numpy as np
import pandas as pd

from sklearn_hypsae import (
    EmbeddingTransformer,
    HypothesisValidator,
    NeuronSelector,
    SparseAutoencoderTransformer,
)
from sklearn_hypsae._keyphrases import (
    _correlation_z,
    _GrowingList,
    _standardised,
    all_forms,
    learn_keyphrases,
    match_phrases,
    phrases_to_hypothesis,
)
from sklearn_hypsae._phrases import find_phrases
from sklearn_hypsae._probe import probe_signal
from sklearn_hypsae.datasets import load_movie_reviews

N_HYPOTHESES = 20
M, K = 256, 8


WAYS = {  # name: target_coef, selection, options of learn_keyphrases
    "plain SAE, neuron alone": (0.0, "correlation", {"neuron_weight": 1.0}),
    "plain SAE": (0.0, "correlation", {}),
    "plain SAE, balanced": (0.0, "balanced_correlation", {}),
    "target_coef=.3, balanced": (0.3, "balanced_correlation", {}),
    "target_coef=1": (1.0, "correlation", {}),
    "target_coef=1, balanced (default)": (1.0, "balanced_correlation", {}),
    "the same, at most 10 phrases": (1.0, "balanced_correlation", {"max_phrases": 10}),
}


def load_data(yelp):
    """Name, texts, y, number of training rows and task of each data set."""
    tomatoes = load_movie_reviews("rotten_tomatoes")
    imdb = load_movie_reviews("imdb", n_samples=5000, random_state=0)
    yield "Rotten Tomatoes", list(tomatoes.texts), tomatoes.y.astype(float), 6500, "classification"
    yield "IMDB", list(imdb.texts), imdb.y.astype(float), 3500, "classification"
    if yelp:
        with open(yelp, encoding="utf-8") as lines:
            reviews = [json.loads(line) for line in lines]
        stars = np.array([review["stars"] for review in reviews], dtype=float)
        n_train = 3 * len(reviews) // 4
        yield "Yelp", [review["text"] for review in reviews], stars, n_train, "regression"


def embed(texts):
    return EmbeddingTransformer(text_index=False, verbose=True).fit(texts).transform(texts)


def single_ngrams(texts, y):
    """The n-grams most correlated with y, one a hypothesis."""
    occurs, phrases, _ = find_phrases(texts, (1, 2), min_df=3)
    strength = np.abs(np.nan_to_num(_correlation_z(occurs, _standardised(y[:, None]))[0]))
    return [[phrases[i]] for i in np.argsort(-strength)[:N_HYPOTHESES]]


def lists_for_target(texts, y):
    """Lists put together for y alone, one after the other."""
    occurs, phrases, _ = find_phrases(texts, (1, 2), min_df=3)
    target = _standardised(y[:, None])
    strength = np.nan_to_num(_correlation_z(occurs, target)[0])
    free = np.ones(len(phrases), dtype=bool)
    lists = []
    for _ in range(N_HYPOTHESES):
        direction = np.sign(strength[np.argmax(np.abs(strength) * free)])
        growing = _GrowingList(
            occurs, None, np.flatnonzero(free), direction * target.ravel(), 0.002
        )
        while len(growing.chosen) < 15 and growing.add_best(free):
            pass
        lists.append([phrases[i] for i in growing.chosen])
    return lists


def predictive_score(columns, y, task):
    names = [str(i) for i in range(columns.shape[1])]
    validator = HypothesisValidator(task=task).fit(pd.DataFrame(columns, columns=names), y)
    metrics = validator.metrics_
    return metrics.get("auc_cv", metrics.get("r2_cv")), metrics["n_significant"]


def row_correlation(left, right):
    left, right = _standardised(left), _standardised(right)
    return float((left * right).mean(axis=0).mean())


def overlap(neurons):
    """Mean absolute correlation of two selected neurons: copies would have 1."""
    correlations = np.abs(np.corrcoef(neurons.T))
    return correlations[np.triu_indices(len(correlations), 1)].mean()


def coherence(lists, vector_of):
    """Mean cosine of phrases within a list, and between one list and another."""
    owner = np.repeat(np.arange(len(lists)), [len(phrases) for phrases in lists])
    vectors = np.array([vector_of[phrase] for phrases in lists for phrase in phrases])
    cosines, same = vectors @ vectors.T, owner[:, None] == owner
    return cosines[same & ~np.eye(len(owner), dtype=bool)].mean(), cosines[~same].mean()


def measure(way, lists, seconds, train, held_out, task, neurons=None):
    """One row of the table: what the lists say on rows that nothing was learned on."""
    texts, y = held_out
    start = time.perf_counter()
    matches = match_phrases(texts, lists)
    seconds += time.perf_counter() - start
    score, n_significant = predictive_score(matches, y, task)
    on_train = match_phrases(train[0], lists)
    return {
        "way": way,
        "score": score,
        "significant": n_significant,
        "with neuron": np.nan if neurons is None else row_correlation(matches, neurons),
        "neurons": np.nan if neurons is None else predictive_score(neurons, y, task)[0],
        "overlap": np.nan if neurons is None else overlap(neurons),
        "for y": int((_standardised(on_train).T @ _standardised(train[1][:, None]) > 0).sum()),
        "phrases": np.mean([len(phrases) for phrases in lists]),
        "prevalence": matches.mean(),
        "seconds": seconds,
        "lists": lists,
    }


def timed(function, *args, **kwargs):
    start = time.perf_counter()
    return function(*args, **kwargs), time.perf_counter() - start


def run_seed(seed, texts, y, embeddings, n_train, task):
    order = np.random.RandomState(seed).permutation(len(texts))
    rows = order[:n_train], order[n_train:]
    train, held_out = (([texts[i] for i in part], y[part]) for part in rows)
    for way, learn in {
        "20 single n-grams": single_ngrams,
        "20 lists put together for y": lists_for_target,
    }.items():
        yield measure(way, *timed(learn, *train), train, held_out, task)
    activations = {}
    for way, (coef, selection, options) in WAYS.items():
        if coef not in activations:
            sae = SparseAutoencoderTransformer(M, K, target_coef=coef, random_state=seed)
            activations[coef] = sae.fit(embeddings[rows[0]], train[1]).transform(embeddings)
        selector = NeuronSelector(N_HYPOTHESES, method=selection)
        selector.fit(activations[coef][rows[0]], train[1])
        neurons = activations[coef][:, selector.selected_].astype(np.float64)
        words, seconds = timed(learn_keyphrases, train[0], neurons[rows[0]], train[1], **options)
        lists = all_forms(words)
        wording = [phrases_to_hypothesis(phrases) for phrases in words if phrases]
        yield {"wording": wording} | measure(
            way, lists, seconds, train, held_out, task, neurons[rows[1]]
        )
    yield shuffled(seed, train, held_out, embeddings[rows[0]], task)
    ceiling = probe_signal(
        (embeddings[rows[0]], train[1]),
        (embeddings[rows[1]], held_out[1]),
        task=task,
        rng=np.random.RandomState(seed),
    )
    yield {"way": "ceiling: probe on embeddings", "score": ceiling["score"]}


def shuffled(seed, train, held_out, embeddings, task):
    """The whole way on a target that says nothing: it has to stay at chance."""
    rng = np.random.RandomState(seed)
    noise, held_out_noise = rng.permutation(train[1]), rng.permutation(held_out[1])
    sae = SparseAutoencoderTransformer(M, K, target_coef=1.0, random_state=seed)
    activations = sae.fit_transform(embeddings, noise)
    neurons = NeuronSelector(N_HYPOTHESES, method="balanced_correlation").fit_transform(
        activations, noise
    )
    words, seconds = timed(learn_keyphrases, train[0], neurons, noise)
    lists = all_forms(words)
    way = "the default on shuffled y"
    return measure(way, lists, seconds, (train[0], noise), (held_out[0], held_out_noise), task)


def with_coherence(results):
    phrases = sorted({p for row in results for phrases in row.get("lists", []) for p in phrases})
    vector_of = dict(zip(phrases, embed(phrases), strict=True))
    for row in results:
        if len(row.get("lists", [])) and max(map(len, row["lists"])) > 1:
            row["within"], row["between"] = coherence(row["lists"], vector_of)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--yelp", help="Yelp reviews, one JSON object with text and stars a line")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--show", action="store_true", help="print the hypotheses of the first seed"
    )
    arguments = parser.parse_args()
    # Rare phrases are reported untested, and noise is no signal: both are seen in the table.
    warnings.simplefilter("ignore")
    for name, texts, y, n_train, task in load_data(arguments.yelp):
        embeddings = embed(texts)
        by_seed = [
            list(run_seed(seed, texts, y, embeddings, n_train, task)) for seed in arguments.seeds
        ]
        frame = pd.DataFrame(with_coherence([row for rows in by_seed for row in rows]))
        groups = frame.drop(columns=["lists", "wording"]).groupby("way", sort=False)
        table = groups.mean()
        low, high = groups["score"].min(), groups["score"].max()
        table.insert(1, "range", [f"{a:.3f}-{b:.3f}" for a, b in zip(low, high, strict=True)])
        print(f"\n{name}: {n_train:,} training and {len(texts) - n_train:,} held-out rows")
        print(table.to_string(float_format=lambda value: f"{value:.3f}", na_rep=""), flush=True)
        if arguments.show:
            for row in by_seed[0][2:-1]:
                print(f"\n{row['way']}")
                print("\n".join("  " + wording for wording in row.get("wording", [])))


if __name__ == "__main__":
    main()
