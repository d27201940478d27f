"""Label maps as PNG: one byte a pixel with a palette, or 16-bit grey for more than 255 classes.

Written and read without an image library: the window writes the copies for other programs, and it loads
no decoder. The reader takes what the writer makes and any other palette, grey 8- or 16-bit PNG that is not
interlaced; the format is defined in ISO/IEC 15948 (PNG, third edition).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.core.label_map import LabelArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STRIP_BYTES = 1 << 22
UNLABELLED_COLOR = (128, 128, 128)
LARGEST_PIXELS = 250_000_000


def encode(labels: LabelArray, palette: Sequence[tuple[int, int, int]] = ()) -> bytes:
    """`labels` (H, W) uint8 with `palette[i]` for class i, or uint16 as grey, as a PNG file.

    Colours that `palette` lacks are grey.
    """
    height, width = labels.shape
    deep = labels.dtype == np.uint16
    header = struct.pack(">IIBBBBB", width, height, 16 if deep else 8, 0 if deep else 3, 0, 0, 0)
    parts = [_SIGNATURE, _chunk(b"IHDR", header)]
    if not deep:
        table = np.full((256, 3), UNLABELLED_COLOR, np.uint8)
        colors = np.asarray(palette, np.uint8).reshape(-1, 3)[:256]
        table[: len(colors)] = colors
        parts.append(_chunk(b"PLTE", table.tobytes()))
    compressor = zlib.compressobj(1)
    row_bytes = 1 + width * labels.dtype.itemsize
    rows = max(1, _STRIP_BYTES // row_bytes)
    for start in range(0, height, rows):
        strip = labels[start : start + rows]
        lines = np.zeros((len(strip), row_bytes), np.uint8)  # byte 0 of a row: no filter
        content = strip.astype(">u2") if deep else strip
        lines[:, 1:] = np.ascontiguousarray(content).view(np.uint8).reshape(len(strip), -1)
        data = compressor.compress(lines.data)
        if data:
            parts.append(_chunk(b"IDAT", data))
    parts.append(_chunk(b"IDAT", compressor.flush()))
    parts.append(_chunk(b"IEND", b""))
    return b"".join(parts)


def write(path: Path, labels: LabelArray, palette: Sequence[tuple[int, int, int]] = ()) -> None:
    """Writes `labels` as `encode` makes it, in one step. Raises OSError."""
    atomic_file.write_bytes(path, encode(labels, palette))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def read(path: Path) -> tuple[LabelArray, tuple[tuple[int, int, int], ...]]:
    """The indices (H, W) uint8 or uint16, and the palette (empty for grey).

    Raises UserError where the file is no index picture: colour, interlaced, damaged or too large.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            "The label picture cannot be read", where=f"from {path}", details=str(error)
        ) from error
    try:
        return decode(data)
    except ValueError as error:
        raise UserError(
            f"The label picture is not usable ({error})",
            where=f"in {path}",
            action="Expected a palette or grey PNG of class indices.",
        ) from error


def decode(data: bytes) -> tuple[LabelArray, tuple[tuple[int, int, int], ...]]:
    """What `read` gives, from the file's bytes. Raises ValueError with the reason."""
    if not data.startswith(_SIGNATURE):
        raise ValueError("not a PNG")
    header: tuple[int, ...] | None = None
    palette: tuple[tuple[int, int, int], ...] = ()
    packed: list[memoryview] = []
    view, at = memoryview(data), len(_SIGNATURE)
    while True:
        if at + 12 > len(view):
            raise ValueError("it ends too early")
        (length,) = struct.unpack_from(">I", view, at)
        kind, content = bytes(view[at + 4 : at + 8]), view[at + 8 : at + 8 + length]
        if at + 12 + length > len(view):
            raise ValueError("it ends too early")
        if struct.unpack_from(">I", view, at + 8 + length)[0] != zlib.crc32(content, zlib.crc32(kind)):
            raise ValueError("a checksum does not fit")
        at += 12 + length
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", content) if length == 13 else None
        elif kind == b"PLTE":
            colors = np.frombuffer(content[: length // 3 * 3], np.uint8).reshape(-1, 3).tolist()
            palette = tuple((red, green, blue) for red, green, blue in colors)
        elif kind == b"IDAT":
            packed.append(content)
        elif kind == b"IEND":
            break
    if header is None:
        raise ValueError("it has no header")
    return _unpack(header, packed), palette if header[3] == 3 else ()


def _unpack(header: tuple[int, ...], packed: list[memoryview]) -> LabelArray:
    width, height, bits, color, _, _, interlaced = header
    if color not in (0, 3):
        raise ValueError("it holds colours instead of class indices")
    if interlaced or bits not in (1, 2, 4, 8, 16) or (color == 3 and bits == 16):
        raise ValueError("it is interlaced" if interlaced else f"{bits} bits are not usual")
    if not 0 < width * height <= LARGEST_PIXELS:
        raise ValueError(f"it claims {width}x{height} pixels")
    row_bytes = (width * bits + 7) // 8
    size = height * (row_bytes + 1)
    decompressor = zlib.decompressobj()
    raw = bytearray()
    try:
        for content in packed:
            raw += decompressor.decompress(content, size + 1 - len(raw))
            if len(raw) > size:
                break
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(raw) < size:
        raise ValueError("it ends too early")
    lines = np.frombuffer(raw, np.uint8)[:size].reshape(height, row_bytes + 1)
    rows = _unfiltered(lines, max(1, bits // 8))
    if bits == 16:
        return rows.view(">u2").astype(np.uint16)
    if bits == 8:
        return rows
    spread = np.unpackbits(rows, axis=1).reshape(height, -1, bits)
    weights = 1 << np.arange(bits - 1, -1, -1)
    return np.ascontiguousarray((spread @ weights).astype(np.uint8)[:, :width])


def _unfiltered(lines: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """The rows without PNG's row filters (section 9); `step` is the bytes of a pixel."""
    filters = lines[:, 0]
    if not filters.any():
        return np.ascontiguousarray(lines[:, 1:])
    if int(filters.max()) > 4:
        raise ValueError(f"row filter {int(filters.max())} is unknown")
    result = np.empty((lines.shape[0], lines.shape[1] - 1), np.uint8)
    above = np.zeros(result.shape[1], np.uint8)
    for index, line in enumerate(lines):
        kind, row = int(line[0]), line[1:].copy()
        if kind == 1:
            for first in range(step):
                row[first::step] = np.cumsum(row[first::step], dtype=np.uint8)
        elif kind == 2:
            row += above
        elif kind in (3, 4):
            row = _sequential(kind, row, above, step)
        result[index] = row
        above = row
    return result


def _sequential(kind: int, row: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """The filters Average (3) and Paeth (4), in which each byte needs the one before it."""
    values, upper = row.tolist(), above.tolist()
    for at in range(len(values)):
        left = values[at - step] if at >= step else 0
        up = upper[at]
        if kind == 3:
            guess = (left + up) // 2
        else:
            corner = upper[at - step] if at >= step else 0
            estimate = left + up - corner
            distances = (abs(estimate - left), abs(estimate - up), abs(estimate - corner))
            guess = (left, up, corner)[distances.index(min(distances))]
        values[at] = (values[at] + guess) & 255
    return np.array(values, np.uint8)
