"""The hypothesis table for readers: Markdown, LaTeX, and a sentence a hypothesis."""

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

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
MARKDOWN_ESCAPES = str.maketrans({"|": r"\|", "\n": " ", "\r": " "})


class TablesMixin:
    """Tables for readers, for an estimator with ``hypotheses_``."""

    def to_markdown(self, *, digits=2, only_significant=False):
        """Give the table of hypotheses as Markdown.

        Parameters
        ----------
        digits : int, default=2
            Decimals of effects and coefficients.

        only_significant : bool, default=False
            Whether to leave out hypotheses that are not significant.

        Returns
        -------
        table : str
            One row a hypothesis, in the order of ``hypotheses_``: wording, separation score,
            coefficient with its 95% interval, corrected p-value (with a star where significant),
            prevalence and note.
        """
        cells = self._reader_cells(digits, only_significant)
        rows = [list(cells.columns), ["---"] + ["---:"] * (cells.shape[1] - 2) + ["---"]]
        rows += [[cell.translate(MARKDOWN_ESCAPES) for cell in row] for row in cells.to_numpy()]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def to_latex(self, *, digits=2, only_significant=False):
        """Give the table of hypotheses as LaTeX, for the package booktabs.

        Parameters
        ----------
        digits : int, default=2
            Decimals of effects and coefficients.

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
        columns = "p{0.35\\linewidth}" + "r" * (cells.shape[1] - 2) + "l"
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

    def sentences(self, *, subject="Texts", unit="", digits=2):
        """Say in one sentence what was found for each hypothesis about single texts.

        Parameters
        ----------
        subject : str, default="Texts"
            What a row is, in the plural: "Reviews".

        unit : str, default=""
            What y is counted in: "stars". Not used for classification.

        digits : int, default=2
            Decimals of the effects.

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
        classes = getattr(self, "classes_", None)
        others = ["hypotheses"] if len(self.hypotheses_) > 1 else []
        others += ["covariates"] if len(getattr(self, "covariates_", ())) else []
        given = f" at equal other {' and '.join(others)}" if others else ""
        if getattr(self, "_pairs", False):
            given = f", against one to which it does not{',' if given else ''}{given}"
            classes = None if classes is None else ("the loser", "the winner")
        return [
            _sentence(row, subject, unit, classes, digits, given)
            for row in self.hypotheses_.to_dict("records")
        ]

    def _reader_cells(self, digits, only_significant):
        check_is_fitted(self)
        table = self.hypotheses_
        if only_significant:
            table = table[table["significant"]]
        return pd.DataFrame(
            {
                "Hypothesis": table["hypothesis"].astype(str),
                "Separation": [_number(value, digits) for value in table["separation_score"]],
                "Coefficient [95% CI]": [
                    _interval(row, digits) for row in table.to_dict("records")
                ],
                "Corrected p": [
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


def _sentence(row, subject, unit, classes, digits, given):
    whom = f"{subject} to which “{row['hypothesis']}” applies"
    if np.isnan(row["corrected_pval"]):
        return f"{whom} could not be compared ({row['note'].replace('untested: ', '')})."
    effect, interval = _effect(row, unit, classes, digits)
    p = _pvalue(row["corrected_pval"])
    p = f"corrected p {'< 0.001' if p.startswith('<') else f'= {p}'}"
    doubt = "" if row["significant"] else ", not significant"
    return f"{whom} {effect}{given} (95% CI {interval}; {p}{doubt})."


def _effect(row, unit, classes, digits):
    """Word the coefficient and its interval: a difference, or a ratio of odds."""
    names = ["regression_coef", "regression_coef_low", "regression_coef_high"]
    coefficient, low, high = (row[name] for name in names)
    if classes is not None:
        ratio, low, high = (_number(float(np.exp(x)), digits) for x in (coefficient, low, high))
        return f"have {ratio} times the odds of being {classes[1]}", f"{low} to {high}"
    unit = f" {unit}" if unit else ""
    side = "lower" if coefficient < 0 else "higher"
    score = f"score {_number(abs(coefficient), digits)}{unit} {side}"
    if low < 0 < high:
        low, high = _number(-low, digits), _number(high, digits)
        return score, f"{low} lower to {high} higher"
    near, far = sorted((abs(low), abs(high)))
    return score, f"{_number(near, digits)} to {_number(far, digits)} {side}"
