"""Run-length codes of masks: COCO's (column by column), its compressed text, CVAT's, Label Studio's.

Every decoder checks that the runs cover exactly the pixels there are before it makes an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudio.core.formats.outlines import Mask

LARGEST_PIXELS = 250_000_000


def from_runs(runs: Sequence[Any], length: int) -> Mask:
    """(length,) bool from alternating run lengths, the first of zeros. Raises ValueError for wrong sums."""
    if not 0 < length <= LARGEST_PIXELS:
        raise ValueError(f"a mask of {length} pixels is not possible")
    if not all(isinstance(run, int) and not isinstance(run, bool) and 0 <= run <= length for run in runs):
        raise ValueError("its runs are no pixel counts")
    if sum(runs) != length:
        raise ValueError(f"its runs cover {sum(runs)} of {length} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, np.asarray(runs, np.int64))


def to_runs(mask: Mask) -> list[int]:
    """Alternating run lengths of a flat mask, the first of zeros."""
    flat = mask.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs: list[int] = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *runs] if flat.size and flat[0] else runs


def coco_mask(counts: Any, width: int, height: int) -> Mask:
    """(H, W) bool from COCO's `counts`, a list or compressed text, which run down the columns."""
    runs = text_runs(counts) if isinstance(counts, str | bytes) else counts
    if not isinstance(runs, list):
        raise ValueError("it has no runs")
    return from_runs(runs, width * height).reshape(width, height).T


def coco_counts(mask: Mask) -> str:
    """COCO's compressed text of a mask (H, W)."""
    return runs_text(to_runs(np.ascontiguousarray(mask.T)))


def text_runs(text: str | bytes) -> list[int]:
    """Run lengths from COCO's text: 5 bits a character from 48 on, low bits first, bit 6 = more follows,
    signed, from the fourth number on as the difference to the one before the last.
    """
    data = text.encode("ascii", "replace") if isinstance(text, str) else text
    runs: list[int] = []
    value = shift = 0
    for byte in data:
        bits = byte - 48
        if not 0 <= bits < 64 or shift > 40:
            raise ValueError("its run-length text is damaged")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its run-length text ends too early")
    return runs


def runs_text(runs: Sequence[int]) -> str:
    """COCO's text for run lengths; the inverse of `text_runs`."""
    result = bytearray()
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            bits = value & 31
            value >>= 5
            last = value == (-1 if bits & 16 else 0)
            result.append(48 + bits + (0 if last else 32))
            if last:
                break
    return result.decode("ascii")


class _Bits:
    """Reads numbers of any width, high bits first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, width: int) -> int:
        end = self._at + width
        first, last = self._at // 8, (end + 7) // 8
        if last > len(self._data):
            raise ValueError("its brush strokes end too early")
        number = int.from_bytes(self._data[first:last], "big") >> (last * 8 - end)
        self._at = end
        return number & ((1 << width) - 1)


def brush_mask(rle: Any, width: int, height: int) -> Mask:
    """(H, W) bool from Label Studio's brush code: the alpha channel of an RGBA picture.

    The code (format "rle"): 32 bits number of values, 5 bits word size - 1, four times 4 bits run size - 1;
    then blocks of 1 bit "run", 2 bits choice of run size, the length - 1, and one value or all of them.
    """
    if not isinstance(rle, list) or not all(isinstance(byte, int) and 0 <= byte <= 255 for byte in rle):
        raise ValueError("its brush strokes are no bytes")
    bits = _Bits(bytes(rle))
    count, word = bits.read(32), bits.read(5) + 1
    if count != width * height * 4 or count > 4 * LARGEST_PIXELS:
        raise ValueError(f"its brush strokes are for {count // 4} instead of {width * height} pixels")
    if word != 8:
        raise ValueError(f"its brush strokes have words of {word} bits")
    sizes = [bits.read(4) + 1 for _ in range(4)]
    values: NDArray[np.uint8] = np.zeros(count, np.uint8)
    at = 0
    while at < count:
        run = bits.read(1)
        end = at + 1 + bits.read(sizes[bits.read(2)])
        if end > count:
            raise ValueError("its brush strokes are longer than the picture")
        if run:
            values[at:end] = bits.read(8)
        else:
            for position in range(at, end):
                values[position] = bits.read(8)
        at = end
    alpha: Mask = values.reshape(height, width, 4)[..., 3] > 0
    return alpha


def brush_code(mask: Mask) -> list[int]:
    """Label Studio's brush code of a mask (H, W); the inverse of `brush_mask`."""
    sizes = (3, 4, 8, 16)
    fields: list[tuple[int, int]] = [(mask.size * 4, 32), (7, 5), *((size - 1, 4) for size in sizes)]
    longest = 1 << sizes[-1]
    # A pixel's four channels are equal, so a run of pixels is one run of values.
    value = 0
    for run in to_runs(mask):
        left = run * 4
        while left:
            length = min(left, longest)
            choice = next(index for index, size in enumerate(sizes) if length <= 1 << size)
            fields += [(1, 1), (choice, 2), (length - 1, sizes[choice]), (value, 8)]
            left -= length
        value ^= 255
    text = "".join(f"{number:0{width}b}" for number, width in fields)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))
