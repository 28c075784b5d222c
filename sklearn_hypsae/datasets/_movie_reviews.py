"""Loader of public film reviews, from a package that installs from PyPI."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import Bunch, check_random_state

from .._optional import import_optional

SOURCES = ("rotten_tomatoes", "imdb")


def load_movie_reviews(
    source="rotten_tomatoes", *, n_samples=None, random_state=None, return_X_y=False
):
    """Load film reviews, each with a label for whether the critic likes the film.

    8,530 sentences from Rotten Tomatoes [1]_ and 25,000 long reviews from IMDB [2]_, half of
    each favourable. They come with the package ``movie-reviews`` (the extra ``offline``), so no
    download is needed.

    Parameters
    ----------
    source : {"rotten_tomatoes", "imdb", "all"}, default="rotten_tomatoes"
        Which reviews.

    n_samples : int, default=None
        Number of reviews to draw at random, without replacement. None: all of them, in the
        order of the file, where labels come in blocks.

    random_state : int, RandomState instance or None, default=None
        Draws the sample where ``n_samples`` is set.

    return_X_y : bool, default=False
        Whether to return ``(texts, y)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With the attributes

        texts : ndarray of shape (n_samples,), dtype=object
            The reviews. Line breaks that IMDB's have as HTML are plain line breaks.
        y : ndarray of shape (n_samples,)
            0 for an unfavourable review, 1 for a favourable one.
        target_names : list of str
            ``["negative", "positive"]``.
        source : ndarray of shape (n_samples,), dtype=object
            Where each review is from.
        DESCR : str
            What the data are.

    Raises
    ------
    ValueError
        If the source is unknown, or more reviews are asked for than there are.

    ImportError
        If the package ``movie-reviews`` is not installed.

    References
    ----------
    .. [1] Pang and Lee (2005), "Seeing stars: Exploiting class relationships for sentiment
       categorization with respect to rating scales", ACL.
    .. [2] Maas, Daly, Pham, Huang, Ng and Potts (2011), "Learning Word Vectors for Sentiment
       Analysis", ACL.

    Examples
    --------
    >>> from sklearn_hypsae.datasets import load_movie_reviews
    >>> reviews = load_movie_reviews(n_samples=100, random_state=0)
    >>> len(reviews.texts), sorted(set(reviews.y.tolist())), reviews.target_names
    (100, [0, 1], ['negative', 'positive'])
    """
    if source not in (*SOURCES, "all"):
        raise ValueError(
            f'load_movie_reviews knows the sources "rotten_tomatoes", "imdb" and "all", '
            f"got {source!r}."
        )
    reviews = pd.read_csv(_csv_path(), dtype={"text": object, "source": object})
    if source != "all":
        reviews = reviews[reviews["source"] == source]
    if n_samples is not None:
        reviews = reviews.iloc[_drawn_rows(len(reviews), n_samples, random_state)]
    texts = reviews["text"].str.replace(r"(?:<br\s*/?>\s*)+", "\n", regex=True)
    texts = texts.to_numpy(dtype=object)
    y = reviews["label"].to_numpy(dtype=np.int64)
    if return_X_y:
        return texts, y
    return Bunch(
        texts=texts,
        y=y,
        target_names=["negative", "positive"],
        source=reviews["source"].to_numpy(dtype=object),
        DESCR="Film reviews from Rotten Tomatoes (Pang and Lee 2005) and IMDB (Maas et al. 2011).",
    )


def _csv_path():
    package = import_optional("movie_reviews", purpose="load_movie_reviews", extra="offline")
    return Path(package.__file__).parent / "data" / "combined_movie_reviews.csv"


def _drawn_rows(n_available, n_samples, random_state):
    if not 1 <= n_samples <= n_available:
        raise ValueError(
            f"load_movie_reviews has {n_available} reviews of that source, so n_samples must be "
            f"between 1 and {n_available}, got {n_samples}."
        )
    return check_random_state(random_state).choice(n_available, n_samples, replace=False)
