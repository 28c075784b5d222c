"""Products with sparse codes.

With K of M neurons active, every product of a training step but the encoder's own costs
O(batch * K * d) when it is not written as a dense matrix product. All of them are weighted
sums of gathered rows, which is what ``embedding_bag`` computes, forward and (over the
transposed pattern) backward; a dot product per active neuron is a sampled dense product.
"""

import functools
import warnings

import numpy as np
import torch

# What torch.embedding_bag calls the sum, by which functional.embedding_bag calls it, with checks
# that take as long as a small sum.
SUM = 0


class _Encode(torch.autograd.Function):
    """Active pre-activations, with gradients of the size of the code."""

    @staticmethod
    def forward(ctx, weight, bias, input_bias, centred, dense, pattern):
        ctx.pattern = pattern
        ctx.save_for_backward(weight, centred)
        return _active(pattern, centred, dense, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        weight, centred = ctx.saved_tensors
        order, bags, offsets = ctx.pattern.by_neuron
        grad_weight = _bag_sums(bags, offsets, centred, grad.index_select(0, order))
        grad_bias = _sums_by_neuron(grad, ctx.pattern)
        # The input bias moves every row alike, so its gradient needs the column sums alone.
        return grad_weight, grad_bias, -(grad_bias @ weight), None, None, None


def encode(weight, bias, input_bias, centred, dense, pattern):
    """Give the pre-activations of a pattern, differentiable in the encoder's parameters.

    Parameters
    ----------
    weight, bias, input_bias : Tensor of shape (M, d), (M,) and (d,)

    centred : Tensor of shape (n_rows, d)
        Rows less the input bias.

    dense : Tensor of shape (n_rows, M) or None
        ``centred @ weight.T + bias``, computed without a graph. None: they are computed here,
        for the pattern alone.

    pattern : Pattern

    Returns
    -------
    values : Tensor of shape (n_active,)
    """
    return _Encode.apply(weight, bias, input_bias, centred, dense, pattern)


class _Decode(torch.autograd.Function):
    """Weighted sums of decoder rows."""

    @staticmethod
    def forward(ctx, values, weight, pattern, unit_rows):
        ctx.pattern, ctx.unit_rows = pattern, unit_rows
        ctx.save_for_backward(values, weight)
        return _bag_sums(pattern.neurons, pattern.offsets, weight, values)

    @staticmethod
    def backward(ctx, grad):
        values, weight = ctx.saved_tensors
        grad = grad.contiguous()
        grad_values = _sampled_product(ctx.pattern, grad, weight)
        order, bags, offsets = ctx.pattern.by_neuron
        grad_weight = _bag_sums(bags, offsets, grad, values.index_select(0, order))
        if ctx.unit_rows:
            # The products of gradient and weight, row by row, are sums of few known terms.
            along = _sums_by_neuron(values * grad_values, ctx.pattern)
            grad_weight.addcmul_(along.unsqueeze(1), weight, value=-1)
        return grad_values, grad_weight, None, None


def decode(values, weight, pattern, *, unit_rows=False):
    """Reconstruct each bag from its active neurons.

    Parameters
    ----------
    values : Tensor of shape (n_active,)

    weight : Tensor of shape (M, d)

    pattern : Pattern

    unit_rows : bool, default=False
        Whether the rows of the weight are to keep their length of one. Its gradient then lacks
        the part that would only change lengths (2406.04093): g - (g . w) w for a row w.

    Returns
    -------
    sums : Tensor of shape (n_bags, d)
    """
    return _Decode.apply(values, weight, pattern, unit_rows)


class _SquaredError(torch.autograd.Function):
    """Squared error and residual, with as few passes over the rows as can be."""

    @staticmethod
    def forward(ctx, decoded, input_bias, centred):
        residual = centred - decoded
        ctx.save_for_backward(residual)
        ctx.mark_non_differentiable(residual)
        return _mean_square(residual), residual

    @staticmethod
    def backward(ctx, grad, _):
        (residual,) = ctx.saved_tensors
        grad_decoded = residual * (-2 * grad / len(residual))
        return grad_decoded, grad_decoded.sum(dim=0), None


def squared_error(decoded, input_bias, centred):
    """Mean over rows of the squared error of ``decoded + input_bias``.

    Parameters
    ----------
    decoded : Tensor of shape (n_rows, d)

    input_bias : Tensor of shape (d,)
        Only its gradient is computed; its value is in ``centred``.

    centred : Tensor of shape (n_rows, d)
        Rows less the input bias.

    Returns
    -------
    error : Tensor, scalar

    residual : Tensor of shape (n_rows, d)
        ``centred - decoded``, without a graph.
    """
    return _SquaredError.apply(decoded, input_bias, centred)


class _Autoencode(torch.autograd.Function):
    """Encode, decode and squared error as one node: a step of small products is mostly calls."""

    @staticmethod
    def forward(ctx, centred, dense, pattern, is_signed, *parameters):
        error, values, residual = _reconstructed(parameters, centred, dense, pattern, is_signed)
        ctx.pattern, ctx.is_signed = pattern, is_signed
        ctx.save_for_backward(centred, values, residual, *parameters)
        ctx.mark_non_differentiable(residual)
        ctx.set_materialize_grads(False)
        return error, values, residual

    @staticmethod
    def backward(ctx, grad, grad_values, _):
        centred, values, residual, *parameters = ctx.saved_tensors
        gradients = _gradients_of_error(
            parameters,
            centred,
            values,
            residual,
            ctx.pattern,
            ctx.is_signed,
            weight=grad,
            grad_values=grad_values,
        )
        return None, None, None, None, *gradients


def _reconstructed(parameters, centred, dense, pattern, is_signed):
    encoder_weight, encoder_bias, _, decoder_weight = parameters
    values = _active(pattern, centred, dense, encoder_weight, encoder_bias)
    if not is_signed:
        values.clamp_min_(0)
    decoded = _bag_sums(pattern.neurons, pattern.offsets, decoder_weight, values)
    residual = torch.sub(centred, decoded, out=decoded)
    return _mean_square(residual), values, residual


def _gradients_of_error(
    parameters, centred, values, residual, pattern, is_signed, *, weight=1, grad_values=None
):
    """Gradients of ``weight`` times the error, and of what else the values went into."""
    encoder_weight, _, _, decoder_weight = parameters
    factor = weight * (-2 / residual.shape[0])
    order, bags, offsets = pattern.by_neuron
    of_values = _sampled_product(pattern, residual, decoder_weight).mul_(factor)
    # What would only change lengths, see ``decode``.
    along = _sums_by_neuron(values * of_values, pattern)
    if grad_values is not None:
        of_values += grad_values
    if not is_signed:
        of_values.mul_(values > 0)
    of_decoder = _bag_sums(bags, offsets, residual, values.index_select(0, order).mul_(factor))
    of_decoder.addcmul_(along.unsqueeze(1), decoder_weight, value=-1)
    of_encoder = _bag_sums(bags, offsets, centred, of_values.index_select(0, order))
    of_bias = _sums_by_neuron(of_values, pattern)
    of_input_bias = residual.sum(dim=0).mul_(factor).addmv_(encoder_weight.T, of_bias, alpha=-1)
    return of_encoder, of_bias, of_input_bias, of_decoder


def autoencode(parameters, centred, dense, pattern, *, is_signed):
    """Give the code of a batch and how well it reconstructs the rows.

    The same as ``encode``, a rectifier, ``decode`` with unit rows and ``squared_error``.

    Parameters
    ----------
    parameters : tuple of Tensor
        Encoder weight and bias, input bias and decoder weight.

    centred : Tensor of shape (n_rows, d)
        Rows less the input bias.

    dense : Tensor of shape (n_rows, M) or None
        As for ``encode``.

    pattern : Pattern
        Its bags are the rows.

    is_signed : bool
        Whether values may be negative.

    Returns
    -------
    error : Tensor, scalar
        Mean over rows of the squared error.

    values : Tensor of shape (n_active,)

    residual : Tensor of shape (n_rows, d)
        ``centred`` less its reconstruction, without a graph.
    """
    return _Autoencode.apply(centred, dense, pattern, is_signed, *parameters)


@torch.no_grad()
def autoencode_with_gradients(parameters, centred, dense, pattern, *, is_signed):
    """Give error and values as ``autoencode`` does, and the gradients of the error alone.

    Where nothing else is to be learnt, tracing a graph to follow it back takes longer than
    some of the products.

    Returns
    -------
    error : Tensor, scalar

    values : Tensor of shape (n_active,)

    gradients : tuple of Tensor
        Of encoder weight and bias, input bias and decoder weight.
    """
    error, values, residual = _reconstructed(parameters, centred, dense, pattern, is_signed)
    gradients = _gradients_of_error(parameters, centred, values, residual, pattern, is_signed)
    return error, values, gradients


def _active(pattern, centred, dense, weight, bias):
    """Pre-activations of a pattern: picked where they are known, else computed."""
    if dense is not None:
        return dense.reshape(-1).index_select(0, pattern.positions)
    return _sampled_product(pattern, centred, weight) + bias.index_select(0, pattern.neurons)


def _mean_square(rows):
    flat = rows.flatten()
    return torch.dot(flat, flat).div_(rows.shape[0])


def _bag_sums(numbers, offsets, rows, values):
    """Weighted sums of numbered rows, one for each bag."""
    return torch.embedding_bag(
        # Whatever a gradient would need is prepared for rows that require one.
        rows.detach(),
        numbers,
        offsets,
        scale_grad_by_freq=False,
        mode=SUM,
        per_sample_weights=values.detach(),
        include_last_offset=True,
    )[0]


def _sums_by_neuron(values, pattern):
    """Sums of the values of each neuron, always in the same order."""
    if values.device.type == "cpu":
        sums = np.bincount(pattern.neurons.numpy(), values.numpy(), pattern.n_neurons)
        return torch.from_numpy(sums).to(values.dtype)
    order, _, offsets = pattern.by_neuron
    column = values.unsqueeze(1)
    return _bag_sums(order, offsets, column, torch.ones_like(values))[:, 0]


def _sampled_product(pattern, left, right):
    """``(left @ right.T)`` at the entries of the pattern alone."""
    zeros = left.new_zeros(pattern.neurons.shape)
    if not zeros.shape[0]:
        return zeros
    _silence_beta_warning()
    mask = torch.sparse_csr_tensor(
        pattern.offsets,
        pattern.neurons,
        zeros,
        (left.shape[0], right.shape[0]),
        check_invariants=False,
    )
    return torch.sparse.sampled_addmm(mask, left, right.T, beta=0).values()


@functools.cache
def _silence_beta_warning():
    # torch says once per process that CSR tensors are in beta: nothing a user could act on.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), (1, 1))
