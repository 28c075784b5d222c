"""One plot a function; matplotlib is only loaded when one is drawn."""

import textwrap
from numbers import Integral

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._optional import import_optional
from ..discovery import HypothesisGenerator
from ..sae import SparseAutoencoderTransformer
from ..validation import HypothesisValidator

COLOUR, GREY = "C0", "0.5"
# Of a line of a wording: half the width of the figure.
N_CHARACTERS = 48


def plot_hypotheses(estimator, *, ax=None, max_words=12):
    """Draw the coefficient of each hypothesis with its 95% confidence interval.

    With more than two classes, one row for each class and hypothesis.

    The largest coefficient is on top. Significant hypotheses are filled, the others hollow.
    Untested ones are grey and have no interval, as it could not be relied on; one that was left
    out of the regression has no marker either, and stands at the bottom.

    Parameters
    ----------
    estimator : HypothesisValidator, HypothesisGenerator or Pipeline
        Fitted; a pipeline has to end in one of the two.

    ax : matplotlib Axes, default=None
        Where to draw. None: a new figure, as high as the hypotheses need.

    max_words : int, default=12
        Longer wordings are cut after as many words.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.

    TypeError
        If the estimator is of another kind.

    ValueError
        If ``max_words`` is not a positive integer.

    See Also
    --------
    HypothesisValidator.to_markdown : The same as a table.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn_hypsae import HypothesisValidator
    >>> from sklearn_hypsae.inspection import plot_hypotheses
    >>> rng = np.random.default_rng(0)
    >>> annotations = pd.DataFrame(
    ...     rng.integers(0, 2, size=(300, 2)), columns=["mentions a date", "praises the food"]
    ... )
    >>> stars = 3 + annotations["praises the food"] + rng.normal(size=300)
    >>> ax = plot_hypotheses(HypothesisValidator().fit(annotations, stars))
    >>> ax.get_xlabel()
    'Coefficient with 95% interval (units of y)'
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['mentions a date', 'praises the food']
    """
    tester = _tester(estimator)
    if not isinstance(max_words, Integral) or max_words < 1:
        raise ValueError(f"plot_hypotheses got max_words={max_words!r}: pass an integer above 0.")
    table = tester.hypotheses_.sort_values("regression_coef", na_position="first")
    labels = _labels(table, max_words)
    n_lines = max(label.count("\n") + 1 for label in labels)
    ax = _axes(ax, "plot_hypotheses", figsize=(8, 1.3 + (0.14 + 0.18 * n_lines) * len(table)))
    _draw_coefficients(ax, table)
    _label_hypotheses(ax, table, labels)
    effect = "units of y"
    if "class" in table:
        effect = "log-odds of the class against the rest"
    elif "auc" in tester.metrics_:
        effect = f"log-odds of y = {tester.classes_[1]}"
    ax.set_xlabel(f"Coefficient with 95% interval ({effect})", parse_math=False)
    return ax


def plot_training_curves(estimator, *, ax=None):
    """Draw the loss of the sparse autoencoder, and the variance it leaves, epoch by epoch.

    FVU is the fraction of variance unexplained. The loss is in the same unit and on the same
    axis: it is the FVU, averaged over Matryoshka prefixes where there are any, plus the terms
    of ``aux_coef``, ``multi_coef`` and ``target_coef``. Without them the two coincide.

    Parameters
    ----------
    estimator : SparseAutoencoderTransformer, HypothesisGenerator or Pipeline
        Fitted; of a generator or a pipeline, its first autoencoder is meant.

    ax : matplotlib Axes, default=None
        Where to draw. None: a new figure.

    Returns
    -------
    ax : matplotlib Axes
        The epoch whose weights were restored is marked. Without early stopping those of the
        last one are kept and nothing is marked; without rows held out there are no validation
        curves.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.

    TypeError
        If the estimator has no sparse autoencoder.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np
    >>> from sklearn_hypsae import SparseAutoencoderTransformer
    >>> from sklearn_hypsae.inspection import plot_training_curves
    >>> X = np.random.default_rng(0).normal(size=(200, 16))
    >>> sae = SparseAutoencoderTransformer(M=8, K=2, n_epochs=3, random_state=0).fit(X)
    >>> ax = plot_training_curves(sae)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['train loss', 'train FVU', 'validation loss', 'validation FVU', 'weights of epoch 3']
    """
    sae = _autoencoder(estimator)
    history = sae.history_
    ax = _axes(ax, "plot_training_curves", figsize=(7, 4.5))
    for part, colour in (("train", "C0"), ("validation", "C1")):
        if f"{part}_loss" not in history:
            continue
        # Where both coincide, the dashes lie on a broader, paler line.
        loss = {"label": f"{part} loss", "linewidth": 3, "alpha": 0.4, "marker": "o"}
        fvu = {"label": f"{part} FVU", "linestyle": "--", "marker": "."}
        ax.plot(history["epoch"], history[f"{part}_loss"], color=colour, **loss)
        ax.plot(history["epoch"], history[f"{part}_fvu"], color=colour, **fvu)
    # Rows of partial_fit have no validation loss and come last.
    ended_with_fit = "validation_loss" in history and history["validation_loss"].notna().iloc[-1]
    if ended_with_fit and sae.patience is not None:
        label = f"weights of epoch {sae.best_epoch_}"
        ax.axvline(sae.best_epoch_, color=GREY, linestyle=":", zorder=0, label=label)
    ticker = import_optional("matplotlib.ticker", purpose="plot_training_curves", extra="plot")
    ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    ax.set_xlabel("Epoch")
    ax.set_ylabel("Loss, and fraction of variance unexplained (FVU)")
    ax.legend()
    return ax


