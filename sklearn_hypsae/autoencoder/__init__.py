"""What :mod:`sklearn_hypsae.sae` is made of.

Rows, checks, sizes, files and the course of a fit need no torch. What does (module, kernels,
losses, skorch net, iterators, training, inference) is imported when an autoencoder is fitted
or used.
"""
