"""A pipeline of the five steps, taken apart where HypothesisGenerator has to look in."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from ._texts import (
    TEXT_INDEX_NAME,
    check_pairs,
    check_texts,
    has_pair_index,
    row_keys,
    text_index,
)
from .interpretation import LLMInterpreter
from .sae import SparseAutoencoderTransformer


def takes_numbers(pipeline):
    """Whether the pipeline starts from embeddings instead of texts."""
    first = next(step for _, step in pipeline.steps if step not in (None, "passthrough"))
    accepts = get_tags(first).input_tags
    return accepts.two_d_array and not accepts.string


def check_rows(X, pipeline):
    """Give texts as a checked array, embeddings as the frame they are."""
    caller = "HypothesisGenerator"
    if takes_numbers(pipeline):
        needs_texts = cut(pipeline).interpret is not None
        is_frame = isinstance(X, pd.DataFrame)
        if is_frame and (X.index.name == TEXT_INDEX_NAME or has_pair_index(X) or not needs_texts):
            return X
        raise ValueError(
            f"{caller} got a pipeline that starts from embeddings, so X has to be a DataFrame "
            "whose index is the texts and is named 'text' (for pairs 'text_a' and 'text_b'), as "
            "EmbeddingTransformer returns it; "
            f"got {type(X).__name__}."
        )
    if isinstance(X, pd.DataFrame) and X.shape[1] == 2:
        return pd.DataFrame(check_pairs(X, caller=caller), columns=X.columns)
    return check_texts(X, caller=caller)


def settle_pairs(pipeline):
    """Let the steps know pairs of texts: neurons have a sign, and frames carry both texts.

    Parameters
    ----------
    pipeline : Pipeline
        Changed in place.
    """
    for _, step in pipeline.steps:
        if isinstance(step, SparseAutoencoderTransformer):
            step.set_params(signed=True, sparse_output=False)
        if hasattr(step, "set_output"):
            step.set_output(transform="pandas")


def settle_task(pipeline, task):
    """Fix the task for all steps: a part of the rows may look like another kind of target."""
    for name, value in pipeline.get_params().items():
        if not name.endswith("__task"):
            continue
        if value not in ("auto", task):
            raise ValueError(
                f"HypothesisGenerator tests a {task}, but {name}={value!r}: set both to the same "
                'task, or to "auto".'
            )
        pipeline.set_params(**{name: task})


def check_steps(pipeline, *, n_discovery):
    """Let every step refuse what it would refuse later, before any step works."""
    for _, step in pipeline.steps:
        if hasattr(step, "_validate_params"):
            step._validate_params()
        if hasattr(step, "_check_before_fit"):
            step._check_before_fit(n_discovery)


class Parts(NamedTuple):
    """The steps before the validator, cut where something else has to look in."""

    embed: Pipeline  # up to the embeddings, for the probe
    select: Pipeline  # from the embeddings to the neurons put into words
    interpret: LLMInterpreter | None  # handed the texts, and only fitted on discovery rows


def cut(pipeline):
    """Cut a pipeline into parts that share its steps.

    Two of them end in a passthrough, because a Pipeline's ``memory`` caches all steps but the
    last.
    """
    steps = pipeline.steps[:-1]
    interpret = None
    if steps and isinstance(steps[-1][1], LLMInterpreter):
        interpret = steps[-1][1]
        steps = steps[:-1]
    kinds = [isinstance(step, SparseAutoencoderTransformer) for _, step in steps]
    n_front = kinds.index(True) if True in kinds else 0
    rest = ("rest", "passthrough")
    return Parts(
        Pipeline([*steps[:n_front], rest], memory=pipeline.memory),
        Pipeline([*steps[n_front:], rest], memory=pipeline.memory),
        interpret,
    )


def joined(parts, pipeline):
    """Put fitted parts together again under the names of the pipeline."""
    steps = [*parts.embed.steps[:-1], *parts.select.steps[:-1]]
    return Pipeline([*steps, *pipeline.steps[len(steps) :]], memory=pipeline.memory)


def annotate(parts, embedded, X):
    """Annotations of embedded rows, as :func:`annotate_neurons` gives them."""
    return annotate_neurons(parts, parts.select.transform(embedded), X)


def annotate_neurons(parts, neurons, X):
    """Annotations of rows as a frame that names the hypotheses (activations without words)."""
    if parts.interpret is None:
        return neurons
    annotations = parts.interpret.transform(neurons, texts=texts_beside(neurons, X))
    if isinstance(annotations, pd.DataFrame):
        return annotations
    names = parts.interpret.get_feature_names_out()
    return pd.DataFrame(annotations, index=text_index(row_keys(X)), columns=names)


def texts_beside(neurons, X):
    """Texts to hand to the interpreter; None where it gets the texts themselves as X."""
    return None if np.ndim(neurons) == 1 else row_keys(X)


def take(X, rows):
    return X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]
