"""Shapes drawn in one drag: rectangle, ellipse, lasso. Letting go fills the shape as one change."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPainterPath, QPen, QPolygonF

from segstudio.runtime.painting import fill_polygon
from segstudio.ui.canvas.tools.paint_state import PaintState
from segstudio.ui.canvas.tools.painting_tool import LINES, PaintingTool
from segstudio.ui.canvas.tools.tool import ToolEvent
from segstudio.ui.canvas.view import CanvasView

_LEAST_DRAG = 3.0  # view pixels; a shorter way is a click that meant nothing
_FLATNESS = 0.02  # pixels by which an ellipse's outline may miss the curve
_CTRL = Qt.KeyboardModifier.ControlModifier
_SHIFT = Qt.KeyboardModifier.ShiftModifier

Outline = Callable[[Sequence[QPointF], bool], QPolygonF]
"""(the pointer's way in image pixels, equal sides) -> the outline in image pixels."""


class DraggedShape(PaintingTool):
    """Ctrl while letting go erases, Shift makes equal sides, Esc or the right button drops the shape."""

    def __init__(self, state: PaintState, name: str, outline: Outline) -> None:
        super().__init__(state)
        self._name = name
        self._outline = outline
        self._way: list[QPointF] = []
        self._from = QPointF()  # where the drag began, view pixels
        self._longest = 0.0
        self._shape = QPolygonF()
        state.session.current_changed.connect(self.cancel)

    @property
    def is_drawing(self) -> bool:
        return bool(self._way)

    def put_down(self) -> None:
        self.cancel()

    def press(self, event: ToolEvent) -> bool:
        if event.button == Qt.MouseButton.RightButton and self._way:
            self.cancel()
            return True
        if event.button != Qt.MouseButton.LeftButton:
            return False
        if self._state.ink(erase=bool(event.modifiers & _CTRL)) is None:
            return False
        self._way, self._from, self._longest = [QPointF(event.x, event.y)], event.position, 0.0
        return True

    def move(self, event: ToolEvent) -> bool:
        if self._way:
            self._way.append(QPointF(event.x, event.y))
            away = event.position - self._from
            self._longest = max(self._longest, math.hypot(away.x(), away.y()))
            self._shape = self._outline(self._way, bool(event.modifiers & _SHIFT))
        return True

    def release(self, event: ToolEvent) -> bool:
        if self._way:
            self.move(event)
            if self._longest >= _LEAST_DRAG:
                self._fill(erase=bool(event.modifiers & _CTRL))
            self.cancel()
        return True

    def double_click(self, event: ToolEvent) -> bool:
        return self.press(event)

    def key_press(self, view: CanvasView, event: QKeyEvent) -> bool:
        if event.key() == Qt.Key.Key_Escape and self._way:
            self.cancel()
            return True
        return False

    def cancel(self) -> None:
        """Drop the shape under way."""
        self._way, self._shape = [], QPolygonF()
        self.repaint()

    def _fill(self, *, erase: bool) -> None:
        ink = self._state.ink(erase=erase)
        recorder = self._state.begin() if ink is not None else None
        if ink is not None and recorder is not None:
            points = [(point.x(), point.y()) for point in _rings_as_one(self._shape)]
            changed = fill_polygon(recorder, ink, points)
            self._state.finish(self._name, -1 if erase else ink.value)
            self._state.changed_labels(changed)

    def overlay_rect(self, view: CanvasView) -> QRect | None:
        if self._shape.isEmpty():
            return None
        return view.view_rect(self._shape.boundingRect()).toAlignedRect().adjusted(-3, -3, 3, 3)

    def paint_overlay(self, painter: QPainter, view: CanvasView) -> None:
        if self._shape.isEmpty():
            return
        origin, scale = view.to_view(QPointF(0, 0)), view.viewport.scale
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(origin)
        painter.scale(scale, scale)
        area = QColor(self._state.color())
        area.setAlpha(70)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(area)
        painter.drawPolygon(self._shape, Qt.FillRule.WindingFill)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for ink, width in LINES:
            pen = QPen(ink, width)
            pen.setCosmetic(True)
            painter.setPen(pen)
            painter.drawPolygon(self._shape)


def rectangle(way: Sequence[QPointF], equal: bool) -> QPolygonF:
    """The whole pixels from the first to the last point of the way."""
    box = _box(way, equal)
    return QPolygonF([box.topLeft(), box.topRight(), box.bottomRight(), box.bottomLeft()])


def ellipse(way: Sequence[QPointF], equal: bool) -> QPolygonF:
    """The ellipse inside the same whole pixels."""
    box = _box(way, equal)
    a, b, middle = box.width() / 2, box.height() / 2, box.center()
    count = max(16, math.ceil(math.pi * math.sqrt(max(a, b) / (2 * _FLATNESS))))
    angles = (2 * math.pi * step / count for step in range(count))
    return QPolygonF(
        [QPointF(middle.x() + a * math.cos(angle), middle.y() + b * math.sin(angle)) for angle in angles]
    )


def lasso(way: Sequence[QPointF], _equal: bool) -> QPolygonF:
    """The way itself, closed by a straight line."""
    return QPolygonF(way)


def _box(way: Sequence[QPointF], equal: bool) -> QRectF:
    first, last = way[0], way[-1]
    x, y = math.floor(first.x()), math.floor(first.y())
    to_x, to_y = math.floor(last.x()), math.floor(last.y())
    if equal:
        side = max(abs(to_x - x), abs(to_y - y))
        to_x, to_y = x + (side if to_x >= x else -side), y + (side if to_y >= y else -side)
    left, top = min(x, to_x), min(y, to_y)
    return QRectF(left, top, abs(to_x - x) + 1, abs(to_y - y) + 1)


def _rings_as_one(shape: QPolygonF) -> list[QPointF]:
    """A closed way whose even-odd inside is all that `shape` goes round, also where it crosses itself.

    A hand that comes back beyond its start goes round that part twice, which even-odd alone would leave
    out. Rings are joined by lines there and back, which cancel.
    """
    path = QPainterPath()
    path.setFillRule(Qt.FillRule.WindingFill)
    path.addPolygon(shape)
    path.closeSubpath()
    points: list[QPointF] = []
    for ring in path.simplified().toSubpathPolygons():
        corners = list(ring)
        points += [*corners, corners[0]]
        if len(points) > len(corners) + 1:
            points.append(points[0])
    return points
