"""Fill: the connected region under the pointer becomes the class in hand."""

from __future__ import annotations

import math

from PySide6.QtCore import Qt

from segstudio.core.edits import StrokeRecorder
from segstudio.runtime.painting import fill_mask, region_mask
from segstudio.ui.canvas.tools.paint_state import PaintState
from segstudio.ui.canvas.tools.tool import Tool, ToolEvent


class FillTool(Tool):
    """A click fills; Ctrl+click takes the region's labels away. A thread finds the region and writes it."""

    def __init__(self, state: PaintState) -> None:
        super().__init__()
        self._state = state

    def press(self, event: ToolEvent) -> bool:
        labels = self._state.session.label_map
        if event.button != Qt.MouseButton.LeftButton or labels is None:
            return False
        ink = self._state.ink(erase=bool(event.modifiers & Qt.KeyboardModifier.ControlModifier))
        if ink is None:
            return False
        x, y = math.floor(event.x), math.floor(event.y)

        def fill(recorder: StrokeRecorder) -> None:
            region = region_mask(recorder.label_map, x, y)
            if region is not None:
                fill_mask(recorder, ink, *region)

        return self._state.change("fill", -1 if ink.value == labels.ignore else ink.value, fill)

    def cursor(self, view: object) -> Qt.CursorShape:
        return Qt.CursorShape.CrossCursor
