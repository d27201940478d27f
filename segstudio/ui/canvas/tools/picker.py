"""Tools that change nothing: the class picker and the hand."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, Qt

from segstudio.ui.canvas.tools.paint_state import PaintState
from segstudio.ui.canvas.tools.tool import Tool, ToolEvent
from segstudio.ui.canvas.view import CanvasView


class PickerTool(Tool):
    """A click takes the class under the pointer into the hand."""

    def __init__(self, state: PaintState) -> None:
        super().__init__()
        self._state = state

    def press(self, event: ToolEvent) -> bool:
        if event.button != Qt.MouseButton.LeftButton:
            return False
        pick_at(self._state, event.x, event.y)
        return True


def pick_at(state: PaintState, x: float, y: float) -> bool:
    """Take the class at an image point into the hand; False where nothing is labelled."""
    labels = state.session.label_map
    column, row = math.floor(x), math.floor(y)
    if labels is None or not (0 <= column < labels.width and 0 <= row < labels.height):
        return False
    index = int(labels.array[row, column])
    if index == labels.ignore or state.session.class_of(index) is None:
        return False
    state.pick(index)
    return True


class PanTool(Tool):
    """The hand: dragging moves the picture."""

    def __init__(self) -> None:
        super().__init__()
        self._from: QPointF | None = None

    def press(self, event: ToolEvent) -> bool:
        if event.button != Qt.MouseButton.LeftButton:
            return False
        self._from = event.position
        event.view.refresh_cursor()
        return True

    def move(self, event: ToolEvent) -> bool:
        if self._from is not None:
            moved = event.position - self._from
            self._from = event.position
            event.view.viewport.pan(moved.x(), moved.y())
        return True

    def release(self, event: ToolEvent) -> bool:
        self._from = None
        event.view.refresh_cursor()
        return True

    def cursor(self, view: CanvasView) -> Qt.CursorShape:
        held = self._from is not None
        return Qt.CursorShape.ClosedHandCursor if held else Qt.CursorShape.OpenHandCursor
