"""The main job on a regression target: Yelp reviews and their stars.

The reviews are licensed for academic use and not part of this repository.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from sklearn_hypsae import HypothesisGenerator, make_hypothesis_pipeline

YELP = Path(__file__).parents[2] / "shared" / "data" / "yelp-val-2K.json"


@pytest.mark.slow
@pytest.mark.skipif(not YELP.exists(), reason="the Yelp reviews are not at hand")
def test_what_earns_stars():
    lines = YELP.read_text(encoding="utf-8").splitlines()[:1000]
    reviews = [json.loads(line) for line in lines]
    texts = [review["text"] for review in reviews]
    stars = np.array([review["stars"] for review in reviews], dtype=float)

    pipeline = make_hypothesis_pipeline(M=64, K=4)
    generator = HypothesisGenerator(pipeline, random_state=0).fit(texts, stars)

    assert generator.metrics_["n_rows"] == 250
    assert generator.signal_["metric"] == "r2"
    assert generator.signal_["ci_low"] > 0.3
    assert 0.05 < generator.metrics_["r2_cv"] < generator.signal_["score"]
    assert generator.metrics_["n_significant"] >= 1
    np.testing.assert_allclose(generator.predict(texts[:5]), generator.pipeline_.predict(texts[:5]))
