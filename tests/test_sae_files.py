"""Files of SparseAutoencoderTransformer: saved, loaded, and not its own."""

import json
import pickle
import struct

import numpy as np
import pandas as pd
import pytest
from planted_rows import N_FEATURES, VARIANTS, make, planted
from safetensors.numpy import save as safetensors_bytes

from sklearn_hypsae.sae import SparseAutoencoderTransformer


@pytest.fixture(scope="module")
def rows():
    return planted(1500, 0)[0]


@pytest.fixture(scope="module")
def fitted(rows):
    return make().fit(rows)


@pytest.mark.parametrize("variant", ["topk", "both", "signed_batch_topk"])
def test_save_and_load_are_an_exact_round_trip(variant, rows, tmp_path):
    sae = make(n_epochs=2, callbacks=[], **VARIANTS[variant])
    sae.fit(pd.DataFrame(rows, columns=[f"embedding_{i}" for i in range(N_FEATURES)]))
    sae.save(tmp_path / "sae.safetensors")
    loaded = SparseAutoencoderTransformer.load(tmp_path / "sae.safetensors")
    assert loaded.get_params() == sae.get_params() | {"callbacks": None}
    assert vars(loaded).keys() == vars(sae).keys()
    for name, value in vars(sae).items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, getattr(loaded, name), check_exact=True)
        elif isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(loaded, name)), name
            assert value.dtype == getattr(loaded, name).dtype
    frame = pd.DataFrame(rows[:5], columns=sae.feature_names_in_)
    pd.testing.assert_frame_equal(loaded.transform(frame), sae.transform(frame))


def rewritten(whole, **metadata):
    """A file of ours with other words in its header."""
    n = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + n])
    header["__metadata__"] |= metadata
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + whole[8 + n :]


def description_in(whole):
    n = struct.unpack("<Q", whole[:8])[0]
    return json.loads(json.loads(whole[8 : 8 + n])["__metadata__"]["description"])


def described(whole, **changes):
    return rewritten(whole, description=json.dumps(description_in(whole) | changes))


def fitted_in(whole):
    return description_in(whole)["fitted"]


FOREIGN_FILES = {
    "pickle": (lambda whole: pickle.dumps({"a": 1}), "not a complete safetensors file"),
    "text": (lambda whole: b"not an autoencoder at all", "not a complete safetensors file"),
    "empty": (lambda whole: b"", "not a complete safetensors file"),
    "header cut": (lambda whole: whole[:100], "not a complete safetensors file"),
    "end cut": (lambda whole: whole[:-1], "not a complete safetensors file"),
    "longer": (lambda whole: whole + b"1", "not a complete safetensors file"),
    "other weights": (lambda whole: safetensors_bytes({"w": np.ones(3)}), "holds other weights"),
    "later version": (lambda whole: rewritten(whole, version="2"), "format is version 2, not 1"),
    "no JSON": (lambda whole: rewritten(whole, description="{"), "cannot be read"),
    "a list": (lambda whole: rewritten(whole, description="[]"), "cannot be read"),
    "other parameters": (
        lambda whole: described(whole, parameters={"later": 1}),
        "unknown parameters .'later'.",
    ),
    "no attributes": (lambda whole: described(whole, fitted={}), "has no K_, M_"),
    "more neurons": (
        lambda whole: described(whole, fitted=fitted_in(whole) | {"M_": 49}),
        "components_, encoder_weight_, encoder_bias_ cannot belong to M_=49, K_=4 and",
    ),
    "more features": (
        lambda whole: described(whole, fitted=fitted_in(whole) | {"n_features_in_": 3}),
        "components_, encoder_weight_, input_bias_ cannot belong to .* n_features_in_=3",
    ),
    "no neuron to a row": (
        lambda whole: described(whole, fitted=fitted_in(whole) | {"K_": 0}),
        "K_ cannot belong to M_=48, K_=0",
    ),
    "a size in words": (
        lambda whole: described(whole, fitted=fitted_in(whole) | {"K_": "four"}),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN_FILES)
def test_a_file_that_is_not_ours_is_refused(kind, fitted, tmp_path):
    path = tmp_path / "sae.safetensors"
    fitted.save(path)
    foreign, reason = FOREIGN_FILES[kind]
    path.write_bytes(foreign(path.read_bytes()))
    with pytest.raises(ValueError, match=f"is not an autoencoder that .*save wrote: .*{reason}"):
        SparseAutoencoderTransformer.load(path)


def test_paths_that_no_file_can_have_are_refused(fitted, tmp_path):
    with pytest.raises(ValueError, match="it is a folder"):
        SparseAutoencoderTransformer.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SparseAutoencoderTransformer.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="which is a folder: add the name of a file"):
        fitted.save(tmp_path)
    with pytest.raises(ValueError, match="there is no folder .*nowhere, create it"):
        fitted.save(tmp_path / "nowhere" / "sae.safetensors")
    assert list(tmp_path.iterdir()) == []
