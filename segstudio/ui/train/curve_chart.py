"""A chart of curves over epochs: lines, dots, one cursor that all charts of the tab share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from segstudio.ui import theme
from segstudio.ui.icons import paint_icon

LEFT, RIGHT, TOP, BOTTOM = 44, 16, 8, 22


@dataclass(frozen=True)
class Line:
    """One curve: x in epochs, y in the chart's unit. `role` is a colour token."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    role: str = "accent"
    dashed: bool = False
    width: float = 1.5


@dataclass(frozen=True)
class Mark:
    """A star with words at one point."""

    x: float
    y: float
    text: str


class CurveChart(QWidget):
    """Paints itself; `cursor_moved` tells the epoch under a press or drag."""

    cursor_moved = Signal(float)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setMinimumSize(200, 140)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self._lines: list[Line] = []
        self._dots: tuple[Sequence[float], Sequence[float]] = ((), ())
        self._mark: Mark | None = None
        self._log = False
        self._x_max = 1.0
        self._percent = False
        self._from_zero = False
        self._cursor: float | None = None
        self._hover: QPointF | None = None
        theme.appearance().changed.connect(self.update)

    @property
    def lines(self) -> list[Line]:
        return self._lines

    def show_lines(
        self,
        lines: Sequence[Line],
        *,
        x_max: float,
        dots: tuple[Sequence[float], Sequence[float]] = ((), ()),
        mark: Mark | None = None,
        from_zero: bool = False,
        percent: bool = False,
    ) -> None:
        """Shows these curves over 0..`x_max` epochs; `percent` fixes the top at 100 or a part of it."""
        self._lines, self._dots, self._mark = list(lines), dots, mark
        self._x_max, self._from_zero, self._percent = max(1.0, x_max), from_zero, percent
        self.update()

    def set_log(self, on: bool) -> None:
        self._log = on
        self.update()

    def set_cursor(self, epoch: float | None) -> None:
        """The line that scrubber, strip and charts share."""
        if epoch != self._cursor:
            self._cursor = epoch
            self.update()

    # -- mouse ---------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._move_cursor(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._hover = event.position()
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._move_cursor(event.position())
        self.update()

    def leaveEvent(self, event: object) -> None:
        self._hover = None
        self.update()

    def _move_cursor(self, position: QPointF) -> None:
        area = self._area()
        if self._lines and area.width() > 0:
            share = min(1.0, max(0.0, (position.x() - area.left()) / area.width()))
            self.cursor_moved.emit(share * self._x_max)

    # -- painting ------------------------------------------------------------------------------------

    def _area(self) -> QRectF:
        return QRectF(LEFT, TOP, max(1, self.width() - LEFT - RIGHT), max(1, self.height() - TOP - BOTTOM))

    def _range(self) -> tuple[float, float]:
        values = [value for line in self._lines for value in line.y if math.isfinite(value)]
        if self._log:
            values = [value for value in values if value > 0]
        if not values:
            return (0.1, 1.0) if self._log else (0.0, 1.0)
        low, high = min(values), max(values)
        if self._log:
            low, high = low / 1.15, high * 1.15
            return low, max(high, low * 1.5)
        if self._from_zero:
            low = 0.0
        step = _nice((high - low) / 8 or abs(high) / 8 or 0.25)
        low, high = math.floor(low / step) * step, math.ceil(high / step + 1e-9) * step
        return low, min(100.0, high) if self._percent else high

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        area = self._area()
        low, high = self._range()
        self._paint_grid(painter, area, low, high)
        if not self._lines:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.save()
        painter.setClipRect(area.adjusted(-2, -2, 2, 2))
        self._paint_dots(painter, area, low, high)
        for line in self._lines:
            self._paint_line(painter, area, low, high, line)
        painter.restore()
        if self._cursor is not None:
            x = round(area.left() + area.width() * self._cursor / self._x_max) + 0.5
            painter.setPen(QPen(theme.color("t3"), 1, Qt.PenStyle.DotLine))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        if self._mark is not None:
            self._paint_mark(painter, area, low, high, self._mark)
        if self._hover is not None and area.contains(self._hover):
            self._paint_readout(painter, area, self._hover)

    def _y(self, area: QRectF, low: float, high: float, value: float) -> float:
        if self._log:
            value, low, high = math.log(max(value, 1e-12)), math.log(low), math.log(high)
        return area.bottom() - area.height() * (value - low) / max(1e-12, high - low)

    def _paint_grid(self, painter: QPainter, area: QRectF, low: float, high: float) -> None:
        painter.setFont(theme.font(11))
        metrics = painter.fontMetrics()
        ticks = (
            _log_ticks(low, high) if self._log else _linear_ticks(low, high, max(2, int(area.height() / 26)))
        )
        for tick in ticks:
            y = round(self._y(area, low, high, tick)) + 0.5
            painter.setPen(theme.color("grid"))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(theme.color("t3"))
            box = QRectF(0, y - 8, area.left() - 8, 16)
            painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, _short(tick))
        step = max(1.0, _nice(self._x_max / max(2, area.width() / 90)))
        tick = 0.0
        while tick <= self._x_max + 1e-9:
            x = area.left() + area.width() * tick / self._x_max
            text = f"{tick:g}"
            wide = metrics.horizontalAdvance(text)
            painter.setPen(theme.color("t3"))
            painter.drawText(QPointF(x - wide / 2, area.bottom() + 16), text)
            tick += step

    def _paint_dots(self, painter: QPainter, area: QRectF, low: float, high: float) -> None:
        xs, ys = self._dots
        if not len(xs):
            return
        color = QColor(theme.color("t3"))
        color.setAlphaF(0.55)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        thin = max(1, len(xs) // 1500)
        for x, y in zip(xs[::thin], ys[::thin], strict=True):
            if math.isfinite(y) and (y > 0 or not self._log):
                left = area.left() + area.width() * x / self._x_max
                painter.drawRect(QRectF(left - 0.75, self._y(area, low, high, y) - 0.75, 1.5, 1.5))

    def _paint_line(self, painter: QPainter, area: QRectF, low: float, high: float, line: Line) -> None:
        count = len(line.x)
        thin = max(1, count // max(1, int(2 * area.width())))
        picked = sorted({*range(0, count, thin), count - 1}) if count else []
        path = QPainterPath()
        started = False
        for index in picked:
            value = line.y[index]
            if not math.isfinite(value) or (self._log and value <= 0):
                started = False
                continue
            point = QPointF(
                area.left() + area.width() * line.x[index] / self._x_max, self._y(area, low, high, value)
            )
            if started:
                path.lineTo(point)
            else:
                path.moveTo(point)
            started = True
        pen = QPen(theme.color(line.role), line.width)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        if line.dashed:
            pen.setDashPattern([4, 3])
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(path)
        if count == 1:
            painter.setBrush(theme.color(line.role))
            painter.drawEllipse(path.currentPosition(), 2.5, 2.5)

    def _paint_mark(self, painter: QPainter, area: QRectF, low: float, high: float, mark: Mark) -> None:
        x = area.left() + area.width() * mark.x / self._x_max
        # The star stands above its point, or on the upper edge where there is no room.
        y = max(area.top() + 18, self._y(area, low, high, mark.y))
        painter.setBrush(theme.color("t1"))
        painter.setPen(Qt.PenStyle.NoPen)
        star = QPainterPath()
        for index in range(10):
            radius = 6 if index % 2 == 0 else 2.6
            angle = -math.pi / 2 + index * math.pi / 5
            point = QPointF(x + radius * math.cos(angle), y - 12 + radius * math.sin(angle))
            if index:
                star.lineTo(point)
            else:
                star.moveTo(point)
        painter.drawPath(star)
        painter.setPen(theme.color("t1"))
        painter.setFont(theme.font(11, 600))
        wide = painter.fontMetrics().horizontalAdvance(mark.text)
        left = x - 12 - wide if x - 12 - wide > area.left() else x + 12
        painter.drawText(QPointF(left, y - 8), mark.text)

    def _paint_readout(self, painter: QPainter, area: QRectF, at: QPointF) -> None:
        epoch = (at.x() - area.left()) / area.width() * self._x_max
        words = [f"{epoch:.1f}"]
        for line in self._lines:
            if len(line.x) and line.x[0] <= epoch <= line.x[-1] + 1e-9:
                value = float(np.interp(epoch, line.x, line.y))
                if math.isfinite(value):
                    words.append(f"{line.name} {_short(value, exact=True)}")
        if len(words) < 2:
            return
        painter.setFont(theme.font(11))
        text = " · ".join(words)
        wide = painter.fontMetrics().horizontalAdvance(text) + 16
        left = min(max(area.left(), at.x() + 12), area.right() - wide)
        box = QRectF(left, max(area.top(), at.y() - 30), wide, 22)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("chip"))
        painter.drawRoundedRect(box, 4, 4)
        painter.setPen(theme.color("chip_text"))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)