def _tester(estimator):
    """Give the fitted estimator that holds the table."""
    final = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(final, (HypothesisValidator, HypothesisGenerator)):
        raise TypeError(
            "plot_hypotheses draws a HypothesisValidator, a HypothesisGenerator or a Pipeline "
            f"that ends in one, got {_described(estimator, final)}."
        )
    check_is_fitted(final)
    return final


def _autoencoder(estimator):
    """Give the fitted autoencoder, out of what holds it."""
    steps = [estimator]
    if isinstance(estimator, HypothesisGenerator):
        check_is_fitted(estimator)
        steps = _steps(getattr(estimator, "splits_", [estimator])[0].pipeline_)
    elif isinstance(estimator, Pipeline):
        steps = _steps(estimator)
    for step in steps:
        if isinstance(step, SparseAutoencoderTransformer):
            check_is_fitted(step)
            return step
        if isinstance(step, HypothesisGenerator):
            return _autoencoder(step)
    raise TypeError(
        "plot_training_curves draws a SparseAutoencoderTransformer, or a Pipeline or "
        f"HypothesisGenerator with one as a step, got {type(estimator).__name__} without any."
    )


def _steps(pipeline):
    return [step for _, step in pipeline.steps]


def _described(estimator, final):
    name = type(estimator).__name__
    return name if final is estimator else f"a {name} that ends in {type(final).__name__}"


def _axes(ax, caller, *, figsize):
    if ax is not None:
        return ax
    pyplot = import_optional("matplotlib.pyplot", purpose=caller, extra="plot")
    return pyplot.subplots(figsize=figsize, layout="constrained")[1]


def _draw_coefficients(ax, table):
    """Draw a marker and an interval a row, the first row at the bottom."""
    heights = np.arange(len(table))
    coefficients = table["regression_coef"].to_numpy()
    tested = table["regression_pval"].notna().to_numpy()
    significant = table["significant"].to_numpy(dtype=bool)
    ax.axvline(0, color=GREY, linewidth=1, zorder=0)
    low, high = table["regression_coef_low"], table["regression_coef_high"]
    ax.hlines(heights[tested], low[tested], high[tested], color=COLOUR, zorder=1)
    for label, rows, edge, face in (
        ("significant", significant, COLOUR, COLOUR),
        ("not significant", tested & ~significant, COLOUR, "white"),
        ("untested", ~tested & ~np.isnan(coefficients), GREY, "white"),
    ):
        if rows.any():
            style = {"color": edge, "markerfacecolor": face, "label": label}
            ax.plot(coefficients[rows], heights[rows], "o", **style)
    if not np.isnan(coefficients).all():
        ax.legend()


def _labels(table, max_words):
    """Give the wordings, shortened and in lines, with the class where there are several."""
    wordings = [_shortened(str(wording), max_words) for wording in table["hypothesis"]]
    if "class" in table:
        wordings = [
            f"{label}: {wording}" for label, wording in zip(table["class"], wordings, strict=True)
        ]
    return ["\n".join(textwrap.wrap(wording, N_CHARACTERS)) for wording in wordings]


def _label_hypotheses(ax, table, labels):
    """Write the wordings beside the rows, those of untested hypotheses in grey."""
    # A price is no formula: dollar signs stand for themselves.
    ax.set_yticks(np.arange(len(table)), labels=labels, parse_math=False)
    for label, p in zip(ax.get_yticklabels(), table["regression_pval"], strict=True):
        if np.isnan(p):
            label.set_color(GREY)
    ax.set_ylim(-0.5, len(table) - 0.5)


def _shortened(wording, max_words):
    words = wording.split()
    return " ".join(words[:max_words]) + ("…" if len(words) > max_words else "")
