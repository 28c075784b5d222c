"""SparseAutoencoderTransformer inside other code: its frames, modes, signals, threads and files."""

import signal
import stat

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import Parallel, delayed
from planted_rows import VARIANTS, make, planted
from processes import NEEDS_LINKS, NEEDS_MODES
from skorch.callbacks import Callback, EarlyStopping, Freezer, LRScheduler

from sklearn_hypsae.autoencoder import Checkpoint
from sklearn_hypsae.autoencoder.devices import threads_for
from sklearn_hypsae.sae import SparseAutoencoderTransformer


@pytest.fixture(scope="module")
def rows():
    return planted(600, 0)[0]


class CtrlC(Callback):
    """Interrupts the second epoch, as a user at the keyboard would."""

    def on_batch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def ctrl_c():
    # A shell lets what it runs in the background ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield CtrlC()
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_fit_and_leaves_nothing_fitted(rows, ctrl_c):
    sae = make(callbacks=[ctrl_c])
    with pytest.raises(KeyboardInterrupt):
        sae.fit(rows)
    assert not hasattr(sae, "components_")


def test_ctrl_c_leaves_the_checkpoint_of_the_epoch_before(rows, ctrl_c, tmp_path):
    path = tmp_path / "sae.safetensors"
    with pytest.raises(KeyboardInterrupt):
        make(callbacks=[Checkpoint(path), ctrl_c]).fit(rows)
    assert SparseAutoencoderTransformer.load(path).n_iter_ == 1


def test_a_callback_may_end_training_early(rows):
    stopping = EarlyStopping(monitor="train_loss", patience=2, threshold=1e9, sink=lambda _: None)
    assert make(patience=None, n_epochs=30, callbacks=[stopping]).fit(rows).n_iter_ < 30


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "another default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", ["topk", "both", "signed_batch_topk", "target"])
def test_modes_of_torch_around_it_change_nothing(variant, mode, rows):
    sae = make(n_epochs=2, **VARIANTS.get(variant, {"target_coef": 1.0}))
    expected = sae.fit(rows, rows[:, 0]).transform(rows)
    with MODES[mode]():
        found = sae.fit(rows, rows[:, 0]).transform(rows)
    assert (found == expected).all()


def test_threads_that_use_tf32_leave_the_precision_of_products_as_it_was(rows):
    sae = make(n_epochs=2, encoder_precision="tf32")
    before = torch.get_float32_matmul_precision()
    Parallel(4, backend="threading")(delayed(sae.fit)(rows) for sae in [sae] * 8)
    assert torch.get_float32_matmul_precision() == before


def test_small_products_take_one_thread_and_leave_their_number_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for(8, 8, 8):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_blocks_of_one_thread_that_overlap_leave_the_number_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = threads_for(8, 8, 8), threads_for(8, 8, 8)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_column_of_vectors_is_the_table_they_make(rows):
    sae = make(n_epochs=2).fit(rows)
    expected = sae.transform(rows)
    frame = pd.DataFrame({"embedding": list(rows)}, index=np.arange(len(rows)) + 7)
    for column in (frame["embedding"], frame["embedding"].to_numpy(), frame.to_numpy()):
        assert (sae.transform(column) == expected).all()
        assert (make(n_epochs=2).fit(column).transform(rows) == expected).all()
    found = sae.transform(frame)
    assert found.index.equals(frame.index)
    assert (found.to_numpy() == expected).all()


def test_frames_as_parts_are_the_arrays_they_hold(rows):
    parts = [pd.DataFrame(rows[:200]), pd.DataFrame(rows[200:])]
    expected = make(n_epochs=2).fit([rows[:200], rows[200:]]).transform(rows)
    assert (make(n_epochs=2).fit(parts).transform(parts) == expected).all()


def test_vectors_of_several_lengths_are_refused(rows):
    column = pd.Series([*rows, rows[0, :3]])
    with pytest.raises(ValueError, match="vectors of one length .* and 3 to "):
        make().fit(column)


