"""What :mod:`sklearn_hypsae.sae` is made of.

Rows, checks, sizes, files and the course of a fit need no torch. What does (module, patterns,
kernels, losses, skorch net and its Adam, iterators, training, inference) is imported when an
autoencoder is fitted or used.
"""

__all__ = ["Checkpoint"]


def __getattr__(name):
    # Not imported before it is used: skorch brings torch.
    if name == "Checkpoint":
        from .checkpoint import Checkpoint

        return Checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
