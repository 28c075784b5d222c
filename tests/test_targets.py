"""What counts as a target, and of which kind."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from sklearn_hypsae._targets import check_class_sizes, check_groups, check_target


@pytest.mark.parametrize(
    ("y", "task"),
    [
        ([0, 1, 1], "classification"),
        ([1.5, 4.0, 4.0], "classification"),
        ([True, False], "classification"),
        (["a", "b"], "classification"),
        (pd.Series(["a", "b"], dtype="category"), "classification"),
        (pd.Series([0, 1, 1], dtype="Int64"), "classification"),
        ([1, 2, 3], "regression"),
        ([0.1, 0.2, 0.7], "regression"),
        (pd.Series([1, 2, 3], dtype="category"), "classification"),
        (pd.Series([1, 2, 3], dtype=pd.CategoricalDtype([1, 2, 3], ordered=True)), "regression"),
        (pd.Series([1, 2, 3], dtype="Float64"), "regression"),
        ([Decimal("1.5"), Decimal(2), Decimal(3)], "regression"),
        (np.array([1, 2, 3], dtype=object), "regression"),
    ],
)
def test_two_values_or_labels_are_classes_and_other_numbers_are_not(y, task):
    assert check_target(y, caller="Test", max_classes=None).task == task


def test_classes_are_numbered_in_sorted_order():
    target = check_target(["rotten", "fresh", "rotten"], caller="Test")
    assert target.classes.tolist() == ["fresh", "rotten"]
    assert target.values.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        (None, "auto", "y to be passed"),
        ([1, 1], "auto", "constant target"),
        ([1.0, np.nan], "auto", "NaN in y .* position 1"),
        ([1.0, 2.0, -1e80], "auto", r"y of the order of 1e\+80: give it in other units"),
        (np.array([1j, 2.0]), "auto", "complex numbers as y"),
        ([1e-90, 0.0, 3e-90], "auto", "y of the order of 3e-90"),
        (["a", None], "auto", "NaN in y .* position 1"),
        (["a", float("nan")], "auto", "NaN in y .* position 1"),
        (pd.Series([1, None, 2], dtype="Int64"), "auto", "NaN in y .* position 1"),
        ([1.0, np.inf], "auto", "inf in y .* position 1"),
        (np.array(["a", 2], dtype=object), "auto", "mixed types"),
        (["a", "b"], "regression", "for a regression"),
        ([0.1, 0.2, 0.7], "classification", "Unknown label type"),
        ([[1, 2], [3, 4]], "auto", "1d array"),
    ],
)
def test_what_cannot_be_used_is_said(y, task, message):
    with pytest.raises(ValueError, match=message):
        check_target(y, task=task, caller="Test")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_precision_of_the_numbers_does_not_matter(dtype):
    y = np.array([1, 2.5, 4], dtype=dtype)
    target = check_target(y, caller="Test")
    assert target.task == "regression"
    assert target.values.tolist() == [1, 2.5, 4]


def test_labels_that_hardly_come_again_are_no_classes():
    for y in ([f"{i / 7:.2f}" for i in range(50)], pd.date_range("2020", periods=50)):
        with pytest.raises(ValueError, match="50 rows have 50 different ones: pass numbers as num"):
            check_target(y, caller="Test", max_classes=None)


def test_a_rare_label_is_not_quoted_at_length():
    target = check_target(["long " * 100] + ["b"] * 9, caller="Test")
    with pytest.raises(ValueError, match=r"class 'long .{20,50}… of y has 1") as caught:
        check_class_sizes(target, n_needed=4, caller="Test")
    assert len(str(caught.value)) < 250


def test_groups_may_be_a_frame_of_one_column_and_not_its_name():
    groups = pd.DataFrame({"author": ["a", "b", "a"]})
    assert check_groups(groups, n_samples=3, caller="Test").tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match=r"pass the column itself, df\['author'\]"):
        check_groups("author", n_samples=3, caller="Test")
