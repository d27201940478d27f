"""Writing rows of pixels: shapes as one span a row, in as few and as long writes as possible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudio.core.label_map import LabelArray, Rect

Ends = NDArray[np.intp]
"""One end of a span for each of consecutive rows."""

_BLOCK = 16  # rows written together where their spans overlap
_SCATTERED = 128  # pixels a row, on average, up to which single indices are faster than slices
_BANDS = 5
_NEARLY = 0.8  # share of a rectangle from which its parts are painted no faster
_WHOLE = 400_000  # pixels: a smaller rectangle is painted as fast as its parts


def write_spans(
    array: LabelArray, top: int, first: Ends, stop: Ends, value: int, allowed: NDArray[np.bool_] | None
) -> None:
    """Write `value` on columns first <= x < stop of the rows from `top` on; first >= stop is an empty row.

    `array` (H, W) uint8 or uint16, C-contiguous. `allowed` says by the value that is there whether it may be
    written on (length 256 or 65536); None allows all.
    """
    if allowed is not None:
        _write_where_allowed(array, top, first, stop, value, allowed)
    elif int(np.maximum(stop - first, 0).sum()) <= _SCATTERED * len(first):
        _write_scattered(array, top, first, stop, value)
    else:
        _write_blocks(array, top, first, stop, value)


def _write_scattered(array: LabelArray, top: int, first: Ends, stop: Ends, value: int) -> None:
    """All pixels at once by their indices in the flattened map."""
    lengths = np.maximum(stop - first, 0)
    total = int(lengths.sum())
    if total == 0:
        return
    begins = (np.arange(top, top + len(first)) * array.shape[1] + first).astype(np.intp)
    before = np.cumsum(lengths) - lengths
    array.reshape(-1)[np.repeat(begins - before, lengths) + np.arange(total)] = value


def _write_blocks(array: LabelArray, top: int, first: Ends, stop: Ends, value: int) -> None:
    """What a block of rows has in common as one rectangle, the ragged ends by their indices; rows of a block
    that have nothing in common one by one."""
    starts = np.arange(0, len(first), _BLOCK)
    low, high = np.maximum.reduceat(first, starts), np.minimum.reduceat(stop, starts)
    common = low < high
    lengths = np.minimum(_BLOCK, len(first) - starts)
    blocks = zip(starts[common], lengths[common], low[common], high[common], strict=True)
    for start, rows, left, right in ((int(a), int(b), int(c), int(d)) for a, b, c, d in blocks):
        array[top + start : top + start + rows, left:right] = value
    shared = np.repeat(common, lengths)
    for row in np.flatnonzero(~shared & (first < stop)).tolist():
        array[top + row, first[row] : stop[row]] = value
    none = np.zeros_like(first)
    left_stop, right_first = np.repeat(low, lengths), np.repeat(high, lengths)
    _write_scattered(array, top, np.where(shared, first, none), np.where(shared, left_stop, none), value)
    _write_scattered(array, top, np.where(shared, right_first, none), np.where(shared, stop, none), value)


def _write_where_allowed(
    array: LabelArray, top: int, first: Ends, stop: Ends, value: int, allowed: NDArray[np.bool_]
) -> None:
    spans = enumerate(zip(first.tolist(), stop.tolist(), strict=True), start=top)
    if array.dtype == np.uint8:
        # Bytes translate through a table ten times faster than an array is indexed by an array.
        table = np.where(allowed, value, np.arange(256)).astype(np.uint8).tobytes()
        for row, (start, end) in spans:
            if start < end:
                part = array[row, start:end]
                part[:] = np.frombuffer(part.tobytes().translate(table), np.uint8)
        return
    for row, (start, end) in spans:
        if start < end:
            part = array[row, start:end]
            np.copyto(part, value, where=allowed[part])


def covering(top: int, pieces: list[tuple[Ends, Ends]]) -> list[Rect]:
    """A few rectangles that hold all spans of `pieces` (each first, stop by row), with little around them.

    The new part of a moved brush is a thin crescent; its bounding box would be the whole brush.
    """
    rects = [rect for first, stop in pieces if (rect := _bounds(top, first, stop)) is not None]
    if not rects:
        return []
    whole = rects[0]
    for rect in rects[1:]:
        whole = whole.united(rect)
    if whole.width * whole.height <= _WHOLE:
        return [whole]
    banded: list[Rect] = []
    for first, stop in pieces:
        height = -(-len(first) // _BANDS)
        for start in range(0, len(first), height):
            rect = _bounds(top + start, first[start : start + height], stop[start : start + height])
            if rect is not None:
                banded.append(rect)
    area = sum(rect.width * rect.height for rect in banded)
    return [whole] if area >= _NEARLY * whole.width * whole.height else banded


def _bounds(top: int, first: Ends, stop: Ends) -> Rect | None:
    filled: Any = np.flatnonzero(first < stop)
    if not len(filled):
        return None
    return Rect(
        int(first[filled].min()),
        top + int(filled[0]),
        int(stop[filled].max()),
        top + int(filled[-1]) + 1,
    )
