"""How many neurons by rows. No torch here."""

import math
from numbers import Integral
from typing import NamedTuple

# The paper's rule of thumb: (rows, M, K) for about a thousand, ten thousand and a hundred
# thousand rows; in between, the nearest on a logarithmic scale.
RULE_OF_THUMB = ((1_000, 64, 4), (10_000, 256, 8), (100_000, 1024, 8))


class Sizes(NamedTuple):
    """Neurons in all, active per row, and lengths of the nested dictionaries."""

    M: int
    K: int
    prefix_lengths: tuple


def resolve_sizes(M, K, prefix_lengths, n_rows, caller):
    """Resolve "auto" and refuse sizes that do not fit together.

    Parameters
    ----------
    M, K : int or "auto"

    prefix_lengths : list of int or None

    n_rows : int

    caller : str
        Class that asks, named in errors.

    Returns
    -------
    sizes : Sizes

    Examples
    --------
    >>> from sklearn_hypsae.autoencoder.sizes import resolve_sizes
    >>> resolve_sizes("auto", "auto", None, 6_500, "Example")
    Sizes(M=256, K=8, prefix_lengths=())
    """
    _, M_auto, K_auto = min(RULE_OF_THUMB, key=lambda rule: abs(math.log(n_rows / rule[0])))
    chosen = ' (chosen for M="auto")' if M == "auto" else ""
    M = M_auto if M == "auto" else int(M)
    K = min(K_auto, M) if K == "auto" else int(K)
    if K > M:
        raise ValueError(
            f"{caller} cannot keep K={K} neurons active of M={M}{chosen}: lower K or raise M."
        )
    return Sizes(M, K, _checked_prefixes(prefix_lengths, M, caller))


def _checked_prefixes(prefix_lengths, M, caller):
    if prefix_lengths is None:
        return ()
    lengths = list(prefix_lengths)
    if not lengths or not all(isinstance(n, Integral) and n >= 1 for n in lengths):
        raise ValueError(
            f"{caller} expects matryoshka_prefix_lengths to be positive integers, got {lengths}."
        )
    if any(b <= a for a, b in zip(lengths, lengths[1:], strict=False)):
        raise ValueError(
            f"{caller} expects matryoshka_prefix_lengths to increase, got {lengths}: sort them "
            "and drop duplicates."
        )
    if lengths[-1] != M:
        raise ValueError(
            f"{caller} expects matryoshka_prefix_lengths to end in M={M}, got {lengths}: the "
            "last prefix is the whole dictionary."
        )
    return tuple(int(n) for n in lengths)
