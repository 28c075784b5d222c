"""Plots: what is drawn says what the tables say."""

import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_hypsae import (
    HypothesisGenerator,
    HypothesisValidator,
    NeuronSelector,
    SparseAutoencoderTransformer,
)
from sklearn_hypsae.inspection import plot_hypotheses, plot_training_curves

matplotlib.use("Agg")

LONG = "names a price between $5 and $10 for a dish on the menu of the day"
NAMES = ["praises the food", "is rude", LONG, "mentions a date", "mentions a unicorn", "is a text"]


@pytest.fixture(scope="module")
def annotations():
    """Four ordinary concepts, one too rare to be tested, one constant."""
    rng = np.random.default_rng(0)
    prevalence = [0.5, 0.4, 0.3, 0.5, 0.02, 1.0]
    return pd.DataFrame((rng.random((400, 6)) < prevalence).astype(float), columns=NAMES)


@pytest.fixture(scope="module")
def stars(annotations):
    noise = np.random.default_rng(1).normal(size=len(annotations))
    return 3 + annotations["praises the food"] - annotations["is rude"] + noise


@pytest.fixture(scope="module")
def validator(annotations, stars):
    return HypothesisValidator("regression").fit(annotations, stars)


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(200, 8))


@pytest.fixture(scope="module")
def sae(rows):
    return SparseAutoencoderTransformer(M=8, K=2, n_epochs=3, random_state=0).fit(rows)


@pytest.fixture(scope="module")
def generator(rows):
    """Fitted without any language model: activations stand for annotations."""
    X = pd.DataFrame(rows, index=pd.Index([f"text {i}" for i in range(200)], name="text"))
    pipeline = make_pipeline(
        SparseAutoencoderTransformer(M=8, K=2, n_epochs=3),
        NeuronSelector(3),
        HypothesisValidator(n_permutations=0),
    )
    return HypothesisGenerator(pipeline, random_state=0).fit(X, rows[:, 0] + rows[:, 1])


@pytest.fixture
def ax():
    return Figure().subplots()


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def markers(ax):
    """The coefficients drawn for each kind of hypothesis, from the bottom up."""
    return {name: line.get_xdata() for name, line in lines(ax).items() if line.get_marker() == "o"}


def labels(ax):
    return [label.get_text().replace("\n", " ") for label in ax.get_yticklabels()]


# plot_hypotheses


def test_hypotheses_are_sorted_by_coefficient_with_the_left_out_one_at_the_bottom(validator, ax):
    plot_hypotheses(validator, ax=ax, max_words=99)
    table = validator.hypotheses_.set_index("hypothesis")["regression_coef"]
    assert labels(ax)[0] == "is a text"
    assert labels(ax)[1:] == list(table.drop("is a text").sort_values().index)
    assert labels(ax)[-1] == "praises the food"


def test_every_coefficient_is_drawn_at_the_height_of_its_wording(validator, ax):
    plot_hypotheses(validator, ax=ax, max_words=99)
    coefficients = validator.hypotheses_.set_index("hypothesis")["regression_coef"]
    drawn = {
        labels(ax)[int(height)]: x
        for name in markers(ax)
        for x, height in zip(*lines(ax)[name].get_data(), strict=True)
    }
    assert drawn == coefficients.dropna().to_dict()


def test_intervals_are_those_of_the_table_and_only_tested_hypotheses_have_one(validator, ax):
    plot_hypotheses(validator, ax=ax, max_words=99)
    table = validator.hypotheses_.set_index("hypothesis").dropna(subset="regression_pval")
    bounds = table[["regression_coef_low", "regression_coef_high"]]
    (intervals,) = ax.collections
    drawn = {labels(ax)[int(y)]: (low, high) for (low, y), (high, _) in intervals.get_segments()}
    assert drawn == {name: tuple(row) for name, row in zip(table.index, bounds.values, strict=True)}
    assert "mentions a unicorn" not in drawn


def test_significant_is_filled_not_significant_hollow_and_untested_hollow_and_grey(validator, ax):
    plot_hypotheses(validator, ax=ax)
    table = validator.hypotheses_.set_index("hypothesis")
    significant = table.index[table["significant"]]
    assert set(significant) == {"praises the food", "is rude"}
    found = markers(ax)
    assert sorted(found["significant"]) == sorted(table.loc[significant, "regression_coef"])
    assert len(found["not significant"]) == 2
    assert list(found["untested"]) == [table.loc["mentions a unicorn", "regression_coef"]]
    faces = {name: lines(ax)[name].get_markerfacecolor() for name in found}
    assert faces["significant"] == lines(ax)["significant"].get_color()
    assert faces["not significant"] == faces["untested"] == "white"
    grey = lines(ax)["untested"].get_color()
    assert grey != lines(ax)["not significant"].get_color()
    in_grey = {t.get_text() for t in ax.get_yticklabels() if t.get_color() == grey}
    assert in_grey == {"mentions a unicorn", "is a text"}


