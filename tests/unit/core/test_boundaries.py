"""Bands around the borders of classes, against a slow plain loop, and boundary IoU by hand."""

from __future__ import annotations

import numpy as np
import pytest

from segstudio.core.boundaries import boundary_band, boundary_iou


def slow_band(labels: np.ndarray, width: int, ignore: int) -> np.ndarray:
    band = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(*labels.shape):
        near = labels[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
        here = labels[y, x]
        band[y, x] = here != ignore and bool(((near != here) & (near != ignore)).any())
    return band


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_band_is_what_a_plain_loop_finds(dtype: type, width: int, ignored: bool) -> None:
    rng = np.random.default_rng(width)
    labels = np.kron(rng.integers(0, 4, (4, 5)), np.ones((7, 6), int)).astype(dtype)
    none = np.iinfo(dtype).max
    if ignored:
        labels[5:12, 8:17] = none
    ignore = int(none) if ignored else -1
    expected = slow_band(labels, width, ignore)
    np.testing.assert_array_equal(boundary_band(labels, width, ignore=ignore), expected)


def test_one_class_alone_and_the_edge_of_the_picture_are_no_border() -> None:
    assert not boundary_band(np.full((9, 9), 3, np.uint8), 2).any()


def test_a_band_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 pixel"):
        boundary_band(np.zeros((3, 3), np.uint8), 0)


def test_boundary_iou_of_a_border_one_pixel_off() -> None:
    """Inner bands of two columns: each class shares one of three columns."""
    truth, prediction = np.ones((6, 10), np.uint8), np.ones((6, 10), np.uint8)
    truth[:, :5], prediction[:, :6] = 0, 0
    found = boundary_iou(truth, prediction, (0, 1, 2), 2)
    assert found == {0: pytest.approx(1 / 3), 1: pytest.approx(1 / 3)}
    assert boundary_iou(truth, truth, (0, 1), 2) == {0: 1.0, 1: 1.0}


def test_pixels_without_a_label_do_not_count_in_boundary_iou() -> None:
    truth, prediction = np.ones((6, 10), np.uint8), np.ones((6, 10), np.uint8)
    truth[:, :5], prediction[:, :6] = 0, 0
    truth[:, 5] = 255
    assert boundary_iou(truth, prediction, (0, 1), 2) == {0: 1.0, 1: 0.5}
    assert boundary_iou(np.full_like(truth, 255), prediction, (0, 1), 1) == {}
