"""One pane: header and canvas, and the view that shows two panes at once (curtain, blink, difference)."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QCursor, QPainter, QPaintEvent, QPen, QShowEvent
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from segstudio.ui import theme
from segstudio.ui.canvas.readout import Readout, chip_size, paint_chip
from segstudio.ui.canvas.tools.tool import Tool, ToolEvent
from segstudio.ui.canvas.view import CanvasView
from segstudio.ui.canvas.viewport import Viewport
from segstudio.ui.compare.pane_header import PaneHeader
from segstudio.ui.compare.pane_layers import PaneLayers, SideLayer
from segstudio.ui.widgets.first_frames import first_frames

Reading = Callable[[int, int], Readout | None]


class PaneCanvas(CanvasView):
    """A canvas that can say one sentence in its middle."""

    def __init__(self, viewport: Viewport) -> None:
        super().__init__(viewport)
        self._sentence = ""
        self._curtain: float | None = None
        self._is_new = True
        self.set_cross(True)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._is_new = True

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._is_new and not self.has_picture() and not first_frames().take(self):
            self.paint_kept()
            return
        self._is_new = False
        super().paintEvent(event)

    @property
    def sentence(self) -> str:
        return self._sentence

    def say(self, sentence: str) -> None:
        """Words over the picture, such as why there is no mask; empty for none."""
        if sentence != self._sentence:
            self._sentence = sentence
            self.update()

    def show_curtain(self, at: float | None) -> None:
        """Draws the divider at 0-1 of the width; None draws none."""
        self._curtain = at
        self.update()

    def paint_over(self, painter: QPainter) -> None:
        if self._sentence:
            readout = Readout(self._sentence)
            size = chip_size(readout)
            corner = QPointF((self.width() + size.width()) / 2, (self.height() + size.height()) / 2)
            paint_chip(painter, readout, corner)
        if self._curtain is not None:
            x = round(self.width() * self._curtain)
            painter.fillRect(QRect(x - 2, 0, 5, self.height()), QColor(0, 0, 0, 140))
            painter.fillRect(QRect(x, 0, 1, self.height()), QColor(255, 255, 255))
            painter.setPen(QPen(QColor(0, 0, 0, 140), 1))
            painter.setBrush(theme.color("chip_text"))
            painter.drawRoundedRect(QRectF(x - 3.5, self.height() / 2 - 16, 8, 32), 3, 3)


class PaneView(QFrame):
    """Header over canvas. `number` is the pane's in the comparison."""

    def __init__(self, number: int, viewport: Viewport, layers: PaneLayers) -> None:
        super().__init__()
        self.number = number
        self.layers = layers
        self.header = PaneHeader()
        self.canvas = PaneCanvas(viewport)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.header)
        column.addWidget(self.canvas, 1)

    def show_layers(self) -> None:
        """Puts the layers of the pane's view on the canvas."""
        self.canvas.set_layers(self.layers.layers)


class CurtainTool(Tool):
    """Drags the divider."""

    moved = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.5

    def press(self, event: ToolEvent) -> bool:
        if event.button != Qt.MouseButton.LeftButton or not self._near(event):
            return False
        return self.move(event)

    def move(self, event: ToolEvent) -> bool:
        self.at = min(max(event.position.x() / max(event.view.width(), 1), 0.0), 1.0)
        self.moved.emit(self.at)
        return True

    def release(self, event: ToolEvent) -> bool:
        return True

    def hover(self, event: ToolEvent) -> None:
        event.view.setCursor(Qt.CursorShape.SplitHCursor if self._near(event) else Qt.CursorShape.CrossCursor)

    def cursor(self, view: CanvasView) -> QCursor | Qt.CursorShape:
        return Qt.CursorShape.CrossCursor

    def _near(self, event: ToolEvent) -> bool:
        return abs(event.position.x() - self.at * event.view.width()) <= 8


class PairView(QFrame):
    """Two panes on one canvas: behind a curtain, one after the other, or their difference."""

    def __init__(self, viewport: Viewport, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.header = PaneHeader()
        self.header.set_closable(False, maximisable=False)
        self.header.set_views((), "mask")
        self.canvas = PaneCanvas(viewport)
        self._tool = CurtainTool()
        self._tool.setParent(self)
        self._tool.moved.connect(self._move_curtain)
        self._sides: list[SideLayer] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.header)
        column.addWidget(self.canvas, 1)

    @property
    def curtain(self) -> float:
        """Where the divider is, 0-1 of the width."""
        return self._tool.at

    def show_curtain(self, left: PaneLayers, right: PaneLayers) -> None:
        self._clear()
        self._sides = [
            SideLayer(left.layers, left=True, parent=self),
            SideLayer(right.layers, left=False, parent=self),
        ]
        for side in self._sides:
            side.set_curtain(self._tool.at)
        self.canvas.set_layers(self._sides)
        self.canvas.show_curtain(self._tool.at)
        self.canvas.set_tool(self._tool)

    def show_one(self, layers: PaneLayers) -> None:
        self._clear()
        self.canvas.set_layers(layers.layers)
        self.canvas.show_curtain(None)
        self.canvas.set_tool(None)

    def _clear(self) -> None:
        self.canvas.set_layers([])
        for side in self._sides:
            side.release()
            side.deleteLater()
        self._sides = []

    def _move_curtain(self, at: float) -> None:
        for side in self._sides:
            side.set_curtain(at)
        self.canvas.show_curtain(at)
