"""Time to select 20 of 4,096 neurons over 100,000 rows, ours beside the peer's.

    OPENAI_KEY_SAE=unused python benchmarks/selection_speed.py

The peer (``hypothesaes`` 2.0.1) is timed where it is installed; it takes dense arrays only.
"""

import argparse
import time

import numpy as np
import scipy.sparse as sp

from sklearn_hypsae import NeuronSelector


def sparse_activations(n_samples, n_neurons, n_active, seed=0):
    rng = np.random.RandomState(seed)
    rows = np.repeat(np.arange(n_samples), n_active)
    columns = rng.randint(0, n_neurons, n_samples * n_active)
    values = rng.exponential(size=len(rows)).astype(np.float32)
    activations = sp.csr_array((values, (rows, columns)), shape=(n_samples, n_neurons))
    y = activations[:, :30].sum(axis=1) + rng.normal(size=n_samples)
    return activations, y


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--neurons", type=int, default=4096)
    args = parser.parse_args()
    activations, y = sparse_activations(args.rows, args.neurons, n_active=8)
    try:
        from hypothesaes.select_neurons import select_neurons
    except ImportError:
        select_neurons = None
    print(f"{'method':20} {'ours, s':>10} {'peer, s':>10} {'ratio':>8}")
    for method in ("correlation", "separation_score", "lasso", "forward", "mrmr"):
        ours = min(
            seconds(lambda m=method: NeuronSelector(method=m).fit(activations, y)) for _ in range(3)
        )
        line = f"{method:20} {ours:10.2f}"
        # The peer has no stepwise method, and its twenty lasso refits on a dense matrix of this
        # size take far too long.
        if select_neurons is not None and method in ("correlation", "separation_score"):
            dense = activations.toarray()
            peer = seconds(lambda m=method, X=dense: select_neurons(X, y, 20, method=m))
            line += f" {peer:10.2f} {peer / ours:8.0f}"
        print(line)


if __name__ == "__main__":
    main()
