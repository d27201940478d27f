from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from segstudio.core.label_map import (
    DamagedTile,
    LabelMap,
    check_tile,
    converted,
    decode_tile,
    encode_tile,
    kept_tile,
    tiles_in,
    uniform_tile,
    uniform_value,
)

sides = st.integers(1, 256)
tiles = st.one_of(
    arrays.arrays(np.uint8, st.tuples(sides, sides), elements=st.integers(0, 255), fill=st.integers(0, 255)),
    arrays.arrays(np.uint16, st.tuples(sides, sides), elements=st.integers(0, 65535), fill=st.just(65535)),
)


@given(tiles)
def test_a_tile_comes_back_bit_for_bit(pixels):
    decoded = decode_tile(encode_tile(pixels))
    assert decoded.dtype == pixels.dtype
    assert np.array_equal(decoded, pixels)


@given(tiles, st.data())
def test_any_changed_byte_is_noticed(pixels, data):
    stored = bytearray(encode_tile(pixels))
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedTile):
        decode_tile(bytes(stored))
    with pytest.raises(DamagedTile):
        check_tile(bytes(stored))


@given(tiles, st.integers(0, 20))
def test_a_cut_tile_is_noticed(pixels, cut):
    stored = encode_tile(pixels)
    with pytest.raises(DamagedTile):
        decode_tile(stored[: -1 - cut])


def test_a_uniform_tile_is_a_few_bytes():
    assert len(encode_tile(np.full((256, 256), 7, np.uint8))) < 16


@given(tiles)
def test_a_kept_tile_has_its_pixels_also_after_the_map_changed(pixels):
    kept, before = kept_tile(pixels), pixels.copy()
    pixels[...] = 9
    assert kept.dtype == before.dtype
    assert np.array_equal(kept, before)
    assert encode_tile(kept) == encode_tile(before)


def test_a_tile_of_one_value_is_kept_as_that_value_alone():
    label_map = LabelMap.unlabelled(600, 600, np.uint16)
    kept = kept_tile(label_map.tile(1, 1))
    assert kept.strides == (0, 0)
    assert uniform_value(kept) == uniform_value(label_map.tile(1, 1)) == 65535
    assert not kept.flags.writeable  # a write would change all pixels at once
    label_map.array[300, 300] = 4
    assert uniform_value(label_map.tile(1, 1)) is None
    assert kept_tile(label_map.tile(1, 1)).strides != (0, 0)
    assert uniform_tile((3, 5), 7, np.uint8).tolist() == [[7] * 5] * 3


def test_tiles_cover_the_map_and_are_cut_at_its_border():
    label_map = LabelMap.unlabelled(300, 513)
    assert list(label_map.tiles()) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    assert label_map.tile(1, 2).shape == (1, 44)
    rect = label_map.tile_rect(1, 2)
    assert (rect.x0, rect.y0, rect.width, rect.height) == (256, 512, 44, 1)
    assert list(tiles_in(255, 0, 257, 1)) == [(0, 0), (1, 0)]
    assert list(tiles_in(5, 5, 5, 9)) == []


def test_unlabelled_stays_unlabelled_when_the_type_changes():
    narrow = np.array([[0, 254, 255]], np.uint8)
    wide = converted(narrow, np.uint16)
    assert wide.tolist() == [[0, 254, 65535]]
    assert converted(wide, np.uint8).tolist() == narrow.tolist()
    with pytest.raises(ValueError, match="does not fit"):
        converted(np.array([[300]], np.uint16), np.uint8)


def test_only_plain_label_arrays_are_accepted():
    with pytest.raises(ValueError, match="uint8 or uint16"):
        LabelMap(np.zeros((2, 2), np.int32))
    with pytest.raises(ValueError, match="uint8 or uint16"):
        LabelMap(np.zeros((2, 2, 3), np.uint8))
