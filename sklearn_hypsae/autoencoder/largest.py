"""The k largest of each row on a CPU, several times as fast as torch.topk and as exact."""

import numpy as np
import torch

# Neurons a group at most, and groups for each neuron that is wanted: measured with 256 to
# 4,096 neurons.
GROUP_SIZE = 8
GROUPS_PER_WANTED = 4


def largest_of_rows(scores, k):
    """Find the k largest of each row.

    They belong to the k groups of neurons with the largest maxima. Maxima take one quick pass
    over a row, and the members of k groups are few.

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
    size = _group_size(n_neurons, k)
    # Neurons n_groups apart form a group: maxima are then of vectors, and not within one.
    n_groups = n_neurons // size
    groups = scores.reshape(n_rows, size, n_groups)
    positions = _reaching_kth(groups.amax(dim=1).numpy() if size > 1 else scores.numpy(), k)
    if size > 1 and len(positions) == n_rows * k:
        first = positions.reshape(n_rows, k)
        first = first + np.arange(n_rows)[:, None] * (n_neurons - n_groups)
        members = first[:, :, None] + np.arange(0, n_neurons, n_groups)
        found = scores.numpy().reshape(-1).take(members).reshape(n_rows, k * size)
        positions = members.reshape(-1).take(_reaching_kth(found, k))
    if len(positions) == n_rows * k:
        positions = positions.reshape(n_rows, k)
        positions.sort(axis=1)
        return torch.from_numpy(positions.reshape(-1))
    # Equal scores at the border, or scores that are not numbers.
    neurons = torch.topk(scores, k, dim=1, sorted=False).indices.sort(dim=1).values
    return (neurons + n_neurons * torch.arange(n_rows).unsqueeze(1)).flatten()


def _group_size(n_neurons, k):
    largest = min(GROUP_SIZE, n_neurons // (GROUPS_PER_WANTED * k))
    return next((size for size in range(largest, 1, -1) if n_neurons % size == 0), 1)


def _reaching_kth(values, k):
    """Flat positions of what reaches the k-th largest of its row: k of each but for ties."""
    ordered = values.copy()
    ordered.partition(values.shape[1] - k, axis=1)
    return (values >= ordered[:, -k, None]).reshape(-1).nonzero()[0]
