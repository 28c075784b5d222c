"""Covariates: what else may explain the target, for hypotheses to be tested given it."""

from decimal import Decimal
from numbers import Real

import numpy as np
import pandas as pd

from ._texts import has_pair_index, texts_of

CALLER = "HypothesisValidator"
# More values than either are no categories: what a row has would say hardly more than which it is.
FEW_VALUES, MOST_VALUES_PER_ROW = 20, 0.5


def _count_words(texts):
    return np.array([len(text.split()) for text in texts], dtype=np.float64)


READY_MADE = {
    "n_words": _count_words,
    "log_n_words": lambda texts: np.log1p(_count_words(texts)),
    "n_characters": lambda texts: np.array([len(text) for text in texts], dtype=np.float64),
}


def covariate_frame(covariates, X):
    """Turn covariates into columns of numbers.

    Parameters
    ----------
    covariates : DataFrame, array-like of shape (n_samples, n_covariates), str or list of str
        Numbers as they are; any other column of a frame becomes one indicator a category, less
        the first. Names are those of covariates made from the texts: "n_words",
        "log_n_words" (of one plus the number), "n_characters".

    X : DataFrame or array-like
        What the covariates belong to; for the ready-made ones, a frame whose index is the texts.
        For pairs, covariates are differences too, of the first text less the second, and
        ready-made ones are made so.

    Returns
    -------
    frame : DataFrame of shape (n_samples, n_columns), all float64

    Raises
    ------
    ValueError
        If a name is unknown, the texts are nowhere, the number of rows is another, a value is
        missing or infinite, or pairs come with a category.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_hypsae._covariates import covariate_frame
    >>> controls = pd.DataFrame({"year": [2021, 2022, 2022], "city": ["Rome", "Oslo", "Rome"]})
    >>> covariate_frame(controls, [[0], [1], [1]])
         year  city_Rome
    0  2021.0        1.0
    1  2022.0        0.0
    2  2022.0        1.0
    """
    if isinstance(covariates, str):
        covariates = [covariates]
    if isinstance(covariates, list) and all(isinstance(name, str) for name in covariates):
        return _ready_made(covariates, X)
    n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
    frame = _as_frame(covariates).infer_objects()
    if len(frame) != n_samples:
        raise ValueError(
            f"{CALLER} got {n_samples} rows in X but {len(frame)} rows of covariates: pass one "
            "row of covariates for each row of X."
        )
    missing = frame.isna().any(axis=1).to_numpy()
    if missing.any():
        rows = ", ".join(map(str, np.flatnonzero(missing)[:5]))
        raise ValueError(
            f"{CALLER} found missing values in the covariates of {missing.sum()} of {n_samples} "
            f"rows, first at position {rows}: fill them or drop those rows."
        )
    frame = _with_decimals_as_numbers(frame)
    numbers = [column for column in frame if pd.api.types.is_numeric_dtype(frame[column])]
    categories = [column for column in frame if column not in numbers]
    if categories and has_pair_index(X):
        raise ValueError(
            f"{CALLER} got covariates of pairs that are not numbers ({', '.join(categories)}): "
            "pass differences, of the first text less the second."
        )
    for column in categories:
        _refuse_no_category(frame[column])
    frame = pd.get_dummies(frame, columns=categories, drop_first=True).astype(np.float64)
    if not np.isfinite(frame.to_numpy()).all():
        raise ValueError(f"{CALLER} found infinity in the covariates: replace or drop those rows.")
    return frame


def _with_decimals_as_numbers(frame):
    """Databases give them, and they are numbers to everyone but numpy."""
    decimals = [
        column
        for column in frame
        if frame[column].dtype == object
        and all(isinstance(value, Real | Decimal) for value in frame[column])
    ]
    return frame.astype(dict.fromkeys(decimals, np.float64))


def _refuse_no_category(column):
    """Refuse what would become about as many indicators as there are rows."""
    n_values = column.nunique()
    is_time = column.dtype.kind in "mM"
    if n_values > (FEW_VALUES if is_time else max(FEW_VALUES, MOST_VALUES_PER_ROW * len(column))):
        kind = f"{n_values} different {'dates or times' if is_time else 'values'}"
        raise ValueError(
            f"{CALLER} got the covariate {column.name!r} with {kind} in {len(column)} rows, which "
            "would each become an indicator: pass numbers as numbers "
            "(pd.to_numeric, .dt.year), or fewer categories."
        )


def _as_frame(covariates):
    if isinstance(covariates, pd.DataFrame):
        frame = covariates.reset_index(drop=True)
        frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
        twice = frame.columns[frame.columns.duplicated()]
        if len(twice):
            raise ValueError(
                f"{CALLER} got several covariates of the name {twice[0]!r}: rename or drop one."
            )
        return frame
    if isinstance(covariates, pd.Series):
        return covariates.reset_index(drop=True).to_frame(str(covariates.name or "covariate"))
    values = np.asarray(covariates)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise ValueError(
            f"{CALLER} expects covariates as a frame or an array of one row a row of X, got an "
            f"array of shape {values.shape}."
        )
    return pd.DataFrame(values, columns=[f"covariate_{j}" for j in range(values.shape[1])])


def _ready_made(names, X):
    unknown = [name for name in names if name not in READY_MADE]
    if unknown or not names:
        raise ValueError(
            f"{CALLER} knows no ready-made covariates {unknown}: choose from "
            f"{', '.join(sorted(READY_MADE))}, or pass a frame with one row for each row of X."
        )
    texts = texts_of(X, caller=f"{CALLER} (for covariates={names})")
    if texts.ndim == 2:
        first, second = texts.T
        return pd.DataFrame({k: READY_MADE[k](first) - READY_MADE[k](second) for k in names})
    return pd.DataFrame({name: READY_MADE[name](texts) for name in names})
