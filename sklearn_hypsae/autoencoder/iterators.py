"""Batches by slicing: no per-row collation, which costs as much as the arithmetic."""

import numpy as np
import torch
from torch.utils.data import Dataset


class Rows(Dataset):
    """Training or validation rows in memory.

    Parameters
    ----------
    X : Tensor of shape (n_rows, d)

    y : Tensor of shape (n_rows, n_targets)
    """

    def __init__(self, X, y):
        self.X = X
        self.y = y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, index):
        # Several times as fast as X[index].
        return self.X.index_select(0, index), self.y.index_select(0, index)


class SliceIterator:
    """Yield batches of a :class:`Rows`, in a new random order every epoch.

    The batches of an epoch are equally large, to within one row: a step on a small rest takes
    as long as any other, and leaving the rest out would waste half of a small data set.

    Parameters
    ----------
    rows : Rows

    batch_size : int
        Rows per batch at most.

    rng : RandomState, default=None
        Shuffles. None: in order.
    """

    def __init__(self, rows, batch_size, rng=None):
        self.rows = rows
        self.n_batches = -(-len(rows) // batch_size)
        self.rng = rng

    def __iter__(self):
        if self.rng is None:
            order = torch.arange(len(self.rows))
        else:
            order = torch.from_numpy(self.rng.permutation(len(self.rows)))
        for part in torch.tensor_split(order.to(self.rows.X.device), self.n_batches):
            yield self.rows[part]

    def __len__(self):
        return self.n_batches


class StreamedRows(Dataset):
    """Training rows that stay on disk.

    An epoch visits pages of neighbouring rows in random order and shuffles the rows of many
    pages together: reads stay long, and neighbours rarely share a batch.

    Parameters
    ----------
    source : Source

    kept : ndarray of bool of shape (n_rows,)
        Rows that train.

    scale : float
        Rows are divided by it.

    y : ndarray of shape (n_rows, n_targets), dtype=float32

    device : str
    """

    N_ROWS_PER_PAGE = 32
    POOL_BYTES = 2**27

    def __init__(self, source, kept, scale, y, device):
        self.source = source
        self.kept = kept
        self.scale = np.float32(scale)
        self.y = y
        self.device = device
        self.n_kept = int(kept.sum())

    def __len__(self):
        return self.n_kept

    def pools(self, rng):
        """Yield (X, y) of many shuffled rows at a time."""
        n_rows = len(self.kept)
        pages = rng.permutation(-(-n_rows // self.N_ROWS_PER_PAGE))
        per_pool = max(1, self.POOL_BYTES // (4 * self.source.n_features * self.N_ROWS_PER_PAGE))
        for start in range(0, len(pages), per_pool):
            first = pages[start : start + per_pool] * self.N_ROWS_PER_PAGE
            positions = (first[:, None] + np.arange(self.N_ROWS_PER_PAGE)).ravel()
            positions = positions[positions < n_rows]
            positions = rng.permutation(positions[self.kept[positions]])
            rows = torch.from_numpy(self.source.take(positions) / self.scale)
            yield rows.to(self.device), torch.from_numpy(self.y[positions]).to(self.device)


class StreamIterator:
    """Yield batches of a :class:`StreamedRows`; rows left over in a pool join the next.

    Parameters
    ----------
    rows : StreamedRows

    batch_size : int

    rng : RandomState
    """

    def __init__(self, rows, batch_size, rng):
        self.rows = rows
        self.batch_size = batch_size
        self.rng = rng

    def __iter__(self):
        left = None
        for pool in self.rows.pools(self.rng):
            if left is not None:
                pool = tuple(torch.cat(parts) for parts in zip(left, pool, strict=True))
            n_full = len(pool[0]) // self.batch_size * self.batch_size
            for start in range(0, n_full, self.batch_size):
                yield tuple(part[start : start + self.batch_size] for part in pool)
            left = tuple(part[n_full:].clone() for part in pool)
        if left is not None and len(left[0]):
            yield left
