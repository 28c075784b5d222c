"""What composes with what: the five steps in scikit-learn's own Pipeline and tools."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from sklearn_hypsae import (
    EmbeddingTransformer,
    HypothesisValidator,
    LLMInterpreter,
    NeuronSelector,
    SparseAutoencoderTransformer,
    make_hypothesis_pipeline,
)

# A stock Pipeline tests on the rows that discovered; every fit here says so, once.
pytestmark = pytest.mark.filterwarnings("ignore:These p-values mean nothing:UserWarning")


@pytest.fixture(scope="module")
def train(reviews):
    return reviews.texts[:450], reviews.y[:450]


@pytest.fixture(scope="module")
def test_texts(reviews):
    return reviews.texts[450:]


def small_pipeline(**params):
    pipeline = make_hypothesis_pipeline(
        M=32, K=4, n_hypotheses=6, task="classification", random_state=0
    )
    return pipeline.set_params(**{"sae__n_epochs": 5, **params})


@pytest.fixture(scope="module")
def fitted(train):
    with pytest.warns(UserWarning, match="p-values mean nothing"):
        return small_pipeline().fit(*train)


def test_fit_predict_score(fitted, reviews, test_texts):
    labels = fitted.predict(test_texts)
    assert set(labels) <= set(reviews.y)
    probabilities = fitted.predict_proba(test_texts)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert 0.5 < fitted.score(*[reviews.texts[:450], reviews.y[:450]]) <= 1


def test_transform_gives_the_annotations_of_new_texts(fitted, test_texts):
    annotations = fitted[:-1].transform(test_texts)
    assert annotations.index.tolist() == list(test_texts)
    assert annotations.columns.tolist() == fitted["interpret"].hypotheses_
    assert set(np.unique(annotations)) <= {0.0, 1.0}


def test_the_last_step_keeps_the_significant_annotations(fitted, test_texts):
    table = fitted["validate"].hypotheses_
    kept = fitted.transform(test_texts)
    assert set(kept.columns) == set(table.loc[table["significant"], "hypothesis"])


@pytest.mark.parametrize("container", [list, tuple, pd.Series, lambda t: np.array(t, dtype=object)])
def test_lists_series_and_arrays_of_texts_give_the_same(fitted, train, test_texts, container):
    texts, y = train
    again = small_pipeline().fit(container(list(texts)), y)
    np.testing.assert_array_equal(
        again.predict_proba(container(list(test_texts))), fitted.predict_proba(test_texts)
    )


def test_a_one_column_frame_of_texts_gives_the_same(fitted, test_texts):
    frame = pd.DataFrame({"review": list(test_texts)})
    np.testing.assert_array_equal(fitted.predict(frame), fitted.predict(test_texts))


def test_a_fixed_random_state_repeats_bit_by_bit(fitted, train, test_texts):
    again = small_pipeline().fit(*train)
    assert again["interpret"].hypotheses_ == fitted["interpret"].hypotheses_
    pd.testing.assert_frame_equal(
        again["validate"].hypotheses_, fitted["validate"].hypotheses_, check_exact=True
    )
    np.testing.assert_array_equal(again.predict_proba(test_texts), fitted.predict_proba(test_texts))


def test_the_steps_by_hand_give_the_same(fitted, train, test_texts):
    texts, y = train
    embed = EmbeddingTransformer()
    sae = SparseAutoencoderTransformer(32, 4, target_coef=1.0, n_epochs=5, random_state=0)
    select = NeuronSelector(6, method="balanced_correlation", task="classification", random_state=0)
    interpret = LLMInterpreter(random_state=0)
    validate = HypothesisValidator("classification")

    neurons = select.fit_transform(sae.fit_transform(embed.fit_transform(texts), y), y)
    validate.fit(interpret.fit_transform(neurons, y), y)

    annotations = interpret.transform(select.transform(sae.transform(embed.transform(test_texts))))
    np.testing.assert_array_equal(
        validate.predict_proba(annotations), fitted.predict_proba(test_texts)
    )


def test_fitting_on_the_rows_that_discovered_is_said(fitted):
    assert fitted["validate"].metrics_["in_sample"] is True


def test_testing_by_hand_on_the_rows_that_chose_is_told_apart(fitted, reviews):
    annotations = fitted[:-1].transform(reviews.texts)
    with pytest.warns(UserWarning, match="mean nothing"):
        validator = HypothesisValidator().fit(annotations, reviews.y)
    assert validator.metrics_["in_sample"] is True


def test_testing_by_hand_on_held_out_rows_is_not_in_sample(fitted, reviews, test_texts, recwarn):
    annotations = fitted[:-1].transform(test_texts)
    validator = HypothesisValidator("classification").fit(annotations, reviews.y[450:])
    assert validator.metrics_["in_sample"] is False
    assert not [w for w in recwarn if "mean nothing" in str(w.message)]


def test_clone_and_set_params(fitted, test_texts):
    copy = clone(fitted)
    assert copy.get_params()["sae__M"] == 32
    copy.set_params(sae__M=16, select__n_select=2, interpret="passthrough")
    assert copy["sae"].M == 16
    assert fitted["sae"].M == 32
    assert copy["interpret"] == "passthrough"


@pytest.mark.parametrize("library", [pickle, joblib])
def test_a_saved_pipeline_predicts_the_same(fitted, test_texts, tmp_path, library):
    if library is pickle:
        loaded = pickle.loads(pickle.dumps(fitted))
    else:
        joblib.dump(fitted, tmp_path / "pipeline.joblib")
        loaded = joblib.load(tmp_path / "pipeline.joblib")
    np.testing.assert_array_equal(
        loaded.predict_proba(test_texts), fitted.predict_proba(test_texts)
    )


def test_a_saved_pipeline_holds_no_embedding_model(fitted):
    assert len(pickle.dumps(fitted)) < 2_000_000


def test_memory_spares_embedding_and_interpreting_a_second_time(train, tmp_path, monkeypatch):
    texts, y = train
    small_pipeline(memory=str(tmp_path)).fit(texts, y)

    def fail(*args, **kwargs):
        raise AssertionError("worked again")

    monkeypatch.setattr(EmbeddingTransformer, "fit", fail)
    monkeypatch.setattr(EmbeddingTransformer, "transform", fail)
    monkeypatch.setattr(LLMInterpreter, "fit", fail)
    small_pipeline(memory=str(tmp_path)).fit(texts, y)


def test_memory_tells_different_texts_apart(train, tmp_path):
    texts, y = train
    pipeline = small_pipeline(memory=str(tmp_path))
    first = pipeline.fit(texts, y)[:-1].transform(texts[:20])
    second = pipeline.fit(texts[::-1], y)[:-1].transform(texts[:20])
    assert not first.equals(second)


def test_set_output_default_gives_arrays(fitted, test_texts):
    pipeline = clone(fitted).set_output(transform="default")
    assert isinstance(pipeline["embed"].fit_transform(list(test_texts)), np.ndarray)


def test_set_output_pandas_gives_frames_with_the_texts(train, test_texts):
    pipeline = small_pipeline().set_output(transform="pandas").fit(*train)
    annotations = pipeline[:-1].transform(test_texts)
    assert annotations.index.tolist() == list(test_texts)


@pytest.mark.parametrize("between", [StandardScaler(), SelectKBest(k=100)])
def test_a_step_of_another_library_in_between(train, test_texts, between):
    pipeline = small_pipeline()
    pipeline.steps.insert(1, ("between", between))
    pipeline.set_output(transform="pandas").fit(*train)
    assert pipeline[:-1].transform(test_texts).index.tolist() == list(test_texts)


def test_texts_lost_on_the_way_are_explained(train):
    pipeline = small_pipeline()
    pipeline.steps.insert(1, ("scale", StandardScaler()))
    with pytest.raises(ValueError, match=r"texts=.*set_output\(transform=\"pandas\"\)"):
        pipeline.fit(*train)


def test_passthrough_validates_the_activations(train, test_texts):
    pipeline = small_pipeline(interpret="passthrough").fit(*train)
    assert pipeline["validate"].hypotheses_["hypothesis"].str.startswith("neuron_").all()
    assert pipeline.predict(test_texts).shape == (len(test_texts),)


@pytest.mark.parametrize("interpret", ["passthrough", "keyphrases"])
def test_grid_search_over_m_and_k(train, interpret):
    pipeline = small_pipeline(sae__n_epochs=3)
    if interpret == "passthrough":
        pipeline.set_params(interpret="passthrough")
    search = GridSearchCV(
        pipeline,
        {"sae__M": [16, 32], "sae__K": [2, 4]},
        n_jobs=2,
        cv=2,
        scoring="roc_auc",
        error_score="raise",
    )
    search.fit(*train)
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert np.all(search.cv_results_["mean_test_score"] > 0.4)
    assert search.best_params_["sae__M"] in (16, 32)


def test_cross_validation_scores_and_predictions(train):
    texts, y = train
    pipeline = small_pipeline(interpret="passthrough", sae__n_epochs=3)
    scores = cross_val_score(pipeline, texts, y, cv=2, error_score="raise")
    assert scores.shape == (2,)
    aucs = cross_val_score(pipeline, texts, y, cv=2, scoring="roc_auc", error_score="raise")
    np.testing.assert_allclose(scores, aucs)
    probabilities = cross_val_predict(pipeline, texts, y, cv=2, method="predict_proba")
    assert probabilities.shape == (len(texts), 2)


def test_the_task_says_classifier_or_regressor():
    assert is_classifier(make_hypothesis_pipeline(task="classification"))
    assert is_regressor(make_hypothesis_pipeline(task="regression"))


def test_labels_of_strings(train, test_texts):
    texts, y = train
    labels = np.where(np.asarray(y) == 1, "fresh", "rotten")
    pipeline = small_pipeline(interpret="passthrough").fit(texts, labels)
    assert set(pipeline.predict(test_texts)) <= {"fresh", "rotten"}


def test_the_html_shows_every_step(fitted):
    html = estimator_html_repr(fitted)
    for name in (
        "EmbeddingTransformer",
        "SparseAutoencoderTransformer",
        "NeuronSelector",
        "LLMInterpreter",
        "HypothesisValidator",
    ):
        assert name in html


def test_embeddings_beside_other_columns(train, test_texts):
    frame = pd.DataFrame({"review": list(test_texts), "length": [len(t) for t in test_texts]})
    columns = ColumnTransformer(
        [
            ("embed", EmbeddingTransformer(text_index=False), "review"),
            ("scale", StandardScaler(), ["length"]),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    joined = columns.fit_transform(frame)
    assert joined.index.equals(frame.index)
    assert joined.shape == (len(frame), 385)


def test_embeddings_in_a_feature_union(test_texts):
    series = pd.Series(list(test_texts))
    union = FeatureUnion(
        [
            ("a", EmbeddingTransformer(text_index=False)),
            ("b", EmbeddingTransformer(text_index=False)),
        ]
    )
    assert union.fit_transform(series).shape == (len(series), 768)


def test_a_regression_target(train, test_texts):
    texts, _ = train
    length = np.array([len(text) for text in texts], dtype=float)
    pipeline = make_hypothesis_pipeline(M=32, K=4, n_hypotheses=6, random_state=0)
    pipeline.set_params(sae__n_epochs=5).fit(texts, length)
    assert pipeline.score(texts, length) > 0
    assert "r2_cv" in pipeline["validate"].metrics_


def test_the_steps_also_work_on_arrays_alone(train):
    texts, y = train
    embeddings = EmbeddingTransformer().set_output(transform="default").fit_transform(texts)
    pipeline = make_pipeline(
        SparseAutoencoderTransformer(32, 4, n_epochs=3, random_state=0),
        NeuronSelector(5),
        HypothesisValidator("classification"),
    )
    assert pipeline.fit(embeddings, y).predict(embeddings).shape == (len(y),)


def test_scoring_with_metadata_routing(fitted, reviews):
    with config_context(enable_metadata_routing=True):
        assert 0 <= fitted.score(reviews.texts[450:], reviews.y[450:]) <= 1
