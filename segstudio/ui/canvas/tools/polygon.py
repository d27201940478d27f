"""Polygon: click by click round a region; Enter or a click on the first point fills it."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPen, QPolygonF

from segstudio.core.edits import StrokeRecorder
from segstudio.runtime.painting import fill_polygon
from segstudio.ui.canvas.tools.paint_state import PaintState
from segstudio.ui.canvas.tools.painting_tool import LINES, PaintingTool
from segstudio.ui.canvas.tools.tool import ToolEvent
from segstudio.ui.canvas.view import CanvasView

_NEAR = 8.0  # view pixels round the first point that close the polygon


class PolygonTool(PaintingTool):
    """Points in image pixels. Backspace takes the last one back, Esc all; Ctrl while closing erases."""

    def __init__(self, state: PaintState) -> None:
        super().__init__(state)
        self._points: list[QPointF] = []
        self._at: QPointF | None = None
        self._dragging = False
        state.session.current_changed.connect(self.cancel)
        state.changed.connect(self.repaint)

    @property
    def points(self) -> list[QPointF]:
        """The points so far, image pixels."""
        return list(self._points)

    def put_down(self) -> None:
        self.cancel()

    def press(self, event: ToolEvent) -> bool:
        if event.button == Qt.MouseButton.RightButton and self._points:
            self._take_back()
            return True
        if event.button != Qt.MouseButton.LeftButton:
            return False
        self._at = QPointF(event.x, event.y)
        if len(self._points) >= 3 and self._is_first(event):
            self.close(erase=bool(event.modifiers & Qt.KeyboardModifier.ControlModifier))
        else:
            self._points.append(QPointF(event.x, event.y))
            self._dragging = True
        self.repaint()
        return True

    def move(self, event: ToolEvent) -> bool:
        """Dragging moves the point just set."""
        self._at = QPointF(event.x, event.y)
        if self._dragging and self._points:
            self._points[-1] = QPointF(event.x, event.y)
        self.repaint()
        return True

    def release(self, event: ToolEvent) -> bool:
        self._dragging = False
        return True

    def double_click(self, event: ToolEvent) -> bool:
        self.close(erase=bool(event.modifiers & Qt.KeyboardModifier.ControlModifier))
        return True

    def hover(self, event: ToolEvent) -> None:
        self._at = QPointF(event.x, event.y)
        if self._points:
            self.repaint()

    def leave(self, view: CanvasView) -> None:
        self._at = None
        self.repaint()

    def key_press(self, view: CanvasView, event: QKeyEvent) -> bool:
        key = event.key()
        if not self._points:
            return False
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.close(erase=bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier))
        elif key == Qt.Key.Key_Backspace:
            self._take_back()
        elif key == Qt.Key.Key_Escape:
            self.cancel()
        else:
            return False
        return True

    def close(self, *, erase: bool = False) -> None:
        """Fill what the points enclose as one undoable change."""
        points, self._points = self._points, []
        self._dragging = False
        ink = self._state.ink(erase=erase) if len(points) >= 3 else None
        if ink is not None:
            corners = [(point.x(), point.y()) for point in points]
            box = QPolygonF(points).boundingRect()

            def fill(recorder: StrokeRecorder) -> None:
                fill_polygon(recorder, ink, corners)

            pixels = math.ceil(box.width() * box.height())
            self._state.change("polygon", -1 if erase else ink.value, fill, pixels=pixels)
        self.repaint()

    def cancel(self) -> None:
        """Forget the points."""
        self._points = []
        self._dragging = False
        self.repaint()

    def paint_overlay(self, painter: QPainter, view: CanvasView) -> None:
        if not self._points:
            return
        corners = [view.to_view(point) for point in self._points]
        line = [*corners, view.to_view(self._at)] if self._at is not None else corners
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        color = self._state.color()
        area = QColor(color)
        area.setAlpha(70)
        if len(line) > 2:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(area)
            painter.drawPolygon(QPolygonF(line))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for ink, width in LINES:
            painter.setPen(QPen(ink, width))
            painter.drawPolyline(QPolygonF(line))
        closes = len(corners) >= 3 and self._at is not None
        for number, corner in enumerate(corners):
            near = closes and number == 0 and _near(corner, line[-1])
            painter.setPen(QPen(QColor(0, 0, 0, 200), 1.2))
            painter.setBrush(color if near else QColor(255, 255, 255))
            radius = 5.5 if near else 3.5
            painter.drawEllipse(corner, radius, radius)

    def _is_first(self, event: ToolEvent) -> bool:
        return _near(event.view.to_view(self._points[0]), event.position)

    def _take_back(self) -> None:
        if self._points:
            self._points.pop()
        self.repaint()


def _near(a: QPointF, b: QPointF) -> bool:
    away = a - b
    return away.x() ** 2 + away.y() ** 2 <= _NEAR**2
