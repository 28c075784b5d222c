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
        return self.X[index], self.y[index]


class SliceIterator:
    """Yield batches of a :class:`Rows`, in a new random order every epoch.

    An epoch's last, incomplete batch is left out of training when there are others (every
    epoch leaves out other rows): a step on a few rows is as long as one on a full batch.

    Parameters
    ----------
    rows : Rows

    batch_size : int

    rng : RandomState, default=None
        Shuffles. None: in order, every row.
    """

    def __init__(self, rows, batch_size, rng=None):
        self.rows = rows
        self.batch_size = min(batch_size, len(rows))
        self.rng = rng

    def __iter__(self):
        n_rows = len(self.rows)
        if self.rng is None:
            for start in range(0, n_rows, self.batch_size):
                yield self.rows[start : start + self.batch_size]
            return
        order = torch.from_numpy(self.rng.permutation(n_rows)).to(self.rows.X.device)
        for start in range(0, n_rows - self.batch_size + 1, self.batch_size):
            yield self.rows[order[start : start + self.batch_size]]

    def __len__(self):
        if self.rng is None:
            return int(np.ceil(len(self.rows) / self.batch_size))
        return len(self.rows) // self.batch_size
