"""Texts with known concepts, and loaders of public reviews."""
