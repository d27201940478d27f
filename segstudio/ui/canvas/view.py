"""A canvas: one picture with its layers, painted by itself, zoomed and panned through a shared viewport.

Layers are rendered into a picture of the view's own device pixels and kept; moving the pointer only
copies that picture and paints cross, read-out and the tool's overlay on top, in one frame for all linked
views. A changed part of a label map re-renders its rectangle only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import shiboken6
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QHideEvent,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QRegion,
    QResizeEvent,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from segstudio.ui import theme
from segstudio.ui.canvas.frame import Frame
from segstudio.ui.canvas.kept_picture import KeptPicture
from segstudio.ui.canvas.layers import Layer
from segstudio.ui.canvas.readout import (
    Readout,
    chip_corner,
    chip_rect,
    cross_region,
    paint_chip,
    paint_cross,
)
from segstudio.ui.canvas.tools.tool import Tool, ToolEvent
from segstudio.ui.canvas.viewport import Viewport

GRID_FROM = 16.0
_WHEEL_NOTCH = 120.0


class CanvasView(QWidget):
    """Shows `layers`, bottom first, through `viewport`. The image's size is the viewport's."""

    hovered = Signal(object)
    """(x, y) image pixel under the pointer, or None outside the image."""
    opacity_wheel = Signal(int)
    """Alt+wheel: +1 or -1 a notch."""
    pressed = Signal()
    """A mouse button went down anywhere in the view (before the tool sees it)."""
    painted = Signal()

    def __init__(self, viewport: Viewport, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(64, 64)
        self._viewport = viewport
        self._layers: list[Layer] = []
        self._tool: Tool | None = None
        self._readout: Callable[[int, int], Readout | None] | None = None
        self._ground: QColor | None = None
        self._cross = False
        self._kept = KeptPicture()
        self._painted_over = QRegion()
        self._panning: QPointF | None = None
        self._space_held = False
        self._tool_holds: Qt.MouseButton | None = None
        self._keyboard_focus = False
        viewport.changed.connect(self.update)
        viewport.cursor_changed.connect(self._cursor_moved)
        theme.appearance().changed.connect(self.invalidate)

    # ------------------------------------------------------------------ what is shown

    @property
    def viewport(self) -> Viewport:
        return self._viewport

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(self._layers)

    def set_layers(self, layers: Sequence[Layer]) -> None:
        """Bottom first. A layer may be shown by several views at once (the image is)."""
        for layer in self._layers:
            layer.changed.disconnect(self._layer_changed)
            layer.views -= 1
        self._layers = list(layers)
        for layer in self._layers:
            layer.changed.connect(self._layer_changed)
            layer.views += 1
        self.invalidate()

    @property
    def tool(self) -> Tool | None:
        return self._tool

    def set_tool(self, tool: Tool | None) -> None:
        if tool is self._tool:
            return
        if self._tool is not None:
            self._tool.deactivate(self)
        self._tool, self._tool_holds = tool, None
        if tool is not None:
            tool.activate(self)
        self.refresh_cursor()
        self.update()

    def set_readout(self, readout: Callable[[int, int], Readout | None] | None) -> None:
        """Called while painting with the image pixel under the shared cursor; None shows no chip."""
        self._readout = readout
        self.update()

    def set_cross(self, cross: bool) -> None:
        """Whether the shared cursor is drawn as a cross (linked panes) or left to the pointer."""
        self._cross = cross
        self.update()

    def set_ground(self, ground: QColor | None) -> None:
        """The colour round the image; None follows the theme (LOOK.md also offers #777777 and black)."""
        self._ground = ground
        self.invalidate()

    def refresh_cursor(self) -> None:
        """Asks the tool again for the pointer's shape."""
        if self._panning is not None:
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
        elif self._space_held:
            self.setCursor(Qt.CursorShape.OpenHandCursor)
        elif self._tool is not None:
            self.setCursor(self._tool.cursor(self))
        else:
            self.setCursor(Qt.CursorShape.CrossCursor)

    # ------------------------------------------------------------------ mapping

    def frame_now(self) -> Frame:
        """The mapping to device pixels as of now."""
        ratio = self.devicePixelRatioF()
        width, height = round(self.width() * ratio), round(self.height() * ratio)
        scale = self._viewport.scale * ratio
        center, size = self._viewport.center, self._viewport.image_size
        return Frame(
            scale=scale,
            left=round(width / 2 - center.x() * scale),
            top=round(height / 2 - center.y() * scale),
            width=width,
            height=height,
            image_width=int(size.width()),
            image_height=int(size.height()),
        )

    def to_view(self, point: QPointF) -> QPointF:
        """View pixels (logical) of an image point."""
        return self.frame_now().to_device(point) / self.devicePixelRatioF()

    def to_image(self, position: QPointF) -> QPointF:
        """The image point at a view position."""
        frame, ratio = self.frame_now(), self.devicePixelRatioF()
        return QPointF(
            (position.x() * ratio - frame.left) / frame.scale,
            (position.y() * ratio - frame.top) / frame.scale,
        )

    def view_rect(self, rect: QRectF) -> QRectF:
        """View pixels of a rectangle of image pixels."""
        return QRectF(self.to_view(rect.topLeft()), self.to_view(rect.bottomRight()))

    # ------------------------------------------------------------------ repainting

    def invalidate(self) -> None:
        """Everything must be rendered anew."""
        self._kept.invalidate()
        self.update()

    def update_image_rect(self, rect: QRect | QRectF) -> None:
        """Layers changed inside `rect` (image pixels)."""
        self._kept.touch(QRectF(rect))
        touched = self.frame_now().touched_rect(QRectF(rect))
        if not touched.isEmpty():
            self.update(self._logical(touched))

    def update_overlay(self, rect: QRect | QRectF | None = None) -> None:
        """Repaints what the tool paints over the picture in `rect` (view pixels), without its layers."""
        if rect is None:
            self.update()
        else:
            self.update(QRectF(rect).toAlignedRect().adjusted(-1, -1, 1, 1))

    def _logical(self, rect: QRect) -> QRect:
        ratio = self.devicePixelRatioF()
        return QRectF(
            rect.x() / ratio, rect.y() / ratio, rect.width() / ratio, rect.height() / ratio
        ).toAlignedRect()

    def _layer_changed(self, rect: QRect | None) -> None:
        if rect is None:
            self.invalidate()
        else:
            self.update_image_rect(rect)

    def _cursor_moved(self) -> None:
        """Repaints where the cross and the chip were and where they will be."""
        if not self._cross and self._readout is None:
            return
        self.update(self._painted_over | self._cursor_region())

    def _cursor_region(self) -> QRegion:
        region = QRegion()
        pixel = self._viewport.cursor_pixel
        if pixel is None:
            return region
        if self._cross:
            region |= cross_region(self.view_rect(QRectF(pixel[0], pixel[1], 1, 1)), self.rect())
        if self._readout is not None:
            readout = self._readout(*pixel)
            if readout is not None:
                region |= chip_rect(readout, self.size())
        return region

    def paintEvent(self, event: QPaintEvent) -> None:
        ground = self._ground if self._ground is not None else theme.color("canvas")
        grid = self._viewport.scale >= GRID_FROM
        self._kept.render(self.frame_now(), self._layers, ground, grid=grid)
        painter = QPainter(self)
        ratio = self.devicePixelRatioF()
        for part in event.region():
            source = QRectF(part.x() * ratio, part.y() * ratio, part.width() * ratio, part.height() * ratio)
            painter.drawImage(QRectF(part), self._kept.image, source)
        self._painted_over = QRegion()
        pixel = self._viewport.cursor_pixel
        if pixel is not None and self._cross and not (self._tool and self._tool_holds):
            around = self.view_rect(QRectF(pixel[0], pixel[1], 1, 1))
            paint_cross(painter, around, self.rect())
            self._painted_over |= cross_region(around, self.rect())
        if self._tool is not None:
            painter.save()
            self._tool.paint_overlay(painter, self)
            painter.restore()
        if pixel is not None and self._readout is not None:
            readout = self._readout(*pixel)
            if readout is not None:
                paint_chip(painter, readout, chip_corner(self.size()))
                self._painted_over |= chip_rect(readout, self.size())
        self.paint_over(painter)
        if self._keyboard_focus:
            painter.setPen(QPen(theme.color("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(QRectF(self.rect()).adjusted(1, 1, -1, -1))
        painter.end()
        self.painted.emit()

    def paint_over(self, painter: QPainter) -> None:
        """For views that write something of their own over the picture (logical pixels)."""

    # ------------------------------------------------------------------ size and visibility

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self.isVisible():
            self._viewport.set_view_size(self, self.size())
        self.invalidate()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._viewport.set_view_size(self, self.size())
        self.invalidate()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._viewport.remove_view(self)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self._keyboard_focus = event.reason() in (
            Qt.FocusReason.TabFocusReason,
            Qt.FocusReason.BacktabFocusReason,
            Qt.FocusReason.ShortcutFocusReason,
        )
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._keyboard_focus = False
        if self._space_held:
            self._space_held = False
            self.refresh_cursor()
        self.update()

    # ------------------------------------------------------------------ zoom, pan, tool

    def zoom_in(self) -> None:
        self._viewport.zoom(1)

    def zoom_out(self) -> None:
        self._viewport.zoom(-1)

    def _offset(self, position: QPointF) -> QPointF:
        """A view position from the view's middle."""
        return position - QPointF(self.width() / 2, self.height() / 2)

    def _tool_event(self, position: QPointF, event: QMouseEvent | QWheelEvent) -> ToolEvent:
        point = self.to_image(position)
        button = event.button() if isinstance(event, QMouseEvent) else Qt.MouseButton.NoButton
        return ToolEvent(point.x(), point.y(), position, button, event.buttons(), event.modifiers(), self)

    def _with_tool(self, act: Callable[[Tool], bool | None]) -> bool:
        """Lets the tool act and repaints the old and the new place of what it paints."""
        tool = self._tool
        if tool is None:
            return False
        before = tool.overlay_rect(self)
        used = bool(act(tool))
        for rect in (before, tool.overlay_rect(self) if self._tool is tool else None):
            if rect is not None:
                self.update_overlay(rect)
        return used

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._keyboard_focus = False
        self.pressed.emit()
        position = event.position()
        if event.button() == Qt.MouseButton.MiddleButton or (
            event.button() == Qt.MouseButton.LeftButton and self._space_held
        ):
            self._panning = position
            self.refresh_cursor()
            return
        self._follow(position)
        if self._with_tool(lambda tool: tool.press(self._tool_event(position, event))):
            self._tool_holds = event.button()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        position = event.position()
        if self._panning is not None:
            moved = position - self._panning
            self._panning = position
            self._viewport.pan(moved.x(), moved.y())
            return
        self._follow(position)
        if self._tool_holds is not None:
            self._with_tool(lambda tool: tool.move(self._tool_event(position, event)))
        else:
            self._with_tool(lambda tool: tool.hover(self._tool_event(position, event)))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._panning is not None and event.button() in (
            Qt.MouseButton.MiddleButton,
            Qt.MouseButton.LeftButton,
        ):
            self._panning = None
            self.refresh_cursor()
            return
        if self._tool_holds is not None and event.button() == self._tool_holds:
            self._tool_holds = None
            self._with_tool(lambda tool: tool.release(self._tool_event(event.position(), event)))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.MiddleButton or self._space_held:
            self.mousePressEvent(event)
            return
        self.pressed.emit()
        if self._with_tool(lambda tool: tool.double_click(self._tool_event(event.position(), event))):
            self._tool_holds = event.button()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._viewport.set_cursor(None)
        self.hovered.emit(None)
        self._with_tool(lambda tool: tool.leave(self))

    def wheelEvent(self, event: QWheelEvent) -> None:
        position = event.position()
        modifiers = event.modifiers()
        turned = event.angleDelta()
        if modifiers & Qt.KeyboardModifier.AltModifier:
            # With Alt held, Qt reports the wheel as horizontal.
            steps = turned.y() or turned.x()
            if steps:
                self.opacity_wheel.emit(1 if steps > 0 else -1)
            event.accept()
            return
        steps = turned.y() / _WHEEL_NOTCH
        if self._with_tool(lambda tool: tool.wheel(self._tool_event(position, event), steps)):
            event.accept()
            return
        pixels = event.pixelDelta()
        two_fingers = (
            event.device() is not None
            and not pixels.isNull()
            and event.phase() != Qt.ScrollPhase.NoScrollPhase
        )
        if two_fingers and not modifiers & Qt.KeyboardModifier.ControlModifier:
            self._viewport.pan(pixels.x(), pixels.y())
        elif steps:
            self._viewport.zoom(steps, self.to_image(position), self._offset(position))
        self._follow(position)
        event.accept()

    def event(self, event: QEvent) -> bool:
        viewport = getattr(self, "_viewport", None)  # Qt sends events while the base class is being made
        if viewport is not None and not shiboken6.isValid(viewport):
            # The window is being taken apart, its viewport first. A signal of a deleted object raises inside
            # Qt's call of an override, and the binding cannot carry that error: the process would end.
            return False
        if (
            isinstance(event, QNativeGestureEvent)
            and event.gestureType() == Qt.NativeGestureType.ZoomNativeGesture
        ):
            position, scale = event.position(), self._viewport.scale * (1 + event.value())
            self._viewport.set_scale(scale, self.to_image(position), self._offset(position))
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and not event.modifiers():
            if not event.isAutoRepeat():
                self._space_held = True
                self.refresh_cursor()
            event.accept()
            return
        if self._with_tool(lambda tool: tool.key_press(self, event)):
            event.accept()
            return
        super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self._space_held = False
            self.refresh_cursor()
            event.accept()
            return
        if self._with_tool(lambda tool: tool.key_release(self, event)):
            event.accept()
            return
        super().keyReleaseEvent(event)

    def _follow(self, position: QPointF) -> None:
        """The shared cursor goes where the pointer is."""
        self._viewport.set_cursor(self.to_image(position))
        self.hovered.emit(self._viewport.cursor_pixel)

    def pointer_position(self) -> QPoint | None:
        """Where the pointer is in this view (logical pixels), None if it is elsewhere."""
        position = self.mapFromGlobal(self.cursor().pos())
        return position if self.rect().contains(position) and self.underMouse() else None
