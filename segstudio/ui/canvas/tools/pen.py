"""Brush and eraser: one tool that writes the class in hand, or takes labels away."""

from __future__ import annotations

import math
from collections.abc import Callable

from PySide6.QtCore import QPoint, QPointF, QRect, QRectF, Qt, QTimer
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPen

from segstudio.core.edits import StrokeRecorder
from segstudio.runtime.painting import Pen
from segstudio.ui.canvas.tools.paint_state import PaintState
from segstudio.ui.canvas.tools.painting_tool import LINES, PaintingTool
from segstudio.ui.canvas.tools.tool import ToolEvent
from segstudio.ui.canvas.view import CanvasView
from segstudio.ui.widgets.chip import chip_width, paint_chip

_CHIP_MS = 800
_HAIRLINES_FROM = 48.0  # view pixels; a smaller circle costs little at any width
_CTRL = Qt.KeyboardModifier.ControlModifier
_ALT = Qt.KeyboardModifier.AltModifier
_SHIFT = Qt.KeyboardModifier.ShiftModifier


class PenTool(PaintingTool):
    """Paints (or, with `erases`, erases) along the pointer's way.

    Ctrl held erases with the brush; Shift draws a straight line from where the last stroke ended;
    Ctrl+Alt and drag changes the size.
    """

    def __init__(self, state: PaintState, *, erases: bool = False) -> None:
        super().__init__(state)
        self._erases = erases
        self._recorder: StrokeRecorder | None = None
        self._pen: Pen | None = None
        self._stroke_erases = False
        self._stroke_class = -1
        self._at: QPointF | None = None  # pointer in image pixels
        self._last: tuple[float, float] | None = None  # end of the stroke under way or of the last one
        self._sizing: tuple[QPointF, int] | None = None
        self._late: list[
            tuple[Callable[[ToolEvent], bool], ToolEvent]
        ] = []  # while a fill or undo is at work
        self._ctrl = False
        self._shift = False
        self._chip = QTimer(self, singleShot=True, interval=_CHIP_MS)
        self._chip.timeout.connect(self.repaint)
        state.size_changed.connect(self._show_chip)
        state.class_changed.connect(self._show_chip)
        state.session.current_changed.connect(self._forget)

    @property
    def is_drawing(self) -> bool:
        return self._pen is not None or bool(self._late)

    @property
    def erases_now(self) -> bool:
        """Whether the next stroke erases (Ctrl counts)."""
        return self._erases or self._ctrl

    def put_down(self) -> None:
        self._catch_up(wait=True)
        self._end()
        self._chip.stop()

    def press(self, event: ToolEvent) -> bool:
        if event.button != Qt.MouseButton.LeftButton:
            return False
        self._see(event)
        if event.modifiers & _CTRL and event.modifiers & _ALT:
            self._sizing = (event.position, self._state.size)
            return True
        edits = self._state.session.edits
        if not edits.is_free:
            self._late.append((self._begin, event))
            edits.when_free(self._catch_up)
            return True
        return self._begin(event)

    def _begin(self, event: ToolEvent) -> bool:
        self._stroke_erases = self._erases or bool(event.modifiers & _CTRL)
        ink = self._state.ink(erase=self._stroke_erases)
        recorder = self._state.begin() if ink is not None else None
        if ink is None or recorder is None:
            return False
        self._recorder = recorder
        self._stroke_class = self._state.class_index if not self._stroke_erases else -1
        self._pen = Pen(recorder, ink, self._state.size, self._state.tip)
        straight = bool(event.modifiers & _SHIFT) and self._last is not None
        start = self._last if straight and self._last is not None else (event.x, event.y)
        self._draw(start, (event.x, event.y))
        return True

    def move(self, event: ToolEvent) -> bool:
        self._see(event)
        if self._sizing is not None:
            origin, size = self._sizing
            scale = event.view.viewport.scale
            self._state.set_size(round(size + 2 * (event.position.x() - origin.x()) / scale))
            return True
        return self._in_turn(self._go_on, event)

    def _go_on(self, event: ToolEvent) -> bool:
        if self._pen is None or self._last is None:
            return False
        self._draw(self._last, (event.x, event.y))
        return True

    def release(self, event: ToolEvent) -> bool:
        self._see(event)
        self._sizing = None
        return self._in_turn(self._lift, event)

    def _lift(self, _event: ToolEvent) -> bool:
        self._end()
        return True

    def _in_turn(self, act: Callable[[ToolEvent], bool], event: ToolEvent) -> bool:
        """After the press before it, which may still wait for the labels."""
        if self._late:
            self._late.append((act, event))
            return True
        return act(event)

    def _catch_up(self, *, wait: bool = False) -> None:
        """Draws what the hand did while the labels were not free; `wait` until they are."""
        edits = self._state.session.edits
        while self._late:
            act, event = self._late[0]
            if act == self._begin and not edits.is_free and not wait:
                edits.when_free(self._catch_up)
                return
            del self._late[0]
            act(event)

    def double_click(self, event: ToolEvent) -> bool:
        return self.press(event)

    def hover(self, event: ToolEvent) -> None:
        self._see(event)

    def leave(self, view: CanvasView) -> None:
        self._at = None

    def key_press(self, view: CanvasView, event: QKeyEvent) -> bool:
        self._keys(event, down=True)
        if event.key() == Qt.Key.Key_Escape and self._late:
            self._late = []
            return True
        if event.key() == Qt.Key.Key_Escape and self._pen is not None:
            self._pen = self._recorder = None
            self._state.session.edits.cancel_stroke()
            return True
        return False

    def key_release(self, view: CanvasView, event: QKeyEvent) -> bool:
        self._keys(event, down=False)
        return False

    def paint_overlay(self, painter: QPainter, view: CanvasView) -> None:
        if self._at is None:
            return
        center, radius = view.to_view(self._at), self._state.size / 2 * view.viewport.scale
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        white, black = QColor(255, 255, 255), QColor(0, 0, 0, 200)
        if self._shift and self._last is not None and self._pen is None:
            end = view.to_view(QPointF(*self._last))
            for ink, width in LINES:
                painter.setPen(QPen(ink, width, Qt.PenStyle.DashLine))
                painter.drawLine(end, center)
        for ink, width, inset in self._rings():
            reach = max(0.5, radius - inset)
            if self._state.tip == "round":
                _paint_circle(painter, center, reach, ink, width)
            else:
                painter.setPen(QPen(ink, width))
                painter.drawRect(QRectF(center.x() - reach, center.y() - reach, 2 * reach, 2 * reach))
        for ink, width in ((black, 3.0), (white, 1.2)):
            painter.setPen(QPen(ink, width))
            painter.drawLine(center - QPointF(4, 0), center + QPointF(4, 0))
            painter.drawLine(center - QPointF(0, 4), center + QPointF(0, 4))
        if self._chip.isActive():
            self._paint_chip(painter, view, center, radius)

    def overlay_rect(self, view: CanvasView) -> QRect | None:
        if self._at is None:
            return None
        center, radius = view.to_view(self._at), self._state.size / 2 * view.viewport.scale
        reach = max(radius, 5) + 3
        box = QRectF(center.x() - reach, center.y() - reach, 2 * reach, 2 * reach)
        if self._chip.isActive():
            place = self._chip_place(view, center, radius)
            box = box.united(QRectF(place.x(), place.y(), self._chip_width(), 24))
        if self._shift and self._last is not None:
            box = box.united(QRectF(view.to_view(QPointF(*self._last)), center).normalized())
        return box.toAlignedRect()

    def cursor(self, view: CanvasView) -> Qt.CursorShape:
        return Qt.CursorShape.BlankCursor

    def _draw(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        if self._pen is not None:
            for rect in self._pen.line(start, end):
                self._state.changed_labels(rect)
            self._last = end

    def _end(self) -> None:
        if self._pen is None:
            return
        self._pen = self._recorder = None
        index = self._state.class_index if self._stroke_class < 0 else self._stroke_class
        if self._stroke_erases:
            self._state.finish("erase", -1)
        else:
            self._state.finish("brush", index)

    def _forget(self) -> None:
        self._late = []
        self._pen = self._recorder = self._last = None

    def _see(self, event: ToolEvent) -> None:
        self._at = QPointF(event.x, event.y)
        self._set_modifiers(event.modifiers)

    def _keys(self, event: QKeyEvent, *, down: bool) -> None:
        held = event.modifiers()
        for key, modifier in ((Qt.Key.Key_Control, _CTRL), (Qt.Key.Key_Shift, _SHIFT)):
            if event.key() == key:
                held = held | modifier if down else held & ~modifier
        self._set_modifiers(held)

    def _set_modifiers(self, held: Qt.KeyboardModifier) -> None:
        ctrl, shift = bool(held & _CTRL) and not held & _ALT, bool(held & _SHIFT)
        if (ctrl, shift) != (self._ctrl, self._shift):
            self._ctrl, self._shift = ctrl, shift
            self.repaint()
            self._state.changed.emit()

    def _rings(self) -> list[tuple[QColor, float, float]]:
        """Colour, width and inset of the lines of the ring: white on black, the class colour inside."""
        rings = [(ink, width, 0.0) for ink, width in LINES]
        if not self.erases_now and self._state.class_index >= 0:
            rings.append((self._state.color(), 1.6, 2.2))
        return rings

    def _show_chip(self, *_: object) -> None:
        self._chip.start()
        self.repaint()

    def _chip_text(self) -> str:
        name = "Erase" if self.erases_now else (self._state.class_name() or "No class")
        return f"{name} · {self._state.size} px"

    def _chip_width(self) -> int:
        return chip_width(self._chip_text(), swatch=not self.erases_now)

    def _chip_place(self, view: CanvasView, center: QPointF, radius: float) -> QPoint:
        """Right above the ring, kept inside the view."""
        x = center.x() + max(radius * math.sqrt(0.5), 8)
        y = center.y() - max(radius * math.sqrt(0.5), 8) - 26
        x = min(max(8.0, x), view.width() - self._chip_width() - 8)
        return QPoint(round(x), round(min(max(8.0, y), view.height() - 30)))

    def _paint_chip(self, painter: QPainter, view: CanvasView, center: QPointF, radius: float) -> None:
        swatch = None if self.erases_now else self._state.color()
        paint_chip(painter, self._chip_place(view, center, radius), self._chip_text(), swatch=swatch)


def _paint_circle(painter: QPainter, center: QPointF, radius: float, ink: QColor, width: float) -> None:
    """A circle of `width` view pixels. Big ones are laid of lines of one pixel: Qt draws twenty of those in
    the time of one wider line (0.02 ms against 0.5 for a radius of 500)."""
    if radius < _HAIRLINES_FROM:
        painter.setPen(QPen(ink, width))
        painter.drawEllipse(center, radius, radius)
        return
    painter.setPen(QPen(ink, 1.0))
    lines = math.ceil(width - 0.25)
    for number in range(lines):
        off = (number / (lines - 1) - 0.5) * (width - 1.0) if lines > 1 else 0.0
        painter.drawEllipse(center, radius + off, radius + off)
