"""The tool of the Attention canvas: a press or a drag moves the query, Shift+press pins another one.

Where the map in front is about a box of the picture, a drag draws it.
"""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPen

from segstudio.runtime.attention import ProbeResult, ProbeSlot
from segstudio.runtime.inspection import Inspection, Pin
from segstudio.ui import theme
from segstudio.ui.canvas.tools.tool import Tool, ToolEvent
from segstudio.ui.canvas.view import CanvasView

RING = 10.0
_GRAB = 12.0
BOX_SIDES = ("height", "width")
LEAST_BOX = 7.0
"""Image pixels a side; less is a press without a drag."""
_TAG = (24.0, 16.0)


class QueryTool(Tool):
    """Paints the pins, the query's cell, and the two paths over corner cells where the answer names them."""

    pointed = Signal(object)
    """(x, y) image pixel hovered, or None."""

    def __init__(self, inspection: Inspection) -> None:
        super().__init__()
        self._inspection = inspection
        self.result: ProbeResult | None = None
        self.box: tuple[int, int] | None = None
        self._corners: tuple[QPointF, QPointF] | None = None

    def press(self, event: ToolEvent) -> bool:
        if event.button != Qt.MouseButton.LeftButton:
            return False
        x, y = math.floor(event.x), math.floor(event.y)
        size = event.view.viewport.image_size
        if not (0 <= x < size.width() and 0 <= y < size.height()):
            return False
        if event.modifiers & Qt.KeyboardModifier.ShiftModifier:
            self._inspection.add_pin(x, y)
            return True
        grabbed = self._pin_at(event)
        if grabbed is not None and grabbed != self._inspection.active_pin:
            self._inspection.set_active_pin(grabbed.number)
        elif self.box is not None:
            self._corners = (QPointF(event.x, event.y), QPointF(event.x, event.y))
        else:
            self._inspection.move_query(x, y)
        return True

    def move(self, event: ToolEvent) -> bool:
        if self._corners is not None:
            self._corners = (self._corners[0], self._within(event))
            event.view.update()
        elif self.box is None:
            self._inspection.move_query(math.floor(event.x), math.floor(event.y))
        return True

    def release(self, event: ToolEvent) -> bool:
        if self._corners is not None:
            self._take_box(QRectF(self._corners[0], self._within(event)).normalized())
        return True

    def _within(self, event: ToolEvent) -> QPointF:
        size = event.view.viewport.image_size
        return QPointF(min(max(event.x, 0.0), size.width()), min(max(event.y, 0.0), size.height()))

    def _take_box(self, drawn: QRectF) -> None:
        """The query goes to the middle of what was drawn; a press without a drag moves the box as it is."""
        self._corners = None
        slot = self._inspection.front_slot
        if slot is not None and min(drawn.width(), drawn.height()) >= LEAST_BOX:
            self._inspection.set_option(slot, "height", round(drawn.height()))
            self._inspection.set_option(slot, "width", round(drawn.width()))
        self._inspection.move_query(math.floor(drawn.center().x()), math.floor(drawn.center().y()))

    def double_click(self, event: ToolEvent) -> bool:
        return self.press(event)

    def key_press(self, view: CanvasView, event: QKeyEvent) -> bool:
        """Arrows move the query by one cell, Delete takes the pin away."""
        pin = self._inspection.active_pin
        if pin is None:
            return False
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self._inspection.remove_pin(pin.number)
            return True
        steps = {
            Qt.Key.Key_Left: (-1, 0),
            Qt.Key.Key_Right: (1, 0),
            Qt.Key.Key_Up: (0, -1),
            Qt.Key.Key_Down: (0, 1),
        }
        step = steps.get(Qt.Key(event.key()))
        if step is None:
            return False
        stride = self.result.stride if self.result is not None and self.result.kind == "map" else (1.0, 1.0)
        across, down = max(1, round(stride[1])), max(1, round(stride[0]))
        self._inspection.move_query(pin.x + step[0] * across, pin.y + step[1] * down)
        return True

    def _pin_at(self, event: ToolEvent) -> Pin | None:
        for pin in self._inspection.pins:
            middle = event.view.to_view(QPointF(pin.x + 0.5, pin.y + 0.5))
            if math.hypot(middle.x() - event.position.x(), middle.y() - event.position.y()) <= _GRAB:
                return pin
        return None

    # ------------------------------------------------------------------ painting

    def paint_overlay(self, painter: QPainter, view: CanvasView) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        active = self._inspection.active_pin
        if self.result is not None and self.result.kind == "map":
            self._paint_cells(painter, view, self.result)
        box = self._box_shown(active)
        if box is not None:
            _paint_box(painter, view.view_rect(box))
        for pin in self._inspection.pins:
            if pin != active:
                _paint_pin(painter, view, pin, QColor("#E6E6E6"))
        if active is not None:
            _paint_pin(painter, view, active, QColor("#6CB0FF"))

    def _box_shown(self, active: Pin | None) -> QRectF | None:
        if self._corners is not None:
            return QRectF(*self._corners).normalized()
        if self.box is None or active is None:
            return None
        height, width = self.box
        return QRectF(active.x + 0.5 - width / 2, active.y + 0.5 - height / 2, width, height)

    def _paint_cells(self, painter: QPainter, view: CanvasView, result: ProbeResult) -> None:
        """The query's cell; target and corner cells with both two-leg paths where hops are composed."""
        if result.query_cell is None:
            return
        corners = result.extras.get("corners")
        target = result.extras.get("target_cell")
        if corners and target:
            query = tuple(result.query_cell)
            for corner, dashed in zip(corners, (False, True), strict=False):
                points = [_middle(view, result, cell) for cell in (query, tuple(corner), tuple(target))]
                _paint_path(painter, points, dashed)
            for corner in corners:
                _paint_cell(painter, view, result, tuple(corner), QColor("#6CB0FF"), 1.5)
            _paint_cell(painter, view, result, tuple(target), QColor("#F2F2F2"), 2.0)
        _paint_cell(painter, view, result, result.query_cell, QColor("#FFFFFF"), 2.0)


