"""Rows with known concepts in them, and a small autoencoder that finds them."""

import numpy as np
from skorch.callbacks import Callback

from sklearn_hypsae.sae import SparseAutoencoderTransformer

N_CONCEPTS, N_FEATURES = 24, 32
VARIANTS = {
    "topk": {},
    "matryoshka": {"matryoshka_prefix_lengths": [8, 48]},
    "batch_topk": {"batch_topk": True},
    "both": {"matryoshka_prefix_lengths": [8, 48], "batch_topk": True},
    "multi_k": {"multi_coef": 0.25},
    "signed": {"signed": True},
    "signed_batch_topk": {"signed": True, "batch_topk": True},
}


def planted(n_rows, seed):
    """Rows that are sums of three of 24 directions, a mean and a little noise."""
    directions = np.random.default_rng(7).normal(size=(N_CONCEPTS, N_FEATURES))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    codes = np.zeros((n_rows, N_CONCEPTS))
    for row in codes:
        row[rng.choice(N_CONCEPTS, 3, replace=False)] = rng.uniform(1, 2, 3)
    X = codes @ directions + 0.3 + 0.05 * rng.normal(size=(n_rows, N_FEATURES))
    return X.astype(np.float32), codes


def make(**parameters):
    defaults = {"M": 48, "K": 4, "n_epochs": 40, "learning_rate": 3e-3, "random_state": 0}
    return SparseAutoencoderTransformer(**{**defaults, **parameters})


class Forbidden(Callback):
    """Fails where training begins."""

    def initialize(self):
        raise AssertionError("training began")
