"""Warnings that point to the user's own line, however many calls lie between."""

import contextlib
import os
import sys
import warnings
from pathlib import Path

import joblib
import sklearn

_INSIDE = (
    *(f"{Path(place).parent}{os.sep}" for place in (__file__, sklearn.__file__, joblib.__file__)),
    contextlib.__file__,
)


def warn(message, category=UserWarning):
    """Warn of the innermost call that is in neither this package nor scikit-learn or joblib.

    Parameters
    ----------
    message : str

    category : type, default=UserWarning
    """
    frame, stacklevel = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel)
