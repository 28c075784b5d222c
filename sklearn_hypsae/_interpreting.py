"""Neurons to rows of a table: their words, and how well the words fit."""

import contextlib
import functools
import re
from numbers import Real

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ._fidelity import METRICS, fidelity
from ._keyphrases import (
    QUOTED,
    all_forms,
    hypothesis_to_phrases,
    learn_keyphrases,
    match_phrases,
    phrases_to_hypothesis,
)
from ._redundancy import merge_same_words
from ._sampling import column_of, draw_examples, first_rows, nearest_by_tfidf
from ._singles import as_singles, distinct_pairs, draw_pair_examples
from ._targets import targets_of
from ._texts import holds_pairs
from ._warning import warn
from .llm.describing import describe
from .llm.prompts import check_prompt

FIT_ROWS, UNSEEN = "fit rows", "unseen"
# What a search for any of the phrases cannot heed, once the phrases are replaced by "": a verb or
# a phrase that is denied, and two phrases that both have to occur.
LOGIC = re.compile(
    r"\b((?:does|do|did|is|are|was|were|has|have|had|can|could|should|would|will) not|cannot)\b"
    r'|(\w+n[\'’]t)\b|\b(not|no|never|without|lacks?|lacking)\s(?:\w+\s){0,2}""'
    r'|^[^"]*""\W*(and|&)\W*(?:also\W*)?""[^"]*$',
    re.IGNORECASE,
)


def interpretation_table(rows, metrics=METRICS, names=None, merge=False):
    """Put rows into the table that users see.

    Parameters
    ----------
    rows : list of dict

    metrics : sequence of str
        Fidelity columns.

    names : ndarray of str, default=None
        Names of the neurons. None: their positions.

    merge : bool, default=False
        Whether neurons that got the same words become one row.

    Returns
    -------
    table : DataFrame
    """
    columns = ["neuron", "hypothesis", "candidates", *metrics, "n_scoring_examples", "scored_on"]
    table = pd.DataFrame(rows, columns=columns)
    if names is not None and table["neuron"].notna().all():
        table["neuron"] = [names[position] for position in table["neuron"]]
    return merge_same_words(table, merge=merge and table["neuron"].notna().all())


