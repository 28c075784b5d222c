"""Loaders of public reviews, the generator of planted texts, and the cache folder."""

import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import NEEDS_MODES

from sklearn_hypsae._cache_folder import cache_folder
from sklearn_hypsae.datasets import load_movie_reviews


@pytest.mark.parametrize(("source", "n"), [("rotten_tomatoes", 8530), ("imdb", 25000)])
def test_movie_reviews_has_the_published_numbers_of_reviews_half_of_them_favourable(source, n):
    reviews = load_movie_reviews(source)
    assert len(reviews.texts) == len(reviews.y) == len(reviews.source) == n
    assert reviews.y.mean() == 0.5
    assert set(reviews.source) == {source}
    assert all(type(text) is str and text for text in reviews.texts)
    assert not any("<br" in text for text in reviews.texts)


def test_movie_reviews_draws_a_reproducible_sample():
    texts, y = load_movie_reviews("all", n_samples=300, random_state=0, return_X_y=True)
    again, y_again = load_movie_reviews("all", n_samples=300, random_state=0, return_X_y=True)
    other, _ = load_movie_reviews("all", n_samples=300, random_state=1, return_X_y=True)
    assert texts.tolist() == again.tolist()
    np.testing.assert_array_equal(y, y_again)
    assert texts.tolist() != other.tolist()
    assert 0.3 < y.mean() < 0.7


def test_movie_reviews_refuses_what_it_does_not_have():
    with pytest.raises(ValueError, match="knows the sources"):
        load_movie_reviews("letterboxd")
    with pytest.raises(ValueError, match="between 1 and 8530, got 9000"):
        load_movie_reviews(n_samples=9000)


def test_movie_reviews_names_the_extra_when_the_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "movie_reviews", None)
    with pytest.raises(ImportError, match=r"sklearn-hypsae\[offline\]"):
        load_movie_reviews()


@NEEDS_MODES
def test_cache_folder_is_created_for_its_owner_alone_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SKLEARN_HYPSAE_CACHE", str(tmp_path / "a" / "b"))
    folder = cache_folder()
    assert folder == tmp_path / "a" / "b"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="XDG is for Linux")
@pytest.mark.parametrize("xdg", [None, "relative/path", "absolute"])
def test_cache_folder_follows_the_xdg_convention(tmp_path, monkeypatch, xdg):
    monkeypatch.delenv("SKLEARN_HYPSAE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    expected = tmp_path / ".cache" / "sklearn_hypsae"
    if xdg is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / xdg) if xdg == "absolute" else xdg)
    if xdg == "absolute":
        expected = tmp_path / "absolute" / "sklearn_hypsae"
    assert cache_folder() == expected
    assert expected.is_dir()
