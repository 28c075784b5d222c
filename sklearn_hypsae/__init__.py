"""Hypotheses in plain language about what in texts predicts a target.

The method is HypotheSAEs (Movva, Peng, Garg, Kleinberg and Pierson 2025, arXiv 2502.04382) as
scikit-learn estimators, one file per step: :mod:`~sklearn_hypsae.embedding`,
:mod:`~sklearn_hypsae.sae`, :mod:`~sklearn_hypsae.selection`,
:mod:`~sklearn_hypsae.interpretation`, :mod:`~sklearn_hypsae.validation`, and
:mod:`~sklearn_hypsae.discovery`, which puts them together.
"""

from .discovery import HypothesisGenerator, make_hypothesis_pipeline
from .embedding import EmbeddingTransformer
from .interpretation import LLMInterpreter
from .sae import SparseAutoencoderTransformer
from .selection import NeuronSelector
from .validation import HypothesisValidator

__version__ = "0.1.0"

__all__ = [
    "EmbeddingTransformer",
    "HypothesisGenerator",
    "HypothesisValidator",
    "LLMInterpreter",
    "NeuronSelector",
    "SparseAutoencoderTransformer",
    "make_hypothesis_pipeline",
]
