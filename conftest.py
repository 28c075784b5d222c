"""For tests and doctests alike: caches go to a temporary folder, never to the user's own."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_in_temporary_folder(tmp_path_factory):
    """Point SKLEARN_HYPSAE_CACHE elsewhere for the session."""
    before = os.environ.get("SKLEARN_HYPSAE_CACHE")
    os.environ["SKLEARN_HYPSAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("SKLEARN_HYPSAE_CACHE")
    if before is not None:
        os.environ["SKLEARN_HYPSAE_CACHE"] = before
