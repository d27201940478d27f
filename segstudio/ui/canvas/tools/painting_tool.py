"""What tools have in common that take several events for one change: brush, polygon, dragged shapes."""

from __future__ import annotations

from PySide6.QtGui import QColor

from segstudio.ui.canvas.tools.paint_state import PaintState
from segstudio.ui.canvas.tools.tool import Tool
from segstudio.ui.canvas.view import CanvasView

LINES = ((QColor(0, 0, 0, 200), 3.2), (QColor(255, 255, 255), 1.4))
"""Colour and width (view pixels) of a line that is seen on every picture, the lower one first."""


class PaintingTool(Tool):
    """Knows the view it is on, and ends what is under way when it is taken off."""

    def __init__(self, state: PaintState) -> None:
        super().__init__()
        self._state = state
        self._view: CanvasView | None = None

    def activate(self, view: CanvasView) -> None:
        self._view = view

    def deactivate(self, view: CanvasView) -> None:
        self.put_down()
        self._view = None

    def put_down(self) -> None:
        """Finish or drop what is under way."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Paint anew what the tool paints over the picture."""
        if self._view is not None:
            self._view.update_overlay()
