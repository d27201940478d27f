"""Fill: the connected region under the pointer becomes the class in hand."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from PySide6.QtCore import Qt, Signal, Slot

from segstudio.runtime.painting import Ink, fill_mask, region_mask
from segstudio.ui.canvas.tools.paint_state import PaintState
from segstudio.ui.canvas.tools.tool import Tool, ToolEvent


class FillTool(Tool):
    """A click fills; Ctrl+click takes the region's labels away. Finding the region runs on a thread."""

    _found = Signal(object)

    def __init__(self, state: PaintState) -> None:
        super().__init__()
        self._state = state
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fill")
        self._busy = False
        self._found.connect(self._write)

    @property
    def is_busy(self) -> bool:
        return self._busy

    def press(self, event: ToolEvent) -> bool:
        labels = self._state.session.label_map
        if event.button != Qt.MouseButton.LeftButton or labels is None or self._busy:
            return False
        ink = self._state.ink(erase=bool(event.modifiers & Qt.KeyboardModifier.ControlModifier))
        if ink is None:
            return False
        self._busy = True
        future = self._thread.submit(region_mask, labels, math.floor(event.x), math.floor(event.y))
        future.add_done_callback(lambda done: self._found.emit((labels, ink, done)))
        return True

    def cursor(self, view: object) -> Qt.CursorShape:
        return Qt.CursorShape.CrossCursor

    @Slot(object)
    def _write(self, found: tuple[Any, Ink, Future[Any]]) -> None:
        self._busy = False
        labels, ink, future = found
        region = future.result()
        if region is None or self._state.session.label_map is not labels:
            return
        recorder = self._state.begin()
        if recorder is None:
            return
        rect, mask = region
        changed = fill_mask(recorder, ink, rect, mask)
        self._state.finish("fill", -1 if ink.value == labels.ignore else ink.value)
        self._state.changed_labels(changed)
