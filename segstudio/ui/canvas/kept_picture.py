"""The picture a canvas keeps of its layers: rendered once, scrolled when panned, patched where changed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import QRect, QRectF, QSize
from PySide6.QtGui import QColor, QImage, QPainter, QRegion

from segstudio.ui.canvas.frame import Frame
from segstudio.ui.canvas.layers import Layer


class KeptPicture:
    """Device pixels of one view. What is stale is counted in the frame that was rendered last."""

    def __init__(self) -> None:
        self._image = QImage()
        self._frame: Frame | None = None
        self._stale: QRegion | None = None  # None: everything

    @property
    def image(self) -> QImage:
        return self._image

    def shows(self, frame: Frame) -> bool:
        """Whether there is nothing to render for this frame."""
        return self._stale is not None and self._stale.isEmpty() and self._frame == frame

    def invalidate(self) -> None:
        """Everything must be rendered anew."""
        self._stale = None

    def touch(self, rect: QRectF) -> None:
        """Layers changed inside `rect` (image pixels)."""
        if self._frame is not None and self._stale is not None:
            self._stale |= self._frame.touched_rect(rect)

    def render(self, frame: Frame, layers: Sequence[Layer], ground: QColor, *, grid: bool) -> None:
        """Brings the picture up to date with `frame`; `grid` draws lines between pixels."""
        size = QSize(frame.width, frame.height)
        if self._image.size() != size:
            self._image = QImage(size, QImage.Format.Format_RGB32)
            self._stale = None
        if self._frame != frame and self._stale is not None:
            self._stale = self._scrolled(frame)
        stale = QRegion(self._image.rect()) if self._stale is None else self._stale
        self._stale, self._frame = QRegion(), frame
        if stale.isEmpty():
            return
        bounds = stale.boundingRect()
        whole = bounds.width() * bounds.height() <= 1.5 * sum(r.width() * r.height() for r in stale)
        painter = QPainter(self._image)
        try:
            for part in [bounds] if whole else stale:
                _render_part(painter, frame, part, layers, ground, grid)
        except BaseException:
            self._stale = None
            raise
        finally:
            painter.end()  # a painter left open would refuse every later frame

    def _scrolled(self, frame: Frame) -> QRegion | None:
        """After a pan: moves the picture and gives the strips that came into view; None after a zoom."""
        before = self._frame
        if before is None or self._stale is None or before.scale != frame.scale:
            return None
        if (before.image_width, before.image_height) != (frame.image_width, frame.image_height):
            return None
        dx, dy = frame.left - before.left, frame.top - before.top
        whole = self._image.rect()
        kept = whole & whole.translated(dx, dy)
        if kept.width() * kept.height() * 2 < whole.width() * whole.height():
            return None
        moved = QImage(self._image.size(), QImage.Format.Format_RGB32)
        painter = QPainter(moved)
        painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Source)
        painter.drawImage(dx, dy, self._image)
        painter.end()
        self._image = moved
        return self._stale.translated(dx, dy).intersected(whole) | (QRegion(whole) - QRegion(kept))


def _render_part(
    painter: QPainter, frame: Frame, bounds: QRect, layers: Sequence[Layer], ground: QColor, grid: bool
) -> None:
    inside = frame.image_rect()
    if not inside.contains(bounds):
        for part in QRegion(bounds) - QRegion(inside):
            painter.fillRect(part, ground)
    clip = bounds & inside
    if not clip.isEmpty():
        shown = [layer for layer in layers if layer.visible]
        if not shown or not shown[0].covers:
            painter.fillRect(clip, ground)
        for layer in shown:
            layer.render(painter, frame, clip)
        if grid:
            _paint_grid(painter, frame, clip)


def _paint_grid(painter: QPainter, frame: Frame, clip: QRect) -> None:
    """Lines between pixels."""
    color = QColor(128, 128, 128, 90)
    first = math.floor((clip.left() - frame.left) / frame.scale)
    last = math.ceil((clip.right() + 1 - frame.left) / frame.scale)
    for column in range(first, last + 1):
        x = frame.left + math.ceil(column * frame.scale - 0.5)
        painter.fillRect(QRect(x, clip.top(), 1, clip.height()) & clip, color)
    first = math.floor((clip.top() - frame.top) / frame.scale)
    last = math.ceil((clip.bottom() + 1 - frame.top) / frame.scale)
    for row in range(first, last + 1):
        y = frame.top + math.ceil(row * frame.scale - 0.5)
        painter.fillRect(QRect(clip.left(), y, clip.width(), 1) & clip, color)
