"""Where and with how many threads torch computes."""

import threading
from contextlib import ExitStack, contextmanager

import torch

# Multiply-adds of one encode below which threads cost more than they bring: on a busy machine
# a parallel region of microseconds waits milliseconds for its last thread.
SMALL_PRODUCT = 2**22


def resolve_device(device, caller):
    """Resolve "auto", and refuse a device that torch cannot compute on here.

    Parameters
    ----------
    device : str

    caller : str
        Class that asks, named in the error.

    Returns
    -------
    device : str
        A CUDA GPU for "auto" where there is one.

    Raises
    ------
    ValueError
        If there is no such device.

    Examples
    --------
    >>> from sklearn_hypsae.autoencoder.devices import resolve_device
    >>> resolve_device("cpu", "Example")
    'cpu'
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        # Only a computation tells: a name may be known, and the driver or the build lack it.
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ValueError(
            f"{caller} cannot compute on device={device!r}, which torch {torch.__version__} does "
            'not find on this machine: set device="auto" for a CUDA GPU where there is one and '
            'the CPU elsewhere, or device="cpu".'
        ) from error
    return device


class _OneThread:
    """How many blocks compute with one thread at the moment, and how many held before them."""

    lock = threading.Lock()
    n_inside = 0
    before = None


@contextmanager
def threads_for(n_rows, n_features, n_neurons):
    """Use one thread inside the block where the products are small.

    Parameters
    ----------
    n_rows, n_features, n_neurons : int
        Of the products of one step.
    """
    if n_rows * n_features * n_neurons >= SMALL_PRODUCT:
        yield
        return
    with _OneThread.lock:
        if not _OneThread.n_inside:
            _OneThread.before = torch.get_num_threads()
        _OneThread.n_inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _OneThread.lock:
            _OneThread.n_inside -= 1
            # In whatever order threads leave: each has a number of its own.
            torch.set_num_threads(_OneThread.before)


@contextmanager
def own_modes(*, training):
    """Compute as written in a block or function, whatever modes the caller's code has turned on.

    Those are inference mode, gradients off, autocast and a default device.

    Parameters
    ----------
    training : bool
        Whether gradients are needed.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(training))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


class _Tf32:
    """How many blocks allow TF32 at the moment, in all threads, and what held before them."""

    lock = threading.Lock()
    n_inside = 0
    before = None


@contextmanager
def tf32_allowed():
    """Let GPUs multiply float32 matrices in TF32 inside the block."""
    with _Tf32.lock:
        if not _Tf32.n_inside:
            _Tf32.before = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("high")
        _Tf32.n_inside += 1
    try:
        yield
    finally:
        with _Tf32.lock:
            _Tf32.n_inside -= 1
            if not _Tf32.n_inside:
                torch.set_float32_matmul_precision(_Tf32.before)
