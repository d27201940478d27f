from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segstudio.core import metrics
from segstudio.core.errors import UserError
from segstudio.core.evaluation import Evaluation
from segstudio.core.taxonomies import load_taxonomy


def counted_slowly(truth, prediction, num_classes, ignored):
    matrix = np.zeros((num_classes, num_classes + 1), np.int64)
    for row, column in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if row not in ignored:
            matrix[row, min(column, num_classes)] += 1
    return matrix


@given(
    st.integers(0, 2**32),
    st.integers(1, 9),
    st.sampled_from([np.uint8, np.uint16]),
    st.sets(st.integers(0, 8)),
)
def test_counts_equal_a_plain_loop(seed, num_classes, dtype, extra):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, (13, 7)).astype(dtype)
    truth[rng.random(truth.shape) < 0.2] = 255
    prediction = rng.integers(0, num_classes + 3, (13, 7)).astype(dtype)
    ignored = {255, *extra}
    expected = counted_slowly(truth, prediction, num_classes, ignored)
    assert np.array_equal(metrics.confusion(truth, prediction, num_classes, ignored, other=True), expected)
    if expected[:, -1].any():
        with pytest.raises(ValueError, match="predicted as none of"):
            metrics.confusion(truth, prediction, num_classes, ignored)
    else:
        assert np.array_equal(metrics.confusion(truth, prediction, num_classes, ignored), expected[:, :-1])


def test_large_maps_are_counted_exactly_past_the_precision_of_a_float():
    truth = np.zeros((5000, 4000), np.uint8)
    truth[-1, -1] = 1
    assert metrics.confusion(truth, truth, 2).tolist() == [[19_999_999, 0], [0, 1]]


def test_many_classes_and_mixed_types():
    truth = np.array([[0, 300, 65535]], np.uint16)
    prediction = np.array([[0, 3, 4]], np.uint8)
    matrix = metrics.confusion(truth, prediction, 301, 65535)
    assert matrix.sum() == 2 and matrix[0, 0] == 1 and matrix[300, 3] == 1


def test_what_cannot_be_counted_is_refused():
    zeros = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"labels are \(3, 2\)"):
        metrics.confusion(zeros, np.zeros((3, 2), np.uint8), 2)
    with pytest.raises(ValueError, match=r"label value 7 \(1 px\) is none of the 2 classes \(0-1\)"):
        metrics.confusion(np.array([[7, 0, 255]], np.uint8), np.zeros((1, 3), np.uint8), 2)


def test_the_summary_of_a_small_case_by_hand():
    matrix = np.array([[8, 2, 0, 0], [1, 3, 0, 1], [0, 0, 0, 0]], np.int64)
    result = metrics.summary(matrix, {0: "sky", 1: "car"}, images=4, failed=1)
    assert result["classes"] == [
        {"id": 0, "name": "sky", "iou": 8 / 11, "accuracy": 0.8, "pixels": 10},
        {"id": 1, "name": "car", "iou": 3 / 7, "accuracy": 0.6, "pixels": 5},
        {"id": 2, "name": "2", "iou": None, "accuracy": None, "pixels": 0},
    ]
    assert result["miou"] == pytest.approx((8 / 11 + 3 / 7) / 2, abs=0)
    assert result["pixel_accuracy"] == 11 / 15
    assert result["mean_accuracy"] == pytest.approx(0.7)
    assert result["confusion"] == [[8, 2, 0], [1, 3, 0], [0, 0, 0]]
    assert (result["images"], result["failed"], result["ignore"]) == (4, 1, [255])
    assert metrics.class_dice(matrix)[:2].tolist() == [16 / 19, 6 / 10]


def test_a_prediction_of_an_ignored_class_on_a_labelled_pixel_is_a_miss():
    evaluation = Evaluation(ignore=frozenset({2}))
    evaluation.add("a", np.array([[0, 0, 1, 2, 255]], np.uint8), np.array([[0, 2, 1, 0, 1]], np.uint8))
    result = evaluation.result()
    assert [entry["id"] for entry in result["classes"]] == [0, 1]
    assert [entry["iou"] for entry in result["classes"]] == [0.5, 1.0]
    assert result["pixel_accuracy"] == 2 / 3
    assert result["confusion"] == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert result["ignore"] == [2, 255]


def test_pooling_over_pictures_grows_with_the_classes_that_occur():
    evaluation = Evaluation()
    evaluation.add("a", np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8))
    evaluation.add("b", np.array([[4, 255]], np.uint8), np.array([[4, 200]], np.uint8))
    result = evaluation.result()
    assert result["images"] == 2
    assert result["classes"][4]["iou"] == 1.0 and result["classes"][3]["iou"] is None
    assert result["miou"] == (0.5 + 0.0 + 1.0) / 3


def test_labels_beyond_the_taxonomy_are_named():
    evaluation = Evaluation(load_taxonomy("street"))
    with pytest.raises(
        UserError, match=r"Label value 38 \(1 px\) is none of the 11 classes \(0-10\) in a.png"
    ):
        evaluation.add("a.png", np.array([[38]], np.uint8), np.array([[0]], np.uint8))


def test_matrices_of_differently_many_classes_keep_what_was_predicted_as_no_class():
    with_other = np.array([[5, 1, 2], [0, 3, 4]])
    assert metrics.padded(with_other, 3).tolist() == [[5, 1, 0, 2], [0, 3, 0, 4], [0, 0, 0, 0]]
    square = np.array([[5, 1], [0, 3]])
    assert metrics.padded(square, 2).tolist() == [[5, 1, 0], [0, 3, 0]]


def test_a_miss_outside_the_classes_lowers_the_mean_iou():
    matrix = np.array([[8, 0, 2], [0, 9, 0]])
    assert metrics.mean_iou(matrix, [0, 1]) == pytest.approx((8 / 10 + 1) / 2)
    assert np.isnan(metrics.mean_iou(np.zeros((2, 3), np.int64), [0, 1]))
