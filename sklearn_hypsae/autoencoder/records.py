"""What an autoencoder consists of, as plain records. No torch here."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Settings:
    """What an autoencoder computes and what its loss is made of.

    The fields are parameters of :class:`~sklearn_hypsae.SparseAutoencoderTransformer`, with
    every "auto" and None resolved: ``k`` is K, ``prefix_lengths`` matryoshka_prefix_lengths,
    ``dead_after`` dead_neuron_threshold_steps, and the others have the same names.
    """

    k: int
    prefix_lengths: tuple = ()
    batch_topk: bool = False
    signed: bool = False
    aux_k: int = 0
    aux_coef: float = 0.0
    multi_k: int | None = None
    multi_coef: float = 0.0
    dead_after: int = 256
    target_coef: float = 0.0
    encoder_precision: str = "float32"


class Weights(NamedTuple):
    """The parameters of an autoencoder as arrays, so that they outlive any device.

    Attributes
    ----------
    encoder_weight, decoder_weight : ndarray of shape (M, d)
    encoder_bias : ndarray of shape (M,)
    input_bias : ndarray of shape (d,)
    readout_weight : ndarray of shape (M, n_targets)
    readout_bias : ndarray of shape (n_targets,)
    """

    encoder_weight: np.ndarray
    encoder_bias: np.ndarray
    decoder_weight: np.ndarray
    input_bias: np.ndarray
    readout_weight: np.ndarray
    readout_bias: np.ndarray

    def scaled(self, factor):
        """Give the weights that treat ``factor * x`` as these treat x.

        Parameters
        ----------
        factor : float

        Returns
        -------
        weights : Weights
        """
        factor = np.float32(factor)
        return self._replace(
            encoder_bias=self.encoder_bias * factor,
            input_bias=self.input_bias * factor,
            readout_weight=self.readout_weight / factor,
        )
