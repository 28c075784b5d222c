"""Texts with known concepts, and loaders of public reviews."""

from ._movie_reviews import load_movie_reviews

__all__ = ["load_movie_reviews"]
