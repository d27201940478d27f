"""The label map of one image: a class index for every pixel, and its storage as 256 x 256 tiles.

Every stored tile carries a checksum, because SQLite does not notice damage inside a blob.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TILE = 256
"""Side of a tile in pixels; tiles at the right and lower border are cut."""

LabelArray = NDArray[Any]
"""(H, W) uint8 or uint16."""

_HEADER = struct.Struct("<BBHHI")
_UNIFORM, _DEFLATED = 1, 2


class DamagedTile(ValueError):
    """A stored tile whose bytes are not those that were written."""


@dataclass(frozen=True, slots=True)
class Rect:
    """Pixels x0 <= x < x1, y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    def united(self, other: Rect) -> Rect:
        """The smallest rectangle that holds both."""
        return Rect(
            min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1)
        )

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0


def ignore_value(dtype: Any) -> int:
    """The value of unlabelled pixels: 255 for uint8, 65535 for uint16."""
    return int(np.iinfo(dtype).max)


def label_dtype(largest_class: int) -> type[np.uint8] | type[np.uint16]:
    """The smallest type that holds the class index and the unlabelled value."""
    return np.uint8 if largest_class < 255 else np.uint16


def converted(array: LabelArray, dtype: Any) -> LabelArray:
    """The labels as `dtype`; unlabelled stays unlabelled. Raises ValueError where a class does not fit."""
    if array.dtype == dtype:
        return array
    old, new = ignore_value(array.dtype), ignore_value(dtype)
    if new < old:
        unlabelled = array == old
        if bool(((array >= new) & ~unlabelled).any()):
            raise ValueError(f"a class index above {new - 1} does not fit into {np.dtype(dtype).name}")
        result = array.astype(dtype)
        result[unlabelled] = new
        return result
    result = array.astype(dtype)
    result[array == old] = new
    return result


class LabelMap:
    """A class index for every pixel of one image; 255 (uint8) or 65535 (uint16) is unlabelled.

    `array` is (H, W), C-contiguous, and changed in place by tools.
    """

    __slots__ = ("array", "ignore")

    def __init__(self, array: LabelArray) -> None:
        if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"a label map is (H, W) uint8 or uint16, not {array.shape} {array.dtype}")
        self.array: LabelArray = np.ascontiguousarray(array)
        self.ignore = ignore_value(array.dtype)

    @classmethod
    def unlabelled(cls, width: int, height: int, dtype: Any = np.uint8) -> LabelMap:
        """A map of the given size in pixels on which nothing is labelled yet."""
        return cls(np.full((height, width), ignore_value(dtype), dtype))

    @property
    def width(self) -> int:
        return int(self.array.shape[1])

    @property
    def height(self) -> int:
        return int(self.array.shape[0])

    def tiles(self) -> Iterator[tuple[int, int]]:
        """(tx, ty) of all tiles, row by row."""
        return tiles_in(0, 0, self.width, self.height)

    def tile(self, tx: int, ty: int) -> LabelArray:
        """The pixels of one tile as a view, at most 256 x 256."""
        return self.array[ty * TILE : (ty + 1) * TILE, tx * TILE : (tx + 1) * TILE]

    def tile_rect(self, tx: int, ty: int) -> Rect:
        """Where a tile lies, cut at the border of the map."""
        x, y = tx * TILE, ty * TILE
        return Rect(x, y, min(x + TILE, self.width), min(y + TILE, self.height))

    def clipped(self, x0: int, y0: int, x1: int, y1: int) -> Rect | None:
        """The part of the rectangle inside the map, or None."""
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(x1, self.width), min(y1, self.height)
        return Rect(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def tiles_in(x0: int, y0: int, x1: int, y1: int) -> Iterator[tuple[int, int]]:
    """(tx, ty) of the tiles that the pixels x0 <= x < x1, y0 <= y < y1 touch, row by row."""
    if x0 >= x1 or y0 >= y1:
        return
    for ty in range(y0 // TILE, (y1 - 1) // TILE + 1):
        for tx in range(x0 // TILE, (x1 - 1) // TILE + 1):
            yield tx, ty


def uniform_value(pixels: LabelArray) -> int | None:
    """The value that all pixels of a tile have; None where there are several."""
    first = pixels[0, 0]
    if pixels.strides == (0, 0):
        return int(first)
    if first != pixels[-1, -1] or not bool((pixels == first).all()):
        return None
    return int(first)


def uniform_tile(shape: tuple[int, int], value: int, dtype: Any) -> LabelArray:
    """A tile (h, w) of one value, read-only: one number and no memory for its pixels."""
    kind = np.dtype(dtype)
    return np.ndarray(shape, kind, kind.type(value).tobytes(), strides=(0, 0))


def kept_tile(pixels: LabelArray) -> LabelArray:
    """A copy of a tile; of one value as `uniform_tile`. Most tiles of a big change are, and 100 megapixels of
    them would be 100 MB that the system has to clear page by page."""
    value = uniform_value(pixels)
    if value is None:
        return pixels.copy()
    return uniform_tile((pixels.shape[0], pixels.shape[1]), value, pixels.dtype)


def encode_tile(pixels: LabelArray) -> bytes:
    """A tile (h, w) uint8 or uint16, h and w in 1-256, as header, CRC-32 and deflated pixels.

    A tile of one value is stored as that value.
    """
    height, width = pixels.shape
    value = uniform_value(pixels)
    if value is not None:
        kind, payload = _UNIFORM, value.to_bytes(2, "little")
    else:
        little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
        kind, payload = _DEFLATED, zlib.compress(np.ascontiguousarray(little).data, 1)
    head = _HEADER.pack(kind, pixels.dtype.itemsize, height, width, 0)
    return (
        _HEADER.pack(kind, pixels.dtype.itemsize, height, width, zlib.crc32(payload, zlib.crc32(head)))
        + payload
    )


def check_tile(data: bytes) -> None:
    """Raises DamagedTile where the checksum does not fit; does not unpack."""
    if len(data) < _HEADER.size:
        raise DamagedTile(f"only {len(data)} bytes are left of it")
    kind, itemsize, height, width, stored = _HEADER.unpack_from(data)
    head = _HEADER.pack(kind, itemsize, height, width, 0)
    if zlib.crc32(memoryview(data)[_HEADER.size :], zlib.crc32(head)) != stored:
        raise DamagedTile("its checksum does not fit")
    if kind not in (_UNIFORM, _DEFLATED) or itemsize not in (1, 2) or not (0 < height <= TILE >= width > 0):
        raise DamagedTile("its header is unknown")


def decode_tile(data: bytes) -> LabelArray:
    """The pixels that `encode_tile` was given; read-only where they have one value. Raises DamagedTile."""
    check_tile(data)
    kind, itemsize, height, width, _ = _HEADER.unpack_from(data)
    dtype = np.dtype("<u1" if itemsize == 1 else "<u2")
    payload = data[_HEADER.size :]
    if kind == _UNIFORM:
        return uniform_tile((height, width), int.from_bytes(payload, "little"), dtype.newbyteorder("="))
    size = height * width * itemsize
    try:
        raw = zlib.decompressobj().decompress(payload, size + 1)
    except zlib.error as error:
        raise DamagedTile(str(error)) from error
    if len(raw) != size:
        raise DamagedTile(f"it holds {len(raw)} bytes instead of {size}")
    native: LabelArray = np.frombuffer(raw, dtype).reshape(height, width).astype(dtype.newbyteorder("="))
    return native
