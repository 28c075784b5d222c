"""The hypothesis table for readers: Markdown, LaTeX, and a sentence a hypothesis."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from ._counts import n_hypotheses

LATEX_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        '"': r"\textquotedbl{}",
    }
)
# Line breaks in a wording would end a row of the table.
TEXT = ("Class", "Hypothesis", "Note")
MARKDOWN_ESCAPES = str.maketrans({"|": r"\|", "\n": " ", "\r": " "})


class TablesMixin:
    """Tables for readers, for an estimator with ``hypotheses_``."""

    def to_markdown(self, *, digits=None, only_significant=False):
        """Give the table of hypotheses as Markdown.

        Parameters
        ----------
        digits : int, default=None
            Decimals of effects and coefficients. None: by the largest of them, 2 where it is
            between 0.1 and 100.

        only_significant : bool, default=False
            Whether to leave out hypotheses that are not significant.

        Returns
        -------
        table : str
            One row a row of ``hypotheses_``, in their order: class (where there are more than
            two), wording, separation score, coefficient (of two classes or more the odds ratio)
            with its 95% interval, corrected p-value (with a star where significant), prevalence
            and note.
        """
        cells = self._reader_cells(digits, only_significant)
        rows = [list(cells.columns), ["---" if name in TEXT else "---:" for name in cells]]
        rows += [[cell.translate(MARKDOWN_ESCAPES) for cell in row] for row in cells.to_numpy()]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def to_latex(self, *, digits=None, only_significant=False):
        """Give the table of hypotheses as LaTeX, for the package booktabs.

        Parameters
        ----------
        digits : int, default=None
            Decimals of effects and coefficients. None: by the largest of them, 2 where it is
            between 0.1 and 100.

        only_significant : bool, default=False
            Whether to leave out hypotheses that are not significant.

        Returns
        -------
        table : str
            A tabular environment; columns as in :meth:`to_markdown`.
        """
        cells = self._reader_cells(digits, only_significant)
        rows = [
            " & ".join(str(cell).translate(LATEX_ESCAPES).replace("\n", " ") for cell in row)
            for row in [list(cells.columns), *cells.to_numpy()]
        ]
        head, *body = [row + r" \\" for row in rows]
        alignments = {"Hypothesis": "p{0.35\\linewidth}", **dict.fromkeys(["Class", "Note"], "l")}
        columns = "".join(alignments.get(name, "r") for name in cells)
        return "\n".join(
            [
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                head,
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
            ]
        )

    def sentences(self, *, subject="Texts", unit="", digits=None):
        """Say in one sentence what was found for each hypothesis about single texts.

        Parameters
        ----------
        subject : str, default="Texts"
            What a row is, in the plural: "Reviews".

        unit : str, default=""
            What y is counted in: "stars". Not used for classification.

        digits : int, default=None
            Decimals of the effects. None: by the largest of them, 2 where it is between 0.1 and
            100.

        Returns
        -------
        sentences : list of str
            One a row of ``hypotheses_``.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from sklearn_hypsae import HypothesisValidator
        >>> slow = np.arange(400) % 4 == 0
        >>> stars = 4 - slow + np.random.default_rng(0).normal(size=400)
        >>> X = pd.DataFrame({"mentions slow service": slow.astype(float)})
        >>> validator = HypothesisValidator().fit(X, stars)
        >>> print(validator.sentences(subject="Reviews", unit="stars")[0])
        Reviews to which “mentions slow service” applies score 1.01 stars lower (95% CI 0.78 to
        1.23 lower; corrected p < 0.001).
        """
        check_is_fitted(self)
        table = self.hypotheses_
        digits = _checked_digits(digits, table)
        classes = getattr(self, "classes_", None)
        others = ["hypotheses"] if n_hypotheses(table) > 1 else []
        others += ["covariates"] if len(getattr(self, "covariates_", ())) else []
        given = f" at equal other {' and '.join(others)}" if others else ""
        if getattr(self, "_pairs", False):
            given = f", against one to which it does not{',' if given else ''}{given}"
            classes = None if classes is None else ("the loser", "the winner")
        return [
            _sentence(row, subject, unit, classes, digits, given, self._is_corrected())
            for row in table.to_dict("records")
        ]

    def _is_corrected(self):
        return getattr(self, "_validator", self).correction != "none"

    def _reader_cells(self, digits, only_significant):
        check_is_fitted(self)
        table = self.hypotheses_
        digits = _checked_digits(digits, table)
        if only_significant:
            table = table[table["significant"]]
        has_classes = "odds_ratio" in table
        effects = [_interval(row, digits) for row in table.to_dict("records")]
        cells = pd.DataFrame(
            {
                "Hypothesis": table["hypothesis"].astype(str),
                "Separation": [_number(value, digits) for value in table["separation_score"]],
                "Log-odds [95% CI]" if has_classes else "Coefficient [95% CI]": effects,
                "Corrected p" if self._is_corrected() else "p": [
                    _pvalue(p) + ("*" if significant else "")
                    for p, significant in zip(
                        table["corrected_pval"], table["significant"], strict=True
                    )
                ],
                "Prevalence": [_percent(value) for value in table["feature_prevalence"]],
                "Note": table["note"].astype(str),
            },
            dtype=object,
        )
        if has_classes:
            cells.insert(3, "Odds ratio", [_number(value, digits) for value in table["odds_ratio"]])
        if "class" in table:
            cells.insert(0, "Class", table["class"].astype(str))
        return cells


def _checked_digits(digits, table):
    if digits is None:
        return _decimals(table)
    if not isinstance(digits, Integral) or digits < 0:
        raise ValueError(f"digits has to be a whole number, at least 0, or None, got {digits!r}.")
    return digits


def _decimals(table):
    """Choose decimals that show two digits or more of the largest effect."""
    effects = table[["separation_score", "regression_coef"]].abs().to_numpy()
    largest = np.nanmax(effects, initial=0.0)
    magnitude = int(np.floor(np.log10(largest))) if 0 < largest < np.inf else 0
    return 1 - magnitude if magnitude < -1 else max(0, min(2, 3 - magnitude))


def _number(value, digits):
    """Round, with a minus that is one; zero has no sign."""
    if np.isnan(value):
        return ""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def _interval(row, digits):
    coefficient = _number(row["regression_coef"], digits)
    if not coefficient or np.isnan(row["regression_pval"]):
        return coefficient
    low = _number(row["regression_coef_low"], digits)
    high = _number(row["regression_coef_high"], digits)
    return f"{coefficient} [{low}, {high}]"


def _pvalue(p):
    if np.isnan(p):
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _percent(share):
    return "" if np.isnan(share) else f"{100 * share:.1f}%"


def _sentence(row, subject, unit, classes, digits, given, is_corrected):
    whom = f"{subject} to which “{row['hypothesis']}” applies"
    if np.isnan(row["corrected_pval"]):
        return f"{whom} could not be compared ({row['note'].replace('untested: ', '')})."
    effect, interval = _effect(row, unit, classes, digits)
    p = _pvalue(row["corrected_pval"])
    kind = "corrected " if is_corrected else ""
    kind += "" if np.isnan(row.get("permutation_pval", np.nan)) else "permutation "
    p = f"{kind}p {'< 0.001' if p.startswith('<') else f'= {p}'}"
    doubt = "" if row["significant"] else ", not significant"
    return f"{whom} {effect}{given} (95% CI {interval}; {p}{doubt})."


def _outcome(row, classes):
    """Name the class that the odds are of: a number or bool says nothing by itself."""
    label = row.get("class", classes[1])
    named = f"being {label}" if isinstance(label, str) else f"y = {label}"
    return f"{named} rather than any other class" if "class" in row else named


def _effect(row, unit, classes, digits):
    """Word the coefficient and its interval: a difference, or a ratio of odds."""
    names = ["regression_coef", "regression_coef_low", "regression_coef_high"]
    coefficient, low, high = (row[name] for name in names)
    if classes is not None:
        with np.errstate(over="ignore"):  # activations can be on a tiny scale
            ratios = np.exp([coefficient, low, high])
        ratio, low, high = (_number(value, digits) for value in ratios)
        return f"have {ratio} times the odds of {_outcome(row, classes)}", f"{low} to {high}"
    unit = f" {unit}" if unit else ""
    side = "lower" if coefficient < 0 else "higher"
    score = f"score {_number(abs(coefficient), digits)}{unit} {side}"
    if low < 0 < high:
        low, high = _number(-low, digits), _number(high, digits)
        return score, f"{low} lower to {high} higher"
    near, far = sorted((abs(low), abs(high)))
    return score, f"{_number(near, digits)} to {_number(far, digits)} {side}"
