from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from segstudio.core import palette_png
from segstudio.core.errors import UserError
from segstudio.core.label_pictures import as_labels, read_label_picture
from segstudio.core.taxonomies import default_palette
from tests.shared_data import needs_shared, shared

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))
maps = st.one_of(arrays.arrays(np.uint8, shapes), arrays.arrays(np.uint16, shapes))


@given(maps)
def test_what_is_written_is_read_bit_for_bit_by_us_and_by_pillow(labels):
    data = palette_png.encode(labels, default_palette(11))
    again, palette = palette_png.decode(data)
    assert again.dtype == labels.dtype and np.array_equal(again, labels)
    assert palette[:11] == (default_palette(11) if labels.dtype == np.uint8 else ())
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))).astype(np.uint16), labels)


@given(arrays.arrays(np.uint8, shapes), st.sampled_from([1, 2, 4, 8]), st.booleans())
def test_pngs_of_others_are_read_with_all_depths_and_filters(labels, bits, gray):
    labels = labels & ((1 << bits) - 1)
    image = Image.fromarray(labels)
    if not gray:
        image = image.convert("P")
        image.putdata(labels.ravel().tolist())
        image.putpalette([value for color in default_palette(1 << bits) for value in color])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **({} if gray else {"bits": bits}))
    assert np.array_equal(palette_png.decode(buffer.getvalue())[0], labels)


@given(arrays.arrays(np.uint8, shapes), st.data())
def test_a_damaged_png_is_refused(labels, data):
    stored = bytearray(palette_png.encode(labels))
    at = data.draw(st.integers(8, len(stored) - 13))
    stored[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError):
        palette_png.decode(bytes(stored))


@needs_shared
@pytest.mark.parametrize("name", ["expected_2011_000003.png", "expected_2011_000006.png"])
def test_real_palette_pictures_equal_pillow(name: str):
    path = shared("data", "annotations_labelme", "labelme_gpl", name)
    assert np.array_equal(read_label_picture(path), np.asarray(Image.open(path)))


def test_all_kinds_of_index_files_give_the_same_labels(tmp_path: Path):
    labels = np.random.default_rng(0).integers(0, 200, (30, 20)).astype(np.uint8)
    image = Image.fromarray(labels)
    for name in ("a.png", "a.tif", "a.bmp"):
        image.save(tmp_path / name)
        assert np.array_equal(read_label_picture(tmp_path / name), labels), name
    np.save(tmp_path / "a.npy", labels.astype(np.int64)[None])
    assert np.array_equal(read_label_picture(tmp_path / "a.npy"), labels)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((2, 2), np.float32) + 0.5, "fractions"),
        (np.full((2, 2), -2), "from -2 to -2"),
        (np.full((2, 2), 70000), "70000"),
        (np.zeros((2, 2, 2, 2), np.uint8), "shape"),
        (np.zeros((2, 2), np.complex64), "no class index"),
    ],
)
def test_arrays_that_are_no_labels_are_refused(array, sentence):
    with pytest.raises(ValueError, match=sentence):
        as_labels(array)


def test_minus_one_becomes_unlabelled():
    assert as_labels(np.array([[-1, 3]])).tolist() == [[255, 3]]
    assert as_labels(np.array([[-1, 300]])).tolist() == [[65535, 300]]


def test_pickled_arrays_are_refused(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be used"):
        read_label_picture(tmp_path / "a.npy")
