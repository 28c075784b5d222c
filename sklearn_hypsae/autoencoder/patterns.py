"""Which neurons of a batch are active: the top-k selections and their sparse pattern."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from .largest import largest_of_rows


@dataclass(frozen=True, eq=False)
class Pattern:
    """Which neurons are active in which bag, in CSR order.

    A bag is a row of the batch or, for nested reconstructions, one level of a row.

    Attributes
    ----------
    bags : LongTensor of shape (n_active,)
        Bag of each active neuron, ascending.

    neurons : LongTensor of shape (n_active,)
        Its number.

    offsets : LongTensor of shape (n_bags + 1,)
        Where each bag begins.

    n_neurons : int
        Number of neurons in all.
    """

    bags: torch.Tensor
    neurons: torch.Tensor
    offsets: torch.Tensor
    n_neurons: int

    @functools.cached_property
    def positions(self):
        """Where the active neurons are in flattened scores, where bags are rows."""
        return self.bags * self.n_neurons + self.neurons

    @functools.cached_property
    def by_neuron(self):
        """The transposed pattern: (order, bags in this order, offsets), sorted by neuron.

        The sort is stable, so that every sum, hence the result, is reproducible.
        """
        if self.neurons.device.type == "cpu" and self.n_neurons < 2**16:
            # numpy sorts 16-bit numbers by their digits, in a tenth of the time.
            neurons = self.neurons.numpy().astype(np.uint16)
            order = neurons.argsort(kind="stable")
            offsets = neurons[order].searchsorted(np.arange(self.n_neurons + 1, dtype=np.uint16))
            return tuple(map(torch.from_numpy, (order, self.bags.numpy()[order], offsets)))
        order = torch.argsort(self.neurons, stable=True)
        offsets = _offsets(self.neurons, self.n_neurons)
        return order, self.bags.index_select(0, order), offsets

    def in_levels(self, prefix_lengths):
        """Split each bag by the shortest prefix that holds the neuron.

        Parameters
        ----------
        prefix_lengths : LongTensor of shape (n_levels,)
            Ascending, ending in the number of neurons. Neurons of a bag must be ascending.

        Returns
        -------
        pattern : Pattern
            With ``n_levels`` bags for each bag, and the entries in the same order.
        """
        n_levels = len(prefix_lengths)
        level = torch.bucketize(self.neurons, prefix_lengths, right=True)
        bags = self.bags * n_levels + level
        n_bags = (len(self.offsets) - 1) * n_levels
        split = Pattern(bags, self.neurons, _offsets(bags, n_bags), self.n_neurons)
        order, _, offsets = self.by_neuron
        split.__dict__["by_neuron"] = order, bags.index_select(0, order), offsets
        return split


def _offsets(sorted_or_not, n):
    # Not bincount, which would make a GPU wait for the host.
    counts = torch.zeros(n + 1, dtype=torch.long, device=sorted_or_not.device)
    counts.index_add_(0, sorted_or_not + 1, torch.ones_like(sorted_or_not))
    return counts.cumsum_(0)


def topk_pattern(scores, k):
    """Select the k largest scores of each row.

    Parameters
    ----------
    scores : Tensor of shape (n_rows, n_neurons)

    k : int

    Returns
    -------
    pattern : Pattern
        The neurons of a row are ascending.
    """
    n_rows, n_neurons = scores.shape
    bags, offsets = _even_bags(n_rows, k, scores.device)
    if scores.device.type == "cpu":
        positions = largest_of_rows(scores, k)
        pattern = Pattern(bags, positions - bags * n_neurons, offsets, n_neurons)
        pattern.__dict__["positions"] = positions
        return pattern
    neurons = torch.topk(scores, k, dim=1, sorted=False).indices.sort(dim=1).values.flatten()
    return Pattern(bags, neurons, offsets, n_neurons)


@functools.lru_cache(maxsize=8)
def _even_bags(n_rows, k, device):
    """Bags and offsets of k neurons a row, the same for every batch."""
    bags = torch.arange(n_rows, device=device).repeat_interleave(k)
    return bags, torch.arange(0, n_rows * k + 1, k, device=device)


def batch_topk_pattern(scores, k):
    """Select the ``k * n_rows`` largest positive scores of the batch (2412.06410).

    Parameters
    ----------
    scores : Tensor of shape (n_rows, n_neurons)

    k : int
        Active neurons per row on average.

    Returns
    -------
    pattern : Pattern
    """
    n_rows, n_neurons = scores.shape
    flat = scores.reshape(-1)
    n_wanted = min(k * n_rows, flat.numel())
    candidates = _candidates(flat, n_wanted)
    if candidates is None:
        chosen = torch.topk(flat, n_wanted, sorted=False).indices
    else:
        chosen = candidates[torch.topk(flat[candidates], n_wanted, sorted=False).indices]
    if flat.device.type == "cpu":
        # On a GPU their number would have to travel to the host; there they are kept as zeros.
        chosen = chosen[flat[chosen] > 0]
    return _pattern_of_flat(chosen.sort().values, n_rows, n_neurons)


def _candidates(flat, n_wanted, *, n_sampled=20_000):
    """Find a superset of the n_wanted largest without sorting them all; None: do without.

    A strided sample gives a bound that about twice as many entries pass; where fewer than
    wanted do, the bound was wrong and the caller sorts everything. The result is exact.
    """
    if flat.device.type != "cpu" or flat.numel() < 5 * n_sampled:
        return None
    # An odd stride, so that the sample does not stay in a few columns of a 2**n wide batch.
    sample = flat[:: (flat.numel() // n_sampled) | 1]
    n_above = int(2 * n_wanted / flat.numel() * sample.numel()) + 10
    if n_above >= sample.numel():
        return None
    bound = torch.topk(sample, n_above, sorted=False).values.min()
    passed = (flat > bound).nonzero().squeeze(1)
    return passed if len(passed) >= n_wanted else None


def threshold_pattern(scores, threshold):
    """Select every score above a threshold.

    Parameters
    ----------
    scores : Tensor of shape (n_rows, n_neurons)

    threshold : float

    Returns
    -------
    pattern : Pattern
    """
    n_rows, n_neurons = scores.shape
    return _pattern_of_flat(
        (scores.reshape(-1) > threshold).nonzero().squeeze(1), n_rows, n_neurons
    )


def _pattern_of_flat(positions, n_rows, n_neurons):
    bags = positions // n_neurons
    return Pattern(bags, positions - bags * n_neurons, _offsets(bags, n_rows), n_neurons)
