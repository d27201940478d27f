"""What a canvas tool is: it gets events in image coordinates and may paint over the picture.

`Tool` is a complete tool that does nothing; a tool overrides what it needs. The canvas keeps zooming and
panning (wheel, Space, middle button) to itself, so that they work with every tool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QPointF, QRect, Qt
from PySide6.QtGui import QCursor, QKeyEvent, QPainter

if TYPE_CHECKING:
    from segstudio.ui.canvas.view import CanvasView


@dataclass(frozen=True, slots=True)
class ToolEvent:
    """A pointer event. `x`, `y` are image coordinates (pixel (i, j) covers [i, i+1) x [j, j+1)) and may lie
    outside the image; `position` is in the view's logical pixels."""

    x: float
    y: float
    position: QPointF
    button: Qt.MouseButton
    buttons: Qt.MouseButton
    modifiers: Qt.KeyboardModifier
    view: CanvasView


class Tool(QObject):
    """One way to act on the canvas. Handlers that return True have used the event up."""

    def activate(self, view: CanvasView) -> None:
        """The tool was put on `view`."""

    def deactivate(self, view: CanvasView) -> None:
        """The tool is taken off `view`: finish or cancel what is under way."""

    def press(self, event: ToolEvent) -> bool:
        return False

    def move(self, event: ToolEvent) -> bool:
        """The pointer moved while a button that `press` took is held."""
        return False

    def release(self, event: ToolEvent) -> bool:
        return False

    def double_click(self, event: ToolEvent) -> bool:
        """A second press in quick succession; by default one more press."""
        return self.press(event)

    def hover(self, event: ToolEvent) -> None:
        """The pointer moved without a button."""

    def leave(self, view: CanvasView) -> None:
        """The pointer left the view."""

    def wheel(self, event: ToolEvent, steps: float) -> bool:
        """The wheel turned by `steps` notches; False lets the canvas zoom."""
        return False

    def key_press(self, view: CanvasView, event: QKeyEvent) -> bool:
        return False

    def key_release(self, view: CanvasView, event: QKeyEvent) -> bool:
        return False

    def paint_overlay(self, painter: QPainter, view: CanvasView) -> None:
        """Paints over the picture in the view's logical pixels; called in the frame of the cross.

        `view.to_view(QPointF)` maps image points; ask for a repaint with `view.update_overlay(rect)`.
        """

    def overlay_rect(self, view: CanvasView) -> QRect | None:
        """View pixels that `paint_overlay` covers when the pointer moves; None repaints nothing by itself.

        Asked for before and after each pointer event, so a moving ring repaints its old and new place.
        """
        return None

    def cursor(self, view: CanvasView) -> QCursor | Qt.CursorShape:
        """The pointer's shape over the picture."""
        return Qt.CursorShape.CrossCursor

    @property
    def shows_cross(self) -> bool:
        """Whether the canvas draws its long cursor cross in the view the pointer is in."""
        return False
