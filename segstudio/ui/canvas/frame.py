"""The mapping between image pixels and the device pixels of one view, for one frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

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

    def to_device(self, point: QPointF) -> QPointF:
        return QPointF(self.left + point.x() * self.scale, self.top + point.y() * self.scale)


def sample(
    array: NDArray[np.generic], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.generic]:
    """`array[rows][:, columns]` for sorted indices: (len(rows), len(columns)), nearest neighbour.

    Rows are gathered from the visible columns only, so the cost follows the view and not the image: no
    pyramid of a label map has to be kept or rebuilt after a stroke.
    """
    first, last = int(columns[0]), int(columns[-1])
    return array[:, first : last + 1][rows].take(columns - first, axis=1)
