"""The sparse autoencoder as a torch module."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from . import kernels, patterns
from .devices import tf32_allowed
from .records import Weights

BLOCK_SIZE = 2**18


class Code(NamedTuple):
    """Active neurons of a batch and their values."""

    values: torch.Tensor
    pattern: patterns.Pattern


class SparseAutoencoder(nn.Module):
    """Encoder, sparse code, decoder with unit rows (2406.04093), optional read-out of a target.

    Parameters
    ----------
    weights : Weights

    settings : Settings
    """

    def __init__(self, weights, settings):
        super().__init__()
        self.settings = settings
        for name, value in weights._asdict().items():
            tensor = torch.from_numpy(np.array(value, dtype=np.float32))
            self.register_parameter(name, nn.Parameter(tensor))
        if not settings.target_coef:
            self.readout_weight.requires_grad_(False)
            self.readout_bias.requires_grad_(False)
        n_neurons = len(self.encoder_weight)
        self.n_steps = 0
        self.register_buffer("last_fired", torch.zeros(n_neurons, dtype=torch.long))
        self.register_buffer(
            "prefix_lengths", torch.tensor(settings.prefix_lengths, dtype=torch.long)
        )

    def forward(self, x):
        """Give the dense pre-activations, without a graph.

        Parameters
        ----------
        x : Tensor of shape (n_rows, d)

        Returns
        -------
        centred : Tensor of shape (n_rows, d)
        dense : Tensor of shape (n_rows, M)
        """
        with torch.no_grad():
            centred = x - self.input_bias
            operands = self.encoder_bias, centred, self.encoder_weight.T
            if not self._selects_roughly():
                return centred, torch.addmm(*operands)
            if self.settings.encoder_precision == "bfloat16":
                operands = (operand.bfloat16() for operand in operands)
                return centred, torch.addmm(*operands).float()
            with tf32_allowed():
                return centred, torch.addmm(*operands)

    def _selects_roughly(self):
        """Whether the dense product only selects neurons, whose values are computed again."""
        return self.training and self.settings.encoder_precision != "float32"

    def scores(self, dense):
        """By what neurons compete: the pre-activation, or its magnitude if signed."""
        return dense.abs() if self.settings.signed else dense

    def pattern(self, dense, threshold=None):
        """Select the active neurons.

        Parameters
        ----------
        dense : Tensor of shape (n_rows, M)

        threshold : float, default=None
            For BatchTopK at inference. None: the selection of training, which depends on
            the batch.

        Returns
        -------
        pattern : Pattern
        """
        scores = self.scores(dense)
        if threshold is not None:
            return patterns.threshold_pattern(scores, threshold)
        if self.settings.batch_topk:
            return patterns.batch_topk_pattern(scores, self.settings.k)
        return patterns.topk_pattern(scores, self.settings.k)

    def autoencode(self, centred, dense, pattern):
        """Give code, squared error and residual at once; see ``kernels.autoencode``.

        Parameters
        ----------
        centred : Tensor of shape (n_rows, d)

        dense : Tensor of shape (n_rows, M)

        pattern : Pattern

        Returns
        -------
        error : Tensor, scalar
        code : Code
        residual : Tensor of shape (n_rows, d)
        """
        error, values, residual = kernels.autoencode(
            self._reconstructing(),
            centred,
            self._known(dense),
            pattern,
            is_signed=self.settings.signed,
        )
        return error, Code(values, pattern), residual

    def learn_to_reconstruct(self, centred, dense, pattern):
        """Leave the gradient of the squared error in the parameters, without a graph.

        Parameters
        ----------
        centred, dense, pattern
            As for :meth:`autoencode`.

        Returns
        -------
        error : Tensor, scalar
        values : Tensor of shape (n_active,)
        """
        parameters = self._reconstructing()
        error, values, gradients = kernels.autoencode_with_gradients(
            parameters, centred, self._known(dense), pattern, is_signed=self.settings.signed
        )
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if parameter.requires_grad:
                parameter.grad = gradient
        return error, values

    def _reconstructing(self):
        return self.encoder_weight, self.encoder_bias, self.input_bias, self.decoder_weight

    def _known(self, dense):
        return None if self._selects_roughly() else dense

    def code(self, centred, dense, pattern):
        """Give the values of the active neurons, differentiable in the encoder.

        Parameters
        ----------
        centred : Tensor of shape (n_rows, d)

        dense : Tensor of shape (n_rows, M)

        pattern : Pattern

        Returns
        -------
        code : Code
        """
        parameters = self.encoder_weight, self.encoder_bias, self.input_bias
        values = kernels.encode(*parameters, centred, self._known(dense), pattern)
        return Code(values if self.settings.signed else values.relu(), pattern)

    def decode(self, code):
        """Reconstruct the rows less the input bias: Tensor of shape (n_bags, d)."""
        return kernels.decode(code.values, self.decoder_weight, code.pattern, unit_rows=True)

    def read_out(self, code):
        """Predict the standardised target: Tensor of shape (n_rows, n_targets)."""
        return kernels.decode(code.values, self.readout_weight, code.pattern) + self.readout_bias

    def keep_odd(self):
        """Train without biases: rows with the sign changed then give codes with it changed."""
        for bias in (self.encoder_bias, self.input_bias, self.readout_bias):
            bias.requires_grad_(False)

    def count_step(self, pattern, is_active):
        """Take note of which neurons fired in a training step.

        Parameters
        ----------
        pattern : Pattern

        is_active : bool Tensor of shape (n_active,)
            Which of its neurons have a value other than 0.
        """
        self.n_steps += 1
        fired = is_active * self.n_steps
        self.last_fired.scatter_reduce_(0, pattern.neurons, fired, "amax")

    def is_dead(self):
        """Tell which neurons have been silent for too long: bool Tensor of shape (M,)."""
        return self.n_steps - self.last_fired > self.settings.dead_after

    def normalise_decoder(self):
        """Bring the decoder's rows back to unit length."""
        weight = self.decoder_weight.detach()
        # In blocks that stay in the cache between the two passes.
        n_rows = max(1, BLOCK_SIZE // weight.shape[1])
        for start in range(0, weight.shape[0], n_rows):
            rows = weight[start : start + n_rows]
            rows.div_(torch.linalg.vector_norm(rows, dim=1, keepdim=True))

    def weights(self):
        """Copy the parameters out as arrays: Weights."""
        return Weights(
            *(getattr(self, name).detach().cpu().numpy().copy() for name in Weights._fields)
        )