def keyphrase_rows(texts, activations, target):
    """Describe neurons by keyphrases.

    Parameters
    ----------
    texts : ndarray of shape (n_samples,) of str, or (n_samples, 2) for pairs

    activations : ndarray or CSR of shape (n_samples, n_neurons)

    target : Target or None

    Returns
    -------
    rows : list of dict
        One for each neuron that phrases set apart. Fidelity is on all rows.
    """
    paired = texts.ndim == 2
    y = None if target is None else np.column_stack(targets_of(target.values, target.n_classes))
    if paired:
        texts, activations, y = as_singles(texts, activations, target)
    phrases = learn_keyphrases(texts, activations, y, paired=paired)
    described = [neuron for neuron, found in enumerate(phrases) if len(found)]
    matches = match_phrases(texts, all_forms(phrases[neuron] for neuron in described))
    if paired:
        matches -= np.roll(matches, len(texts) // 2, axis=0)
    rows = []
    for column, neuron in enumerate(described):
        hypothesis = phrases_to_hypothesis(phrases[neuron])
        activation = column_of(activations, neuron)
        scores = fidelity(matches[:, column], activation > 0, activation)
        rows.append(_row(neuron, hypothesis, [hypothesis], scores, FIT_ROWS))
    return rows


def llm_rows(runner, texts, activations, asking, *, negatives, rng, **drawing):
    """Describe neurons by a language model.

    Parameters
    ----------
    runner : Runner

    texts : ndarray of shape (n_samples,) of str, or (n_samples, 2) for pairs

    activations : ndarray or CSR of shape (n_samples, n_neurons)

    asking : Asking

    negatives : {"random", "hard"}

    rng : RandomState

    **drawing
        For :func:`~sklearn_hypsae._sampling.draw_examples`.

    Returns
    -------
    rows : list of dict
        One for each neuron that fires and that the model found words for.

    errors : list of CompletionError
        Why requests failed.
    """
    paired = texts.ndim == 2
    if paired:
        singles = as_singles(texts, activations)
        texts, activations, _ = singles
    columns = sp.csc_array(activations) if sp.issparse(activations) else activations
    live = [i for i in range(activations.shape[1]) if column_of(columns, i).max() > 0]
    if paired:
        draw = functools.partial(draw_pair_examples, singles=singles, rows=distinct_pairs(singles))
    else:
        nearest = nearest_by_tfidf(texts) if negatives == "hard" and live else None
        draw = functools.partial(draw_examples, rows=first_rows(texts), nearest=nearest)
    examples = [draw(column_of(columns, neuron), rng=rng, **drawing) for neuron in live]
    wordings, errors = describe(
        runner, texts, lambda i: column_of(columns, live[i]), examples, asking
    )
    rows = [
        _row(live[i], found.hypothesis, found.candidates, found.scores, UNSEEN)
        for i, found in sorted(wordings.items())
    ]
    return rows, errors


def own_rows(statements, *, has_model):
    """Check the user's own statements; they have no neuron and no fidelity.

    Parameters
    ----------
    statements : sequence of str

    has_model : bool
        Whether a language model will annotate. If not, each has to quote its phrases.

    Returns
    -------
    rows : list of dict
    """
    statements = list(statements)
    if not statements or not all(isinstance(s, str) and s.strip() for s in statements):
        raise ValueError(
            "hypotheses must be a list of at least one statement, each a string that is not empty."
        )
    unquoted = [i for i, s in enumerate(statements) if not hypothesis_to_phrases(s)]
    if unquoted and not has_model:
        raise ValueError(
            f"Without a language model each of hypotheses has to quote the phrases to look "
            f'for, such as \'mentions "refund" or "money back"\', but number {unquoted[0]} '
            f"(from 0; {len(unquoted)} in all) quotes none: quote phrases, or give an llm."
        )
    if not has_model:
        _refuse_logic(statements)
        # Refuses phrases without a word, such as "!!!", which nothing can match.
        match_phrases([""], [hypothesis_to_phrases(s) for s in statements])
    return [_row(None, s, [s], {"n_scored": 0}, None) for s in statements]


def _refuse_logic(statements):
    """Refuse statements that say more than that one of their phrases occurs."""
    for i, statement in enumerate(statements):
        said = LOGIC.search(QUOTED.sub('""', statement))
        if said:
            word = next(filter(None, said.groups()))
            raise ValueError(
                "Without a language model a statement holds where any of the phrases that it "
                f"quotes occurs, and number {i} of hypotheses (from 0) says {word!r}: "
                "leave that out, or give an llm."
            )


def holds_texts(X):
    """Whether X is a collection of texts rather than a table of activations."""
    if isinstance(X, pd.DataFrame):
        is_one_column = X.shape[1] == 1 and not pd.api.types.is_numeric_dtype(X.dtypes.iloc[0])
        return is_one_column or holds_pairs(X)
    if isinstance(X, list | tuple) and len(X):
        return not isinstance(X[0], list | tuple | np.ndarray)
    return getattr(X, "ndim", 1) == 1


@contextlib.contextmanager
def refusing_texts(caller):
    """Say that texts are no activations, where scikit-learn's own words would quote a text.

    Parameters
    ----------
    caller : str
        Class that asks.
    """
    try:
        yield
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
        raise ValueError(
            f"{caller} expects activations as X, got texts: pass what the autoencoder made of "
            "them, and the texts as texts=, or set hypotheses=[...] to annotate texts themselves."
        ) from None


def check_combinations(
    *,
    quantile_range,
    soft_labels,
    concepts_per_request,
    scoring_metric,
    interpretation_prompt,
    annotation_prompt,
    refinement_prompt,
    **others,
):
    """Refuse values that are wrong only together, and templates that lack a placeholder.

    Parameters
    ----------
    quantile_range, soft_labels, concepts_per_request, scoring_metric
        As in :class:`~sklearn_hypsae.LLMInterpreter`.

    interpretation_prompt, annotation_prompt, refinement_prompt
        Likewise.

    **others : ignored
        Its other parameters.
    """
    low, high = (*quantile_range, None, None)[:2]
    are_numbers = isinstance(low, Real) and isinstance(high, Real)
    if len(quantile_range) != 2 or not are_numbers or not 0 <= low < high <= 1:
        raise ValueError(
            f"quantile_range has to be two increasing numbers between 0 and 1, got "
            f"{quantile_range!r}."
        )
    if soft_labels and concepts_per_request > 1:
        raise ValueError("soft_labels needs one answer a request: set concepts_per_request=1.")
    if scoring_metric == "auc" and not soft_labels:
        raise ValueError('scoring_metric="auc" needs probabilities: set soft_labels=True.')
    if interpretation_prompt is not None:
        check_prompt(interpretation_prompt, "interpretation")
    if annotation_prompt is not None:
        kind = "annotation of several" if concepts_per_request > 1 else "annotation"
        check_prompt(annotation_prompt, kind)
    if refinement_prompt is not None:
        check_prompt(refinement_prompt, "refinement")


def check_again(interpreter):
    """Refuse parameters set since fit that cannot work, before they cost requests.

    Parameters
    ----------
    interpreter : LLMInterpreter
    """
    interpreter._validate_params()
    check_combinations(**interpreter.get_params(deep=False))


def warn_undescribed(estimator, n_neurons, rows, errors=(), runner=None):
    """Name the neurons that no words were found for; refuse if that is all of them.

    Parameters
    ----------
    estimator : LLMInterpreter
        For its name and those of the neurons.

    n_neurons : int

    rows : list of dict
        Of the neurons that words were found for.

    errors : list of CompletionError
        Why requests failed.

    runner : Runner, default=None
        Of the run that they come from.
    """
    reason = "they are dead, or fire on texts that nothing sets apart"
    advice = (
        "; train the autoencoder on more rows or with a smaller M, or see to the language model"
    )
    if errors:
        reason = f"they are dead, or the requests for them failed (the first: {errors[0]})"
    if runner is not None and runner.spent is not None:
        reason, advice = f"the budget ended (raise {_spent(runner)})", ""
    if not rows:
        raise ValueError(
            f"{type(estimator).__name__} could put none of the {n_neurons} neurons into words: "
            f"{reason}{advice}."
        )
    left_out = np.setdiff1d(np.arange(n_neurons), [row["neuron"] for row in rows])
    if len(left_out):
        names = getattr(estimator, "feature_names_in_", None)
        named = ", ".join(str(names[i] if names is not None else i) for i in left_out)
        warn(
            f"No words were found for {len(left_out)} of {n_neurons} neurons, which are left "
            f"out ({named}): {reason}.",
        )
    elif runner is not None and runner.spent is not None:
        warn(
            "All neurons were put into words, but the budget ended before all the words were "
            f"scored on unseen texts (raise {_spent(runner)}).",
        )


def unique_names(names):
    """Number the repeats of a name.

    Examples
    --------
    >>> from sklearn_hypsae._interpreting import unique_names
    >>> unique_names(["a", "b", "a", "a"])
    ['a', 'b', 'a (2)', 'a (3)']
    """
    unique = []
    for name in names:
        candidate, number = name, 2
        while candidate in unique:
            candidate, number = f"{name} ({number})", number + 1
        unique.append(candidate)
    return unique


def warn_unanswered(annotations, runner):
    """Say how many annotations are missing, why, and which parameter to raise.

    Parameters
    ----------
    annotations : ndarray of shape (n_texts, n_hypotheses)
        NaN where one is missing.

    runner : Runner
        Of the run that they come from.
    """
    n_missing = int(np.isnan(annotations).sum())
    if not n_missing:
        return
    reasons = []
    if runner.spent is not None:
        reasons.append(
            f"the budget ended with {runner.n_unsent} requests not answered (raise "
            f"{_spent(runner)})"
        )
    if runner.errors:
        reasons.append(
            f"{len(runner.errors)} requests failed for good (the first: {runner.errors[0]}; raise "
            "max_retries or max_outage of the client, or transform again)"
        )
    why = "; ".join(reasons) or "the client gave no answer to their requests"
    warn(
        f"{n_missing} of {annotations.size} annotations are missing, and NaN: {why}.",
    )


def _spent(runner):
    return f"{runner.spent}, now {getattr(runner, runner.spent)}"


def _row(neuron, hypothesis, candidates, scores, scored_on):
    return {
        "neuron": neuron,
        "hypothesis": hypothesis,
        "candidates": candidates,
        "n_scoring_examples": scores["n_scored"],
        "scored_on": scored_on,
        **scores,
    }
