from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segstudio.core.edits import StrokeRecorder, edit_to
from segstudio.core.label_map import LabelMap

dabs = st.lists(
    st.tuples(
        st.integers(-40, 640),
        st.integers(-40, 400),
        st.integers(1, 300),
        st.integers(1, 300),
        st.integers(0, 5),
    ),
    max_size=8,
)


def paint(label_map: LabelMap, recorder: StrokeRecorder, x: int, y: int, w: int, h: int, value: int) -> None:
    rect = recorder.touch(x, y, x + w, y + h)
    if rect is not None:
        label_map.array[rect.y0 : rect.y1, rect.x0 : rect.x1] = value


@given(dabs, dabs)
def test_an_edit_leads_there_and_its_inverse_back(first, second):
    label_map = LabelMap.unlabelled(600, 300)
    recorder = StrokeRecorder(label_map)
    for dab in first:
        paint(label_map, recorder, *dab)
    recorder.finish("brush")
    before = label_map.array.copy()
    for dab in second:
        paint(label_map, recorder, *dab)
    after = label_map.array.copy()
    edit = recorder.finish("brush", 3)
    if edit is None:
        assert np.array_equal(before, after)
        return
    assert edit.pixels == int((before != after).sum())
    ys, xs = np.nonzero(before != after)
    assert edit.rect.x0 <= xs.min() and xs.max() < edit.rect.x1
    assert edit.rect.y0 <= ys.min() and ys.max() < edit.rect.y1
    edit.inverted().apply(label_map)
    assert np.array_equal(label_map.array, before)
    edit.apply(label_map)
    assert np.array_equal(label_map.array, after)


@given(dabs)
def test_cancel_puts_every_pixel_back(strokes):
    label_map = LabelMap(np.arange(600 * 300, dtype=np.uint16).reshape(300, 600))
    before = label_map.array.copy()
    recorder = StrokeRecorder(label_map)
    for dab in strokes:
        paint(label_map, recorder, *dab)
    recorder.cancel()
    assert np.array_equal(label_map.array, before)
    assert recorder.finish("brush") is None


def test_only_tiles_touched_for_the_first_time_are_copied():
    label_map = LabelMap.unlabelled(10_000, 10_000)
    recorder = StrokeRecorder(label_map)
    paint(label_map, recorder, 5000, 5000, 10, 10, 1)
    kept = recorder.before(5000 // 256, 5000 // 256)
    paint(label_map, recorder, 5002, 5002, 10, 10, 2)
    assert recorder.before(5000 // 256, 5000 // 256) is kept
    assert (kept == 255).all()
    edit = recorder.finish("brush", 1)
    assert edit is not None and len(edit.tiles) == 1


def test_painting_the_same_again_is_no_edit():
    label_map = LabelMap(np.zeros((64, 64), np.uint8))
    recorder = StrokeRecorder(label_map)
    paint(label_map, recorder, 0, 0, 64, 64, 0)
    assert recorder.finish("brush") is None


def test_an_edit_of_another_size_is_refused():
    small, large = LabelMap.unlabelled(10, 10), LabelMap.unlabelled(20, 10)
    edit = edit_to(small, np.zeros((10, 10), np.uint8), tool="import")
    assert edit is not None and edit.tiles[0].before is None
    with pytest.raises(ValueError, match="10x10"):
        edit.apply(large)


def test_an_edit_applies_to_a_wider_map():
    edit = edit_to(LabelMap.unlabelled(4, 1), np.array([[1, 255, 2, 255]], np.uint8), tool="import")
    assert edit is not None
    wide = LabelMap.unlabelled(4, 1, np.uint16)
    edit.apply(wide)
    assert wide.array.tolist() == [[1, 65535, 2, 65535]]