def test_a_line_at_zero_is_in_view_and_does_not_enter_the_legend(validator, ax):
    plot_hypotheses(validator, ax=ax)
    assert any(list(line.get_xdata()) == [0, 0] for line in ax.lines)
    low, high = ax.get_xlim()
    assert low < 0 < high
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown == ["significant", "not significant", "untested"]


def test_long_wordings_are_cut_after_max_words(validator, ax):
    plot_hypotheses(validator, ax=ax, max_words=4)
    assert "names a price between…" in labels(ax)
    assert "praises the food" in labels(ax)


def test_dollar_signs_are_no_formula(validator, ax):
    plot_hypotheses(validator, ax=ax)
    ax.figure.canvas.draw()
    assert not any(label.get_parse_math() for label in ax.get_yticklabels())


def test_the_axis_says_units_of_y_or_log_odds_of_which_class(annotations, stars, validator):
    assert "units of y" in plot_hypotheses(validator, ax=Figure().subplots()).get_xlabel()
    verdicts = np.where(stars > 3, "liked", "hated")
    classifier = HypothesisValidator(n_permutations=0).fit(annotations, verdicts)
    label = plot_hypotheses(classifier, ax=Figure().subplots()).get_xlabel()
    assert "log-odds of y = liked" in label


def test_where_no_hypothesis_could_be_in_the_regression_there_are_only_wordings(ax):
    X = pd.DataFrame({"is a text": np.ones(60), "is a song": np.zeros(60)})
    plot_hypotheses(HypothesisValidator().fit(X, np.arange(60.0)), ax=ax)
    assert set(labels(ax)) == {"is a text", "is a song"}
    assert markers(ax) == {}


def test_pipelines_and_generators_show_their_own_table(annotations, stars, generator):
    pipeline = Pipeline([("keep", "passthrough"), ("validate", HypothesisValidator())])
    pipeline.fit(annotations, stars)
    for estimator, table in (
        (pipeline, pipeline[-1].hypotheses_),
        (generator, generator.hypotheses_),
    ):
        ax = plot_hypotheses(estimator, ax=Figure().subplots())
        assert len(labels(ax)) == len(table)
        drawn = np.concatenate(list(markers(ax).values()))
        assert sorted(drawn) == sorted(table["regression_coef"].dropna())


@pytest.mark.parametrize("max_words", [0, -1, 2.5, None])
def test_max_words_has_to_be_a_positive_integer(validator, ax, max_words):
    with pytest.raises(ValueError, match="max_words"):
        plot_hypotheses(validator, ax=ax, max_words=max_words)


def test_long_wordings_take_several_lines_and_leave_the_axes_their_place(stars):
    wording = "mentions " + ", ".join(f'"{w}"/"{w}s"' for w in ["wonderful", "delicious"] * 5)
    frame = pd.DataFrame({wording: np.arange(400) % 2.0, "is short": np.arange(400) % 3 == 0})
    ax = plot_hypotheses(HypothesisValidator().fit(frame, stars))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax.figure.canvas.draw()
    assert max(text.get_text().count("\n") for text in ax.get_yticklabels()) >= 2
    assert ax.get_position().width > 0.4


# plot_training_curves


def test_curves_are_those_of_the_history(sae, ax):
    plot_training_curves(sae, ax=ax)
    for label, column in {
        "train loss": "train_loss",
        "train FVU": "train_fvu",
        "validation loss": "validation_loss",
        "validation FVU": "validation_fvu",
    }.items():
        line = lines(ax)[label]
        assert list(line.get_xdata()) == [1, 2, 3]
        assert list(line.get_ydata()) == list(sae.history_[column])


def test_the_marked_epoch_is_the_one_whose_weights_were_restored(rows, ax):
    # So slow that every epoch is better than the one before, yet too little to count.
    settings = {"M": 8, "K": 2, "learning_rate": 1e-6, "random_state": 0}
    sae = SparseAutoencoderTransformer(n_epochs=20, **settings).fit(rows)
    plot_training_curves(sae, ax=ax)
    (mark,) = [line for line in ax.lines if line.get_label().startswith("weights of epoch")]
    epoch = mark.get_xdata()[0]
    assert mark.get_label() == f"weights of epoch {epoch}"
    assert epoch < sae.history_["validation_loss"].idxmin() + 1
    ended_there = SparseAutoencoderTransformer(n_epochs=epoch, **settings).fit(rows)
    np.testing.assert_array_equal(sae.encoder_weight_, ended_there.encoder_weight_)


