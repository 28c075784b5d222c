"""Sparse activations of new rows."""

import numpy as np
import torch
from scipy import sparse

from .module import Settings, SparseAutoencoder
from .training import resolve_device

N_ENTRIES_PER_CHUNK = 2**22


@torch.no_grad()
def encode(X, weights, *, k, threshold, signed, device):
    """Encode rows chunk by chunk; the dense activations of one chunk exist at a time.

    Parameters
    ----------
    X : ndarray of shape (n_rows, d), dtype=float32

    weights : Weights

    k : int

    threshold : float or None
        Of BatchTopK.

    signed : bool

    device : str

    Returns
    -------
    codes : CSR array of shape (n_rows, M), dtype=float32
        Canonical: sorted indices, no stored zeros.
    """
    n_neurons = len(weights.encoder_bias)
    device = resolve_device(device)
    module = SparseAutoencoder(weights, Settings(k=k, signed=signed)).eval().to(device)
    chunk = max(1, N_ENTRIES_PER_CHUNK // n_neurons)
    values, neurons, counts = [], [], []
    for start in range(0, len(X), chunk):
        rows = torch.from_numpy(X[start : start + chunk]).to(device)
        centred, dense = module(rows)
        code = module.code(centred, dense, module.pattern(dense, threshold))
        active = code.values != 0
        values.append(code.values[active].cpu().numpy())
        neurons.append(code.pattern.neurons[active].cpu().numpy().astype(np.int32))
        bags = code.pattern.bags[active].cpu().numpy()
        counts.append(np.bincount(bags, minlength=len(rows)))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    if indptr[-1] < np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    return sparse.csr_array(
        (np.concatenate(values), np.concatenate(neurons), indptr), shape=(len(X), n_neurons)
    )
