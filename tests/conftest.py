"""Fixtures that several test files share."""

import os

import pytest

from sklearn_hypsae.datasets import load_movie_reviews


@pytest.fixture(scope="session", autouse=True)
def cache_in_temporary_folder(tmp_path_factory):
    """Keep the caches of the tests out of the user's own."""
    before = os.environ.get("SKLEARN_HYPSAE_CACHE")
    os.environ["SKLEARN_HYPSAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("SKLEARN_HYPSAE_CACHE")
    if before is not None:
        os.environ["SKLEARN_HYPSAE_CACHE"] = before


@pytest.fixture(scope="session")
def reviews():
    """Six hundred Rotten Tomatoes reviews with their verdicts."""
    return load_movie_reviews("rotten_tomatoes", n_samples=600, random_state=0)
