"""Error and time against the mask ratio, as the points come in."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from segstudio.ui import theme
from segstudio.ui.train.chart_data import short_number

LEFT, RIGHT, TOP, BOTTOM = 52, 52, 12, 22
LOW, HIGH = 0.10, 0.95
_TICKS = (0.1, 0.25, 0.5, 0.75, 0.95)
_LINES = 4

Point = tuple[float, float, float]
"""Ratio, mean error, milliseconds."""


class SweepChart(QWidget):
    """Two curves with a scale of their own each; `ratio_chosen` is the ratio that was pressed."""

    ratio_chosen = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(240, 96)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setMouseTracking(True)
        self.setToolTip("Error and milliseconds against the mask ratio\nA click draws a mask of that ratio")
        self._points: list[Point] = []
        self._ratio = 0.75
        theme.appearance().changed.connect(self.update)
        self._name()

    @property
    def points(self) -> list[Point]:
        """What was measured, by ratio."""
        return list(self._points)

    def show_points(self, points: Sequence[Point]) -> None:
        self._points = sorted(points)
        self._name()
        self.update()

    def add_point(self, ratio: float, error: float, milliseconds: float) -> None:
        others = [point for point in self._points if point[0] != ratio]
        self.show_points([*others, (ratio, error, milliseconds)])

    def show_ratio(self, ratio: float) -> None:
        """The ratio in force, as an upright line."""
        self._ratio = ratio
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(480, 128)

    def area(self) -> QRectF:
        return QRectF(self.rect()).adjusted(LEFT, TOP, -RIGHT, -BOTTOM)

    def x_of(self, ratio: float) -> float:
        area = self.area()
        return area.left() + (ratio - LOW) / (HIGH - LOW) * area.width()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._choose(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._choose(event.position())

    def _choose(self, position: QPointF) -> None:
        area = self.area()
        share = min(1.0, max(0.0, (position.x() - area.left()) / max(1.0, area.width())))
        self.ratio_chosen.emit(LOW + share * (HIGH - LOW))

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self.area()
        painter.setFont(theme.font(11))
        if not self._points:
            painter.setFont(theme.font(12))
            painter.setPen(theme.color("t3"))
            words = "Measure goes through the ratios from 10 to 95 % on this picture."
            painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap), words)
            return
        self._paint_axes(painter, area)
        cursor = QPen(theme.color("t3"), 1, Qt.PenStyle.DotLine)
        painter.setPen(cursor)
        x = self.x_of(min(HIGH, max(LOW, self._ratio)))
        painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        for column, role, dashed in ((2, "warn", True), (1, "accent", False)):
            self._paint_curve(painter, area, column, role, dashed=dashed)
        painter.end()

    def _paint_axes(self, painter: QPainter, area: QRectF) -> None:
        middle = Qt.AlignmentFlag.AlignVCenter
        for index in range(_LINES + 1):
            share = index / _LINES
            y = area.bottom() - share * area.height()
            painter.setPen(theme.color("grid"))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            if index % 2:
                continue
            for column, role, box, side in (
                (1, "accent", QRectF(0, y - 8, LEFT - 6, 16), Qt.AlignmentFlag.AlignRight),
                (2, "warn", QRectF(area.right() + 6, y - 8, RIGHT - 8, 16), Qt.AlignmentFlag.AlignLeft),
            ):
                low, high = self._range(column)
                painter.setPen(theme.color(role))
                painter.drawText(
                    box, int(side | middle), short_number(low + share * (high - low), exact=True)
                )
        painter.setPen(theme.color("t3"))
        for ratio in _TICKS:
            box = QRectF(self.x_of(ratio) - 24, area.bottom() + 4, 48, 16)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), f"{round(100 * ratio)} %")

    def _paint_curve(self, painter: QPainter, area: QRectF, column: int, role: str, *, dashed: bool) -> None:
        low, high = self._range(column)
        places = [
            QPointF(
                self.x_of(point[0]),
                area.bottom() - (point[column] - low) / (high - low) * area.height(),
            )
            for point in self._points
        ]
        pen = QPen(theme.color(role), 1.5)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        if dashed:
            pen.setDashPattern([4, 3])
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline(QPolygonF(places))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color(role))
        for place in places:
            painter.drawEllipse(place, 2.0, 2.0)

    def _range(self, column: int) -> tuple[float, float]:
        """From zero: a fall from 101 to 100 is no fall worth drawing."""
        return 0.0, 1.1 * max((point[column] for point in self._points), default=1.0) or 1.0

    def _name(self) -> None:
        words = f", {len(self._points)} ratios measured" if self._points else ""
        self.setAccessibleName(f"Error and milliseconds against the mask ratio{words}")
