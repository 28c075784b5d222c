"""The loss of one batch, term by term.

Reconstruction errors are divided by the variance of the training rows, so that the main term
is the fraction of variance unexplained (FVU) and coefficients mean the same on any data.
"""

from typing import NamedTuple

import torch

from . import kernels, patterns


class BatchLoss(NamedTuple):
    """The loss of a batch and what the history records of it.

    Attributes
    ----------
    loss : Tensor, scalar
    fvu : Tensor, scalar
        Of the full reconstruction, without a graph.
    n_active : Tensor, scalar
        Active neurons per row.
    target_error : Tensor, scalar
        Mean squared error of the read-out of the standardised target (0 without one).
    """

    loss: torch.Tensor
    fvu: torch.Tensor
    n_active: torch.Tensor
    target_error: torch.Tensor


def batch_loss(module, x, y, dead):
    """Compute all terms for one batch of rows whose variance is 1.

    Parameters
    ----------
    module : SparseAutoencoder

    x : Tensor of shape (n_rows, d)

    y : Tensor of shape (n_rows, n_targets)
        Standardised.

    dead : LongTensor of shape (n_dead,)
        Neurons the auxiliary term should revive; empty for none.

    Returns
    -------
    loss : BatchLoss
    """
    settings = module.settings
    centred, dense = module(x)
    pattern = module.pattern(dense)
    if len(settings.prefix_lengths) < 2:
        main, code, residual = module.autoencode(centred, dense, pattern)
        fvu = main.detach()
    else:
        code = module.code(centred, dense, pattern)
        main, fvu, residual = _nested_error(module, x, code)
    loss = main
    if settings.multi_coef and settings.multi_k:
        more = patterns.topk_pattern(module.scores(dense), settings.multi_k)
        wider = module.decode(module.code(centred, dense, more))
        error, _ = kernels.squared_error(wider, module.input_bias, centred)
        loss = loss + settings.multi_coef * error
    if dead.shape[0]:
        loss = loss + settings.aux_coef * _auxiliary_loss(module, centred, dense, residual, dead)
    target_error = main.new_zeros(())
    if settings.target_coef:
        target_error = (module.read_out(code) - y).square().mean()
        loss = loss + settings.target_coef * target_error
    is_active = code.values.detach() != 0
    if module.training:
        module.count_step(pattern, is_active)
    return BatchLoss(loss, fvu, is_active.sum() / x.shape[0], target_error.detach())


def learn(module, x, y, dead):
    """Compute the loss of one batch and leave its gradient in the parameters.

    Parameters
    ----------
    module, x, y, dead
        As for :func:`batch_loss`.

    Returns
    -------
    loss : BatchLoss
        Without a graph.
    """
    if not _is_error_alone(module.settings, dead):
        step = batch_loss(module, x, y, dead)
        step.loss.backward()
        return step._replace(loss=step.loss.detach())
    centred, dense = module(x)
    pattern = module.pattern(dense)
    error, values = module.learn_to_reconstruct(centred, dense, pattern)
    is_active = values != 0
    module.count_step(pattern, is_active)
    return BatchLoss(error, error, is_active.sum() / x.shape[0], error.new_zeros(()))


def _is_error_alone(settings, dead):
    """Whether the plain error of reconstruction is the only term."""
    return not (
        len(settings.prefix_lengths) > 1
        or (settings.multi_coef and settings.multi_k)
        or settings.target_coef
        or dead.shape[0]
    )


def _nested_error(module, x, code):
    """Squared error, averaged over the nested prefixes (2503.17547); FVU and residual in full."""
    n_levels = len(module.prefix_lengths)
    levels = code._replace(pattern=code.pattern.in_levels(module.prefix_lengths))
    parts = module.decode(levels).view(len(x), n_levels, -1)
    residuals = (x - module.input_bias).unsqueeze(1) - parts.cumsum(dim=1)
    full = residuals[:, -1].detach()
    error = residuals.square().sum() / (len(x) * n_levels)
    return error, full.square().sum() / len(x), full


def _auxiliary_loss(module, centred, dense, residual, dead):
    """How well dead neurons explain what the living ones left (2406.04093).

    The input bias stays out of it, and the term shrinks with the number of dead neurons
    where they are fewer than ``aux_k``: a handful cannot be asked to explain everything.
    """
    n_used = min(module.settings.aux_k, len(dead))
    among_dead = patterns.topk_pattern(module.scores(dense[:, dead]), n_used)
    pattern = patterns.Pattern(
        among_dead.bags, dead[among_dead.neurons], among_dead.offsets, dense.shape[1]
    )
    explained = module.decode(module.code(centred, dense, pattern))
    share = n_used / module.settings.aux_k
    error = (residual - explained).square().sum()
    return share * error / residual.square().sum().clamp_min(torch.finfo(residual.dtype).tiny)
