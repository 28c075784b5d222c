"""The k largest of each row on a CPU, several times as fast as torch.topk and as exact."""

import numpy as np
import torch

# Neurons a group at most, and groups for each neuron that is wanted: measured with 256 to
# 4,096 neurons.
GROUP_SIZE = 8
GROUPS_PER_WANTED = 4


def largest_of_rows(scores, k):
    """Find the k largest of each row.

    The k-th largest maximum of disjoint groups of neurons is a bound that k neurons reach and
    few others do. Those that reach it are looked through once more.

    Parameters
    ----------
    scores : Tensor of shape (n_rows, n_neurons), on a CPU

    k : int

    Returns
    -------
    positions : LongTensor of shape (n_rows * k,)
        Ascending, in the flattened scores.
    """
    n_rows, n_neurons = scores.shape
    bounds = _kth_largest(_group_maxima(scores, k), k)
    positions = (scores.numpy() >= bounds).reshape(-1).nonzero()[0]
    if len(positions) > n_rows * k:
        positions = _surplus_dropped(positions, scores.numpy(), k)
    if len(positions) == n_rows * k:
        return torch.from_numpy(positions)
    # Equal scores at the border, or scores that are not numbers.
    neurons = torch.topk(scores, k, dim=1, sorted=False).indices.sort(dim=1).values
    return (neurons + n_neurons * torch.arange(n_rows).unsqueeze(1)).flatten()


def _group_maxima(scores, k):
    """Maxima of groups as an array that may be written to."""
    n_rows, n_neurons = scores.shape
    size = min(GROUP_SIZE, n_neurons // (GROUPS_PER_WANTED * k))
    if size < 2:
        return scores.numpy().copy()
    n_groups = n_neurons // size
    # Neurons n_groups apart form a group, so that maxima are taken over whole vectors.
    return scores[:, : size * n_groups].view(n_rows, size, n_groups).amax(dim=1).numpy()


def _kth_largest(values, k):
    """The k-th largest of each row, as a column; the values are reordered."""
    values.partition(values.shape[1] - k, axis=1)
    return values[:, -k, None]


def _surplus_dropped(positions, scores, k):
    """Keep those of the positions whose scores are among the k largest of their row."""
    n_rows, n_neurons = scores.shape
    ends = positions.searchsorted(np.arange(0, scores.size + 1, n_neurons))
    counts = ends[1:] - ends[:-1]
    found = scores.reshape(-1)[positions]
    table = np.full((n_rows, counts.max()), -np.inf, scores.dtype)
    table[np.arange(table.shape[1]) < counts[:, None]] = found
    return positions[found >= _kth_largest(table, k)[:, 0].repeat(counts)]
