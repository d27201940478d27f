"""Where the canvases look: one centre and one scale, shared by every linked view, and the shared cursor.

Image coordinates are continuous: pixel (column i, row j) covers [i, i+1) x [j, j+1). The scale is view
pixels (logical) for one image pixel.
"""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

from PySide6.QtCore import QObject, QPointF, QSize, QSizeF, Signal

MAX_SCALE = 64.0
SNAP = 0.03
STEP = 1.25


class Viewport(QObject):
    """The part of the image that linked views show.

    While `fitted` is True the whole image is shown and follows the smallest attached view; the first
    zoom or pan by hand ends that.
    """

    changed = Signal()
    cursor_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._image_size = QSizeF(0, 0)
        self._center = QPointF(0, 0)
        self._scale = 1.0
        self._fitted = True
        self._cursor: QPointF | None = None
        self._view_sizes: WeakKeyDictionary[QObject, QSize] = WeakKeyDictionary()

    @property
    def center(self) -> QPointF:
        """The image point in the middle of every view."""
        return QPointF(self._center)

    @property
    def scale(self) -> float:
        return self._scale

    @property
    def fitted(self) -> bool:
        return self._fitted

    @property
    def image_size(self) -> QSizeF:
        return QSizeF(self._image_size)

    @property
    def cursor(self) -> QPointF | None:
        """The image point under the pointer, the same for every linked view; None outside."""
        return None if self._cursor is None else QPointF(self._cursor)

    @property
    def cursor_pixel(self) -> tuple[int, int] | None:
        """(x, y) of the image pixel under the pointer, None outside the image."""
        if self._cursor is None:
            return None
        x, y = math.floor(self._cursor.x()), math.floor(self._cursor.y())
        inside = 0 <= x < self._image_size.width() and 0 <= y < self._image_size.height()
        return (x, y) if inside else None

    def set_cursor(self, point: QPointF | None) -> None:
        if point != self._cursor:
            self._cursor = None if point is None else QPointF(point)
            self.cursor_changed.emit()

    def set_image_size(self, width: float, height: float, *, keep: bool = False) -> None:
        """A new image. With `keep`, zoom and centre stay if the size is the same; else it is fitted."""
        size = QSizeF(width, height)
        if size == self._image_size and (keep or self._fitted):
            return
        same = size == self._image_size
        self._image_size = size
        if not (keep and same):
            self._fitted = True
            self._center = QPointF(width / 2, height / 2)
        self._refit()
        self.changed.emit()

    def set_view_size(self, view: QObject, size: QSize) -> None:
        """A visible view has this size. The smallest one decides what fits."""
        if self._view_sizes.get(view) != size:
            self._view_sizes[view] = QSize(size)
            self._after_sizes()

    def remove_view(self, view: QObject) -> None:
        """A view was hidden or closed."""
        if self._view_sizes.pop(view, None) is not None:
            self._after_sizes()

    def fit(self) -> None:
        """Shows the whole image."""
        self._fitted = True
        self._center = QPointF(self._image_size.width() / 2, self._image_size.height() / 2)
        self._refit()
        self.changed.emit()

    def set_scale(self, scale: float, anchor: QPointF | None = None, offset: QPointF | None = None) -> None:
        """Zooms so that the image point `anchor` stays `offset` view pixels from the middle of the view."""
        scale = min(max(scale, self.min_scale), MAX_SCALE)
        if abs(scale - 1.0) <= SNAP:
            scale = 1.0
        anchor = self._center if anchor is None else anchor
        offset = QPointF(0, 0) if offset is None else offset
        self._fitted = False
        self._scale = scale
        self._center = self._clamped(anchor - offset / scale)
        self.changed.emit()

    def zoom(self, steps: float, anchor: QPointF | None = None, offset: QPointF | None = None) -> None:
        """Zooms by 25 % a step. From exactly 100 % a small step leaves the snap."""
        factor = STEP**steps
        scale = self._scale * factor
        if self._scale == 1.0 and abs(scale - 1.0) <= SNAP:
            scale = 1.0 + math.copysign(SNAP * 1.01, factor - 1.0)
        self.set_scale(scale, anchor, offset)

    def pan(self, dx: float, dy: float) -> None:
        """Moves the image by view pixels."""
        self.set_center(self._center - QPointF(dx, dy) / self._scale)

    def set_center(self, center: QPointF) -> None:
        self._fitted = False
        self._center = self._clamped(center)
        self.changed.emit()

    @property
    def min_scale(self) -> float:
        """Half the scale at which the image fits, and never more than 1."""
        return min(1.0, self._fit_scale() / 2)

    def _clamped(self, center: QPointF) -> QPointF:
        width, height = self._image_size.width(), self._image_size.height()
        return QPointF(min(max(center.x(), 0.0), width), min(max(center.y(), 0.0), height))

    def _fit_scale(self) -> float:
        width, height = self._image_size.width(), self._image_size.height()
        if not self._view_sizes or width <= 0 or height <= 0:
            return self._scale
        sizes = [size for size in self._view_sizes.values() if not size.isEmpty()]
        if not sizes:
            return self._scale
        fits = min(min(size.width() / width, size.height() / height) for size in sizes)
        return min(max(fits, 1e-4), MAX_SCALE)

    def _refit(self) -> None:
        if self._fitted:
            self._scale = self._fit_scale()

    def _after_sizes(self) -> None:
        before = self._scale
        self._refit()
        if self._scale != before:
            self.changed.emit()