def box_of(slot: ProbeSlot | None) -> tuple[int, int] | None:
    """Height and width in pixels of the box a map is about: that of a probe with these two options."""
    if slot is None or slot.spec.query != "pixel":
        return None
    declared = {option.name: option.default for option in slot.spec.options}
    chosen = {**declared, **dict(slot.options)}
    if not set(BOX_SIDES) <= declared.keys():
        return None
    height, width = (int(chosen[name]) for name in BOX_SIDES)
    return height, width


def cell_rect(result: ProbeResult, cell: tuple[int, int]) -> QRectF:
    """The image pixels that a cell of a map covers."""
    return QRectF(
        result.offset[1] + cell[1] * result.stride[1],
        result.offset[0] + cell[0] * result.stride[0],
        result.stride[1],
        result.stride[0],
    )


def _middle(view: CanvasView, result: ProbeResult, cell: tuple[int, ...]) -> QPointF:
    return view.to_view(cell_rect(result, (cell[0], cell[1])).center())


def _paint_path(painter: QPainter, points: list[QPointF], dashed: bool) -> None:
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(0, 0, 0, 178), 4))
    painter.drawPolyline(points)
    pen = QPen(QColor("#6CB0FF"), 1.6)
    if dashed:
        pen.setDashPattern([3.1, 1.9])
    painter.setPen(pen)
    painter.drawPolyline(points)


def _paint_cell(
    painter: QPainter,
    view: CanvasView,
    result: ProbeResult,
    cell: tuple[int, ...],
    color: QColor,
    width: float,
) -> None:
    rect = view.view_rect(cell_rect(result, (cell[0], cell[1])))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(0, 0, 0), width + 2))
    painter.drawRect(rect)
    painter.setPen(QPen(color, width))
    painter.drawRect(rect)


def _paint_box(painter: QPainter, rect: QRectF) -> None:
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(0, 0, 0), 4))
    painter.drawRect(rect)
    painter.setPen(QPen(QColor("#6CB0FF"), 2))
    painter.drawRect(rect)


def _paint_pin(painter: QPainter, view: CanvasView, pin: Pin, color: QColor) -> None:
    middle = view.to_view(QPointF(pin.x + 0.5, pin.y + 0.5))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(0, 0, 0), 4))
    painter.drawEllipse(middle, RING, RING)
    painter.setPen(QPen(color, 2))
    painter.drawEllipse(middle, RING, RING)
    box = QRectF(middle.x() + 9, middle.y() - 24, *_TAG)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(20, 20, 20, 230))
    painter.drawRoundedRect(box, 3, 3)
    painter.setPen(color)
    painter.setFont(theme.font(11, 600))
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, pin.name)
