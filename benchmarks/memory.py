"""Memory of fit and transform on rows larger than memory, and what shuffling from disk costs.

    python benchmarks/memory.py --gigabytes 10

Writes a temporary file of float32 rows (half that size in float16) in an order that is unkind to
whoever reads it in order: neighbouring rows share their directions. RssAnon is what the
process holds beside mapped pages; its growth is counted from where a small fit and transform
have left it. Then, on ``--compare-gigabytes``, the FVU of streamed training beside the same rows
shuffled as a whole in memory.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from scipy import sparse

from sklearn_hypsae import SparseAutoencoderTransformer
from sklearn_hypsae.autoencoder import source

D, N_DIRECTIONS, N_ACTIVE, WINDOW = 384, 512, 8, 64
N_ROWS_PER_BLOCK = 2**16


def write_rows(path, n_rows, dtype):
    """Rows that are sums of a few directions, drawn from a window that moves along the file."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((N_DIRECTIONS, D), dtype=np.float32) / np.sqrt(D)
    with open(path, "wb") as file:
        for start in range(0, n_rows, N_ROWS_PER_BLOCK):
            n = min(N_ROWS_PER_BLOCK, n_rows - start)
            first = (np.arange(start, start + n) * N_DIRECTIONS // n_rows)[:, None]
            chosen = (first + rng.integers(0, WINDOW, (n, N_ACTIVE))) % N_DIRECTIONS
            strength = rng.uniform(0.5, 1.5, chosen.size).astype(np.float32)
            ends = np.arange(0, chosen.size + 1, N_ACTIVE)
            codes = sparse.csr_array((strength, chosen.ravel(), ends), shape=(n, N_DIRECTIONS))
            noise = rng.standard_normal((n, D), dtype=np.float32)
            (codes @ directions + 0.1 * noise).astype(dtype).tofile(file)
    return np.memmap(path, dtype=dtype, mode="r", shape=(n_rows, D))


def anonymous_megabytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no RssAnon: this benchmark needs Linux.")


class Watch:
    """Peak of anonymous memory and seconds while a block runs."""

    def __enter__(self):
        self.before = self.peak = anonymous_megabytes()
        self.began, self.done = time.perf_counter(), threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def _look(self):
        while not self.done.wait(0.02):
            self.peak = max(self.peak, anonymous_megabytes())

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.growth = self.peak - self.before
        self.seconds = time.perf_counter() - self.began


def autoencoder(n_epochs, **parameters):
    return SparseAutoencoderTransformer(
        1024, 8, n_epochs=n_epochs, sparse_output=True, **{"random_state": 0, **parameters}
    )


def measure(label, X, n_epochs):
    sae = autoencoder(n_epochs)
    with Watch() as fit:
        sae.fit(X)
    with Watch() as transform:
        codes = sae.transform(X)
    result = sum(part.nbytes for part in (codes.data, codes.indices, codes.indptr)) / 2**20
    print(
        f"{label:>24} {codes.shape[0]:>10,} {fit.growth:>8.0f} {transform.growth:>10.0f} "
        f"{result:>8.0f} {fit.seconds:>7.0f} {transform.seconds:>11.0f}",
        flush=True,
    )


def compare(folder, gigabytes, n_epochs, n_seeds):
    n_rows = int(gigabytes * 2**30 / 4 / D)
    X = write_rows(Path(folder) / "compared.bin", n_rows, np.float32)
    held_out = np.array(X[::20])
    fvu, usual = {"streamed": [], "in memory": []}, source.LARGEST_IN_MEMORY
    for seed in range(n_seeds):
        for way, limit in (("streamed", 0), ("in memory", 2**62)):
            source.LARGEST_IN_MEMORY = limit
            sae = autoencoder(n_epochs, patience=None, random_state=seed).fit(X)
            fvu[way].append(1 - sae.score(held_out))
    source.LARGEST_IN_MEMORY = usual
    streamed, in_memory = (np.mean(values) for values in fvu.values())
    print(
        f"FVU, {n_rows:,} rows, {n_epochs} epochs, {n_seeds} seeds: streamed {streamed:.4f}, "
        f"in memory {in_memory:.4f}, ratio {streamed / in_memory:.4f}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--compare-gigabytes", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--dtypes", nargs="*", default=["float32", "float16"])
    parser.add_argument("--folder", default=None, help="where the temporary files go")
    options = parser.parse_args()
    small = np.random.default_rng(0).standard_normal((8192, D), dtype=np.float32)
    autoencoder(1).fit(small).transform(small)
    n_rows = int(options.gigabytes * 2**30 / 4 / D)
    print(
        f"{'':>24} {'rows':>10} {'fit, MB':>8} {'transf, MB':>10} {'result':>8} {'fit, s':>7} "
        f"{'transform, s':>11}"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.compare_gigabytes:
            compare(folder, options.compare_gigabytes, 3, options.seeds)
        for dtype in options.dtypes:
            path = Path(folder) / "rows.bin"
            X = write_rows(path, n_rows, dtype)
            measure(f"{dtype} memmap", X, options.epochs)
            measure(f"{dtype}, ten shards", np.array_split(X, 10), options.epochs)
            path.unlink()
