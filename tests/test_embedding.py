"""EmbeddingTransformer: what it takes, what it gives, and what it keeps."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from embedding_tools import TEXTS, Recorder, letters, minilm_embeddings
from processes import NEEDS_MODES
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_hypsae import _embedding_models
from sklearn_hypsae.datasets import load_movie_reviews
from sklearn_hypsae.embedding import EmbeddingTransformer

CONTAINERS = [
    list,
    tuple,
    np.array,
    lambda texts: np.array(texts, dtype=object),
    pd.Series,
    lambda texts: pd.Series(texts, dtype=object, index=range(10, 10 + len(texts))),
    lambda texts: pd.DataFrame({"review": texts}),
    pd.Index,
]


def no_model(*arguments):
    raise AssertionError("a model was loaded although every vector is in the cache")


@pytest.fixture(scope="module")
def reviews():
    return load_movie_reviews(n_samples=48, random_state=0).texts


@pytest.fixture(scope="module")
def minilm(reviews):
    return minilm_embeddings(reviews)


# What it gives


def test_default_model_gives_what_sentence_transformers_gives(reviews, minilm):
    embeddings = EmbeddingTransformer(device="cpu").fit_transform(reviews)
    assert embeddings.shape == (48, 384)
    assert (embeddings.dtypes == np.float32).all()
    np.testing.assert_allclose(embeddings, minilm, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    assert embeddings.index.equals(pd.Index(reviews, dtype=object, name="text"))
    assert list(embeddings.columns[:2]) == ["embedding_0", "embedding_1"]


def test_embedding_of_a_text_does_not_depend_on_the_texts_beside_it(reviews, minilm):
    alone = EmbeddingTransformer(device="cpu", batch_size=1, cache=None).fit_transform(reviews)
    np.testing.assert_allclose(alone, minilm, atol=1e-6)


@pytest.mark.parametrize("text", ["", " \n", "half a pair \ud800", "NUL \0", "😀" * 50])
def test_odd_texts_are_embedded(text):
    embeddings = EmbeddingTransformer(cache=None).fit_transform([text, "a text"])
    assert np.isfinite(embeddings).all(axis=None)


def test_bfloat16_stays_close_to_float32(reviews, minilm):
    half = EmbeddingTransformer(device="cpu", dtype="bfloat16").fit_transform(reviews).to_numpy()
    assert half.dtype == np.float32
    assert (half * minilm).sum(axis=1).min() > 0.99
    assert np.abs(half - minilm).max() > 1e-5, "computed in float32 after all"


@pytest.mark.slow
def test_processes_give_what_one_process_gives(reviews, minilm):
    embedder = EmbeddingTransformer(device="cpu", batch_size=2, cache=None, n_jobs=2)
    np.testing.assert_allclose(embedder.fit_transform(reviews), minilm, atol=1e-6)


def test_threads_share_one_model(reviews, minilm):
    _embedding_models._loaded_models.clear()
    embedder = EmbeddingTransformer(device="cpu", cache=None).fit(reviews)
    with ThreadPoolExecutor(4) as executor:
        results = list(executor.map(embedder.transform, [reviews[:12]] * 4))
    assert len(_embedding_models._loaded_models) == 1
    for result in results:
        np.testing.assert_allclose(result, minilm[:12], atol=1e-6)


def test_each_distinct_text_is_embedded_once_in_batches_sorted_by_length():
    recorder = Recorder()
    texts = ["aa", "a" * 9, "aaaa", "aa", "a", "aaaa", "a" * 7]
    embeddings = EmbeddingTransformer(recorder, batch_size=2, normalize=False).fit_transform(texts)
    assert recorder.batches == [["a" * 9, "a" * 7], ["aaaa", "aa"], ["a"]]
    assert embeddings["embedding_0"].tolist() == [2, 9, 4, 2, 1, 4, 7]


def test_normalize_scales_to_length_one_and_leaves_zeros_alone():
    raw = EmbeddingTransformer(letters, normalize=False).fit_transform(["aaab", "bbb"])
    scaled = EmbeddingTransformer(letters).fit_transform(["aaab", "bbb"])
    assert raw["embedding_0"].tolist() == [3, 0]
    assert scaled["embedding_0"].tolist() == [1, 0]


def test_prompt_stands_before_every_text():
    recorder = Recorder()
    EmbeddingTransformer(recorder, prompt="query: ").fit_transform(["a", "b"])
    assert recorder.batches == [["query: a", "query: b"]]


def test_prompt_reaches_a_local_model(reviews):
    prompted = EmbeddingTransformer(device="cpu", prompt="film: ").fit_transform(reviews[:2])
    by_hand = EmbeddingTransformer(device="cpu").fit_transform(["film: " + r for r in reviews[:2]])
    np.testing.assert_allclose(prompted.to_numpy(), by_hand.to_numpy(), atol=1e-6)


def test_fit_alone_asks_for_one_text():
    recorder = Recorder()
    embedder = EmbeddingTransformer(recorder).fit(TEXTS)
    assert recorder.batches == [["good food"]]
    assert embedder.n_features_out_ == 8


def test_progress_bar_only_when_verbose(capsys):
    EmbeddingTransformer(letters).fit_transform(TEXTS)
    assert capsys.readouterr().err == ""
    EmbeddingTransformer(letters, verbose=True).fit_transform(TEXTS)
    assert "4/4" in capsys.readouterr().err


# Containers, names and indices


@pytest.mark.parametrize("container", CONTAINERS)
def test_takes_any_container_of_texts(container):
    X = container(TEXTS)
    before = pickle.dumps(X)
    embeddings = EmbeddingTransformer(letters, normalize=False).fit(X).transform(X)
    np.testing.assert_array_equal(embeddings, letters(TEXTS))
    assert embeddings.index.tolist() == TEXTS
    assert embeddings.index.name == "text"
    assert pickle.dumps(X) == before


@pytest.mark.parametrize("container", CONTAINERS)
def test_without_text_index_the_rows_keep_the_index_they_came_with(container):
    X = container(TEXTS)
    embeddings = EmbeddingTransformer(letters, text_index=False).fit_transform(X)
    if isinstance(X, pd.DataFrame | pd.Series):
        pd.testing.assert_index_equal(embeddings.index, X.index)
    else:
        assert isinstance(embeddings, np.ndarray)


def test_set_output_is_honoured():
    arrays = EmbeddingTransformer(letters).set_output(transform="default")
    assert isinstance(arrays.fit_transform(TEXTS), np.ndarray)
    assert isinstance(arrays.transform(TEXTS), np.ndarray)
    frames = EmbeddingTransformer(letters).set_output(transform="pandas")
    assert frames.fit_transform(TEXTS).index.tolist() == TEXTS
    own_index = EmbeddingTransformer(letters, text_index=False).set_output(transform="pandas")
    assert own_index.fit_transform(TEXTS).index.tolist() == list(range(5))
    assert own_index.transform(TEXTS).columns.tolist() == [f"embedding_{i}" for i in range(8)]


def test_names_of_features_in_and_out():
    frame = pd.DataFrame({"review": TEXTS})
    embedder = EmbeddingTransformer(letters).fit(frame)
    assert embedder.n_features_in_ == 1
    assert embedder.feature_names_in_.tolist() == ["review"]
    assert embedder.get_feature_names_out().tolist() == [f"embedding_{i}" for i in range(8)]
    embedder.transform(TEXTS)
    with pytest.raises(ValueError, match="feature names should match"):
        embedder.transform(frame.rename(columns={"review": "comment"}))
    assert not hasattr(EmbeddingTransformer(letters).fit(TEXTS), "feature_names_in_")


def test_pairs_are_embedded_as_differences_with_both_texts_in_the_index():
    pairs = pd.DataFrame({"a": ["aaa", "ab", "aaa"], "b": ["a", "aaa", "dd"]})
    recorder = Recorder()
    embedder = EmbeddingTransformer(recorder, normalize=False)
    embeddings = embedder.fit_transform(pairs)
    assert embeddings["embedding_0"].tolist() == [2, -2, 3]
    assert embeddings.index.names == ["text_a", "text_b"]
    assert embeddings.index.tolist() == list(pairs.itertuples(index=False, name=None))
    assert sorted(sum(recorder.batches, [])) == ["a", "aaa", "ab", "dd"]
    assert embedder.n_features_in_ == 2
    swapped = embedder.transform(pairs.set_axis(["b", "a"], axis=1)[["a", "b"]])
    np.testing.assert_array_equal(swapped, -embeddings)
    with pytest.raises(ValueError, match="X has 1 features, but .* is expecting 2"):
        embedder.transform(TEXTS)


# Composition with scikit-learn


def test_stands_beside_other_columns():
    frame = pd.DataFrame({"review": TEXTS, "stars": [5, 1, 4, 3, 2]}, index=list("vwxyz"))
    embedder = EmbeddingTransformer(letters, text_index=False, normalize=False)
    columns = ColumnTransformer([("text", embedder, "review"), ("rest", "passthrough", ["stars"])])
    expected = np.column_stack([letters(TEXTS), frame["stars"]])
    np.testing.assert_array_equal(columns.fit_transform(frame), expected)
    framed = columns.set_output(transform="pandas").fit_transform(frame)
    assert framed.index.tolist() == list("vwxyz")
    np.testing.assert_array_equal(framed, expected)
    union = FeatureUnion([("one", embedder), ("two", clone(embedder))])
    np.testing.assert_array_equal(union.fit_transform(TEXTS), np.hstack([letters(TEXTS)] * 2))
    assert union.set_output(transform="pandas").fit_transform(frame["review"]).shape == (5, 16)


def test_pipeline_with_memory_embeds_once(tmp_path):
    y = [1, 0, 1, 0, 0]
    pipeline = make_pipeline(
        EmbeddingTransformer(letters), StandardScaler(), LogisticRegression(), memory=str(tmp_path)
    ).fit(TEXTS, y)
    before = pipeline.predict(TEXTS)
    other_texts = make_pipeline(*[clone(step) for _, step in pipeline.steps], memory=str(tmp_path))
    changed = ["bad food", *TEXTS[1:]]
    calls = list(tmp_path.rglob("output.pkl"))
    np.testing.assert_array_equal(clone(pipeline).fit(TEXTS, y).predict(TEXTS), before)
    assert list(tmp_path.rglob("output.pkl")) == calls
    other_texts.fit(changed, y)
    assert len(list(tmp_path.rglob("output.pkl"))) > len(calls)


def test_clone_parameters_and_representations():
    embedder = EmbeddingTransformer(letters, batch_size=8, prompt="p").fit(TEXTS)
    fresh = clone(embedder)
    assert fresh.get_params() == embedder.get_params()
    assert not hasattr(fresh, "n_features_out_")
    assert fresh.set_params(batch_size=4).batch_size == 4
    assert "batch_size=8" in repr(embedder)
    assert "EmbeddingTransformer" in embedder._repr_html_()
    assert embedder.__sklearn_tags__().input_tags.string


def test_pickle_is_small_and_gives_the_same_vectors(tmp_path, reviews):
    embedder = EmbeddingTransformer(device="cpu", cache=None).fit(reviews[:4])
    parameters = dict(embedder.get_params())
    before = embedder.transform(reviews[:4])
    assert embedder.get_params() == parameters
    assert len(pickle.dumps(embedder)) < 1000
    pd.testing.assert_frame_equal(
        pickle.loads(pickle.dumps(embedder)).transform(reviews[:4]), before
    )
    joblib.dump(embedder, tmp_path / "embedder.joblib")
    loaded = joblib.load(tmp_path / "embedder.joblib")
    pd.testing.assert_frame_equal(loaded.transform(reviews[:4]), before)


# Bad input


def test_transform_before_fit_is_refused():
    with pytest.raises(NotFittedError):
        EmbeddingTransformer(letters).transform(TEXTS)
    with pytest.raises(NotFittedError):
        EmbeddingTransformer(letters).get_feature_names_out()


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (["a", None, "b", float("nan")], r"position 1 \(None\), 3 \(NaN\)"),
        (["a", 3, b"b"], r"position 1 \(int\), 2 \(bytes\)"),
        (pd.Series(["a", pd.NA]), r"position 1 \(NaN\)"),
        ([], "got no texts"),
        ("one text", "wrap it in a list"),
        (np.array([["a"], ["b"]]), "one-dimensional"),
        (np.array([1.0, 2.0]), r"position 0 \(float\d*\)"),
        (np.zeros((3, 2)), "one-dimensional"),
        (pd.DataFrame({"a": ["x"], "b": ["y"], "c": ["z"]}), "3 columns"),
        (pd.DataFrame({"a": ["x", "y"], "b": ["y", None]}), r"column 'b' of X.* 1 \(NaN\)"),
    ],
)
def test_what_is_not_texts_is_refused_by_position_before_the_model_is_asked(X, message):
    recorder = Recorder()
    for method in ("fit", "fit_transform"):
        with pytest.raises(ValueError, match=message):
            getattr(EmbeddingTransformer(recorder), method)(X)
    with pytest.raises(ValueError, match=message):
        EmbeddingTransformer(recorder).fit(TEXTS).transform(X)
    assert recorder.batches == [["good food"]]


@pytest.mark.parametrize(
    "parameters",
    [
        {"model": 3},
        {"prompt": 3},
        {"batch_size": 0},
        {"device": 0},
        {"dtype": "float8"},
        {"normalize": "yes"},
        {"text_index": "yes"},
        {"cache": 3},
        {"n_jobs": 1.5},
        {"verbose": "yes"},
    ],
)
def test_parameters_are_validated_in_fit(parameters):
    name = next(iter(parameters))
    embedder = EmbeddingTransformer(**{"model": letters, **parameters})
    with pytest.raises(ValueError, match=f"The '{name}' parameter of EmbeddingTransformer"):
        embedder.fit(TEXTS)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda texts: letters(texts)[:-1], r"for 4 texts it returned shape \(3, 8\)"),
        (lambda texts: letters(texts)[:, 0], r"returned shape \(4,\)"),
        (lambda texts: ["vector"] * len(texts), "returned list"),
        (lambda texts: letters(texts) * np.nan, "NaN or infinity"),
    ],
)
def test_a_model_that_returns_something_else_is_named(model, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingTransformer(model).fit_transform(TEXTS)


def test_a_model_whose_dimensions_differ_between_batches_is_named():
    def model(texts):
        return np.ones((len(texts), len(texts)))

    with pytest.raises(ValueError, match="1 dimensions from the model .* after 3"):
        EmbeddingTransformer(model, batch_size=3).fit_transform(TEXTS)


def test_a_model_that_changes_its_dimensions_is_named():
    embedder = EmbeddingTransformer(letters).fit(TEXTS)
    embedder.set_params(model=lambda texts: letters(texts)[:, :3])
    with pytest.raises(ValueError, match="fitted with embeddings of 8 dimensions, .* gives 3"):
        embedder.transform(TEXTS)


# What is kept on disk


def test_second_run_loads_no_model(tmp_path, monkeypatch, reviews):
    first = EmbeddingTransformer(device="cpu", cache=tmp_path).fit_transform(reviews[:8])
    monkeypatch.setattr(_embedding_models, "_loaded", no_model)
    second = EmbeddingTransformer(cache=tmp_path).fit_transform(reviews[:8])
    pd.testing.assert_frame_equal(first, second)


def test_cache_tells_apart_prompt_normalisation_and_dtype(tmp_path, reviews):
    for parameters in ({}, {"prompt": "p"}, {"normalize": False}, {"dtype": "bfloat16"}):
        EmbeddingTransformer(device="cpu", cache=tmp_path, **parameters).fit(reviews[:1])
    assert len(list(tmp_path.iterdir())) == 4


@NEEDS_MODES
def test_cache_lies_in_the_users_folder_for_its_owner_alone(tmp_path, monkeypatch, reviews):
    monkeypatch.setenv("SKLEARN_HYPSAE_CACHE", str(tmp_path / "mine"))
    EmbeddingTransformer(device="cpu").fit_transform(reviews[:2])
    (file,) = (tmp_path / "mine" / "embeddings").iterdir()
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700
    assert file.parent.stat().st_mode & 0o777 == 0o700
    content = file.read_bytes()
    assert not any(text[:20].encode() in content for text in reviews[:2])


def test_functions_and_objects_are_not_kept_on_disk(tmp_path):
    EmbeddingTransformer(letters, cache=tmp_path / "cache").fit_transform(TEXTS)
    EmbeddingTransformer(Recorder(), cache=tmp_path / "cache").fit_transform(TEXTS)
    assert not (tmp_path / "cache").exists()


def test_cache_folder_that_cannot_be_created_costs_a_warning_not_the_run(tmp_path, reviews, minilm):
    (tmp_path / "file").write_text("")
    embedder = EmbeddingTransformer(device="cpu", cache=Path(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="cannot create its cache folder"):
        np.testing.assert_allclose(embedder.fit_transform(reviews[:2]), minilm[:2], atol=1e-6)
