"""Several splits of the same rows: run alike, matched, and combined."""

import logging
from numbers import Integral

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.utils import check_random_state

from ._discovery_run import (
    draw_seed,
    embed_once,
    refuse_one_group,
    refuse_weightless,
    seeded_pipeline,
    split_rows,
)
from ._interpreting import unique_names
from ._pairs import mirrored
from ._pipeline_parts import (
    annotate_neurons,
    check_steps,
    cut,
    settle_pairs,
    settle_task,
    take,
)
from ._redundancy import content_words
from ._repeats import (
    COMBINABLE_CORRECTIONS,
    combine_tables,
    match_hypotheses,
    representatives,
    twice_the_median,
)
from ._splitting import split_by, split_into_folds
from ._texts import row_keys

logger = logging.getLogger(__name__)

# Rows on which hypotheses of different splits are compared; more make it slower, not better.
N_COMMON_ROWS = 5000
BUDGETS = ("max_requests", "max_tokens_total")


def check_several(pipeline, *, n_repeats, cv):
    """Refuse settings that have no meaning over several splits.

    Parameters
    ----------
    pipeline : Pipeline

    n_repeats : int

    cv : int, splitter or None

    Raises
    ------
    ValueError
        If both are set, or the correction has no valid form over splits.
    """
    if n_repeats > 1 and cv is not None:
        raise ValueError(
            f"HypothesisGenerator got n_repeats={n_repeats} and cv, which are two ways to split "
            "the rows several times: set one of them."
        )
    correction = pipeline.steps[-1][1].correction
    if correction not in COMBINABLE_CORRECTIONS:
        raise ValueError(
            f"HypothesisGenerator cannot combine p-values over several splits with "
            f'correction={correction!r}: set "bonferroni" or "holm" on the validator.'
        )


def fit_splits(generator, rows, rng):
    """Fit one generator a split, match what they find and combine it.

    Parameters
    ----------
    generator : HypothesisGenerator
        With n_repeats above 1 or cv.

    rows : Rows

    rng : RandomState

    Returns
    -------
    results : dict
        Attributes of the generator.
    """
    if (rows.target.n_classes or 2) > 2:
        raise ValueError(
            f"HypothesisGenerator combines several splits for numbers and two classes, but y has "
            f"{rows.target.n_classes} classes: leave out n_repeats and cv, or fit one class "
            "against the rest."
        )
    fitted = _one_a_split(generator, rows, rng)
    rngs = [check_random_state(each.random_state) for each in fitted]
    pipelines = [
        seeded_pipeline(each.pipeline, own) for each, own in zip(fitted, rngs, strict=True)
    ]
    splits = _splits(generator, rows, rng, rngs)
    share_budgets(pipelines)
    for pipeline, (discovery_rows, _) in zip(pipelines, splits, strict=True):
        settle_task(pipeline, rows.target.task)
        if rows.are_pairs:
            settle_pairs(pipeline)
        check_steps(pipeline, n_discovery=len(discovery_rows))
    embedding = embed_once(pipelines[0], rows.X)
    discoveries = [
        each._discover(pipeline, rows, split, own, embedding)
        for each, pipeline, split, own in zip(fitted, pipelines, splits, rngs, strict=True)
    ]
    held_out = [rows.take(validation) for _, validation in splits]
    log_requests(discoveries, held_out)
    for each, part, discovery in zip(fitted, held_out, discoveries, strict=True):
        each._test(part, discovery)
        each._set_input_features(rows.X)
    columns = columns_to_match(discoveries, splits, rows.X, rng)
    return combined_results(fitted, columns)


def _one_a_split(generator, rows, rng):
    """Make a generator a split. Each has seeds of its own, the first those the user set."""
    n_splits = generator.n_repeats
    if isinstance(generator.cv, Integral):
        n_splits = generator.cv
    elif generator.cv is not None:
        n_splits = generator.cv.get_n_splits(rows.X, rows.y, rows.groups)
    fitted = [
        clone(generator).set_params(n_repeats=1, cv=None, random_state=draw_seed(rng))
        for _ in range(n_splits)
    ]
    return [fitted[0], *(_unseeded(each) for each in fitted[1:])]


