"""Fixtures that several test files share."""

import pytest

from sklearn_hypsae import EmbeddingTransformer
from sklearn_hypsae.datasets import load_movie_reviews


@pytest.fixture(scope="session")
def reviews():
    """Six hundred Rotten Tomatoes reviews with their verdicts."""
    return load_movie_reviews("rotten_tomatoes", n_samples=600, random_state=0)


@pytest.fixture
def no_key_of_the_user(monkeypatch):
    """Leave the environment without keys and without another server."""
    for variable in ("OPENAI_API_KEY", "OPENAI_KEY_SAE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def nothing_works(monkeypatch):
    """Make the test fail where anything is embedded."""

    def fail(*args, **kwargs):
        raise AssertionError("embedded before the input was checked")

    for method in ("fit", "fit_transform", "transform"):
        monkeypatch.setattr(EmbeddingTransformer, method, fail)
