"""A canvas: one picture with its layers, painted by itself, zoomed and panned through a shared viewport.

Layers are rendered into a picture of the view's own device pixels and kept; moving the pointer only
copies that picture and paints cross, read-out and the tool's overlay on top, in one frame for all linked
views. A changed part of a label map re-renders its rectangle only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import shiboken6
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
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
from segstudio.ui.canvas.hand import Hand
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
from segstudio.ui.canvas.tools.tool import Tool
from segstudio.ui.canvas.viewport import Viewport

GRID_FROM = 16.0


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
        self._hand = Hand()
        self._readout: Callable[[int, int], Readout | None] | None = None
        self._ground: QColor | None = None
        self._cross = False
        self._kept = KeptPicture()
        self._painted_over = QRegion()
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
        return self._hand.tool

    def set_tool(self, tool: Tool | None) -> None:
        self._hand.take(self, tool)

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
        self._hand.refresh_cursor(self)

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

    def has_picture(self) -> bool:
        """Whether the next frame needs no rendering."""
        return self._kept.shows(self.frame_now())

    def paint_kept(self) -> None:
        """The last picture as it is, in a handler of paint events; what it misses stays the ground."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._ground if self._ground is not None else theme.color("canvas"))
        if self._kept.image.size() == QSize(self.frame_now().width, self.frame_now().height):
            painter.drawImage(QRectF(self.rect()), self._kept.image)
        painter.end()

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
        if pixel is not None and self._cross and not (self._hand.tool and self._hand.tool_holds):
            around = self.view_rect(QRectF(pixel[0], pixel[1], 1, 1))
            paint_cross(painter, around, self.rect())
            self._painted_over |= cross_region(around, self.rect())
        if self._hand.tool is not None:
            painter.save()
            self._hand.tool.paint_overlay(painter, self)
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
        self._hand.let_go_of_space(self)
        self.update()

    # ------------------------------------------------------------------ pointer and keys

    def zoom_in(self) -> None:
        self._viewport.zoom(1)

    def zoom_out(self) -> None:
        self._viewport.zoom(-1)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._keyboard_focus = False
        self._hand.press(self, event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._hand.move(self, event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._hand.release(self, event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._keyboard_focus = False
        self._hand.double_click(self, event)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hand.leave(self)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._hand.wheel(self, event)

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
            self._hand.pinch(self, event)
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if self._hand.key_press(self, event):
            event.accept()
        else:
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if self._hand.key_release(self, event):
            event.accept()
        else:
            super().keyReleaseEvent(event)

    def pointer_position(self) -> QPoint | None:
        """Where the pointer is in this view (logical pixels), None if it is elsewhere."""
        position = self.mapFromGlobal(self.cursor().pos())
        return position if self.rect().contains(position) and self.underMouse() else None
