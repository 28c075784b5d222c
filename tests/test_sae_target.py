"""What SparseAutoencoderTransformer does with a target."""

import numpy as np
import pytest
from planted_rows import Forbidden, make, planted


@pytest.fixture(scope="module")
def rows():
    return planted(1500, 0)[0]


@pytest.fixture(scope="module", params=["binary", "continuous", "classes"])
def target(request, rows):
    """Targets that depend on two of the concepts, and their values on other rows."""
    new_rows, new_codes = planted(1000, 1)
    codes = planted(1500, 0)[1]

    def effect(codes):
        # More classes than two: which of the two concepts is there.
        if request.param == "classes":
            return np.where(codes[:, 0] > 0, "first", np.where(codes[:, 1] > 0, "second", "none"))
        linear = codes[:, 0] - codes[:, 1]
        return linear > 0 if request.param == "binary" else linear

    return effect(codes), new_rows, effect(new_codes)


def test_a_target_aware_autoencoder_reads_the_target_off_few_neurons(rows, target):
    from sklearn.feature_selection import SelectKBest, f_classif, f_regression
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    y, new_rows, new_y = target
    classes = y.dtype.kind in "bU"

    def held_out(target_coef):
        # Few neurons for many concepts, so that what y needs has to be asked for.
        sae = make(M=12, K=2, target_coef=target_coef, n_epochs=60).fit(rows, y)
        model = make_pipeline(
            SelectKBest(f_classif if classes else f_regression, k=3),
            LogisticRegression() if classes else Ridge(),
        )
        model.fit(sae.transform(rows), y)
        return model.score(sae.transform(new_rows), new_y)

    assert held_out(1.0) > held_out(0.0) + 0.05


def test_the_read_out_is_of_the_standardised_target(rows, target):
    y, new_rows, new_y = target
    sae = make(target_coef=0.5).fit(rows, y)
    n_targets = 3 if y.dtype.kind == "U" else 1
    assert sae.readout_weight_.shape == (48, n_targets)
    assert hasattr(sae, "classes_") == (y.dtype.kind in "bU")
    assert sae.history_["validation_target_error"].iloc[-1] < 0.8
    predicted = sae.transform(new_rows) @ sae.readout_weight_ + sae.readout_bias_
    for column in range(n_targets):
        truth = new_y == sae.classes_[column] if n_targets == 3 else new_y
        assert np.corrcoef(predicted[:, column], truth)[0, 1] > 0.4


def test_a_fit_without_a_target_leaves_nothing_of_one_before(rows):
    sae = make(n_epochs=1, target_coef=0.5).fit(rows, rows[:, 0])
    sae.set_params(target_coef=0.0).fit(rows)
    assert vars(sae).keys() == vars(make(n_epochs=1).fit(rows)).keys()


def test_without_target_coef_y_is_not_looked_at(rows):
    sae = make(n_epochs=1).fit(rows, ["nonsense"])
    assert np.array_equal(sae.components_, make(n_epochs=1).fit(rows).components_)
    assert not hasattr(sae, "readout_weight_")


def test_a_target_that_the_rows_say_nothing_about_has_no_effect(rows):
    noise = np.random.default_rng(0).permutation(np.repeat([0, 1], 750))
    with pytest.warns(UserWarning, match="no linear signal"):
        sae = make(target_coef=1.0, n_epochs=3).fit(rows, noise)
    assert np.array_equal(sae.components_, make(n_epochs=3).fit(rows).components_)


@pytest.mark.parametrize("y", [None, [1.0] * 1500, [0, 1]])
def test_a_target_that_cannot_be_used_is_refused(y, rows):
    with pytest.raises(ValueError, match="SparseAutoencoderTransformer"):
        make(target_coef=0.1, callbacks=[Forbidden()]).fit(rows, y)
