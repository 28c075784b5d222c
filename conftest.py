"""For tests and doctests alike: a cache and threads of their own."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several workers with a thread on every core each wait for one another most of the time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def cache_in_temporary_folder(tmp_path_factory):
    """Point SKLEARN_HYPSAE_CACHE elsewhere for the session."""
    before = os.environ.get("SKLEARN_HYPSAE_CACHE")
    os.environ["SKLEARN_HYPSAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("SKLEARN_HYPSAE_CACHE")
    if before is not None:
        os.environ["SKLEARN_HYPSAE_CACHE"] = before