def _splits(generator, rows, rng, rngs):
    if generator.cv is None:
        return [split_rows(rows, generator.validation_size, own) for own in rngs]
    known = {"units": rows.units, "stratify": rows.stratify}
    codes = rows.target.values
    if isinstance(generator.cv, Integral):
        splits = split_into_folds(y=codes, n_folds=generator.cv, rng=rng, **known)
    else:
        splits = split_by(generator.cv, rows.X, rows.y, rows.groups, codes=codes, **known)
    for _, validation in splits:
        refuse_one_group(rows, validation, "a lower cv")
        refuse_weightless(rows.take(validation))
    return splits


def _unseeded(generator):
    """Forget the seeds of all steps but the validator, so that a split draws its own."""
    if generator.pipeline is None:
        return generator
    final = generator.pipeline.steps[-1][0]
    seeds = [
        f"pipeline__{name}"
        for name in generator.pipeline.get_params()
        if name.endswith("__random_state") and not name.startswith(f"{final}__")
    ]
    return generator.set_params(**dict.fromkeys(seeds))


def share_budgets(pipelines):
    """Divide what a language model may spend evenly among the splits.

    Parameters
    ----------
    pipelines : list of Pipeline
        Changed in place.

    Raises
    ------
    ValueError
        If a budget is too small to be divided.
    """
    for pipeline in pipelines:
        interpret = cut(pipeline).interpret
        for name in BUDGETS if interpret is not None else ():
            budget = getattr(interpret, name)
            if budget is None:
                continue
            if budget < len(pipelines):
                raise ValueError(
                    f"{name}={budget} cannot be divided among {len(pipelines)} splits: raise it."
                )
            interpret.set_params(**{name: budget // len(pipelines)})


def log_requests(discoveries, held_out):
    """Log how many annotation requests all splits take together, before the first is sent.

    Parameters
    ----------
    discoveries : list of Discovery

    held_out : list of Rows
        Of each split.
    """
    n_requests = 0
    for discovery, rows in zip(discoveries, held_out, strict=True):
        interpret = discovery.parts.interpret
        if interpret is not None and interpret._has_model():
            n_per_text = -(-len(set(interpret.hypotheses_)) // interpret.concepts_per_request)
            n_requests += n_per_text * len(set(row_keys(rows.X).ravel()))
    if n_requests:
        logger.info(
            "Annotating the held-out rows of %d splits takes up to %d requests.",
            len(discoveries),
            n_requests,
        )


def columns_to_match(discoveries, splits, X, rng):
    """Tell where each hypothesis of each split holds, on rows that all are looked up on.

    Nothing is asked of a language model: its hypotheses are compared by the activations of the
    neurons they put into words.

    Parameters
    ----------
    discoveries : list of Discovery

    splits : list of (discovery, validation)
        Row positions; together all rows.

    X : ndarray of str or DataFrame
        All rows.

    rng : RandomState
        Draws the common rows where there are more than needed.

    Returns
    -------
    columns : ndarray of shape (n_common, n_hypotheses)
        Those of the first split first.
    """
    common = np.arange(len(X))
    if len(common) > N_COMMON_ROWS:
        common = np.sort(rng.choice(common, N_COMMON_ROWS, replace=False))
    columns = []
    for discovery, split in zip(discoveries, splits, strict=True):
        positions = np.argsort(np.concatenate(split), kind="stable")[common]
        neurons = _rows_of(_stacked(discovery.neurons, discovery.neurons_held_out), positions)
        columns.append(_columns_of(discovery.parts, neurons, take(X, common)))
    columns = np.hstack(columns)
    return mirrored(columns) if row_keys(X).ndim == 2 else columns


def _stacked(first, second):
    if isinstance(first, pd.DataFrame):
        return pd.concat([first, second])
    return sp.vstack([first, second], format="csr") if sp.issparse(first) else np.r_[first, second]


def _rows_of(values, positions):
    return values.iloc[positions] if isinstance(values, pd.DataFrame) else values[positions]


def _columns_of(parts, neurons, X):
    interpret = parts.interpret
    if interpret is not None and not interpret._has_model():
        return np.asarray(annotate_neurons(parts, neurons, X), dtype=float)
    if interpret is not None and interpret.hypotheses is not None:
        return np.zeros((len(X), len(interpret.hypotheses_)))  # told apart by their words
    values = neurons.toarray() if sp.issparse(neurons) else np.asarray(neurons, dtype=float)
    if interpret is None:
        return values
    described = interpret.interpretations_["neuron"]
    if isinstance(neurons, pd.DataFrame):
        return values[:, neurons.columns.get_indexer(described)]
    return values[:, described.to_numpy(dtype=int)]


def same_words(wordings):
    """Tell which hypotheses say the same in other forms of the words.

    Parameters
    ----------
    wordings : list of str

    Returns
    -------
    alike : ndarray of bool of shape (n_hypotheses, n_hypotheses)
    """
    words = content_words(wordings)
    codes = pd.factorize(np.array([" ".join(sorted(each)) for each in words], dtype=object))[0]
    says = np.array([bool(each) for each in words])
    return (codes[:, None] == codes) & says & says[:, None]


def combined_results(fitted, columns):
    """Match the hypotheses of all splits and combine what was found out about them.

    Parameters
    ----------
    fitted : list of HypothesisGenerator
        One a split.

    columns : ndarray of shape (n_common, n_hypotheses)
        As :func:`columns_to_match` gives them.

    Returns
    -------
    results : dict
        Attributes of the generator that was asked for several splits.
    """
    tables = pd.concat([each.hypotheses_ for each in fitted], ignore_index=True)
    splits = np.repeat(np.arange(len(fitted)), [len(each.hypotheses_) for each in fitted])
    tables.insert(0, "split", splits)
    has_words = cut(fitted[0].pipeline_).interpret is not None
    alike = same_words(tables["hypothesis"]) if has_words else None
    ideas = match_hypotheses(columns, splits, alike)
    chosen = representatives(columns, ideas)
    table, order = combine_tables(
        tables, ideas, chosen, n_splits=len(fitted), alpha=fitted[0]._validator.alpha
    )
    table["hypothesis"] = unique_names(table["hypothesis"])
    tables.insert(1, "idea", np.argsort(order)[ideas])
    within = tables.groupby("split").cumcount().to_numpy()
    return {
        "hypotheses_": table,
        "hypotheses_by_split_": tables,
        "metrics_": _combined_metrics([each.metrics_ for each in fitted], table),
        "signal_": _mean_signal([each.signal_ for each in fitted]),
        "covariates_": _combined_covariates([each.covariates_ for each in fitted]),
        "splits_": fitted,
        "_worded_by": np.column_stack([splits, within])[chosen[order]],
        **({"classes_": fitted[0].classes_} if hasattr(fitted[0], "classes_") else {}),
    }


def _combined_covariates(tables):
    """Give medians of the coefficients of the covariates, and combined p-values."""
    table = pd.concat(tables, ignore_index=True)
    names = table.pop("covariate")
    combined = table.groupby(names.to_numpy(), sort=False).median()
    for name, pvalues in table["regression_pval"].groupby(names.to_numpy()):
        combined.loc[name, "regression_pval"] = twice_the_median(pvalues, len(tables))
    return combined.rename_axis("covariate").reset_index()


def _combined_metrics(metrics, table):
    """Give scores as means over the splits, and counts of ideas."""
    first = metrics[0]
    scores = {
        name: float(np.mean([each[name] for each in metrics]))
        for name, value in first.items()
        if isinstance(value, float) and name != "p_threshold"
    }
    intervals = {
        name: tuple(np.mean([each[name] for each in metrics], axis=0).tolist())
        for name, value in first.items()
        if isinstance(value, tuple)
    }
    return {
        **scores,
        **intervals,
        "n_significant": int(table["significant"].sum()),
        "n_hypotheses": len(table),
        "n_tested": int(table["corrected_pval"].notna().sum()),
        "n_splits": len(metrics),
        "n_rows": int(sum(each["n_rows"] for each in metrics)),
        "n_rows_dropped": int(sum(each["n_rows_dropped"] for each in metrics)),
        "cov_type": first["cov_type"],
        "in_sample": first["in_sample"],
    }


def _mean_signal(signals):
    if signals[0] is None:
        return None
    means = {
        name: float(np.mean([signal[name] for signal in signals]))
        for name in ("score", "ci_low", "ci_high")
    }
    return {**signals[0], **means}