def test_without_early_stopping_nothing_is_marked_and_nothing_validated(rows, ax):
    sae = SparseAutoencoderTransformer(M=8, K=2, n_epochs=2, patience=None, random_state=0)
    plot_training_curves(sae.fit(rows), ax=ax)
    assert set(lines(ax)) == {"train loss", "train FVU"}


def test_rows_held_out_for_a_threshold_alone_mark_no_epoch(rows, ax):
    sae = SparseAutoencoderTransformer(M=8, K=2, n_epochs=2, patience=None, batch_topk=True)
    plot_training_curves(sae.fit(rows), ax=ax)
    assert set(lines(ax)) == {"train loss", "train FVU", "validation loss", "validation FVU"}


def test_after_partial_fit_the_last_weights_are_kept_and_nothing_is_marked(rows, ax):
    sae = SparseAutoencoderTransformer(M=8, K=2, n_epochs=2, random_state=0)
    plot_training_curves(sae.fit(rows).partial_fit(rows), ax=ax)
    assert list(lines(ax)["train loss"].get_xdata()) == [1, 2, 3]
    assert not any(label.startswith("weights of epoch") for label in lines(ax))


def test_a_pipeline_or_generator_shows_its_autoencoder(rows, generator):
    pipeline = make_pipeline(
        StandardScaler(), SparseAutoencoderTransformer(M=8, K=2, n_epochs=3, random_state=0)
    ).fit(rows)
    for estimator, sae in ((pipeline, pipeline[-1]), (generator, generator.pipeline_[0])):
        ax = plot_training_curves(estimator, ax=Figure().subplots())
        assert list(lines(ax)["train loss"].get_ydata()) == list(sae.history_["train_loss"])


def test_a_generator_of_several_splits_shows_the_autoencoder_of_the_first(rows, generator):
    X = pd.DataFrame(rows, index=pd.Index([f"text {i}" for i in range(200)], name="text"))
    several = HypothesisGenerator(generator.pipeline, n_repeats=2, random_state=0)
    several.fit(X, rows[:, 0] + rows[:, 1])
    ax = plot_training_curves(several, ax=Figure().subplots())
    history = several.splits_[0].pipeline_[0].history_
    assert list(lines(ax)["train loss"].get_ydata()) == list(history["train_loss"])


# Both


@pytest.mark.parametrize("plot", [plot_hypotheses, plot_training_curves])
def test_given_axes_are_returned_and_pyplot_is_left_alone(generator, plot, ax):
    from matplotlib import pyplot

    before, style = pyplot.get_fignums(), dict(matplotlib.rcParams)
    assert plot(generator, ax=ax) is ax
    assert (pyplot.get_fignums(), dict(matplotlib.rcParams)) == (before, style)


@pytest.mark.parametrize("plot", [plot_hypotheses, plot_training_curves])
def test_without_axes_one_new_figure_holds_the_plot(generator, plot):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    ax = plot(generator)
    (new,) = set(pyplot.get_fignums()) - set(before)
    assert ax.figure is pyplot.figure(new)
    assert any(isinstance(artist, Line2D) for artist in ax.lines)
    pyplot.close(new)


@pytest.mark.parametrize(
    ("plot", "unfitted"),
    [
        (plot_hypotheses, HypothesisValidator()),
        (plot_hypotheses, HypothesisGenerator()),
        (plot_hypotheses, make_pipeline(HypothesisValidator())),
        (plot_training_curves, SparseAutoencoderTransformer()),
        (plot_training_curves, HypothesisGenerator()),
        (plot_training_curves, make_pipeline(SparseAutoencoderTransformer())),
    ],
)
def test_unfitted_estimators_are_refused(plot, unfitted, ax):
    with pytest.raises(NotFittedError):
        plot(unfitted, ax=ax)


@pytest.mark.parametrize("plot", [plot_hypotheses, plot_training_curves])
@pytest.mark.parametrize("wrong", [LinearRegression(), make_pipeline(LinearRegression()), 3])
def test_other_estimators_are_refused_in_one_sentence(plot, wrong, ax):
    with pytest.raises(TypeError, match=rf"^{plot.__name__} draws .*, got [^.]*\.$"):
        plot(wrong, ax=ax)


def test_importing_inspection_does_not_load_matplotlib():
    code = "import sys, sklearn_hypsae.inspection; print('matplotlib' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr


def test_without_matplotlib_one_sentence_names_the_extra(sae, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'plot_training_curves needs .*sklearn-hypsae\[plot\]"'):
        plot_training_curves(sae)
