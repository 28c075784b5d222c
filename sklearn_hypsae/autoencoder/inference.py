"""Sparse activations of new rows."""

import numpy as np
import torch
from scipy import sparse

from .devices import resolve_device, threads_for
from .module import SparseAutoencoder
from .records import Settings

N_ENTRIES_PER_CHUNK = 2**22


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
    n_neurons = len(weights.encoder_bias)
    device = resolve_device(device, caller)
    module = SparseAutoencoder(weights, Settings(k=k, signed=signed)).eval().to(device)
    chunk = max(1, N_ENTRIES_PER_CHUNK // n_neurons)
    with torch.no_grad(), threads_for(min(chunk, len(source)), source.n_features, n_neurons):
        parts = [_encode_chunk(module, rows, threshold, device) for _, rows in source.blocks(chunk)]
    values, neurons, counts = (np.concatenate(part) for part in zip(*parts, strict=True))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    if indptr[-1] < np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    return sparse.csr_array((values, neurons, indptr), shape=(len(source), n_neurons))


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
