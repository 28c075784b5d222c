"""Checks before training, and how many neurons by rows. No torch here."""

import math
from numbers import Integral
from typing import NamedTuple

import numpy as np

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


def refuse_non_finite(source, caller):
    """Refuse NaN and infinity, naming the first rows that have them.

    Parameters
    ----------
    source : Source

    caller : str
    """
    bad, is_nan = [], False
    for start, rows in source.blocks():
        # The sum is finite for nearly every finite block, and costs a fraction of the full look.
        if np.isfinite(rows.sum(dtype=np.float64)):
            continue
        here = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        is_nan = is_nan or bool(np.isnan(rows[here]).any())
        bad.extend((start + here).tolist())
    if not bad:
        return
    positions = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
    raise ValueError(
        f"Input X of {caller} contains {'NaN' if is_nan else 'infinity (inf)'} in {len(bad)} of "
        f"{len(source)} rows, first at position {positions}: drop those rows, or embed them again."
    )


def refuse_constant(source, caller):
    """Refuse rows that are all the same.

    Parameters
    ----------
    source : Source

    caller : str
    """
    first = source.take(np.array([0]))
    if all((rows == first).all() for _, rows in source.blocks()):
        raise ValueError(
            f"{caller} has nothing to learn: all {len(source)} rows of X are identical."
        )


def refuse_unlike_shards(shards, caller):
    """Refuse arrays that cannot be read as one.

    Parameters
    ----------
    shards : list of ndarray of two dimensions

    caller : str
    """
    widths = sorted({shard.shape[1] for shard in shards})
    kinds = {shard.dtype.kind for shard in shards}
    if len(widths) > 1 or not kinds <= set("fiu"):
        raise ValueError(
            f"{caller} expects all parts of X to be numbers with one number of columns, got "
            f"{widths} columns of type {sorted({str(shard.dtype) for shard in shards})}."
        )
    if sum(len(shard) for shard in shards) < 1 or widths[0] < 1:
        raise ValueError(f"{caller} got no rows or no columns in X.")
