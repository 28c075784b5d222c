"""Milliseconds per training step, ours beside hypothesaes 2.0.1, same data, machine and threads.

    python benchmarks/autoencoder_speed.py --peer-python PATH

PATH is the Python of an environment with hypothesaes; without it, the peer is imported where it
is installed and left out elsewhere. A step is everything the training loop does for a batch:
data loading, forward, backward, clipping, optimiser, normalisation. The floor is one product of
the batch with the encoder and one top-k. Each figure is the median over steps and interleaved
rounds, so that a busy machine troubles both alike; where it is so busy that nothing else helps,
``--busy`` takes processor time, one thread and the fastest step.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np

clock, typical = time.perf_counter, np.median
SETTINGS = [(384, 256, 8), (384, 1024, 8), (1536, 4096, 32)]
BATCH_SIZE = 512


def rows(d, n_steps, seed=0):
    X = np.random.default_rng(seed).standard_normal((n_steps * BATCH_SIZE, d), dtype=np.float32)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


class Steps:
    """Milliseconds from the beginning of each step to that of the next."""

    def __init__(self):
        self.began, self.ms = None, []

    def begin(self):
        now = clock()
        if self.began is not None:
            self.ms.append(1e3 * (now - self.began))
        self.began = now


def ours(d, M, K, n_steps, n_epochs):
    from skorch.callbacks import Callback

    from sklearn_hypsae import SparseAutoencoderTransformer

    class Watch(Callback):
        def on_batch_begin(self, net, **kwargs):
            steps.begin()

    steps = Steps()
    SparseAutoencoderTransformer(
        M,
        K,
        patience=None,
        n_epochs=n_epochs + 1,
        device="cpu",
        random_state=0,
        callbacks=[Watch()],
    ).fit(rows(d, n_steps))
    return typical(steps.ms[n_steps:])


def peer(d, M, K, n_steps, n_epochs):
    import torch
    from hypothesaes.sae import SparseAutoencoder

    steps = Steps()
    sae = SparseAutoencoder(d, M, K, device="cpu")
    # Its initialisation is no part of a step.
    sae.initialize_weights_ = lambda X: None
    sae.register_forward_pre_hook(lambda *_: steps.begin())
    sae.fit(torch.from_numpy(rows(d, n_steps)), n_epochs=n_epochs + 1, show_progress=False)
    return typical(steps.ms[n_steps:])


def floor(d, M, K, n_steps, n_epochs):
    import torch

    x, weight = torch.randn(BATCH_SIZE, d), torch.randn(M, d)
    steps = Steps()
    for _ in range(n_steps * n_epochs):
        steps.begin()
        torch.topk(x @ weight.T, K, dim=1, sorted=False)
    return typical(steps.ms)


def ours_fit(n_rows, seed):
    from sklearn_hypsae import SparseAutoencoderTransformer

    X = rows(384, -(-n_rows // BATCH_SIZE))[:n_rows]
    # The first fit imports torch; the peer has done so when it is imported.
    SparseAutoencoderTransformer(8, 2, n_epochs=1, patience=None).fit(X[:100])
    began = clock()
    SparseAutoencoderTransformer(
        256, 8, n_epochs=20, patience=None, device="cpu", random_state=seed
    ).fit(X)
    return clock() - began


def peer_fit(n_rows, seed):
    import torch
    from hypothesaes.sae import SparseAutoencoder

    X = torch.from_numpy(rows(384, -(-n_rows // BATCH_SIZE))[:n_rows])
    torch.manual_seed(seed)
    began = clock()
    SparseAutoencoder(384, 256, 8, device="cpu").fit(X, n_epochs=20, show_progress=False)
    return clock() - began


MEASURES = {f.__name__: f for f in (ours, peer, floor, ours_fit, peer_fit)}


def measure(python, name, arguments, threads):
    """Run one measurement in a process of its own; None where the peer is not installed."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "OPENAI_KEY_SAE": "none",
        "PYTHONWARNINGS": "ignore",
    }
    command = [python, __file__, "--measure", name, *map(str, arguments)]
    command += ["--busy"] * (clock is time.process_time)
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "No module named 'hypothesaes'" in run.stderr:
        return None
    if run.returncode:
        raise RuntimeError(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])


def compare(peer_python, settings, threads, n_rounds):
    print(
        f"{'d, M, K':>16} {'ours ms':>9} {'peer ms':>9} {'ratio':>6} {'floor ms':>9} {'share':>9}"
    )
    for d, M, K in settings:
        arguments = (d, M, K, 8 if d == 384 else 4, 16 if d == 384 else 3)
        figures = {"ours": [], "peer": [], "floor": []}
        for _ in range(n_rounds):
            for name in figures:
                python = peer_python if name == "peer" else sys.executable
                figures[name].append(measure(python, name, arguments, threads))
        our_ms, floor_ms = (float(np.median(figures[name])) for name in ("ours", "floor"))
        found = [value for value in figures["peer"] if value is not None]
        peer_ms = float(np.median(found)) if found else float("nan")
        print(
            f"{f'{d}, {M}, {K}':>16} {our_ms:9.2f} {peer_ms:9.2f} {peer_ms / our_ms:6.1f} "
            f"{floor_ms:9.2f} {floor_ms / our_ms:9.0%}",
            flush=True,
        )
    seconds = {"ours_fit": [], "peer_fit": []}
    for seed in range(n_rounds):
        for name in seconds:
            python = peer_python if name == "peer_fit" else sys.executable
            seconds[name].append(measure(python, name, (6500, seed), threads))
    ours_s = np.median(seconds["ours_fit"])
    peer_s = np.median([s for s in seconds["peer_fit"] if s is not None] or [np.nan])
    print(
        f"fit, 6,500 rows, 20 epochs, (384, 256, 8): ours {ours_s:.2f} s, peer {peer_s:.2f} s, "
        f"ratio {peer_s / ours_s:.1f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settings", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument(
        "--busy", action="store_true", help="processor time of one thread, least of all steps"
    )
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.busy:
        clock, typical, options.threads = time.process_time, np.min, 1
    if options.measure:
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        name, *arguments = options.measure
        print(json.dumps(float(MEASURES[name](*map(int, arguments)))))
    else:
        chosen = [SETTINGS[i] for i in options.settings]
        compare(options.peer_python, chosen, options.threads, options.rounds)
