"""Fixtures that several test files share."""

import pytest

from sklearn_hypsae.datasets import load_movie_reviews


@pytest.fixture(scope="session")
def reviews():
    """Six hundred Rotten Tomatoes reviews with their verdicts."""
    return load_movie_reviews("rotten_tomatoes", n_samples=600, random_state=0)
