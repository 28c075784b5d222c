"""Rows that may lie in several arrays and need not fit into memory. No torch here."""

import functools

import numpy as np

# Rows whose float32 copy takes more than this are streamed instead.
LARGEST_IN_MEMORY = 2**29
N_ROWS_PER_BLOCK = 4096


class Source:
    """One or more arrays (or memory maps) of rows, read as one float32 array.

    Parameters
    ----------
    shards : list of ndarray of shape (n_rows, d)

    is_signed : bool, default=False
        Whether rows are differences that could as well have been taken the other way round.
        Whatever is measured or learned of them is then about zero, not about their mean, and
        stays the same where the signs of any rows change.
    """

    def __init__(self, shards, *, is_signed=False):
        self.shards = shards
        self.is_signed = is_signed
        self.starts = np.cumsum([0] + [len(shard) for shard in shards])
        self.n_features = shards[0].shape[1]

    def __len__(self):
        return int(self.starts[-1])

    @property
    def fits_in_memory(self):
        """Whether the rows may all be copied."""
        return len(self) * self.n_features * 4 <= LARGEST_IN_MEMORY

    def take(self, positions):
        """Copy rows out by position.

        Parameters
        ----------
        positions : ndarray of int

        Returns
        -------
        rows : ndarray of shape (n_positions, d), dtype=float32
        """
        rows = np.empty((len(positions), self.n_features), np.float32)
        owner = np.searchsorted(self.starts, positions, side="right") - 1
        for i in np.unique(owner):
            mine = np.flatnonzero(owner == i)
            # In the order of the file: a map is read page by page.
            mine = mine[np.argsort(positions[mine], kind="stable")]
            rows[mine] = self.shards[i][positions[mine] - self.starts[i]]
        return rows

    def blocks(self, size=N_ROWS_PER_BLOCK):
        """Read all rows in order.

        Parameters
        ----------
        size : int
            Rows at a time at most.

        Yields
        ------
        start : int
            Position of the first row.

        rows : ndarray of shape (<= size, d), dtype=float32
        """
        for first, shard in zip(self.starts, self.shards, strict=False):
            for start in range(0, len(shard), size):
                rows = np.asarray(shard[start : start + size])
                yield int(first) + start, np.ascontiguousarray(rows, dtype=np.float32)

    @functools.cached_property
    def root_variance(self):
        """Root of the mean squared distance to the mean row (to zero if signed): float."""
        shift, total, squares = None, 0.0, 0.0
        for _, rows in self.blocks():
            rows = rows.astype(np.float64)
            # Shifted, because the difference of two large sums would lose the digits.
            shift = rows.mean(axis=0) * (not self.is_signed) if shift is None else shift
            rows -= shift
            total = total + rows.sum(axis=0) * (not self.is_signed)
            squares += np.square(rows).sum()
        variance = squares / len(self) - np.square(total / len(self)).sum()
        return float(np.sqrt(max(variance, 0.0)))


def as_shards(X):
    """Give the arrays of X where it is data to be streamed, else None.

    Parameters
    ----------
    X : anything

    Returns
    -------
    shards : list of ndarray or None
        For a memory map, and for a list or tuple that holds two-dimensional arrays.
    """
    if isinstance(X, np.memmap) and X.ndim == 2:
        return [X]
    if not isinstance(X, list | tuple) or len(X) == 0:
        return None
    has_matrices = any(isinstance(shard, np.ndarray) and shard.ndim == 2 for shard in X)
    return list(X) if has_matrices else None


def unexplained(source, reconstruct, caller):
    """Fraction of variance unexplained: squared error over squared distances to the mean row.

    Parameters
    ----------
    source : Source

    reconstruct : callable
        Gives the reconstruction of the rows from one position to another.

    caller : str
        Method that asks, named in the error.

    Returns
    -------
    fvu : float

    Raises
    ------
    ValueError
        If the rows are all the same.
    """
    total = len(source) * source.root_variance**2
    if total == 0:
        raise ValueError(f"{caller} needs at least two different rows in X: the variance is zero.")
    error = sum(
        np.square(rows - reconstruct(start, start + len(rows)), dtype=np.float64).sum()
        for start, rows in source.blocks()
    )
    return float(error / total)


def signs_of_rows(X):
    """Give the sign of each row's largest entry.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)

    Returns
    -------
    signs : ndarray of shape (n_rows, 1)
        1 or -1.
    """
    largest = np.take_along_axis(X, np.abs(X).argmax(axis=1, keepdims=True), axis=1)
    return np.where(largest < 0, -1, 1).astype(X.dtype)
