"""Batches by slicing: no per-row collation, which costs as much as the arithmetic."""

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
        return self.X[index], self.y[index]


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
