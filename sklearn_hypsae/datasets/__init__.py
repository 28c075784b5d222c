"""Texts with known concepts, and loaders of public reviews."""

from ._movie_reviews import load_movie_reviews
from ._planted_pairs import make_planted_pairs
from ._planted_texts import make_planted_texts

__all__ = ["load_movie_reviews", "make_planted_pairs", "make_planted_texts"]
