"""SparseAutoencoderTransformer on rows that do not fit into memory: maps, shards, streams."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from planted_rows import N_FEATURES, VARIANTS, Forbidden, make, planted
from scipy import sparse
from skorch.callbacks import Callback


@pytest.fixture(scope="module")
def rows():
    return planted(1500, 0)[0]


@pytest.fixture(scope="module")
def new_rows():
    return planted(1000, 1)[0]


@pytest.fixture
def streamed(monkeypatch):
    """Treat every memory map as larger than memory, with many pools an epoch."""
    from sklearn_hypsae.autoencoder import iterators, source

    monkeypatch.setattr(source, "LARGEST_IN_MEMORY", 0)
    monkeypatch.setattr(iterators.StreamedRows, "POOL_BYTES", 4 * N_FEATURES * 700)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("kind", ["memmap", "shards"])
def test_rows_larger_than_memory_train_as_well_as_in_memory(
    streamed, kind, dtype, new_rows, tmp_path
):
    rows = planted(4000, 2)[0].astype(dtype)
    rows.tofile(tmp_path / "rows.bin")
    X = np.memmap(tmp_path / "rows.bin", dtype=dtype, mode="r", shape=rows.shape)
    if kind == "shards":
        X = [X[:1000], X[1000:1007], rows[1007:]]
    sae = make(batch_size=256).fit(X)
    in_memory = make(batch_size=256).fit(rows)
    assert 1 - sae.score(new_rows) < 1.03 * (1 - in_memory.score(new_rows)) + 0.002
    # Shards are multiplied in blocks of other sizes, which rounds differently with threads.
    np.testing.assert_allclose(sae.transform(X), sae.transform(rows), atol=1e-4)
    assert sae.score(X) == pytest.approx(sae.score(rows), abs=1e-6)
    codes = sae.set_params(sparse_output=True).transform(X)
    assert isinstance(codes, sparse.csr_array) and codes.shape == (4000, 48)


def test_a_streamed_epoch_visits_every_training_row_once_in_mixed_order(streamed):
    from sklearn_hypsae.autoencoder.iterators import StreamedRows, StreamIterator
    from sklearn_hypsae.autoencoder.source import Source

    X = np.repeat(np.arange(2000, dtype=np.float32)[:, None], N_FEATURES, axis=1)
    kept = np.arange(2000) % 10 > 0
    rows = StreamedRows(Source([X]), kept, 1.0, np.zeros((2000, 0), np.float32), "cpu")
    batches = [x[:, 0].numpy() for x, _ in StreamIterator(rows, 128, np.random.RandomState(0))]
    assert np.array_equal(np.sort(np.concatenate(batches)), np.flatnonzero(kept))
    assert [len(batch) for batch in batches[:-1]] == [128] * (len(batches) - 1)
    assert np.mean([batch.std() for batch in batches[:-1]]) > 450


def test_a_bad_row_of_a_shard_is_named_by_its_position_in_all(rows):
    bad = rows[:20].copy()
    bad[3] = np.nan
    with pytest.raises(ValueError, match="NaN in 1 of 120 rows, first at position 103"):
        make().fit([rows[:100], bad])
    with pytest.raises(ValueError, match="one number of columns"):
        make().fit([rows[:10], rows[:10, :5]])
    with pytest.raises(ValueError, match=r"two-dimensional arrays, got .* \(32,\) as part 1"):
        make().fit([rows[:10], rows[0]])
    with pytest.raises(ValueError, match="two-dimensional arrays, got list as part 0"):
        make().fit([[1.0, 2.0], rows[:10]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_bad_row_of_a_memory_map_is_named_before_training(dtype, rows, tmp_path):
    X = np.memmap(tmp_path / "rows.bin", dtype=dtype, mode="w+", shape=rows.shape)
    X[:] = rows
    X[1234, 5] = np.inf
    with pytest.raises(ValueError, match="infinity .* in 1 of 1500 rows, first at position 1234"):
        make(callbacks=[Forbidden()]).fit(X)


def test_partial_fit_keeps_the_sizes_of_its_first_call(rows):
    sae = make(M="auto", K="auto").partial_fit(rows[:400])
    assert (sae.M_, sae.K_) == (64, 4)
    assert (sae.partial_fit(np.tile(rows, (10, 1))).M_, sae.K_) == (64, 4)
    with pytest.raises(ValueError, match="cannot go on from weights of shape .64, 32.* keep M"):
        sae.set_params(M=65).partial_fit(rows)


@pytest.mark.parametrize("variant", ["topk", "both"])
def test_partial_fit_streams(variant, rows, new_rows):
    sae = make(batch_size=128, **VARIANTS[variant])
    for _ in range(30):
        for part in np.array_split(rows, 3):
            sae.partial_fit(part)
    assert sae.n_iter_ == len(sae.history_) == 90
    assert sae.history_["epoch"].tolist() == list(range(1, 91))
    whole = make(batch_size=128, n_epochs=30, patience=None, **VARIANTS[variant]).fit(rows)
    assert sae.score(new_rows) > whole.score(new_rows) - 0.05
    assert (sae.transform(new_rows) > 0).sum(axis=1).mean() == pytest.approx(4, rel=0.1)
    assert b"torch" not in pickle.dumps(sae)


def test_partial_fit_goes_on_exactly_where_the_optimiser_was(rows):
    one_call = make(batch_size=2000, n_epochs=2, patience=None).fit(rows)
    two_calls = make(batch_size=2000).partial_fit(rows).partial_fit(rows)
    np.testing.assert_allclose(two_calls.components_, one_call.components_, atol=1e-5)


def test_partial_fit_goes_on_with_the_read_out_of_the_target():
    rows, codes = planted(1500, 0)
    sae = make(target_coef=1.0)
    for _ in range(8):
        sae.partial_fit(rows, codes[:, 0])
    whole = make(target_coef=1.0, n_epochs=8, patience=None).fit(rows, codes[:, 0])
    errors = sae.history_["train_target_error"]
    assert (errors.diff().dropna() < 0).all()
    assert errors.iloc[-1] == pytest.approx(whole.history_["train_target_error"].iloc[-1], rel=0.05)


def anonymous_bytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_rows(streamed, tmp_path):
    n_rows, d = 200_000, 256
    X = np.memmap(tmp_path / "rows.bin", dtype=np.float32, mode="w+", shape=(n_rows, d))
    for start in range(0, n_rows, 50_000):
        X[start : start + 50_000] = np.random.default_rng(start).normal(size=(50_000, d))
    sae = make(M=512, batch_size=2048, n_epochs=1, patience=None, sparse_output=True)
    sae.fit(np.array(X[:20_000])).transform(X[:20_000])

    peak = [before := anonymous_bytes()]

    class Look(Callback):
        def on_batch_end(self, net, **kwargs):
            peak[0] = max(peak[0], anonymous_bytes())

    sae.set_params(callbacks=[Look()]).fit(X)
    assert peak[0] - before < 0.4 * X.nbytes
    before = anonymous_bytes()
    codes = sae.transform(X)
    # Dense, it would be 400 MB.
    assert codes.nnz < 4.1 * n_rows and anonymous_bytes() - before < 2**26
