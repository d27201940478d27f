"""IoU of every class, epoch by epoch, as one strip of cells; the cursor's epoch is framed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from segstudio.runtime.run_history import Epoch
from segstudio.ui import theme
from segstudio.ui.widgets.chip import paint_swatch

ROW = 18
NAME_WIDTH, VALUE_WIDTH = 132, 56
_STOPS = ((0.0, (0x22, 0x26, 0x2B)), (0.5, (0x2F, 0x6D, 0xB5)), (1.0, (0xC4, 0xE1, 0xFF)))


def strip_color(value: float) -> QColor:
    """The strip's colour for an IoU in 0..1."""
    value = min(1.0, max(0.0, value))
    for (low, first), (high, second) in itertools.pairwise(_STOPS):
        if value <= high:
            share = (value - low) / (high - low)
            mixed = [round(a + (b - a) * share) for a, b in zip(first, second, strict=True)]
            return QColor(*mixed)
    return QColor(*_STOPS[-1][1])


class IouStrip(QWidget):
    """Names at the left, the cursor's value at the right; a press or drag moves the cursor."""

    cursor_moved = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("IoU of every class")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self._names: list[str] = []
        self._colors: list[QColor] = []
        self._epochs: list[Epoch] = []
        self._total = 1
        self._cursor = 0
        theme.appearance().changed.connect(self.update)

    def show_run(
        self,
        names: Sequence[str],
        colors: Sequence[tuple[int, int, int]],
        epochs: Sequence[Epoch],
        total: int,
    ) -> None:
        """The classes of a run and what its epochs found, of `total` epochs in all."""
        self._names, self._colors = list(names), [QColor(*color) for color in colors]
        self._epochs = [epoch for epoch in epochs if epoch.iou]
        self._total = max(1, total)
        self.setFixedHeight(self.sizeHint().height())
        self.update()

    def set_cursor(self, epoch: int) -> None:
        if epoch != self._cursor:
            self._cursor = epoch
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(400, ROW * max(1, len(self._names)) + 12)

    def _cells(self) -> QRectF:
        return QRectF(NAME_WIDTH, 6, max(1, self.width() - NAME_WIDTH - VALUE_WIDTH), ROW * len(self._names))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._move(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._move(event.position())
            return
        found = self._at(event.position())
        self.setToolTip(found or "")

    def _move(self, position: QPointF) -> None:
        cells = self._cells()
        share = (position.x() - cells.left()) / cells.width()
        if -0.02 <= share <= 1.02:
            self.cursor_moved.emit(min(1.0, max(0.0, share)) * self._total + 0.5)

    def _at(self, position: QPointF) -> str | None:
        cells = self._cells()
        row = int((position.y() - cells.top()) // ROW)
        number = int((position.x() - cells.left()) / cells.width() * self._total) + 1
        if not cells.contains(position) or not 0 <= row < len(self._names):
            return None
        for epoch in self._epochs:
            if epoch.number == number and row < len(epoch.iou):
                value = epoch.iou[row]
                shown = "does not occur" if value is None else f"{100 * value:.1f}"
                return f"{self._names[row]}, epoch {number}: {shown}"
        return None

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(theme.font(12))
        cells = self._cells()
        wide = cells.width() / self._total
        shown = next((epoch for epoch in self._epochs if epoch.number == self._cursor), None)
        if shown is None and self._epochs:
            shown = self._epochs[-1]
        metrics = painter.fontMetrics()
        for row, name in enumerate(self._names):
            top = cells.top() + row * ROW
            paint_swatch(painter, QRect(8, round(top) + 3, 12, 12), self._colors[row])
            painter.setPen(theme.color("t1"))
            text = metrics.elidedText(name, Qt.TextElideMode.ElideRight, NAME_WIDTH - 40)
            painter.drawText(QRectF(28, top, NAME_WIDTH - 36, ROW), int(Qt.AlignmentFlag.AlignVCenter), text)
            painter.fillRect(QRectF(cells.left(), top + 1, cells.width(), ROW - 2), theme.color("base"))
            for epoch in self._epochs:
                value = epoch.iou[row] if row < len(epoch.iou) else None
                if value is None:
                    continue
                left = cells.left() + (epoch.number - 1) * wide
                gap = 1 if wide > 4 else 0
                painter.fillRect(QRectF(left, top + 1, wide - gap, ROW - 2), strip_color(value))
            value = shown.iou[row] if shown is not None and row < len(shown.iou) else None
            painter.setPen(theme.color("t1" if value is not None else "t3"))
            box = QRectF(cells.right() + 4, top, VALUE_WIDTH - 16, ROW)
            flags = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            painter.drawText(box, flags, "–" if value is None else f"{100 * value:.1f}")
        if shown is not None and self._cursor:
            left = cells.left() + (shown.number - 1) * wide
            painter.setPen(QPen(theme.color("t1"), 1.5))
            painter.drawRect(QRectF(left - 1, cells.top() - 1, max(wide, 3) + 1, cells.height() + 2))


class StripScale(QWidget):
    """The colours of the strip from 0 to 100."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(140, 20)
        theme.appearance().changed.connect(self.update)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(theme.font(11))
        painter.setPen(theme.color("t2"))
        painter.drawText(QRectF(0, 0, 14, 20), int(Qt.AlignmentFlag.AlignVCenter), "0")
        painter.drawText(QRectF(112, 0, 28, 20), int(Qt.AlignmentFlag.AlignVCenter), "100")
        for x in range(90):
            painter.fillRect(QRectF(16 + x, 5, 1, 10), strip_color(x / 89))
