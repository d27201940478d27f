"""Pixels by value, of maps and of edits, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from segstudio.core import class_counts
from segstudio.core.class_counts import count_changes, count_classes, count_values
from segstudio.core.edits import Edit, StrokeRecorder, TileChange
from segstudio.core.label_map import LabelMap, Rect


@pytest.fixture(params=[np.uint8, np.uint16])
def labels(request):
    """Tiles of one value, of several, cut ones, and unlabelled ones."""
    made = LabelMap.unlabelled(700, 1300, request.param)
    made.array[100:900, 50:650] = 3
    made.array[256:512, 256:512] = np.random.default_rng(4).integers(0, 5, (256, 256))
    return made


def plain(array) -> dict[int, int]:
    return {value: int((array == value).sum()) for value in np.unique(array).tolist()}


def test_values_are_counted_with_the_unlabelled_and_classes_without(labels):
    assert count_values(labels.array) == plain(labels.array)
    classes = plain(labels.array)
    del classes[labels.ignore]
    assert count_classes(labels.array) == classes


def test_no_histogram_is_taken_of_more_than_a_tile(labels, monkeypatch):
    sizes = []
    taken = np.bincount

    def bincount(pixels):
        sizes.append(pixels.size)
        return taken(pixels)

    monkeypatch.setattr(class_counts.np, "bincount", bincount)
    count_values(labels.array)
    assert sizes
    assert max(sizes) <= 256 * 256


def test_an_edit_tells_by_how_much_it_changes_the_counts(labels):
    before = plain(labels.array)
    recorder = StrokeRecorder(labels)
    recorder.touch(0, 0, 700, 1300)
    labels.array[:, :300] = 4
    labels.array[:, 600:] = labels.ignore
    edit = recorder.finish("brush", 4)
    assert edit is not None
    after = plain(labels.array)
    expected = {value: after.get(value, 0) - before.get(value, 0) for value in before | after}
    delta = count_changes(edit, labels.ignore)
    assert {value: delta.get(value, 0) for value in expected} == expected


def test_a_tile_that_was_all_unlabelled_counts_as_such():
    pixels = np.full((10, 20), 2, np.uint8)
    edit = Edit("import", -1, (TileChange(0, 0, None, pixels),), 200, Rect(0, 0, 20, 10), 20, 10)
    assert count_changes(edit, 255) == {255: -200, 2: 200}
    assert count_changes(edit.inverted(), 255) == {2: -200, 255: 200}
