"""What becomes of SparseAutoencoderTransformer while it trains and after: checkpoints, warnings."""

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted_rows import N_FEATURES, VARIANTS, Forbidden, make, planted
from processes import running_script, wait_until
from sklearn.base import clone
from skorch.callbacks import LRScheduler

from sklearn_hypsae.autoencoder import Checkpoint
from sklearn_hypsae.sae import SparseAutoencoderTransformer


@pytest.fixture(scope="module")
def rows():
    return planted(1500, 0)[0]


@pytest.fixture(scope="module")
def new_rows():
    return planted(1000, 1)[0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


def load(path):
    return SparseAutoencoderTransformer.load(path)


def assert_same_fit(first, second):
    ours, theirs = (
        {name: value for name, value in vars(sae).items() if name.endswith("_")}
        for sae in (first, second)
    )
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, theirs[name], check_exact=True)
        else:
            assert np.array_equal(value, theirs[name]), name


# Checkpoints


@pytest.mark.parametrize("variant", ["topk", "both", "signed_batch_topk"])
@pytest.mark.parametrize("patience", [None, 3])
def test_after_training_the_checkpoint_is_what_fit_left(variant, patience, rows, path):
    frame = pd.DataFrame(rows * 100, columns=[f"embedding_{i}" for i in range(N_FEATURES)])
    sae = make(callbacks=[Checkpoint(path)], patience=patience, **VARIANTS[variant]).fit(frame)
    loaded = load(path)
    assert_same_fit(loaded, sae)
    assert loaded.get_params() == sae.get_params() | {"callbacks": None}
    pd.testing.assert_frame_equal(loaded.transform(frame), sae.transform(frame))


@pytest.mark.parametrize("variant", ["topk", "batch_topk"])
def test_a_checkpoint_during_training_is_what_a_shorter_fit_leaves(variant, rows, path):
    class Kill(Checkpoint):
        """Ends training like a signal: nothing that follows an epoch is done."""

        def on_epoch_end(self, net, **kwargs):
            super().on_epoch_end(net, **kwargs)
            if len(net.history) == 5:
                raise SystemExit

    long = make(callbacks=[Kill(path, every_n_epochs=2)], n_epochs=40, **VARIANTS[variant])
    with pytest.raises(SystemExit):
        long.fit(rows)
    shorter = make(n_epochs=4, **VARIANTS[variant]).fit(rows)
    assert_same_fit(load(path), shorter)
    assert load(path).best_epoch_ == 4


def test_checkpoints_do_not_change_the_result(rows, path):
    for variant in ("topk", "both"):
        without = make(n_epochs=5, **VARIANTS[variant]).fit(rows)
        saved = make(n_epochs=5, callbacks=[Checkpoint(path)], **VARIANTS[variant]).fit(rows)
        assert_same_fit(saved, without)


def test_partial_fit_is_saved_after_every_call(rows, path):
    sae = make(callbacks=[Checkpoint(path, every_n_epochs=100)])
    for n_calls in (1, 2, 3):
        sae.partial_fit(rows)
        assert load(path).n_iter_ == load(path).best_epoch_ == n_calls
    assert_same_fit(load(path), sae)


def test_a_clone_saves_to_the_same_path_and_a_fit_leaves_nothing_in_the_callback(rows, path):
    checkpoint = Checkpoint(path, every_n_epochs=2)
    sae = make(callbacks=[("saved", checkpoint)], n_epochs=3).fit(rows)
    assert vars(checkpoint) == {"path": path, "every_n_epochs": 2}
    copy = clone(sae)
    assert copy.callbacks[0][1] is not checkpoint
    assert copy.callbacks[0][1].get_params() == checkpoint.get_params()
    path.unlink()
    assert_same_fit(copy.fit(rows), sae)
    assert_same_fit(load(path), sae)


