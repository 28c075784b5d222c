"""Sparse activations of which some carry a target: the inputs of the parity tests."""

import numpy as np


def planted_activations(task, *, n_samples=2000, n_neurons=256, n_active=8, seed=0):
    """Draw activations with ``n_active`` of ``n_neurons`` firing a row, and a target.

    Thirty neurons carry effects of falling size, so that a selection of twenty has to rank.
    """
    rng = np.random.RandomState(seed)
    activations = np.zeros((n_samples, n_neurons))
    for row in activations:
        row[rng.choice(n_neurons, n_active, replace=False)] = rng.exponential(size=n_active)
    effects = np.zeros(n_neurons)
    effects[:30] = rng.choice([-1, 1], 30) * np.linspace(2, 0.3, 30)
    signal = activations @ effects + rng.normal(scale=0.5, size=n_samples)
    y = signal if task == "regression" else (signal > np.median(signal)).astype(float)
    return activations, y
