"""Pictures side by side on one grid of cells: a click or drag hides cells or shows them again.

Everything is painted from small pictures in memory: an edit is seen in the same frame, before the network
has answered it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from segstudio.runtime.reconstructions import Reconstruction
from segstudio.ui import theme

GAP, CAPTION = 8, 22
_MASKED = "masked"
_NEAREST_FROM = 2.0  # times its size a picture shows its pixels instead of smoothing them
_ARROWS = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}

Cell = tuple[int, int]


class PatchStage(QWidget):
    """`edited` when a person hid or showed cells; at least one stays hidden and one is seen."""

    edited = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setProperty("focusInside", True)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(360, 140)
        self._answer: Reconstruction | None = None
        self._images: list[tuple[str, QImage]] = []
        self._hidden: NDArray[np.bool_] | None = None
        self._pointed: Cell | None = None
        self._cursor: Cell = (0, 0)
        self._hides = True
        self._dragged: set[Cell] | None = None
        self._message = ""
        self._is_by_key = False  # the keyboard was used last: the cell it points at is shown
        theme.appearance().changed.connect(self.update)
        self._name()

    # -- what is shown -------------------------------------------------------------------------------

    @property
    def hidden(self) -> NDArray[np.bool_] | None:
        """(rows, columns) bool as the person sees it now; None where nothing can be hidden."""
        return self._hidden

    @property
    def views(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._images)

    @property
    def pictures(self) -> tuple[QImage, ...]:
        return tuple(image for _, image in self._images)

    def show_message(self, text: str) -> None:
        """Words in the place of pictures; "" for none."""
        if text != self._message:
            self._message = text
            self.update()

    def clear(self) -> None:
        """No pictures: those there were belong to another image or other weights."""
        self._answer, self._images, self._hidden, self._pointed = None, [], None, None
        self._name()
        self.update()

    def show_answer(self, answer: Reconstruction, *, take_mask: bool) -> None:
        """Shows the pictures. `take_mask`: the cells hidden in them are those hidden now.

        Else the person has changed them meanwhile, and sees the own changes until these are answered.
        """
        self._answer = answer
        self._images = [
            (name, _image(pixels)) for name, pixels in zip(answer.views, answer.pictures, strict=True)
        ]
        shape = None if answer.hidden is None else answer.hidden.shape
        if take_mask or self._hidden is None or self._hidden.shape != shape:
            self._hidden = None if answer.hidden is None else answer.hidden.copy()
        if shape is not None:
            self._cursor = (min(self._cursor[0], shape[0] - 1), min(self._cursor[1], shape[1] - 1))
        self._message = ""
        self._name()
        self.update()

    def pane(self, index: int) -> QRectF:
        """Where a picture is painted, its caption under it."""
        count = max(1, len(self._images))
        columns = max(range(1, count + 1), key=lambda number: (self._side(number), -number))
        side, tall = self._side(columns), self._side(columns) * self._shape()
        row, column = divmod(index, columns)
        rows = math.ceil(count / columns)
        left = (self.width() - columns * side - (columns - 1) * GAP) / 2
        top = (self.height() - rows * (tall + CAPTION)) / 2
        return QRectF(left + column * (side + GAP), top + row * (tall + CAPTION), side, tall)

    def cell_rect(self, index: int, cell: Cell) -> QRectF:
        """Where a cell lies in a pane."""
        box, (rows, columns) = self.pane(index), self._grid()
        wide, tall = box.width() / columns, box.height() / rows
        return QRectF(box.left() + cell[1] * wide, box.top() + cell[0] * tall, wide, tall)

    def sizeHint(self) -> QSize:
        return QSize(720, 280)

    def _side(self, columns: int) -> float:
        """Width of a pane where so many stand side by side."""
        rows = math.ceil(max(1, len(self._images)) / columns)
        wide = (self.width() - 2 - (columns - 1) * GAP) / columns
        tall = (self.height() - 2) / rows - CAPTION
        return max(8.0, min(wide, tall / self._shape()))

    def _shape(self) -> float:
        """Height of the pictures as a share of their width."""
        if self._answer is None:
            return 1.0
        return self._answer.pictures.shape[1] / self._answer.pictures.shape[2]

    def _grid(self) -> tuple[int, int]:
        return (1, 1) if self._hidden is None else (self._hidden.shape[0], self._hidden.shape[1])

    # -- painting ------------------------------------------------------------------------------------

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.color("canvas"))
        if not self._images:
            # The ground is light grey in one theme and nearly black in the other: a chip is legible on both.
            if self._message:
                _paint_chip(painter, QRectF(self.rect()), self._message, centred=True)
            return
        for index, (name, image) in enumerate(self._images):
            box = self.pane(index)
            smooth = box.width() < _NEAREST_FROM * image.width()
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
            painter.drawImage(box, image)
            if name == _MASKED:
                self._paint_edits(painter, index)
            self._paint_caption(painter, box, name)
        cell = self._pointed or (self._cursor if self.hasFocus() and self._is_by_key else None)
        if cell is not None and self._hidden is not None:
            for index in range(len(self._images)):
                self._paint_cell(painter, index, cell)
            last = self.pane(len(self._images) - 1)
            last.setLeft(0)  # words too long for one picture go on over the one before it
            _paint_chip(painter, last, self.cell_words(cell))
        painter.end()

    def _paint_edits(self, painter: QPainter, index: int) -> None:
        """What the person changed since the picture was made."""
        if self._answer is None or self._answer.hidden is None or self._hidden is None:
            return
        original, side = self._images[0][1], self._answer.cell
        veil = self._veil(self._images[index][1])
        for row, column in np.argwhere(self._hidden != self._answer.hidden).tolist():
            box = self.cell_rect(index, (row, column))
            if self._hidden[row, column]:
                painter.fillRect(box, veil)
            else:
                painter.drawImage(box, original, QRectF(column * side, row * side, side, side))

    def _veil(self, masked: QImage) -> QColor:
        """What the network's picture has in the place of a hidden cell."""
        assert self._answer is not None and self._answer.hidden is not None
        hidden = np.argwhere(self._answer.hidden)
        if not len(hidden):
            return QColor(119, 119, 119)
        row, column = (int(place) * self._answer.cell for place in hidden[0])
        return masked.pixelColor(column, row)

    def _paint_caption(self, painter: QPainter, box: QRectF, name: str) -> None:
        painter.setFont(theme.font(12))
        painter.setPen(theme.color("t1"))
        line = QRectF(box.left(), box.bottom() + 2, box.width(), CAPTION - 4)
        words = painter.fontMetrics().elidedText(
            name.capitalize(), Qt.TextElideMode.ElideRight, int(line.width())
        )
        painter.drawText(line, int(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter), words)

    def _paint_cell(self, painter: QPainter, index: int, cell: Cell) -> None:
        box = self.cell_rect(index, cell)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(0, 0, 0, 140), 3))
        painter.drawRect(box)
        painter.setPen(QPen(QColor(255, 255, 255), 1))
        painter.drawRect(box)

    def cell_words(self, cell: Cell) -> str:
        """What is known of a cell."""
        assert self._hidden is not None
        state = "hidden" if self._hidden[cell] else "seen"
        answer = self._answer
        words = f"row {cell[0] + 1}, column {cell[1] + 1} · {state}"
        if answer is None or answer.error is None or answer.hidden is None or not self._hidden[cell]:
            return words  # what was seen is not guessed
        if answer.hidden[cell] and np.isfinite(answer.error[cell]):
            words += f" · error {answer.error[cell]:.3f}"
        return words

    # -- mouse and keys ------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        cell = self._cell_at(event.position())
        if event.button() != Qt.MouseButton.LeftButton or cell is None or self._hidden is None:
            return
        self._is_by_key = False
        self._hides = not self._hidden[cell]
        self._dragged = set()
        self._change(cell)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        cell = self._cell_at(event.position())
        if cell != self._pointed:
            self._pointed = cell
            self.update()
        if self._dragged is not None and cell is not None and event.buttons() & Qt.MouseButton.LeftButton:
            self._change(cell)

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        self._dragged = None

    def leaveEvent(self, event: QEvent) -> None:
        self._pointed = None
        self.update()
        super().leaveEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = _ARROWS.get(Qt.Key(event.key()))
        if self._hidden is None:
            super().keyPressEvent(event)
        elif step is not None:
            rows, columns = self._grid()
            self._is_by_key = True
            row, column = self._cursor[0] + step[0], self._cursor[1] + step[1]
            self._cursor = (min(max(0, row), rows - 1), min(max(0, column), columns - 1))
            self._name()
            self.update()
        elif event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._is_by_key = True
            self._hides = not self._hidden[self._cursor]
            self._dragged = set()
            self._change(self._cursor)
            self._dragged = None
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        by_key = (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        self._is_by_key = event.reason() in by_key
        self.update()
        super().focusInEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.update()
        super().focusOutEvent(event)

    def _change(self, cell: Cell) -> None:
        """Hides or shows a cell, as the first one of the drag."""
        assert self._hidden is not None and self._dragged is not None
        if cell in self._dragged or self._hidden[cell] == self._hides:
            return
        self._dragged.add(cell)
        count = int(self._hidden.sum())
        if count + (1 if self._hides else -1) not in range(1, self._hidden.size):
            return  # the network needs something to see and something to guess
        self._hidden[cell] = self._hides
        self._cursor = cell
        self._name()
        self.update()
        self.edited.emit()

    def _cell_at(self, position: QPointF) -> Cell | None:
        if self._hidden is None:
            return None
        rows, columns = self._grid()
        for index in range(len(self._images)):
            box = self.pane(index)
            if box.contains(position):
                row = int((position.y() - box.top()) / box.height() * rows)
                column = int((position.x() - box.left()) / box.width() * columns)
                return min(row, rows - 1), min(column, columns - 1)
        return None

    def _name(self) -> None:
        """What a screen reader says."""
        names = ", ".join(self.views)
        self.setAccessibleName(f"Pictures: {names}" if names else "Pictures")
        self.setAccessibleDescription("" if self._hidden is None else self.cell_words(self._cursor))


def _image(pixels: NDArray[np.uint8]) -> QImage:
    """A picture of its own from (H, W, 3) uint8 RGB."""
    height, width = pixels.shape[:2]
    held = np.ascontiguousarray(pixels)
    made = QImage(held.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return made.convertToFormat(QImage.Format.Format_RGB32)


def _paint_chip(painter: QPainter, box: QRectF, words: str, *, centred: bool = False) -> None:
    """Words over a picture, at its lower right."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setFont(theme.font(12))
    metrics = painter.fontMetrics()
    shown = metrics.elidedText(words, Qt.TextElideMode.ElideRight, max(40, int(box.width()) - 24))
    chip = QRectF(0, 0, metrics.horizontalAdvance(shown) + 16, 24)
    if centred:
        chip.moveCenter(box.center())
    else:
        chip.moveBottomRight(QPointF(box.right() - 6, box.bottom() - 6))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color("chip"))
    painter.drawRoundedRect(chip, 4, 4)
    painter.setPen(theme.color("chip_text"))
    painter.drawText(chip, int(Qt.AlignmentFlag.AlignCenter), shown)
    painter.restore()