@pytest.mark.parametrize(
    "where, every_n_epochs, sentence",
    [
        ("no such folder/a.safetensors", 1, "there is no folder .*no such folder, create it"),
        (".", 1, "which is a folder: add the name of a file"),
        ("a.safetensors", 0, "every_n_epochs to be a positive integer, got 0"),
        ("a.safetensors", 1.5, "every_n_epochs to be a positive integer, got 1.5"),
    ],
)
def test_a_checkpoint_that_cannot_be_written_is_refused_before_training(
    where, every_n_epochs, sentence, rows, tmp_path
):
    checkpoint = Checkpoint(tmp_path / where, every_n_epochs)
    with pytest.raises(ValueError, match=f"Checkpoint .*{sentence}"):
        make(callbacks=[Forbidden(), checkpoint]).fit(rows)


TRAINS_FOR_LONG = """
import sys
from planted_rows import make, planted
from sklearn_hypsae.autoencoder import Checkpoint
sae = make(n_epochs=10**6, patience=None, callbacks=[Checkpoint(sys.argv[1])], batch_topk=True)
sae.fit(planted(1500, 0)[0])
"""


def train_and_kill(path, seconds_after_the_first_checkpoint):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    with running_script(TRAINS_FOR_LONG, path, env=environment) as process:
        wait_until(path.exists, process)
        time.sleep(seconds_after_the_first_checkpoint)
        assert process.poll() is None, "it ended by itself"


def test_training_killed_at_any_time_leaves_a_checkpoint_to_go_on_from(rows, new_rows, path):
    rng = np.random.default_rng(0)
    for n_killed in range(1, 5):
        path.unlink(missing_ok=True)
        train_and_kill(path, rng.uniform(0, 0.6))
        sae = load(path)
        weights = (sae.components_, sae.encoder_weight_, sae.encoder_bias_, sae.input_bias_)
        assert all(np.isfinite(part).all() for part in weights)
        assert len(sae.history_) == sae.n_iter_ == sae.best_epoch_ >= 1
        # One epoch reaches 0.55.
        assert sae.score(new_rows) > 0.5
        # Of a write that was cut short, a hidden file may be left.
        assert len([file for file in path.parent.iterdir() if file != path]) <= n_killed
        sae.set_params(warm_start=True, n_epochs=5, random_state=1).fit(rows)
        assert sae.history_["train_loss"].iloc[-1] < load(path).history_["train_loss"].iloc[0]


def test_fit_goes_on_from_a_checkpoint(rows, new_rows, path):
    make(n_epochs=3, patience=None, callbacks=[Checkpoint(path)]).fit(rows)
    saved = load(path)
    more = load(path).set_params(warm_start=True, n_epochs=1, random_state=1).fit(rows)
    assert more.history_["train_loss"].iloc[0] < saved.history_["train_loss"].iloc[-1]
    assert more.score(new_rows) > saved.score(new_rows)
    anew = load(path).set_params(n_epochs=1).fit(rows)
    assert anew.history_["train_loss"].iloc[0] == saved.history_["train_loss"].iloc[0]
    assert load(path).partial_fit(rows).n_iter_ == 4


# The epoch whose weights are kept


def test_best_epoch_is_the_one_whose_weights_were_restored(rows):
    sae = make(learning_rate=0.03, patience=2, n_epochs=200).fit(rows)
    losses = sae.history_["validation_loss"]
    assert sae.best_epoch_ == sae.n_iter_ - 2
    # An improvement by less than a ten-thousandth does not count.
    assert losses[sae.best_epoch_ - 1] == pytest.approx(losses.min(), rel=1e-4)
    until_then = make(learning_rate=0.03, patience=2, n_epochs=sae.best_epoch_).fit(rows)
    assert np.array_equal(sae.components_, until_then.components_)
    assert until_then.best_epoch_ == until_then.n_iter_ == sae.best_epoch_


