"""What SparseAutoencoderTransformer promises."""

import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from planted_rows import N_CONCEPTS, N_FEATURES, VARIANTS, Forbidden, make, planted
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import (
    check_global_output_transform_pandas,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    parametrize_with_checks,
)
from skorch.callbacks import Callback

from sklearn_hypsae.sae import SparseAutoencoderTransformer


@parametrize_with_checks([SparseAutoencoderTransformer(n_epochs=4)])
def test_common_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "check",
    [
        check_set_output_transform,
        check_set_output_transform_pandas,
        check_global_output_transform_pandas,
        check_transformer_get_feature_names_out,
        check_transformer_get_feature_names_out_pandas,
        check_param_validation,
    ],
)
# The output checks transform frames with an estimator fitted on arrays, and the reverse.
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names:UserWarning")
def test_checks_that_the_common_ones_leave_out(check):
    check("SparseAutoencoderTransformer", SparseAutoencoderTransformer(n_epochs=4))


@pytest.fixture(scope="module")
def rows():
    return planted(1500, 0)[0]


@pytest.fixture(scope="module")
def new_rows():
    return planted(1000, 1)[0]


@pytest.fixture(scope="module")
def fitted(rows):
    return make().fit(rows)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_reconstructs_new_rows(variant, rows, new_rows):
    sae = make(**VARIANTS[variant]).fit(rows)
    assert sae.score(new_rows) > 0.8
    assert np.allclose(np.linalg.norm(sae.components_, axis=1), 1, atol=1e-5)


def test_exactly_k_neurons_are_active(fitted, new_rows):
    activations = fitted.transform(new_rows)
    assert activations.dtype == np.float32
    assert (activations >= 0).all()
    assert ((activations > 0).sum(axis=1) == 4).mean() > 0.9
    assert (activations > 0).sum(axis=1).max() == 4


@pytest.mark.parametrize("n_epochs", [1, 3, 40])
@pytest.mark.parametrize("signed", [False, True])
def test_batch_topk_keeps_k_neurons_a_row_on_new_rows_however_short_training_was(
    n_epochs, signed, rows, new_rows
):
    sae = make(batch_topk=True, signed=signed, n_epochs=n_epochs).fit(rows)
    n_active = (sae.transform(new_rows) != 0).sum(axis=1)
    assert n_active.mean() == pytest.approx(4, rel=0.1)
    assert n_active.std() > 0
    assert sae.threshold_ > 0


def test_signed_neurons_fire_negatively_too(rows):
    activations = make(signed=True).fit(rows - rows[::-1]).transform(rows[:200] - rows[-200:])
    assert (activations < 0).any() and (activations > 0).any()


def test_planted_directions_are_found(fitted):
    directions = np.random.default_rng(7).normal(size=(N_CONCEPTS, N_FEATURES))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert np.median((directions @ fitted.components_.T).max(axis=1)) > 0.9


def test_matryoshka_prefixes_reconstruct_on_their_own(rows, new_rows):
    def error_of_prefix(sae):
        prefix = sae.transform(new_rows)[:, :8] @ sae.components_[:8] + sae.input_bias_
        return np.square(new_rows - prefix).sum()

    nested = make(matryoshka_prefix_lengths=[8, 48]).fit(rows)
    assert error_of_prefix(nested) < 0.9 * error_of_prefix(make().fit(rows))


def test_dead_neurons_are_those_that_fire_on_no_training_row(rows):
    sae = make(patience=None, n_epochs=2, M=400, aux_coef=0.0).fit(rows)
    silent = np.flatnonzero((sae.transform(rows) == 0).all(axis=0))
    assert sae.dead_neurons_.tolist() == silent.tolist()


def test_many_dead_neurons_are_warned_of_with_the_rows_a_neuron_has(rows):
    with pytest.warns(UserWarning, match="M=400 neurons are many for .* on 40 rows: .* 0.4 rows"):
        make(M=400, n_epochs=1).fit(rows[:40])


def test_m_that_is_large_for_the_rows_is_warned_of_though_no_neuron_is_dead(rows):
    with pytest.warns(UserWarning, match=r"fires on 8.3 rows on average, and \d+ fire on none"):
        sae = make(n_epochs=1).fit(rows[:100])
    assert len(sae.dead_neurons_) < 0.1 * 48
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(n_epochs=1).fit(rows[:130])