@pytest.mark.filterwarnings("error")
def test_infinities_of_both_signs_are_named_where_warnings_are_errors(rows):
    bad = rows.copy()
    bad[3, :2] = np.inf, -np.inf
    with np.errstate(all="raise"), pytest.raises(ValueError, match="inf.* first at position 3"):
        make().fit(bad)


def test_a_refused_fit_leaves_the_fitted_one_as_it_was(rows):
    sae = make(n_epochs=2).fit(pd.DataFrame(rows).add_prefix("e"))
    expected = sae.transform(pd.DataFrame(rows).add_prefix("e"))
    with pytest.raises(ValueError, match="NaN"):
        sae.fit(np.full((10, 5), np.nan))
    assert (sae.transform(pd.DataFrame(rows).add_prefix("e")) == expected).all(axis=None)


def test_warm_start_keeps_the_number_of_neurons_it_chose(rows):
    sae = make(M="auto", K="auto", n_epochs=1, warm_start=True).fit(rows)
    assert sae.fit(np.tile(rows, (10, 1)) + 1e-3 * planted(6000, 1)[0]).M_ == 64


def test_partial_fit_refuses_other_classes_than_the_first(rows):
    labels = np.array(["a", "b", "c", "d"])
    sae = make(target_coef=1.0).partial_fit(rows, labels[np.arange(600) % 3])
    with pytest.raises(ValueError, match="learnt the classes .*'c'.* now got .*'d'"):
        sae.partial_fit(rows, labels[np.array([0, 1, 3])[np.arange(600) % 3]])


def test_batch_topk_keeps_its_number_of_neurons_without_early_stopping():
    # Of rows of noise nothing can be learnt but by heart.
    new, *parts = np.random.default_rng(0).standard_normal((5, 600, 32), dtype=np.float32)
    sae = make(batch_topk=True, n_epochs=30, patience=None)
    n_active = [(sae.fit(part).transform(new) != 0).sum(axis=1).mean() for part in parts]
    assert np.mean(n_active) == pytest.approx(sae.K, rel=0.08)


def test_the_readout_follows_the_scale_of_the_rows(rows):
    sae = make(n_epochs=3, target_coef=1.0)
    expected = sae.fit(rows, rows[:, 0]).readout_weight_
    found = sae.fit(1024 * rows, rows[:, 0]).readout_weight_
    np.testing.assert_allclose(1024 * found, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


@NEEDS_MODES
@NEEDS_LINKS
def test_a_file_may_be_read_by_those_who_may_read_any(rows, tmp_path):
    path, link = tmp_path / "sae.safetensors", tmp_path / "link"
    sae = make(n_epochs=1).fit(rows)
    (tmp_path / "any").touch()
    sae.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "any").stat().st_mode)
    path.chmod(0o640)
    link.symlink_to(path)
    sae.save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_prefixes_in_any_sequence_can_be_saved(rows, tmp_path):
    path = tmp_path / "sae.safetensors"
    make(M=48, matryoshka_prefix_lengths=range(16, 49, 16), n_epochs=1).fit(rows).save(path)
    loaded = SparseAutoencoderTransformer.load(path)
    assert loaded.matryoshka_prefix_lengths == [16, 32, 48]


def test_labels_that_json_cannot_hold_are_refused(rows, tmp_path):
    sae = make(n_epochs=1, target_coef=1.0).fit(rows, pd.cut(rows[:, 0], 3))
    with pytest.raises(ValueError, match="cannot be saved .*Interval.*strings or plain numbers"):
        sae.save(tmp_path / "sae.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("callback", [Checkpoint, "x"])
def test_what_is_no_callback_is_refused(callback, rows):
    with pytest.raises(TypeError, match=r"list of skorch callbacks, got .*pass instances"):
        make(callbacks=[callback]).fit(rows)


def test_a_class_of_callbacks_is_as_good_as_an_instance(rows):
    assert make(n_epochs=2, callbacks=[LRScheduler]).fit(rows).n_iter_ == 2


def test_frozen_weights_stay_what_they_were(rows):
    first = make(n_epochs=1, callbacks=[Freezer("*")]).fit(rows).encoder_weight_
    later = make(n_epochs=3, callbacks=[Freezer("*")]).fit(rows).encoder_weight_
    assert (first == later).all()
