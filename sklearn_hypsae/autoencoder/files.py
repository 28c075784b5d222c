"""Autoencoders as files: arrays in safetensors, the rest as JSON in its header. No pickle."""

import json
import os
import uuid
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

FORMAT = "sklearn_hypsae.SparseAutoencoderTransformer"
VERSION = 1
REQUIRED = (
    "M_",
    "K_",
    "components_",
    "encoder_weight_",
    "encoder_bias_",
    "input_bias_",
    "threshold_",
    "n_features_in_",
)


def save(path, parameters, fitted):
    """Write an estimator; callbacks and a random state that is not an int are left out.

    Parameters
    ----------
    path : str or Path

    parameters, fitted : dict
        Constructor parameters, and attributes; only those that end in an underscore are kept.
    """
    parameters = parameters | {"callbacks": None}
    if not isinstance(parameters["random_state"], Integral):
        parameters["random_state"] = None
    fitted = {name: value for name, value in fitted.items() if name.endswith("_")}
    write(path, *pack(parameters, fitted))


def write(path, arrays, description):
    """Write a file whole or not at all: a process killed half-way leaves the old one.

    The new file is on the disk before it takes the place of the old one, so that not even a
    power cut leaves half of it. A killed process may leave a hidden temporary file beside it.

    Parameters
    ----------
    path : str or Path

    arrays : dict of str to ndarray

    description : dict
        Whatever JSON can hold.
    """
    # Whoever wants the file elsewhere has a link in its place.
    path = Path(path).resolve()
    refuse_unwritable(path, "SparseAutoencoderTransformer")
    try:
        text = json.dumps(description)
    except TypeError as error:
        raise ValueError(
            f"SparseAutoencoderTransformer cannot be saved ({error}): fit it with labels in y and "
            "parameters that are strings or plain numbers."
        ) from None
    header = {"format": FORMAT, "version": str(VERSION), "description": text}
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.touch()
        # Who may read it: those who could read the old one, or what the process gives any file.
        mode = (path if path.exists() else temporary).stat().st_mode
        save_file(arrays, temporary, metadata=header)
        temporary.chmod(mode)
        _flush(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def refuse_unwritable(path, caller):
    """Refuse a path that no file can have.

    Parameters
    ----------
    path : Path

    caller : str
        Class that would write, named in the error.
    """
    if path.is_dir():
        raise ValueError(
            f"{caller} cannot write to {path}, which is a folder: add the name of a file."
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"{caller} cannot write {path}: there is no folder {path.parent}, create it."
        )


def _flush(path):
    # Flushes what any process wrote to the file, so it need not be the handle that wrote.
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path):
    """Read what :func:`write` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    arrays : dict of str to ndarray

    description : dict

    Raises
    ------
    ValueError
        If the file is not one of ours, is damaged, or comes from a later version.
    """
    if Path(path).is_dir():
        raise ValueError(_refusal(path, "it is a folder"))
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in list(file.keys())}
    except SafetensorError as error:
        raise ValueError(
            _refusal(path, f"it is not a complete safetensors file ({error})")
        ) from None
    if header.get("format") != FORMAT:
        raise ValueError(_refusal(path, "it holds other weights"))
    if header.get("version") != str(VERSION):
        raise ValueError(
            _refusal(path, f"its format is version {header.get('version')}, not {VERSION}")
        )
    try:
        return arrays, json.loads(header["description"])
    except (KeyError, ValueError):
        raise ValueError(_refusal(path, "its description cannot be read")) from None


def read_estimator(path, parameters):
    """Read the parameters and fitted attributes that :func:`save` wrote.

    Parameters
    ----------
    path : str or Path

    parameters : dict
        Of the estimator, by name.

    Returns
    -------
    parameters, fitted : dict

    Raises
    ------
    ValueError
        As :func:`read`, and if parameters are unknown, or attributes missing or not of the sizes
        that the file states.
    """
    arrays, description = read(path)
    try:
        found, fitted = unpack(arrays, description)
        unknown = sorted(found.keys() - parameters.keys())
        missing = sorted(name for name in REQUIRED if name not in fitted)
        misfits = [] if missing else _misfits(fitted)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(_refusal(path, "its description cannot be read")) from None
    if unknown or missing:
        what = f"unknown parameters {unknown}" if unknown else f"no {', '.join(missing)}"
        raise ValueError(_refusal(path, f"it has {what}"))
    if misfits:
        raise ValueError(
            _refusal(
                path,
                f"{', '.join(misfits)} cannot belong to M_={fitted['M_']}, K_={fitted['K_']} and "
                f"n_features_in_={fitted['n_features_in_']}",
            )
        )
    return found, fitted


def _misfits(fitted):
    """Name the attributes that the other ones contradict."""
    M, K, d = fitted["M_"], fitted["K_"], fitted["n_features_in_"]
    shapes = {
        "components_": (M, d),
        "encoder_weight_": (M, d),
        "encoder_bias_": (M,),
        "input_bias_": (d,),
        "feature_names_in_": (d,),
    }
    misfits = [
        name for name, shape in shapes.items() if name in fitted and np.shape(fitted[name]) != shape
    ]
    if not 0 < K <= M:
        misfits.append("K_")
    return misfits


def _refusal(path, reason):
    return (
        f"{path} is not an autoencoder that SparseAutoencoderTransformer.save wrote: {reason}. "
        "Pass the path given to save, or fit again."
    )


def pack(parameters, fitted):
    """Split an estimator into arrays and what JSON can hold.

    Parameters
    ----------
    parameters, fitted : dict
        Constructor parameters, and attributes that end in an underscore.

    Returns
    -------
    arrays : dict of str to ndarray

    description : dict
    """
    arrays, plain, lists = {}, {}, {}
    for name, value in fitted.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            arrays[name] = np.ascontiguousarray(value)
        elif isinstance(value, np.ndarray):
            lists[name] = {"values": value.tolist(), "dtype": value.dtype.str}
        elif isinstance(value, pd.DataFrame):
            plain[name] = {"columns": value.to_dict(orient="list")}
        else:
            plain[name] = value
    parameters = {name: _plain(value) for name, value in parameters.items()}
    return arrays, {"parameters": parameters, "fitted": plain, "lists": lists}


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def unpack(arrays, description):
    """Put together what :func:`pack` took apart.

    Parameters
    ----------
    arrays : dict of str to ndarray

    description : dict

    Returns
    -------
    parameters, fitted : dict
    """
    fitted = dict(arrays)
    for name, value in description["fitted"].items():
        fitted[name] = pd.DataFrame(value["columns"]) if isinstance(value, dict) else value
    for name, value in description["lists"].items():
        fitted[name] = np.array(value["values"], dtype=value["dtype"])
    return description["parameters"], fitted