@pytest.mark.parametrize("parameters", [{"M": 400}, {"learning_rate": 30.0, "n_epochs": 2}])
def test_there_is_one_warning_and_it_points_at_the_call(parameters, rows):
    with pytest.warns(UserWarning) as caught:
        make(**parameters).fit(rows[:200])
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.filterwarnings("ignore:.* fire on no training row:UserWarning")
def test_the_auxiliary_term_revives_dead_neurons(rows):
    def revived(aux_coef):
        sae = make(
            K=2, dead_neuron_threshold_steps=4, aux_coef=aux_coef, warm_start=True, patience=None
        ).fit(rows)
        # Too faint ever to be among the two largest, which alone would teach them.
        sae.encoder_weight_[:24] *= 0.02
        sae.fit(rows)
        return 24 - np.isin(np.arange(24), sae.dead_neurons_).sum()

    assert revived(aux_coef=1.0) > revived(aux_coef=0.0) + 4


def test_history_has_one_row_an_epoch(fitted):
    assert len(fitted.history_) == fitted.n_iter_
    assert list(fitted.history_.columns) == [
        "epoch",
        "train_loss",
        "validation_loss",
        "train_fvu",
        "validation_fvu",
        "l0",
        "dead_fraction",
    ]
    assert np.isfinite(fitted.history_.to_numpy()).all()
    assert fitted.history_["l0"].iloc[-1] == pytest.approx(4, abs=0.1)


def test_score_is_one_minus_the_fraction_of_variance_unexplained(fitted, new_rows):
    error = new_rows - fitted.inverse_transform(fitted.transform(new_rows))
    fvu = np.square(error).sum() / np.square(new_rows - new_rows.mean(axis=0)).sum()
    assert fitted.score(new_rows) == pytest.approx(1 - fvu, abs=1e-6)


class Wreck(Callback):
    """Spoils the weights after a number of epochs, so that the loss only rises from there."""

    def __init__(self, after):
        self.after = after

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) > self.after:
            with torch.no_grad():
                net.module_.encoder_weight.mul_(3)


def test_early_stopping_restores_the_best_weights(rows):
    wrecked = make(callbacks=[Wreck(after=5)], patience=3).fit(rows)
    losses = wrecked.history_["validation_loss"]
    assert wrecked.n_iter_ == 8 and losses.idxmin() == 4
    shorter = make(n_epochs=5).fit(rows)
    assert np.array_equal(wrecked.components_, shorter.components_)
    assert np.array_equal(wrecked.encoder_weight_, shorter.encoder_weight_)


def test_without_patience_every_row_trains_and_no_epoch_is_skipped(rows):
    sae = make(patience=None, n_epochs=7).fit(rows)
    assert sae.n_iter_ == 7
    assert "validation_loss" not in sae.history_


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_fixed_seed_gives_the_same_bits(variant, rows):
    first, second = (make(n_epochs=3, **VARIANTS[variant]).fit(rows) for _ in range(2))
    assert np.array_equal(first.transform(rows), second.transform(rows))
    assert np.array_equal(first.components_, second.components_)


def test_the_global_seeds_are_left_alone(rows):
    # Whatever the state is: it must not have moved.
    numpy_state = np.random.mtrand._rand.get_state()[1].copy()
    torch_state = torch.get_rng_state()
    make(n_epochs=1).fit(rows)
    assert np.array_equal(numpy_state, np.random.mtrand._rand.get_state()[1])
    assert torch.equal(torch_state, torch.get_rng_state())


def test_warm_start_goes_on_from_the_weights_before(rows):
    short = make(n_epochs=2, warm_start=True, patience=None).fit(rows)
    first_loss = short.history_["train_loss"].iloc[-1]
    short.set_params(random_state=1).fit(rows)
    assert short.history_["train_loss"].iloc[0] < first_loss
    with pytest.raises(ValueError, match="cannot go on .* keep M"):
        short.set_params(M=32).fit(rows)


def test_the_scale_of_the_embeddings_does_not_matter(rows, fitted):
    scaled = make().fit(rows * 1024)
    np.testing.assert_allclose(scaled.components_, fitted.components_, atol=1e-5)
    np.testing.assert_allclose(
        scaled.transform(rows * 1024), 1024 * fitted.transform(rows), rtol=1e-3, atol=0.1
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_and_layouts_give_the_same_result(dtype, rows):
    exact = rows.astype(np.float16)
    expected = make(n_epochs=2).fit(exact.astype(np.float32)).transform(exact[:50])
    other = np.asfortranarray(exact.astype(dtype))
    assert np.array_equal(make(n_epochs=2).fit(other).transform(other[:50]), expected)
    strided = np.repeat(exact, 2, axis=0)[::2]
    assert np.array_equal(make(n_epochs=2).fit(strided).transform(strided[:50]), expected)


def test_a_pickle_holds_arrays_only(fitted, rows):
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.transform(rows), fitted.transform(rows))
    assert b"torch" not in pickle.dumps(fitted)


