"""Every warning points to the line of the user's that set things going."""

import warnings

import numpy as np
import pandas as pd
import pytest

from sklearn_hypsae import (
    HypothesisGenerator,
    HypothesisValidator,
    NeuronSelector,
    SparseAutoencoderTransformer,
    make_hypothesis_pipeline,
)
from sklearn_hypsae.llm import AnswerCache

RNG = np.random.default_rng(0)
ROWS = pd.DataFrame(RNG.normal(size=(300, 8)), index=[f"text {i}" for i in range(300)])
NOISE = RNG.normal(size=300)
NAMED = pd.DataFrame(RNG.random((300, 2)) < 0.5, columns=["a", "b"]).astype(float)


def pipeline():
    pipeline = make_hypothesis_pipeline(M=8, K=2, n_hypotheses=3, random_state=0)
    return pipeline.set_params(embed="passthrough", interpret="passthrough")


def damaged_cache(folder):
    (folder / "c").write_bytes(b"no database" * 1000)
    AnswerCache(folder / "c").close()


CASES = {
    "no signal": (lambda _: HypothesisGenerator(pipeline()).fit(ROWS, NOISE), "covers chance"),
    "in sample": (lambda _: pipeline().fit(ROWS, NOISE), "p-values mean nothing"),
    "seen rows": (
        lambda _: HypothesisGenerator(pipeline()).fit(ROWS, NOISE).validate(ROWS, NOISE),
        "that discovery saw",
    ),
    "missing annotations": (
        lambda _: HypothesisValidator().fit(NAMED.mask(RNG.random((300, 2)) < 0.5), NOISE),
        "are dropped",
    ),
    "many neurons": (
        lambda _: SparseAutoencoderTransformer(M=200, K=2, n_epochs=1).fit(ROWS[:50]),
        "are many",
    ),
    "no signal for the autoencoder": (
        lambda _: SparseAutoencoderTransformer(M=8, K=2, n_epochs=1, target_coef=1).fit(
            ROWS, NOISE
        ),
        "target_coef has no effect",
    ),
    "few neurons": (lambda _: NeuronSelector(20).fit(ROWS.abs(), NOISE), "n_select=20 is larger"),
    "damaged cache": (damaged_cache, "set aside"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_warning_points_to_the_users_line(case, tmp_path):
    provoke, words = CASES[case]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        provoke(tmp_path)
    ours = [warning for warning in caught if words in str(warning.message)]
    assert ours
    assert {warning.filename for warning in ours} == {__file__}
