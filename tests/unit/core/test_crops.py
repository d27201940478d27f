"""Middle parts and random parts of pictures at the size a network was built for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segstudio.core.crops import centre_crop, random_box, resized

SIDES = st.integers(1, 90)


def coordinates(width: int, height: int) -> np.ndarray:
    """(H, W, 3) with x in the first and y in the second channel."""
    ys, xs = np.mgrid[:height, :width]
    return np.stack([xs, ys, np.zeros_like(xs)], -1).astype(np.uint8)


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_centre_crop_has_the_wanted_size_whatever_the_picture(width, height, to_width, to_height):
    crop = centre_crop(coordinates(width, height), (to_width, to_height))
    assert crop.shape == (to_height, to_width, 3) and crop.dtype == np.uint8


def test_a_centre_crop_is_the_largest_middle_part():
    wide = centre_crop(coordinates(100, 40), (40, 40))
    assert np.array_equal(wide, coordinates(100, 40)[:, 30:70])
    tall = centre_crop(coordinates(40, 100), (40, 20))
    assert np.array_equal(tall, coordinates(40, 100)[40:60])
    enlarged = centre_crop(coordinates(10, 10), (40, 40))
    assert enlarged[20, 20, 0] == pytest.approx(4.5, abs=1) and enlarged[0, 39, 0] >= 8


@given(SIDES, SIDES, st.integers(0, 10_000), st.floats(0.05, 1.0), st.floats(0.05, 1.0), st.floats(0.3, 3.0))
def test_a_random_box_lies_inside_its_picture(width, height, seed, one, other, ratio):
    area = (min(one, other), max(one, other))
    left, top, w, h = random_box(width, height, np.random.default_rng(seed), area=area, ratio=ratio)
    assert min(left, top) >= 0 and min(w, h) > 0
    assert left + w <= width and top + h <= height


def test_random_boxes_cover_the_asked_shares_and_shapes():
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(400, 400, rng, area=(0.2, 1.0), ratio=1.0) for _ in range(2000)])
    shares = boxes[:, 2] * boxes[:, 3] / 400**2
    shapes = boxes[:, 2] / boxes[:, 3]
    assert shares.min() >= 0.195 and shares.max() > 0.95 and 0.45 < shares.mean() < 0.65
    assert shapes.min() >= 0.74 and shapes.max() <= 1.35 and abs(np.log(shapes).mean()) < 0.02
    assert boxes[:, 0].max() > 150 and boxes[:, 1].max() > 150 and boxes[:, :2].min() == 0


def test_parts_shrink_by_area_and_stay_as_they_are_at_their_own_size():
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.array_equal(resized(stripes, (4, 6, 20, 10), (20, 10)), stripes[6:16, 4:24])
    assert (resized(stripes, (0, 0, 40, 40), (20, 20)) == 100).all()