def test_frames_keep_their_index_and_arrays_stay_arrays(fitted, rows):
    index = pd.Index([f"text {i}" for i in range(20)], dtype=object, name="text")
    frame = pd.DataFrame(rows[:20], index=index)
    sae = make(n_epochs=1).fit(rows)
    out = sae.transform(frame)
    assert out.index.equals(index) and out.index.name == "text"
    assert list(out.columns[:2]) == ["neuron_0", "neuron_1"] and out.shape == (20, 48)
    assert sae.inverse_transform(out).index.equals(index)
    assert isinstance(sae.transform(rows), np.ndarray)
    assert isinstance(sae.set_output(transform="default").transform(frame), np.ndarray)


def test_sparse_output_is_the_dense_one_in_csr(fitted, rows):
    sparse_sae = clone(fitted).set_params(sparse_output=True).fit(rows)
    codes = sparse_sae.transform(rows)
    assert isinstance(codes, sparse.csr_array) and codes.dtype == np.float32
    assert codes.has_canonical_format and (codes.data != 0).all()
    assert np.array_equal(codes.toarray(), fitted.transform(rows))
    np.testing.assert_allclose(
        sparse_sae.inverse_transform(codes), fitted.inverse_transform(codes.toarray()), atol=1e-5
    )


@pytest.mark.parametrize(
    "n_rows, expected", [(50, (64, 4)), (1_000, (64, 4)), (6_500, (256, 8)), (60_000, (1024, 8))]
)
def test_auto_follows_the_rule_of_thumb_by_rows(n_rows, expected):
    X = np.random.default_rng(0).normal(size=(n_rows, 2)).astype(np.float32)
    sae = SparseAutoencoderTransformer(n_epochs=1, random_state=0, patience=None).fit(X)
    assert expected == (sae.M_, sae.K_)
    assert sae.transform(X[:5]).shape == (5, expected[0])


