"""What the tests of pairs share."""

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.pipeline import Pipeline

from sklearn_hypsae import (
    EmbeddingTransformer,
    HypothesisValidator,
    LLMInterpreter,
    NeuronSelector,
    SparseAutoencoderTransformer,
)


def numbered_pairs(n):
    """Distinct pairs of texts."""
    return np.array([[f"first {i}", f"second {i}"] for i in range(n)], dtype=object)


def swapped(frame, y, rows, *, binary):
    """The same pairs, of some of which the texts have changed places."""
    sign = np.where(rows, -1.0, 1.0)
    index = [pair[::-1] if swap else pair for pair, swap in zip(frame.index, rows, strict=True)]
    index = pd.MultiIndex.from_tuples(index, names=frame.index.names)
    y = np.where(rows, 1 - y if binary else -y, y)
    return frame.mul(sign, axis=0).set_axis(index), y


def embed_words(texts):
    """Counts of hashed words: fast, and enough to tell concepts apart."""
    return HashingVectorizer(n_features=64, norm=None).transform(texts).toarray()


def word_pipeline(task="auto", n_select=6):
    sae = SparseAutoencoderTransformer(
        24, 3, signed=True, target_coef=1.0, n_epochs=30, batch_size=64, random_state=0
    )
    return Pipeline(
        [
            ("embed", EmbeddingTransformer(embed_words)),
            ("sae", sae),
            ("select", NeuronSelector(n_select, task=task)),
            ("interpret", LLMInterpreter(random_state=0)),
            ("validate", HypothesisValidator(task)),
        ]
    )


def swap_texts(pairs, y, rows, *, binary):
    """The same pairs of texts, of some of which the texts have changed places."""
    X = pairs.copy()
    X.loc[rows] = pairs.loc[rows].to_numpy()[:, ::-1]
    return X, np.where(rows, 1 - y if binary else -y, y)


def worded_pairs(n=200, seed=0):
    """Pairs that share a topic, of which a neuron favours the text with the word "dog"."""
    rng = np.random.default_rng(seed)
    topics = ["garden", "river", "winter", "market"]
    rows, activations = [], []
    for i in range(n):
        has = rng.random(2) < 0.5
        topic = topics[i % 4]
        rows.append([f"the {topic} {i} {'dog' if has[j] else 'cat'} number {j}" for j in range(2)])
        activations.append(float(has[0]) - float(has[1]))
    return np.array(rows, dtype=object), np.array(activations)[:, None]
