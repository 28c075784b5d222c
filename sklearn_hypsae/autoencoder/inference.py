"""Sparse activations of new rows."""

import numpy as np
import torch
from scipy import sparse

from .devices import own_modes, resolve_device, threads_for
from .module import SparseAutoencoder
from .records import Settings

N_ENTRIES_PER_CHUNK = 2**22


@own_modes(training=False)
def encode(source, weights, *, k, threshold, signed, device, caller):
    """Encode rows chunk by chunk; the dense activations of one chunk exist at a time.

    Parameters
    ----------
    source : Source

    weights : Weights

    k : int

    threshold : float or None
        Of BatchTopK.

    signed : bool

    device : str

    caller : str
        Class that asks, named in errors.

    Returns
    -------
    codes : CSR array of shape (n_rows, M), dtype=float32
        Canonical: sorted indices, no stored zeros.
    """
    device = resolve_device(device, caller)
    n_neurons = len(weights.encoder_bias)
    module = SparseAutoencoder(weights, Settings(k=k, signed=signed)).eval().to(device)
    chunk = max(1, N_ENTRIES_PER_CHUNK // n_neurons)
    values, neurons = Growing(np.float32), Growing(np.int32)
    counts = np.zeros(len(source) + 1, np.int64)
    with threads_for(min(chunk, len(source)), source.n_features, n_neurons):
        for start, rows in source.blocks(chunk):
            found = _encode_chunk(module, rows, threshold, device)
            values.extend(found[0])
            neurons.extend(found[1])
            counts[start + 1 : start + 1 + len(rows)] = found[2]
    indptr = counts.cumsum(out=counts)
    if indptr[-1] < np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    parts = values.finished(), neurons.finished(), indptr
    return sparse.csr_array(parts, shape=(len(source), n_neurons))


class Growing:
    """An array that is extended at its end, in place: parts to be joined would need twice the room.

    Parameters
    ----------
    dtype : numpy dtype
    """

    def __init__(self, dtype):
        self.array = np.empty(0, dtype)
        self.length = 0

    def extend(self, values):
        """Append values."""
        end = self.length + len(values)
        if end > len(self.array):
            # Large memory is moved by its pages, not by its bytes.
            self.array.resize(end + end // 8, refcheck=False)
        self.array[self.length : end] = values
        self.length = end

    def finished(self):
        """Give the array without what is unused."""
        self.array.resize(self.length, refcheck=False)
        return self.array


def _encode_chunk(module, X, threshold, device):
    """Values, neurons and number of active neurons per row."""
    # torch warns of memory it may not write to, such as the values of a frame.
    writable = X if X.flags.writeable else X.copy()
    centred, dense = module(torch.from_numpy(writable).to(device))
    code = module.code(centred, dense, module.pattern(dense, threshold))
    active = code.values != 0
    bags = code.pattern.bags[active].cpu().numpy()
    return (
        code.values[active].cpu().numpy(),
        code.pattern.neurons[active].cpu().numpy().astype(np.int32),
        np.bincount(bags, minlength=len(X)),
    )
