"""The names of a chart's curves, each after a stroke in its colour."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from segstudio.ui import theme
from segstudio.ui.train.chart_data import Line

STROKE, GAP, BETWEEN = 16, 6, 12
SHORT_STROKE, LEAST_NAME = 10, 24


class Legend(QWidget):
    """Right-aligned; where the header is narrow, strokes get shorter and then the longest names do."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[tuple[str, str, bool]] = []
        self.setFixedHeight(24)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        theme.appearance().changed.connect(self.update)

    def show_lines(self, lines: Sequence[Line]) -> None:
        entries = [(line.name, line.role, line.dashed) for line in lines]
        if entries != self._entries:
            self._entries = entries
            self.setAccessibleName(", ".join(name for name, _, _ in entries))
            self.setToolTip(self.accessibleName())
            self.updateGeometry()
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(self._needed(STROKE, [name for name, _, _ in self._entries]), 24)

    def minimumSizeHint(self) -> QSize:
        count = len(self._entries)
        return QSize(count * (SHORT_STROKE + GAP + LEAST_NAME) + max(0, count - 1) * BETWEEN, 24)

    def _needed(self, stroke: int, names: Sequence[str]) -> int:
        metrics = QFontMetrics(theme.font(12))
        words = sum(metrics.horizontalAdvance(name) + 2 for name in names)
        return words + len(names) * (stroke + GAP) + max(0, len(names) - 1) * BETWEEN

    def fitted(self, width: int) -> tuple[int, list[str]]:
        """Length of the strokes and the names as they fit into `width`."""
        names = [name for name, _, _ in self._entries]
        if self._needed(STROKE, names) <= width:
            return STROKE, names
        metrics = QFontMetrics(theme.font(12))
        while (over := self._needed(SHORT_STROKE, names) - width) > 0:
            longest = max(range(len(names)), key=lambda index: metrics.horizontalAdvance(names[index]))
            now = metrics.horizontalAdvance(names[longest])
            room = max(LEAST_NAME, now - max(over, 4))
            if room >= now:
                break
            names[longest] = metrics.elidedText(names[longest], Qt.TextElideMode.ElideRight, room)
        return SHORT_STROKE, names

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(theme.font(12))
        metrics = painter.fontMetrics()
        stroke, names = self.fitted(self.width())
        x = self.width() - self._needed(stroke, names)
        for (_, role, dashed), name in zip(self._entries, names, strict=True):
            pen = QPen(theme.color(role), 2)
            if dashed:
                pen.setCapStyle(Qt.PenCapStyle.FlatCap)
                pen.setDashPattern([2, 1.5])
            painter.setPen(pen)
            painter.drawLine(x, 12, x + stroke, 12)
            painter.setPen(theme.color("t2"))
            wide = metrics.horizontalAdvance(name) + 2
            box = QRectF(x + stroke + GAP, 0, wide, 24)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter), name)
            x += stroke + GAP + wide + BETWEEN
