"""Changing a label map with the pen: stamps, polygons, fills. Pixels only; no widgets, no files.

A pixel (column i, row j) belongs to a shape where its centre (i + 0.5, j + 0.5) lies inside. Every function
touches the recorder first, writes in place, and tells where pixels may have changed. All shapes of the pen
are convex: one span a row; of a moved tip only the part that was not under it before is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segstudio.core.edits import StrokeRecorder
from segstudio.core.label_map import LabelMap, Rect
from segstudio.runtime.opencv import prepare_opencv
from segstudio.runtime.spans import Ends, covering, write_spans

Tip = Literal["round", "square"]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Ink:
    """What is written and where it may be written.

    `value` is the class index or the map's unlabelled value. `locked` classes keep their pixels. `only`
    restricts writing to pixels that have one of these values ("preserve other labels"); None allows all.
    """

    value: int
    locked: frozenset[int] = frozenset()
    only: frozenset[int] | None = None

    @property
    def is_free(self) -> bool:
        """Whether every pixel may be written."""
        return not self.locked and self.only is None

    def table(self, dtype: np.dtype[np.uint8] | np.dtype[np.uint16]) -> NDArray[np.bool_]:
        """May a pixel with this value be written? Indexed by value, length 256 or 65536."""
        size = 256 if dtype.itemsize == 1 else 65536
        allowed = np.full(size, self.only is None)
        for value in self.only or ():
            allowed[value] = True
        for value in self.locked:
            allowed[value] = False
        return allowed


class Pen:
    """Writes one stroke: a tip of `size` pixels moved along a path."""

    def __init__(self, recorder: StrokeRecorder, ink: Ink, size: float, tip: Tip = "round") -> None:
        self._recorder = recorder
        self._labels = recorder.label_map
        self._ink = ink
        self._size = max(1.0, size)
        self._tip = tip
        self._under: Point | None = None  # where the tip stands: those pixels are written
        self._table = None if ink.is_free else ink.table(self._labels.array.dtype)

    def line(self, start: Point, end: Point) -> list[Rect]:
        """Move the tip from `start` to `end` (equal: one dab). Gives rectangles that hold every pixel that
        may have changed; none where that lies outside the map."""
        start, end = self._snapped(start), self._snapped(end)
        radius = self._size / 2
        left, right = min(start[0], end[0]) - radius, max(start[0], end[0]) + radius
        upper, lower = min(start[1], end[1]) - radius, max(start[1], end[1]) + radius
        rect = self._labels.clipped(
            math.floor(left), math.floor(upper), math.ceil(right) + 1, math.ceil(lower) + 1
        )
        if rect is None:
            self._under = None
            return []
        middles = np.arange(rect.y0, rect.y1, dtype=np.float64) + 0.5
        first, stop = _pixels(rect, *_tip_spans(middles, start, end, radius, self._tip))
        if self._under == start:
            before = _pixels(rect, *_tip_spans(middles, start, start, radius, self._tip))
            pieces = _without(first, stop, *before)
        else:
            pieces = [(first, stop)]
        self._under = end
        changed = covering(rect.y0, pieces)
        for part in changed:
            self._recorder.touch(part.x0, part.y0, part.x1, part.y1)
        for piece in pieces:
            write_spans(self._labels.array, rect.y0, *piece, self._ink.value, self._table)
        return changed

    def _snapped(self, point: Point) -> Point:
        """Tips of one and two pixels fall on whole pixels, or a slow hand would leave gaps."""
        if self._size < 1.5:
            return math.floor(point[0]) + 0.5, math.floor(point[1]) + 0.5
        if self._size < 2.5:
            return float(round(point[0])), float(round(point[1]))
        return point


def _pixels(rect: Rect, left: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[Ends, Ends]:
    """The columns whose centre lies between `left` and `right`, cut to `rect`: first and one past the last;
    left > right is an empty row."""
    first = np.clip(np.ceil(left - 0.5), rect.x0, rect.x1).astype(np.intp)
    stop = np.clip(np.floor(right - 0.5) + 1, rect.x0, rect.x1).astype(np.intp)
    return first, stop


def _without(first: Ends, stop: Ends, inner_first: Ends, inner_stop: Ends) -> list[tuple[Ends, Ends]]:
    """What lies left and what lies right of the inner spans; the whole row where the inner one is empty."""
    empty = inner_first >= inner_stop
    return [
        (first, np.where(empty, stop, np.minimum(stop, inner_first))),
        (np.where(empty, stop, np.maximum(first, inner_stop)), stop),
    ]


def _tip_spans(
    rows: NDArray[np.float64], start: Point, end: Point, radius: float, tip: Tip
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Left and right border of the moved tip at each row centre."""
    left = np.full(len(rows), np.inf)
    right = np.full(len(rows), -np.inf)
    for point in (start, end):
        reach = _reach(rows - point[1], radius, tip)
        inside = ~np.isnan(reach)
        np.minimum(left, point[0] - reach, out=left, where=inside)
        np.maximum(right, point[0] + reach, out=right, where=inside)
    if start != end:
        for corner in _hull_corners(start, end, radius, tip):
            _widen(rows, corner[0], corner[1], left, right)
    return left, right


