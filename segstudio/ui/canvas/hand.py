"""What pointer and keys do on a canvas: it zooms and pans by itself, everything else is the tool's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QNativeGestureEvent, QWheelEvent

from segstudio.ui.canvas.tools.tool import Tool, ToolEvent

if TYPE_CHECKING:
    from segstudio.ui.canvas.view import CanvasView

_WHEEL_NOTCH = 120.0


class Hand:
    """The tool of one view, and what is held: the button that the tool took, Space, the picture while it is
    panned. Every call names the view, which owns the hand."""

    def __init__(self) -> None:
        self.tool: Tool | None = None
        self.tool_holds: Qt.MouseButton | None = None
        self._panning: QPointF | None = None
        self._space_held = False

    def take(self, view: CanvasView, tool: Tool | None) -> None:
        """Puts the tool in hand away and takes this one."""
        if tool is self.tool:
            return
        if self.tool is not None:
            self.tool.deactivate(view)
        self.tool, self.tool_holds = tool, None
        if tool is not None:
            tool.activate(view)
        self.refresh_cursor(view)
        view.update()

    def refresh_cursor(self, view: CanvasView) -> None:
        """Asks the tool again for the pointer's shape."""
        if self._panning is not None:
            view.setCursor(Qt.CursorShape.ClosedHandCursor)
        elif self._space_held:
            view.setCursor(Qt.CursorShape.OpenHandCursor)
        elif self.tool is not None:
            view.setCursor(self.tool.cursor(view))
        else:
            view.setCursor(Qt.CursorShape.CrossCursor)

    def press(self, view: CanvasView, event: QMouseEvent) -> None:
        view.pressed.emit()
        position = event.position()
        if event.button() == Qt.MouseButton.MiddleButton or (
            event.button() == Qt.MouseButton.LeftButton and self._space_held
        ):
            self._panning = position
            self.refresh_cursor(view)
            return
        self._point(view, position)
        if self._with_tool(view, lambda tool: tool.press(_tool_event(view, event))):
            self.tool_holds = event.button()

    def move(self, view: CanvasView, event: QMouseEvent) -> None:
        position = event.position()
        if self._panning is not None:
            moved = position - self._panning
            self._panning = position
            view.viewport.pan(moved.x(), moved.y())
            return
        self._point(view, position)
        if self.tool_holds is not None:
            self._with_tool(view, lambda tool: tool.move(_tool_event(view, event)))
        else:
            self._with_tool(view, lambda tool: tool.hover(_tool_event(view, event)))

    def release(self, view: CanvasView, event: QMouseEvent) -> None:
        if self._panning is not None and event.button() in (
            Qt.MouseButton.MiddleButton,
            Qt.MouseButton.LeftButton,
        ):
            self._panning = None
            self.refresh_cursor(view)
            return
        if self.tool_holds is not None and event.button() == self.tool_holds:
            self.tool_holds = None
            self._with_tool(view, lambda tool: tool.release(_tool_event(view, event)))

    def double_click(self, view: CanvasView, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.MiddleButton or self._space_held:
            self.press(view, event)
            return
        view.pressed.emit()
        if self._with_tool(view, lambda tool: tool.double_click(_tool_event(view, event))):
            self.tool_holds = event.button()

    def leave(self, view: CanvasView) -> None:
        """The pointer left the view."""
        view.viewport.set_cursor(None)
        view.hovered.emit(None)
        self._with_tool(view, lambda tool: tool.leave(view))

    def wheel(self, view: CanvasView, event: QWheelEvent) -> None:
        """Alt turns the opacity, the tool may take the wheel, two fingers pan, everything else zooms."""
        position = event.position()
        modifiers = event.modifiers()
        turned = event.angleDelta()
        event.accept()
        if modifiers & Qt.KeyboardModifier.AltModifier:
            # With Alt held, Qt reports the wheel as horizontal.
            steps = turned.y() or turned.x()
            if steps:
                view.opacity_wheel.emit(1 if steps > 0 else -1)
            return
        steps = turned.y() / _WHEEL_NOTCH
        if self._with_tool(view, lambda tool: tool.wheel(_tool_event(view, event), steps)):
            return
        pixels = event.pixelDelta()
        two_fingers = (
            event.device() is not None
            and not pixels.isNull()
            and event.phase() != Qt.ScrollPhase.NoScrollPhase
        )
        if two_fingers and not modifiers & Qt.KeyboardModifier.ControlModifier:
            view.viewport.pan(pixels.x(), pixels.y())
        elif steps:
            view.viewport.zoom(steps, view.to_image(position), _from_middle(view, position))
        self._point(view, position)

    def pinch(self, view: CanvasView, event: QNativeGestureEvent) -> None:
        """Two fingers of a touch pad zoom."""
        position, scale = event.position(), view.viewport.scale * (1 + event.value())
        view.viewport.set_scale(scale, view.to_image(position), _from_middle(view, position))

    def key_press(self, view: CanvasView, event: QKeyEvent) -> bool:
        """Whether the key was used."""
        if event.key() == Qt.Key.Key_Space and not event.modifiers():
            if not event.isAutoRepeat():
                self._space_held = True
                self.refresh_cursor(view)
            return True
        return self._with_tool(view, lambda tool: tool.key_press(view, event))

    def key_release(self, view: CanvasView, event: QKeyEvent) -> bool:
        """Whether the key was used."""
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self.let_go_of_space(view)
            return True
        return self._with_tool(view, lambda tool: tool.key_release(view, event))

    def let_go_of_space(self, view: CanvasView) -> None:
        """Space is released, or its release will not be heard."""
        if self._space_held:
            self._space_held = False
            self.refresh_cursor(view)

    def _with_tool(self, view: CanvasView, act: Callable[[Tool], bool | None]) -> bool:
        """Lets the tool act and repaints the old and the new place of what it paints."""
        tool = self.tool
        if tool is None:
            return False
        before = tool.overlay_rect(view)
        used = bool(act(tool))
        for rect in (before, tool.overlay_rect(view) if self.tool is tool else None):
            if rect is not None:
                view.update_overlay(rect)
        return used

    @staticmethod
    def _point(view: CanvasView, position: QPointF) -> None:
        """The shared cursor goes where the pointer is."""
        view.viewport.set_cursor(view.to_image(position))
        view.hovered.emit(view.viewport.cursor_pixel)


def _tool_event(view: CanvasView, event: QMouseEvent | QWheelEvent) -> ToolEvent:
    position = event.position()
    point = view.to_image(position)
    button = event.button() if isinstance(event, QMouseEvent) else Qt.MouseButton.NoButton
    return ToolEvent(point.x(), point.y(), position, button, event.buttons(), event.modifiers(), view)


def _from_middle(view: CanvasView, position: QPointF) -> QPointF:
    return position - QPointF(view.width() / 2, view.height() / 2)
