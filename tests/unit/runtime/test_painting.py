"""Shapes of the pen against the slow definition: a pixel belongs to a shape where its centre lies inside."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segstudio.core.edits import StrokeRecorder
from segstudio.core.label_map import LabelMap
from segstudio.runtime.painting import Ink, Pen, fill_mask, fill_polygon, region_mask

WIDTH, HEIGHT = 61, 47
coordinate = st.floats(-20, 80, allow_nan=False).map(lambda value: round(value, 3))
point = st.tuples(coordinate, coordinate)


def blank(dtype=np.uint8) -> tuple[LabelMap, StrokeRecorder]:
    labels = LabelMap.unlabelled(WIDTH, HEIGHT, dtype)
    return labels, StrokeRecorder(labels)


def distance_to_segment(start, end) -> np.ndarray:
    """(HEIGHT, WIDTH): how far each pixel centre is from the segment."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    along = np.zeros_like(x) if length == 0 else ((x - start[0]) * dx + (y - start[1]) * dy) / length
    along = np.clip(along, 0, 1)
    return np.hypot(x - start[0] - along * dx, y - start[1] - along * dy)


@settings(max_examples=300, deadline=None)
@given(start=point, end=point, size=st.floats(3, 60))
def test_round_stroke_is_every_pixel_within_the_radius_of_the_path(start, end, size):
    labels, recorder = blank()
    Pen(recorder, Ink(2), size).line(start, end)
    away = distance_to_segment(start, end)
    painted = labels.array == 2
    border = np.abs(away - size / 2) < 1e-6
    assert np.array_equal(painted[~border], (away <= size / 2)[~border])


@settings(max_examples=150, deadline=None)
@given(start=point, end=point, size=st.floats(3, 40))
def test_square_stroke_is_the_hull_of_the_tip_at_both_ends(start, end, size):
    labels, recorder = blank()
    Pen(recorder, Ink(2), size, "square").line(start, end)
    painted = labels.array == 2
    inner, outer = swept_square(start, end, size / 2 - 1e-6), swept_square(start, end, size / 2 + 1e-6)
    assert not (inner & ~painted).any()
    assert not (painted & ~outer).any()


def swept_square(start, end, radius: float) -> np.ndarray:
    """(HEIGHT, WIDTH): is there a moment at which the moving square covers the pixel's centre?"""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    first, last = np.zeros(x.shape), np.ones(x.shape)
    covered = np.ones(x.shape, bool)
    for at, origin, move in ((x, start[0], end[0] - start[0]), (y, start[1], end[1] - start[1])):
        if move == 0:
            covered &= np.abs(at - origin) <= radius
            continue
        near, far = (at - origin - radius) / move, (at - origin + radius) / move
        first = np.maximum(first, np.minimum(near, far))
        last = np.minimum(last, np.maximum(near, far))
    return covered & (first <= last)


@pytest.mark.parametrize(("size", "pixels"), [(1, 1), (2, 4)])
def test_smallest_tips_paint_whole_pixels_wherever_the_hand_is(size, pixels):
    for x, y in ((10.0, 10.0), (10.49, 10.51), (10.99, 10.01)):
        labels, recorder = blank()
        Pen(recorder, Ink(1), size).line((x, y), (x, y))
        assert int((labels.array == 1).sum()) == pixels


@settings(max_examples=100, deadline=None)
@given(start=point, end=point)
def test_one_pixel_line_has_no_gap(start, end):
    labels, recorder = blank()
    Pen(recorder, Ink(1), 1).line(start, end)
    rows, columns = np.nonzero(labels.array == 1)
    if len(rows) > 1:
        order = np.lexsort((rows, columns)) if abs(end[0] - start[0]) > abs(end[1] - start[1]) else None
        line = columns[order] if order is not None else np.sort(rows)
        assert (np.diff(np.unique(line)) == 1).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_locked_classes_and_preserved_labels_keep_their_pixels(dtype):
    labels, recorder = blank(dtype)
    labels.array[:, :20] = 3
    labels.array[:, 20:40] = 4
    before = labels.array.copy()
    ink = Ink(1, locked=frozenset({3}), only=frozenset({labels.ignore, 3}))
    Pen(recorder, ink, 200).line((30, 20), (30, 20))
    assert np.array_equal(labels.array[:, :40], before[:, :40])
    assert (labels.array[:, 40:] == 1).all()


def test_cancel_and_finish_know_every_pixel_a_stroke_changed():
    labels, recorder = blank()
    labels.array[10:20, 10:20] = 5
    before = labels.array.copy()
    Pen(recorder, Ink(1), 30).line((0, 0), (60, 40))
    recorder.cancel()
    assert np.array_equal(labels.array, before)
    Pen(recorder, Ink(1), 30).line((0, 0), (60, 40))
    edit = recorder.finish("brush", 1)
    assert edit is not None and edit.pixels == int((labels.array != before).sum())
    edit.inverted().apply(labels)
    assert np.array_equal(labels.array, before)


