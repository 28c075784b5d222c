"""One split: hypotheses found on some rows, and what the rows held out need for the test."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from ._held_out import check_covariates, take_covariates
from ._pipeline_parts import check_rows, cut, take, texts_beside
from ._probe import probe_signal
from ._splitting import linked_rows
from ._stock_pipeline import make_hypothesis_pipeline
from ._targets import Target, check_groups, check_target
from ._texts import row_keys
from .validation import HypothesisValidator

CALLER = "HypothesisGenerator"


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
    """

    X: Any
    y: np.ndarray
    target: Target
    groups: np.ndarray | None
    covariates: Any

    def take(self, positions):
        """Give some of the rows."""
        return Rows(
            take(self.X, positions),
            self.y[positions],
            self.target._replace(values=self.target.values[positions]),
            None if self.groups is None else self.groups[positions],
            take_covariates(self.covariates, positions),
        )

    @property
    def units(self):
        """Number the sets of rows that have to stay together."""
        keys = [row_keys(self.X)] if self.groups is None else [row_keys(self.X), self.groups]
        return linked_rows(*keys)


def checked_rows(X, y, pipeline, *, groups, covariates):
    """Refuse what cannot be used, before anything is embedded.

    Parameters
    ----------
    X, y, groups, covariates : as for :meth:`HypothesisGenerator.fit`

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
    return Rows(X, np.asarray(y).ravel(), target, groups, covariates)


def check_target_of(y, X, pipeline):
    """Check the target of checked rows by the task of the validator."""
    return check_target(y, task=pipeline.steps[-1][1].task, n_samples=len(X), caller=CALLER)


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
    return pipeline.set_params(**{name: draw_seed(rng) for name in sorted(unseeded)})


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


def discover(pipeline, rows, held_out, rng):
    """Fit all steps but the validator.

    Parameters
    ----------
    pipeline : Pipeline
        Its steps are fitted.

    rows, held_out : Rows
        To discover on, and to test on later.

    rng : RandomState
        Draws bootstrap samples for the interval of the probe's score.

    Returns
    -------
    discovery : Discovery
    """
    parts = cut(pipeline)
    embedded = parts.embed.fit_transform(rows.X, rows.y)
    embedded_held_out = parts.embed.transform(held_out.X)
    neurons = parts.select.fit_transform(embedded, rows.y)
    if parts.interpret is not None:
        # Not fit_transform: annotating the rows that discovered would be paid for in vain.
        parts.interpret.fit(neurons, rows.y, texts=texts_beside(neurons, rows.X))
    signal = None
    if np.ndim(embedded) == 2:
        signal = probe_signal(
            (embedded, rows.target.values),
            (embedded_held_out, held_out.target.values),
            task=rows.target.task,
            groups=held_out.groups,
            rng=rng,
        )
    return Discovery(parts, neurons, parts.select.transform(embedded_held_out), signal)