class Legend(QWidget):
    """The names of a chart's curves with a stroke in their colour, right-aligned."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[tuple[str, str, bool]] = []
        self.setFixedHeight(24)
        theme.appearance().changed.connect(self.update)

    def show_lines(self, lines: Sequence[Line]) -> None:
        entries = [(line.name, line.role, line.dashed) for line in lines]
        if entries != self._entries:
            self._entries = entries
            metrics_width = sum(self._width(name) for name, _, _ in entries)
            self.setFixedWidth(max(1, metrics_width))
            self.update()

    def _width(self, name: str) -> int:
        from PySide6.QtGui import QFontMetrics

        return QFontMetrics(theme.font(12)).horizontalAdvance(name) + 34

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(theme.font(12))
        x = 0
        for name, role, dashed in self._entries:
            pen = QPen(theme.color(role), 2)
            if dashed:
                pen.setDashPattern([2, 1.5])
            painter.setPen(pen)
            painter.drawLine(x + 2, 12, x + 18, 12)
            painter.setPen(theme.color("t2"))
            painter.drawText(
                QRectF(x + 24, 0, self._width(name), 24), int(Qt.AlignmentFlag.AlignVCenter), name
            )
            x += self._width(name)


def paint_state(painter: QPainter, rect: QRectF, name: str, role: str) -> None:
    """A 14 px state icon, vertically centred at the left of `rect`."""
    box = rect.toRect()
    box.setSize(box.size().scaled(14, 14, Qt.AspectRatioMode.IgnoreAspectRatio))
    box.moveTop(round(rect.center().y()) - 7)
    paint_icon(painter, box, name, role)


def _nice(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten at or above `step`."""
    if step <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(step))
    for factor in (1, 2, 5, 10):
        if factor * power >= step * (1 - 1e-9):
            return float(factor * power)
    return float(10 * power)


def _linear_ticks(low: float, high: float, count: int) -> list[float]:
    step = _nice((high - low) / max(1, count))
    first = math.ceil(low / step - 1e-9)
    return [step * index for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    found = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        found += [factor * 10.0**power for factor in (1, 2, 5) if low <= factor * 10.0**power <= high]
    return found if len(found) > 1 else [low, high]


def _short(value: float, *, exact: bool = False) -> str:
    """Few characters: 0.05, 1.2, 12, 1.5k, 2.0M, 3.1G."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):.1f}{letter}"
    if value and abs(value) < 0.001:
        return f"{value:.0e}".replace("e-0", "e-")
    if exact:
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return f"{value:.4g}"
