"""One split: hypotheses found on some rows, and what the rows held out need for the test."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from ._held_out import check_covariates, take_covariates
from ._pairs import check_pair_target, warn_if_one_sided
from ._pipeline_parts import check_rows, cut, take, texts_beside
from ._probe import probe_signal
from ._splitting import linked_rows, split_units
from ._stock_pipeline import make_hypothesis_pipeline
from ._targets import (
    Target,
    check_class_sizes,
    check_groups,
    check_target,
    check_weights,
)
from ._texts import holds_pairs, row_keys
from ._warning import warn
from .embedding import EmbeddingTransformer
from .validation import HypothesisValidator

CALLER = "HypothesisGenerator"
# Two rows of each class on either side of the split.
N_IN_CLASS = 4
# Of the share of rows held out, against what was asked for.
LARGEST_MISS = 0.1
# A larger share of rows that are not independent makes p-values too small to pass over.
MOST_LINKED = 0.05


class Rows(NamedTuple):
    """Checked rows with all that belongs to them.

    Attributes
    ----------
    X : ndarray of str or DataFrame
    y : ndarray of shape (n_rows,)
        As the user gave it, for the steps.
    target : Target
    groups : ndarray of int of shape (n_rows,) or None
    covariates : DataFrame, array-like or None
    sample_weight : ndarray of shape (n_rows,) or None
    """

    X: Any
    y: np.ndarray
    target: Target
    groups: np.ndarray | None
    covariates: Any
    sample_weight: np.ndarray | None = None

    def take(self, positions):
        """Give some of the rows."""
        return Rows(
            take(self.X, positions),
            self.y[positions],
            self.target._replace(values=self.target.values[positions]),
            None if self.groups is None else self.groups[positions],
            take_covariates(self.covariates, positions),
            None if self.sample_weight is None else self.sample_weight[positions],
        )

    @property
    def y_of_steps(self):
        """Y as each step takes it for what it is: numbers of several classes as strings."""
        n_classes = self.target.n_classes
        is_coded = n_classes is not None and n_classes > 2 and self.y.dtype.kind in "biuf"
        return self.y.astype(str).astype(object) if is_coded else self.y

    @property
    def units(self):
        """Number the sets of rows that have to stay together."""
        keys, groups = row_keys(self.X), [] if self.groups is None else [self.groups]
        if not self.are_pairs:
            return linked_rows(keys, *groups)
        # Texts one by one, so that it does not matter in which column a text is found again.
        shared = [np.tile(key, 2) for key in (np.arange(len(keys)), *groups)]
        return linked_rows(keys.T.ravel(), *shared)[: len(keys)]

    @property
    def are_pairs(self):
        """Whether each row is two texts."""
        return row_keys(self.X).ndim == 2

    @property
    def stratify(self):
        """Whether both sides of a split need their share of each class."""
        return self.target.task == "classification" and not self.are_pairs


def checked_rows(X, y, pipeline, *, groups, covariates, sample_weight=None):
    """Refuse what cannot be used, before anything is embedded.

    Parameters
    ----------
    X, y, groups, covariates, sample_weight : as for :meth:`HypothesisGenerator.fit`

    pipeline : Pipeline

    Returns
    -------
    rows : Rows

    Raises
    ------
    ValueError
        If they are malformed or do not fit together.
    """
    X = check_rows(X, pipeline)
    target = check_target_of(y, X, pipeline)
    groups = check_groups(groups, n_samples=len(X), caller=CALLER)
    covariates = check_covariates(covariates, X)
    if row_keys(X).ndim == 1:
        check_class_sizes(target, n_needed=N_IN_CLASS, caller=CALLER)
    else:
        warn_if_one_sided(target, CALLER)
    sample_weight = check_weights(sample_weight, n_samples=len(X), caller=CALLER)
    return Rows(X, np.asarray(y).ravel(), target, groups, covariates, sample_weight)


def refuse_weightless(held_out):
    """Refuse rows held out of which too few have a weight to test anything.

    Parameters
    ----------
    held_out : Rows

    Raises
    ------
    ValueError
        If y is constant in the rows with a weight above 0, or a class has none.
    """
    if held_out.sample_weight is None or row_keys(held_out.X).ndim == 2:
        return
    y = held_out.target.values[held_out.sample_weight > 0]
    n_values = held_out.target.n_classes or 2
    if len(np.unique(y)) < n_values:
        raise ValueError(
            f"{CALLER} has too few rows with a sample_weight above 0 to test on: y is constant in "
            "them, or a class has none; leave rows of weight 0 out before the split."
        )


def split_rows(rows, validation_size, rng):
    """Split rows into those of discovery and those held out.

    Returns
    -------
    split : (ndarray of int, ndarray of int)

    Raises
    ------
    ValueError
        If there is too little of anything to have some on both sides.
    """
    split = split_units(
        rows.units,
        rows.target.values,
        validation_size=validation_size,
        stratify=rows.stratify,
        rng=rng,
    )
    refuse_one_group(rows, split[1], "a larger validation_size")
    refuse_weightless(rows.take(split[1]))
    _warn_if_lopsided(split, validation_size)
    return split


def _warn_if_lopsided(split, validation_size):
    n_samples, n_held_out = sum(map(len, split)), len(split[1])
    asked = validation_size if validation_size < 1 else validation_size / n_samples
    if abs(n_held_out / n_samples - asked) > LARGEST_MISS:
        warn(
            f"{n_held_out} of {n_samples} rows are held out, not a share of {asked:.2g}, because "
            "many rows hang together by equal texts or groups: drop texts that many rows have."
        )


def warn_dependent(rows):
    """Warn of rows that stay together for a reason which the test does not know.

    Parameters
    ----------
    rows : Rows
    """
    units = rows.units if rows.groups is None else np.arange(len(rows.y))
    n_linked = int((np.bincount(units)[units] > 1).sum())
    if n_linked > MOST_LINKED * len(units):
        shared = "pairs share a text" if rows.are_pairs else "rows share their text"
        mend = "the experiment of a pair" if rows.are_pairs else "the text"
        warn(
            f"{n_linked} of {len(units)} {shared} with another, and are tested as if independent, "
            f"which makes p-values too small: pass groups=, such as {mend}."
        )


def refuse_one_group(rows, validation, mend):
    """Refuse to test on a single group."""
    if rows.groups is not None and len(np.unique(rows.groups[validation])) < 2:
        raise ValueError(
            f"{CALLER} has only one group to test on, and standard errors need several: pass "
            f"more groups, or {mend}."
        )


def check_target_of(y, X, pipeline):
    """Check the target of checked rows by the task of the validator."""
    task = pipeline.steps[-1][1].task
    is_pairs = row_keys(X).ndim == 2
    check = check_pair_target if is_pairs else partial(check_target, max_classes=None)
    return check(y, task=task, n_samples=len(X), caller=CALLER)


def seeded_pipeline(pipeline, rng):
    """Clone a pipeline, or build the default one, and seed the steps that have no seed.

    Parameters
    ----------
    pipeline : Pipeline or None

    rng : RandomState

    Returns
    -------
    pipeline : Pipeline

    Raises
    ------
    ValueError
        If its last step is no validator.
    """
    if pipeline is None:
        return make_hypothesis_pipeline(random_state=draw_seed(rng))
    pipeline = clone(pipeline)
    if not isinstance(pipeline.steps[-1][1], HypothesisValidator):
        raise ValueError(
            f"{CALLER} needs a pipeline that ends in a HypothesisValidator, got "
            f"{type(pipeline.steps[-1][1]).__name__} as its last step: append one."
        )
    unseeded = [
        name
        for name, value in pipeline.get_params().items()
        if name.endswith("__random_state") and value is None
    ]
    pipeline.set_params(**{name: draw_seed(rng) for name in sorted(unseeded)})
    validator = pipeline.steps[-1][1]
    if any(getattr(step, "soft_labels", False) for _, step in pipeline.steps):
        # Annotations are probabilities then, hardly ever 0.
        validator.present_above = validator.present_above or 0.5
    return pipeline


def draw_seed(rng):
    """Draw a seed for a step."""
    return rng.randint(np.iinfo(np.int32).max)


class Discovery(NamedTuple):
    """What one split's discovery leaves behind.

    Attributes
    ----------
    parts : Parts
        Fitted.

    neurons, neurons_held_out : DataFrame, ndarray or CSR of shape (n_rows, n_neurons)
        What the words were found for, on the rows of discovery and on those held out.

    signal : dict or None
        Score of the probe of the embeddings.
    """

    parts: Any
    neurons: Any
    neurons_held_out: Any
    signal: dict | None


def embed_once(pipeline, X):
    """Embed all rows for all splits, where embedding learns nothing from them.

    Parameters
    ----------
    pipeline : Pipeline

    X : ndarray of str or DataFrame

    Returns
    -------
    embedding : (Pipeline, DataFrame or ndarray) or None
        The fitted steps and what they give. None where a step before the autoencoder learns.
    """
    embed = cut(pipeline).embed
    if not all(isinstance(step, EmbeddingTransformer) for _, step in embed.steps[:-1]):
        return None
    return embed, embed.fit_transform(X)


def discover(pipeline, rows, split, rng, embedding=None):
    """Fit all steps but the validator.

    Parameters
    ----------
    pipeline : Pipeline
        Its steps are fitted.

    rows : Rows

    split : (ndarray of int, ndarray of int)
        Positions of the rows to discover on, and of those to test on later.

    rng : RandomState
        Draws bootstrap samples for the interval of the probe's score.

    embedding : (Pipeline, DataFrame or ndarray), default=None
        As :func:`embed_once` gives it. None: the split embeds its own rows.

    Returns
    -------
    discovery : Discovery
    """
    parts = cut(pipeline)
    rows, held_out = rows.take(split[0]), rows.take(split[1])
    y = rows.y_of_steps
    if embedding is None:
        embedded = parts.embed.fit_transform(rows.X, y)
        embedded_held_out = parts.embed.transform(held_out.X)
    else:
        parts = parts._replace(embed=embedding[0])
        embedded, embedded_held_out = (take(embedding[1], part) for part in split)
    neurons = parts.select.fit_transform(embedded, y)
    if parts.interpret is not None:
        # Not fit_transform: annotating the rows that discovered would be paid for in vain.
        parts.interpret.fit(neurons, y, texts=texts_beside(neurons, rows.X))
    signal = None
    if np.ndim(embedded) == 2 and not holds_pairs(embedded):
        signal = probe_signal(
            (embedded, rows.target.values),
            (embedded_held_out, held_out.target.values),
            task=rows.target.task,
            groups=held_out.groups,
            pairs=rows.are_pairs,
            sample_weight=held_out.sample_weight,
            rng=rng,
        )
    return Discovery(parts, neurons, parts.select.transform(embedded_held_out), signal)