@pytest.mark.parametrize(
    "parameters, sentence",
    [
        ({"K": 49}, "K=49 neurons active of M=48"),
        ({"M": "auto", "K": 65}, 'M=64 .chosen for M="auto"'),
        ({"matryoshka_prefix_lengths": [16, 8, 48]}, "to increase"),
        ({"matryoshka_prefix_lengths": [8, 16]}, "to end in M=48"),
        ({"matryoshka_prefix_lengths": [0, 48]}, "positive integers"),
        ({"matryoshka_prefix_lengths": []}, "positive integers"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_before_training(parameters, sentence, rows):
    with pytest.raises(ValueError, match=sentence):
        make(callbacks=[Forbidden()], **parameters).fit(rows[:600])


@pytest.mark.parametrize("device", ["no such device", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_before_training(device, rows, fitted):
    sae = make(device=device, callbacks=[Forbidden()])
    elsewhere = pickle.loads(pickle.dumps(fitted)).set_params(device=device)
    for call in (
        lambda: sae.fit(rows),
        lambda: sae.partial_fit(rows),
        lambda: sae._check_before_fit(len(rows)),
        lambda: elsewhere.transform(rows),
    ):
        with pytest.raises(
            ValueError, match=f"SparseAutoencoderTransformer cannot compute on device='{device}'"
        ):
            call()


@pytest.mark.parametrize("bad, word", [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "inf")])
def test_nan_and_inf_are_refused_with_their_row(bad, word, rows, fitted):
    X = rows.copy()
    X[17, 3] = X[21, 0] = bad
    for method in (make(callbacks=[Forbidden()]).fit, fitted.transform, fitted.score):
        with pytest.raises(ValueError, match=f"{word}.* in 2 of 1500 rows.* 17, 21"):
            method(X)


@pytest.mark.parametrize(
    "container",
    [
        list,
        tuple,
        pd.Series,
        pd.Index,
        np.array,
        lambda texts: np.array(texts, dtype=object),
        lambda texts: np.array(texts)[:, None],
        lambda texts: [[text] for text in texts],
        pd.DataFrame,
        lambda texts: pd.DataFrame({"embedding_0": 1.0, "text": texts}),
    ],
)
def test_texts_are_refused_without_showing_one(container, fitted):
    X = container(["a private remark", "another one"])
    for method in (make(callbacks=[Forbidden()]).fit, fitted.transform, fitted.score):
        with pytest.raises(ValueError) as refusal:
            method(X)
        assert str(refusal.value) == (
            "SparseAutoencoderTransformer expects embeddings as X, got texts: put "
            "EmbeddingTransformer before it."
        )
        assert refusal.value.__cause__ is refusal.value.__context__ is None


@pytest.mark.parametrize("as_numbers", [list, np.array, pd.Series])
def test_one_dimensional_numbers_get_the_message_of_scikit_learn(as_numbers):
    with pytest.raises(ValueError, match="Expected .*2"):
        make().fit(as_numbers([1.0, 2.0, 3.0]))


def test_numbers_in_lists_and_object_arrays_train(rows):
    expected = make(n_epochs=1).fit(rows[:200]).components_
    for X in (rows[:200].tolist(), rows[:200].astype(object), pd.DataFrame(rows[:200])):
        assert np.array_equal(make(n_epochs=1).fit(X).components_, expected)


def test_numbers_beyond_float32_are_refused_with_their_row(rows):
    X = rows.astype(np.float64)
    X[5, 5] = 1e300
    with pytest.raises(ValueError, match="position 5"), np.errstate(over="ignore"):
        make().fit(X)


@pytest.mark.parametrize("factor", [1e-30, 1e25, 1e30])
def test_very_large_and_small_numbers_train_like_others(factor, rows, fitted):
    sae = make().fit(rows * np.float32(factor))
    assert sae.score(rows * np.float32(factor)) == pytest.approx(fitted.score(rows), abs=0.02)


def test_identical_rows_are_refused():
    with pytest.raises(ValueError, match="all 30 rows of X are identical"):
        make().fit(np.ones((30, 4)))


@pytest.mark.parametrize("what", ["one feature", "constant columns", "duplicates", "zero rows"])
def test_degenerate_rows_train(what, rows):
    X = rows[:200].copy()
    if what == "one feature":
        X = X[:, :1]
    elif what == "constant columns":
        X[:, ::2] = 3.0
    elif what == "duplicates":
        X = np.repeat(X[:4], 50, axis=0)
    else:
        X[::2] = 0.0
    sae = make().fit(X)
    assert all(np.isfinite(w).all() for w in (sae.components_, sae.encoder_weight_))
    assert sae.score(X) > 0.5


def test_a_shard_whose_rows_are_all_held_out_is_no_trouble(rows):
    shards = [rows[i : i + 1] for i in range(200)]

    sae = make(M=48, K=2, n_epochs=2, validation_fraction=0.2, batch_size=64).fit(shards)

    assert np.isfinite(sae.components_).all()


def test_the_default_dtype_of_torch_does_not_matter(rows):
    expected = make(n_epochs=2, learning_rate=0.5).fit(rows)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        sae = make(n_epochs=2, learning_rate=0.5).fit(rows)
    finally:
        torch.set_default_dtype(before)

    np.testing.assert_allclose(sae.components_, expected.components_, rtol=1e-5, atol=1e-6)


def test_a_loss_that_diverges_stops_with_a_sentence(rows):
    with pytest.raises(ValueError, match="learning_rate"):
        make(learning_rate=1e20, clip_grad=None).fit(rows)


def test_a_reconstruction_worse_than_the_mean_warns(rows):
    with pytest.warns(ConvergenceWarning, match="learning_rate"):
        make(learning_rate=30.0, n_epochs=2, patience=None).fit(rows)


def test_activations_of_another_width_are_refused(fitted):
    with pytest.raises(ValueError, match="48 neurons"):
        fitted.inverse_transform(np.zeros((3, 47)))


def test_unfitted_methods_say_so(rows):
    for method in ("transform", "inverse_transform", "score"):
        with pytest.raises(NotFittedError):
            getattr(make(), method)(rows)
    with pytest.raises(NotFittedError):
        make().get_feature_names_out()


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("target_coef", [0.0, 0.5])
def test_every_fitted_attribute_and_column_of_the_history_is_documented(
    early_stopping, target_coef, rows
):
    frame = pd.DataFrame(rows, columns=[f"embedding_{i}" for i in range(N_FEATURES)])
    y = np.arange(len(rows)) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sae = make(n_epochs=1, target_coef=target_coef, patience=3 if early_stopping else None).fit(
            frame, y
        )
    documented = SparseAutoencoderTransformer.__doc__.split("Attributes\n")[1]
    documented = documented.split("References\n")[0]
    names = {
        name
        for line in re.findall(r"^    (\S.*) : ", documented, re.M)
        for name in line.split(", ")
    }
    only_with_a_target = {"readout_weight_", "readout_bias_", "classes_"}
    fitted_names = {name for name in vars(sae) if name.endswith("_")}
    assert fitted_names == names - (set() if target_coef else only_with_a_target)
    columns = re.findall(r"``(epoch|l0|dead_fraction|train_\w+|validation_\w+)``", documented)
    assert set(sae.history_) == {
        column
        for column in columns
        if (early_stopping or not column.startswith("validation"))
        and (target_coef or not column.endswith("target_error"))
    }