def _reach(offset: NDArray[np.float64], radius: float, tip: Tip) -> NDArray[np.float64]:
    """Half the width of the tip at a vertical offset from its middle; NaN outside."""
    inside = np.abs(offset) <= radius
    width = np.sqrt(np.maximum(radius**2 - offset**2, 0)) if tip == "round" else np.full(len(offset), radius)
    return np.where(inside, width, np.nan)


def _hull_corners(start: Point, end: Point, radius: float, tip: Tip) -> Iterable[tuple[Point, Point]]:
    """The straight sides of the hull of both tips, as segments parallel to the path."""
    if tip == "round":
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy)
        sides = [(-dy / length * radius, dx / length * radius), (dy / length * radius, -dx / length * radius)]
    else:
        sides = [(sx * radius, sy * radius) for sx in (-1, 1) for sy in (-1, 1)]
    for x, y in sides:
        yield (start[0] + x, start[1] + y), (end[0] + x, end[1] + y)


def _widen(
    rows: NDArray[np.float64], a: Point, b: Point, left: NDArray[np.float64], right: NDArray[np.float64]
) -> None:
    """Take the segment a-b into the spans of the rows it crosses."""
    low, high = min(a[1], b[1]), max(a[1], b[1])
    crosses = (rows >= low) & (rows <= high)
    if a[1] == b[1]:
        x = np.full(len(rows), a[0])
    else:
        x = a[0] + (rows - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
    np.minimum(left, x, out=left, where=crosses)
    np.maximum(right, x, out=right, where=crosses)


def fill_polygon(recorder: StrokeRecorder, ink: Ink, points: Sequence[Point]) -> Rect | None:
    """Write the inside of a closed polygon (even-odd rule). None where nothing lies inside the map."""
    if len(points) < 3:
        return None
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    labels = recorder.label_map
    rect = labels.clipped(
        math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)) + 1, math.ceil(max(ys)) + 1
    )
    if rect is None:
        return None
    recorder.touch(rect.x0, rect.y0, rect.x1, rect.y1)
    table = None if ink.is_free else ink.table(labels.array.dtype)
    for first, stop in polygon_spans(points, rect):
        write_spans(labels.array, rect.y0, first, stop, ink.value, table)
    return rect


def polygon_spans(points: Sequence[Point], rect: Rect) -> list[tuple[Ends, Ends]]:
    """The pixels of `rect` whose centres lie inside the polygon (even-odd): for every pair of crossings of a
    row the first column and one past the last, rows in order; rows with fewer pairs have empty spans."""
    rows, columns = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    middles = np.arange(rect.y0, rect.y1, dtype=np.float64) + 0.5
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        crossed = np.flatnonzero((middles >= min(ay, by)) & (middles < max(ay, by)))
        at = ax + (middles[crossed] - ay) / (by - ay) * (bx - ax) if len(crossed) else middles[:0]
        rows.append(crossed)
        columns.append(np.clip(np.ceil(at - 0.5), rect.x0, rect.x1).astype(np.intp))
    row, column = np.concatenate(rows), np.concatenate(columns)
    order = np.lexsort((column, row))
    row, column = row[order], column[order]
    counts = np.bincount(row, minlength=rect.height)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    most = int(counts.max(initial=0))
    ends = np.zeros((most, rect.height), np.intp)
    ends[place, row] = column
    return [(ends[pair], ends[pair + 1]) for pair in range(0, most - 1, 2)]


def region_mask(labels: LabelMap, x: int, y: int) -> tuple[Rect, NDArray[np.bool_]] | None:
    """The connected region (4 neighbours) of equal labels around pixel (x, y): its rectangle and mask.

    None outside the map. Reads only, so a thread may do it for a big map.
    """
    if not (0 <= x < labels.width and 0 <= y < labels.height):
        return None
    prepare_opencv()
    import cv2  # here, because only fills and proposals need it

    same = labels.array if labels.array.dtype == np.uint8 else _pixels_like(labels, x, y)
    mask = np.zeros((labels.height + 2, labels.width + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8)
    _, _, _, (left, top, width, height) = cv2.floodFill(same, mask, (x, y), 1, flags=flags)
    rect = Rect(left, top, left + width, top + height)
    return rect, mask[1 + top : 1 + top + height, 1 + left : 1 + left + width].view(np.bool_)


def _pixels_like(labels: LabelMap, x: int, y: int) -> NDArray[np.uint8]:
    """1 where a pixel has the value of (x, y), else 0."""
    same: NDArray[np.bool_] = labels.array == labels.array[y, x]
    return same.view(np.uint8)


def fill_mask(recorder: StrokeRecorder, ink: Ink, rect: Rect, mask: NDArray[np.bool_]) -> Rect | None:
    """Write where `mask` (rect.height, rect.width) is True."""
    inside = recorder.touch(rect.x0, rect.y0, rect.x1, rect.y1)
    if inside is None:
        return None
    labels = recorder.label_map
    part = labels.array[rect.y0 : rect.y1, rect.x0 : rect.x1]
    where = mask if ink.is_free else mask & ink.table(labels.array.dtype)[part]
    np.copyto(part, ink.value, where=where)
    return inside
