"""The torch side of :mod:`sklearn_hypsae.sae`: module, kernels, losses, skorch net, iterators.

Nothing here is imported before an autoencoder is fitted or used.
"""