def test_a_stroke_outside_the_map_changes_nothing():
    labels, recorder = blank()
    assert Pen(recorder, Ink(1), 10).line((-50, -50), (-40, -60)) == []
    assert (labels.array == 255).all()


def winding_parity(points, x: float, y: float) -> bool:
    inside = False
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            inside = not inside
    return inside


@settings(max_examples=100, deadline=None)
@given(points=st.lists(st.tuples(st.floats(-10, 70), st.floats(-10, 60)), min_size=3, max_size=8))
def test_polygon_fills_the_pixels_whose_centres_are_inside_by_the_even_odd_rule(points):
    # Off the grid of centres, or both sides of the comparison stand on a knife's edge.
    points = [(math.floor(x * 8) / 8 + 0.01, math.floor(y * 8) / 8 + 0.02) for x, y in points]
    labels, recorder = blank()
    fill_polygon(recorder, Ink(7), points)
    expected = np.array(
        [[winding_parity(points, x + 0.5, y + 0.5) for x in range(WIDTH)] for y in range(HEIGHT)]
    )
    assert np.array_equal(labels.array == 7, expected)


def test_a_polygon_of_two_points_is_nothing():
    labels, recorder = blank()
    assert fill_polygon(recorder, Ink(7), [(1, 1), (20, 20)]) is None
    assert (labels.array == 255).all()


@settings(max_examples=200, deadline=None)
@given(
    path=st.lists(point, min_size=1, max_size=6),
    size=st.one_of(st.floats(1, 60), st.floats(100, 400)),
    tip=st.sampled_from(["round", "square"]),
    protected=st.booleans(),
)
def test_a_stroke_writes_what_its_lines_write_one_by_one_and_names_all_of_it(path, size, tip, protected):
    ink = Ink(2, locked=frozenset({3})) if protected else Ink(2)
    labels, recorder = blank()
    labels.array[::3, 5:30] = 3
    before = labels.array.copy()
    expected = LabelMap(before.copy())
    pen, named = Pen(recorder, ink, size, tip), np.zeros(before.shape, bool)
    lines = list(zip([path[0], *path], path, strict=False))
    for start, end in lines:
        for rect in pen.line(start, end):
            named[rect.y0 : rect.y1, rect.x0 : rect.x1] = True
        Pen(StrokeRecorder(expected), ink, size, tip).line(start, end)
    assert np.array_equal(labels.array, expected.array)
    assert not ((labels.array != before) & ~named).any()
    recorder.cancel()
    assert np.array_equal(labels.array, before)


def test_a_big_tip_is_named_as_one_rectangle_and_its_crescent_when_moved_in_much_smaller_parts():
    labels = LabelMap.unlabelled(3000, 3000)
    pen = Pen(StrokeRecorder(labels), Ink(1), 2000)
    (pressed,) = pen.line((1500, 1500), (1500, 1500))
    assert 2000 <= pressed.width <= 2002 and 2000 <= pressed.height <= 2002
    moved = pen.line((1500, 1500), (1510, 1504))
    assert 0 < sum(rect.width * rect.height for rect in moved) < 0.3 * 2000**2
    x, y = np.meshgrid(np.arange(3000) + 0.5, np.arange(3000) + 0.5)
    away = np.minimum(np.hypot(x - 1500, y - 1500), np.hypot(x - 1510, y - 1504))
    assert (labels.array[away < 999.9] == 1).all()
    assert (labels.array[away > 1001] == 255).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), x=st.integers(0, WIDTH - 1), y=st.integers(0, HEIGHT - 1))
def test_fill_reaches_exactly_the_connected_region(seed, x, y):
    labels, recorder = blank()
    labels.array[...] = np.random.default_rng(seed).integers(0, 2, labels.array.shape) * 3
    before = labels.array.copy()
    expected = np.zeros(before.shape, bool)
    waiting = [(x, y)]
    while waiting:
        column, row = waiting.pop()
        inside = 0 <= column < WIDTH and 0 <= row < HEIGHT
        if inside and not expected[row, column] and before[row, column] == before[y, x]:
            expected[row, column] = True
            waiting += [(column + 1, row), (column - 1, row), (column, row + 1), (column, row - 1)]
    found = region_mask(labels, x, y)
    assert found is not None
    fill_mask(recorder, Ink(9), *found)
    assert np.array_equal(labels.array == 9, expected)
    assert np.array_equal(labels.array[~expected], before[~expected])


def test_fill_outside_the_map_finds_nothing():
    labels, _recorder = blank()
    assert region_mask(labels, -1, 5) is None
    assert region_mask(labels, WIDTH, 5) is None