def test_without_early_stopping_the_best_epoch_is_the_last(rows):
    assert make(patience=None, n_epochs=3).fit(rows).best_epoch_ == 3
    assert make().partial_fit(rows).partial_fit(rows).best_epoch_ == 2


# Fewer neurons than were asked for


@pytest.mark.parametrize("batch_topk", [False, True])
def test_fewer_positive_activations_than_k_are_warned_of(batch_topk, rows):
    with pytest.warns(UserWarning, match=r"Only 2\d\.\d neurons .* not K=40, .*: lower K, or"):
        sae = make(K=40, n_epochs=1, batch_topk=batch_topk).fit(rows)
    assert (sae.transform(rows) > 0).sum(axis=1).mean() < 0.8 * 40


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("parameters", [{}, {"M": 256, "K": 32}, {"M": 64, "n_epochs": 1}])
def test_usual_sizes_warn_of_nothing(variant, parameters, rows):
    if "M" in parameters and "matryoshka_prefix_lengths" in VARIANTS[variant]:
        parameters = parameters | {"matryoshka_prefix_lengths": [8, parameters["M"]]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(**{"n_epochs": 6, **VARIANTS[variant], **parameters}).fit(rows)


# Precision of the product that selects


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
@pytest.mark.parametrize("variant", ["topk", "both"])
def test_a_lower_precision_of_the_encoder_trains_as_well(precision, variant, rows, new_rows):
    import torch

    before = torch.get_float32_matmul_precision()
    exact = make(**VARIANTS[variant]).fit(rows)
    rough = make(encoder_precision=precision, **VARIANTS[variant]).fit(rows)
    assert torch.get_float32_matmul_precision() == before
    assert rough.components_.dtype == rough.transform(rows).dtype == np.float32
    assert rough.score(new_rows) == pytest.approx(exact.score(new_rows), abs=0.02)


# Tensors


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_tensors_of_any_precision_are_the_arrays_they_hold(dtype, rows):
    import torch

    tensor = torch.from_numpy(rows).to(getattr(torch, dtype)).requires_grad_()
    array = tensor.detach().float().numpy()
    expected = make(n_epochs=2).fit(array)
    sae = make(n_epochs=2).fit(tensor)
    assert_same_fit(sae, expected)
    assert np.array_equal(sae.transform(tensor), expected.transform(array))
    assert sae.score(tensor) == expected.score(array)
    column_first = tensor.detach().T.contiguous().T
    assert not column_first.is_contiguous()
    assert_same_fit(make(n_epochs=2).fit(column_first), expected)
    assert_same_fit(make(n_epochs=2).fit([tensor[:700], tensor[700:]]), expected)


def test_an_infinite_entry_of_a_tensor_is_named_by_its_row(rows):
    import torch

    tensor = torch.from_numpy(rows.astype(np.float64))
    tensor[5, 5] = 1e300
    with pytest.raises(ValueError, match="infinity.* position 5"):
        make().fit(tensor)


def test_arrays_do_not_load_torch_before_training():
    code = (
        "import sys, numpy as np\n"
        "from sklearn_hypsae.sae import SparseAutoencoderTransformer\n"
        "from sklearn_hypsae.autoencoder.checks import checked_source\n"
        "sae = SparseAutoencoderTransformer()\n"
        "checked_source(sae, np.eye(3), reset=True)\n"
        "assert 'torch' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("step_every", ["epoch", "batch"])
def test_a_schedule_of_skorch_lowers_the_learning_rate(step_every, rows):
    schedule = LRScheduler(policy="StepLR", step_size=1, gamma=1e-6, step_every=step_every)

    def moved(n_epochs):
        sae = make(n_epochs=n_epochs, patience=None, callbacks=[clone(schedule)]).fit(rows)
        return sae.encoder_weight_

    # Whatever comes after the first epoch is too slow to be seen.
    np.testing.assert_allclose(moved(2), moved(4), rtol=1e-3, atol=1e-5)
