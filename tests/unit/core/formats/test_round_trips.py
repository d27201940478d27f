"""What is written comes back pixel for pixel, or the difference is told."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segstudio.core.formats import FORMATS, Format, find_format, load_format
from segstudio.core.formats.exchange import Labels
from segstudio.core.records import LabelClass
from segstudio.core.taxonomies import default_palette

CLASSES = tuple(LabelClass(index, f'Class <{index}> & "co"', default_palette(4)[index]) for index in range(4))
PLAIN = tuple(LabelClass(index, name, default_palette(4)[index]) for index, name in enumerate("abcd"))
EXACT = [entry for entry in FORMATS if entry.exports and entry.id not in ("yolo", "cityscapes", "ade20k")]


def scene(seed: int, width: int, height: int) -> np.ndarray:
    """Areas with holes, thin lines and single pixels, partly unlabelled."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 4, (5, 6)).astype(np.uint8)
    labels = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)
    labels[cv2.GaussianBlur(rng.random((height, width)), (0, 0), 3) > 0.51] = 255
    labels[rng.random((height, width)) < 0.01] = 2
    cv2.line(labels, (0, 0), (width - 1, height // 2), 3, 1)
    return labels


@pytest.mark.parametrize("entry", EXACT, ids=lambda entry: entry.id)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000), width=st.integers(1, 70), height=st.integers(1, 60))
def test_every_pixel_comes_back(entry: Format, seed: int, width: int, height: int):
    module = load_format(entry)
    labels = scene(seed, width, height)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = {"kind": entry.kind} if entry.kind else {}
        items = [Labels("sub/one.jpg", labels), Labels("two.png", np.full((4, 5), 1, np.uint8))]
        assert module.write(folder, CLASSES, items, **options) == []
        sizes = {"sub/one": (width, height), "two": (5, 4)}
        found = module.read(folder, classes=CLASSES, size_of=lambda image: sizes[image.split(".")[0]])
        items = {item.image.split(".")[0]: item.array for item in found.items}
        assert found.notes == []
        assert found.classes.classes == CLASSES
    assert set(items) == {"sub/one", "two"}
    again = items["sub/one"]
    expected = labels.astype(again.dtype)
    if again.dtype == np.uint16:
        expected[labels == 255] = 65535
    assert np.array_equal(again, expected)


def test_yolo_tells_the_pixels_that_do_not_come_back():
    module = load_format(find_format("yolo"))
    labels = scene(3, 320, 240)
    with tempfile.TemporaryDirectory() as name:
        notes = module.write(Path(name), PLAIN, [Labels("one.jpg", labels)])
        found = module.read(Path(name) / "labels", classes=(), size_of=lambda image: (320, 240))
        (item,) = found.items
    lost = int((item.array != labels).sum())
    assert [entry.name for entry in found.classes.classes] == list("abcd")
    told = [note for note in notes if "differ when this file is read again" in note.what]
    assert bool(told) == bool(lost)
    assert not told or told[0].what.startswith(f"{lost} of 76800 px")
    assert lost < 0.03 * labels.size


def test_yolo_keeps_a_hole():
    module = load_format(find_format("yolo"))
    labels = np.full((60, 80), 255, np.uint8)
    labels[10:50, 10:70] = 1
    labels[20:30, 30:40] = 255
    with tempfile.TemporaryDirectory() as name:
        module.write(Path(name), PLAIN, [Labels("one.jpg", labels)])
        (item,) = module.read(Path(name) / "labels", classes=PLAIN, size_of=lambda image: (80, 60)).items
    assert (item.array[22:28, 32:38] == 255).all()
    assert int((item.array != labels).sum()) < 60


def test_classes_of_a_data_set_go_out_by_name_and_the_rest_is_told():
    classes = (
        LabelClass(3, "Road", (1, 1, 1)),
        LabelClass(4, "ufo", (2, 2, 2)),
        LabelClass(9, "sky", (3, 3, 3)),
    )
    labels = np.array([[3, 4, 9, 255]], np.uint8)
    for name, values, stem in (
        ("cityscapes", [0, 255, 10, 255], "x_gtFine_labelTrainIds.png"),
        ("ade20k", [7, 0, 3, 0], "x_leftImg8bit.png"),
    ):
        from segstudio.core import palette_png

        module = load_format(find_format(name))
        with tempfile.TemporaryDirectory() as folder:
            notes = module.write(Path(folder), classes, [Labels("x_leftImg8bit.png", labels)])
            stored, _ = palette_png.read(Path(folder) / stem)
            assert stored.tolist() == [values]
            assert [note.file for note in notes] == ["ufo"] and "1 px become unlabelled" in notes[0].what
            (item,) = module.read(Path(folder), classes=classes).items
            assert item.image.startswith("x_leftImg8bit")
            assert item.array.tolist() == [[3, 255, 9, 255]]


def test_the_list_of_formats_has_unique_ids_and_loads():
    assert len({entry.id for entry in FORMATS}) == len(FORMATS) == 13
    for entry in FORMATS:
        module = load_format(entry)
        assert callable(module.read) and callable(module.write)
