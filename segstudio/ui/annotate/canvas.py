"""The canvas of Annotate: it flashes what was undone and shows a small map while only a part is in view."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPen, QPixmap

from segstudio.ui import theme
from segstudio.ui.annotate.ghost_chip import GhostChip
from segstudio.ui.canvas.view import CanvasView
from segstudio.ui.canvas.viewport import Viewport

_FLASH_MS = 350
_MAP = QSize(144, 108)
_MARGIN = 8


class AnnotateCanvas(CanvasView):
    """`small_picture` gives any small picture of the image in front, for the map."""

    answered = Signal(str)  # "accept" or "reject": a click on the proposal's chip

    def __init__(self, viewport: Viewport, small_picture: Callable[[], QImage | None]) -> None:
        super().__init__(viewport)
        self.setAccessibleName("Canvas")
        self._small_picture = small_picture
        self._map: tuple[int, QPixmap] | None = None
        self._on_map = False
        self._chip: GhostChip | None = None
        self._flash: QRect | None = None
        self._flash_over = QTimer(self, singleShot=True, interval=_FLASH_MS)
        self._flash_over.timeout.connect(self._end_flash)

    def flash(self, rect: QRect) -> None:
        """Outline a region (image pixels) for a moment: there something was undone."""
        self._flash = QRect(rect)
        self._flash_over.start()
        self.update()

    def show_chip(self, chip: GhostChip | None) -> None:
        """Show the chip of the proposed region in hand, or none."""
        if chip != self._chip:
            self._chip = chip
            self.update()

    def chip_rect(self) -> QRect | None:
        """Where the chip lies (view pixels); None while its region is out of view or a stroke is drawn."""
        chip = self._chip
        if chip is None:
            return None
        region = self.view_rect(chip.region)
        return chip.place(region, self.size()) if region.intersects(QRectF(self.rect())) else None

    def map_rect(self) -> QRect | None:
        """Where the small map lies (view pixels); None while the whole image is in view."""
        size, scale = self.viewport.image_size, self.viewport.scale
        if size.isEmpty() or (
            size.width() * scale <= self.width() and size.height() * scale <= self.height()
        ):
            return None
        box = size.scaled(_MAP, Qt.AspectRatioMode.KeepAspectRatio).toSize()
        if self.width() < 3 * box.width() or self.height() < 3 * box.height():
            return None
        left, top = self.width() - box.width() - _MARGIN, self.height() - box.height() - _MARGIN
        return QRect(left, top, box.width(), box.height())

    def paint_over(self, painter: QPainter) -> None:
        box = self.map_rect()
        if box is not None:
            self._paint_map(painter, box)
        chip_box = self.chip_rect()
        if self._chip is not None and chip_box is not None:
            self._chip.paint(painter, chip_box)
        if self._flash is not None:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.color("accent"), 2))
            painter.drawRect(self.view_rect(QRectF(self._flash)))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        box = self.map_rect()
        left = event.button() == Qt.MouseButton.LeftButton
        if box is not None and left and box.contains(event.position().toPoint()):
            self._on_map = True
            self._go(event.position(), box)
            return
        chip_box = self.chip_rect()
        if self._chip is not None and chip_box is not None and left:
            answer = self._chip.answer_at(chip_box, event.position())
            if answer in ("accept", "reject"):
                self.answered.emit(answer)
            if answer:
                return
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        box = self.map_rect()
        if self._on_map and box is not None:
            self._go(event.position(), box)
            return
        super().mouseMoveEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._on_map:
            self._on_map = False
            return
        super().mouseReleaseEvent(event)

    def _go(self, position: QPointF, box: QRect) -> None:
        """Bring the image point under a position of the map into the middle."""
        size = self.viewport.image_size
        x = (position.x() - box.left()) / box.width() * size.width()
        y = (position.y() - box.top()) / box.height() * size.height()
        self.viewport.set_center(QPointF(x, y))

    def _paint_map(self, painter: QPainter, box: QRect) -> None:
        picture = self._small_picture()
        if picture is None:
            return
        if self._map is None or self._map[0] != picture.cacheKey() or self._map[1].size() != box.size():
            smooth = Qt.TransformationMode.SmoothTransformation
            small = picture.scaled(box.size(), Qt.AspectRatioMode.IgnoreAspectRatio, smooth)
            self._map = (picture.cacheKey(), QPixmap.fromImage(small))
        painter.drawPixmap(box, self._map[1])
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(0, 0, 0), 1))
        painter.drawRect(box)
        size = self.viewport.image_size
        seen = QRectF(self.to_image(QPointF(0, 0)), self.to_image(QPointF(self.width(), self.height())))
        seen = seen.intersected(QRectF(QPointF(0, 0), size))
        scale = box.width() / size.width()
        frame = QRectF(
            box.left() + seen.left() * scale,
            box.top() + seen.top() * scale,
            seen.width() * scale,
            seen.height() * scale,
        )
        painter.setPen(QPen(QColor(255, 255, 255), 1.4))
        painter.drawRect(frame)

    def _end_flash(self) -> None:
        self._flash = None
        self.update()
