"""Where and with how many threads torch computes."""

from contextlib import contextmanager

import torch

# Multiply-adds of one encode below which threads cost more than they bring: on a busy machine
# a parallel region of microseconds waits milliseconds for its last thread.
SMALL_PRODUCT = 2**22


def resolve_device(device):
    """Resolve "auto" to the GPU where there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


@contextmanager
def threads_for(n_rows, n_features, n_neurons):
    """Use one thread inside the block where the products are small.

    Parameters
    ----------
    n_rows, n_features, n_neurons : int
        Of the products of one step.
    """
    before = torch.get_num_threads()
    if n_rows * n_features * n_neurons < SMALL_PRODUCT:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
