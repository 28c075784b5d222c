"""Plots of what was found and of how the autoencoder was trained; they need matplotlib."""

from ._plots import plot_hypotheses, plot_training_curves

__all__ = ["plot_hypotheses", "plot_training_curves"]
