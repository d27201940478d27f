"""The mapping between image pixels and the device pixels of one view, for one frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRect, QRectF


@dataclass(frozen=True, slots=True)
class Frame:
    """`scale` device pixels for one image pixel; image point (0, 0) lies at device pixel (left, top).

    `left` and `top` are whole numbers, so that panning moves the picture by whole pixels and a pixel of
    the image never changes its width while it is moved.
    """

    scale: float
    left: int
    top: int
    width: int
    height: int
    image_width: int
    image_height: int

    def image_rect(self) -> QRect:
        """The device pixels that the image covers, cut to the view."""
        return self.device_rect(QRectF(0, 0, self.image_width, self.image_height)) & QRect(
            0, 0, self.width, self.height
        )

    def device_rect(self, rect: QRectF) -> QRect:
        """Device pixels whose centres lie in `rect` (image pixels)."""
        left = self.left + math.ceil(rect.left() * self.scale - 0.5)
        top = self.top + math.ceil(rect.top() * self.scale - 0.5)
        right = self.left + math.ceil(rect.right() * self.scale - 0.5)
        bottom = self.top + math.ceil(rect.bottom() * self.scale - 0.5)
        return QRect(left, top, right - left, bottom - top)

    def touched_rect(self, rect: QRectF, margin: int = 2) -> QRect:
        """Every device pixel that `rect` (image pixels) may touch, and `margin` more for outlines."""
        left = math.floor(self.left + rect.left() * self.scale) - margin
        top = math.floor(self.top + rect.top() * self.scale) - margin
        right = math.ceil(self.left + rect.right() * self.scale) + margin
        bottom = math.ceil(self.top + rect.bottom() * self.scale) + margin
        return QRect(left, top, right - left, bottom - top) & QRect(0, 0, self.width, self.height)

    def columns(self, first: int, count: int) -> NDArray[np.intp]:
        """The image column under the centre of each of `count` device pixels, kept inside the image."""
        at = (np.arange(first, first + count) + 0.5 - self.left) / self.scale
        return np.clip(at, 0, self.image_width - 1).astype(np.intp)

    def rows(self, first: int, count: int) -> NDArray[np.intp]:
        """The image row under the centre of each of `count` device pixels, kept inside the image."""
        at = (np.arange(first, first + count) + 0.5 - self.top) / self.scale
        return np.clip(at, 0, self.image_height - 1).astype(np.intp)

    def shows(self, *maps: NDArray[Any]) -> bool:
        """Whether all these (H, W, ...) are maps of the image: for a moment, those of the image before are
        still there, or those of the next one already."""
        size = (self.image_height, self.image_width)
        return all(each.shape[:2] == size for each in maps)

    def to_device(self, point: QPointF) -> QPointF:
        return QPointF(self.left + point.x() * self.scale, self.top + point.y() * self.scale)


def sample(
    array: NDArray[np.generic], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.generic]:
    """`array[rows][:, columns]` for sorted indices: (len(rows), len(columns)), nearest neighbour.

    The cost follows the view and not the image: no pyramid of a label map has to be kept or rebuilt after a
    stroke. Evenly spaced indices (whole and halved sizes, 100 %) are a slice, which is ten times faster than
    gathering; enlarged, each column is gathered once for all the rows that repeat it.
    """
    top, left = int(rows[0]), int(columns[0])
    block = array[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    down, across = _spacing(rows), _spacing(columns)
    if down and across:
        return block[::down, ::across].copy()
    if len(rows) > block.shape[0]:
        return block.take(columns - left, axis=1)[rows - top]
    return block[rows - top].take(columns - left, axis=1)


def _spacing(indices: NDArray[np.intp]) -> int:
    """The distance of neighbouring indices where it is the same everywhere and not 0, else 0."""
    if len(indices) < 2:
        return 1
    steps = indices[1:] - indices[:-1]
    first = int(steps[0])
    return first if first and bool((steps == first).all()) else 0
