"""The confusion matrix of one model: rows are labels, columns predictions, a cell answers a press."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QToolTip, QVBoxLayout, QWidget

from segstudio.core.class_space import SharedClass
from segstudio.ui import theme
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.chip import paint_swatch
from segstudio.ui.widgets.labels import ElidedLabel, label
from segstudio.ui.widgets.numbers import grouped

LARGEST = 192
_EDGE = 16


class ConfusionMatrix(QWidget):
    """The matrix as squares: opacity is the square root of the share of its row."""

    chosen = Signal(int, int)
    """Positions (row, column) in the classes shown."""

    def __init__(self) -> None:
        super().__init__()
        self._shares = np.zeros((0, 0))
        self._classes: list[SharedClass] = []
        self._cell: tuple[int, int] | None = None
        self._hovered: tuple[int, int] | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme.appearance().changed.connect(self.update)

    @property
    def cell(self) -> tuple[int, int] | None:
        return self._cell

    def show_matrix(self, counts: NDArray[np.int64], classes: Sequence[SharedClass]) -> None:
        """`counts` (K, K) of `classes`, in their order."""
        rows = counts.sum(1, keepdims=True)
        self._shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
        self._classes = list(classes)
        self.updateGeometry()
        self.update()

    def set_cell(self, cell: tuple[int, int] | None) -> None:
        self._cell = cell
        self.update()

    @property
    def side(self) -> int:
        """Width of one square, its gap included."""
        return max(4, min(16, LARGEST // max(len(self._classes), 1)))

    def cell_rect(self, row: int, column: int) -> QRect:
        side = self.side
        return QRect(_EDGE + column * side, row * side, side - 1, side - 1)

    def sizeHint(self) -> QSize:
        across = self.side * len(self._classes)
        return QSize(_EDGE + across, across + _EDGE + 2)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        count, side = len(self._classes), self.side
        painter.fillRect(QRect(_EDGE, 0, count * side - 1, count * side - 1), theme.color("base"))
        for row in range(count):
            for column in range(count):
                share = self._shares[row, column]
                if share > 0:
                    color = QColor(theme.color("accent" if row == column else "warn"))
                    color.setAlphaF(float(np.sqrt(share)))
                    painter.fillRect(self.cell_rect(row, column), color)
        swatch = min(11, side - 3)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        for place, entry in enumerate(self._classes):
            painter.setBrush(QColor(*entry.color))
            middle = place * side + (side - 1 - swatch) / 2
            painter.drawRoundedRect(QRectF(1, middle, swatch, swatch), 2, 2)
            painter.drawRoundedRect(QRectF(_EDGE + middle, count * side + 3, swatch, swatch), 2, 2)
        for cell, role, width in ((self._hovered, "t2", 1.0), (self._cell, "t1", 1.5)):
            if cell is not None and max(cell) < count:
                painter.setPen(QPen(theme.color(role), width))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRect(QRectF(self.cell_rect(*cell)).adjusted(-0.5, -0.5, 0.5, 0.5))
        painter.end()

    def _at(self, position: QPointF) -> tuple[int, int] | None:
        column, row = int((position.x() - _EDGE) // self.side), int(position.y() // self.side)
        inside = 0 <= row < len(self._classes) and 0 <= column < len(self._classes)
        return (row, column) if inside else None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        cell = self._at(event.position())
        if cell is not None and event.button() == Qt.MouseButton.LeftButton:
            self.chosen.emit(*cell)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        cell = self._at(event.position())
        if cell == self._hovered:
            return
        self._hovered = cell
        if cell is not None:
            truth, seen = self._classes[cell[0]].name, self._classes[cell[1]].name
            share = 100 * self._shares[cell]
            QToolTip.showText(
                event.globalPosition().toPoint(), f"{truth} seen as {seen}: {share:.1f} %", self
            )
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = None
        self.update()
        super().leaveEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {
            Qt.Key.Key_Left: (0, -1),
            Qt.Key.Key_Right: (0, 1),
            Qt.Key.Key_Up: (-1, 0),
            Qt.Key.Key_Down: (1, 0),
        }
        step = steps.get(Qt.Key(event.key()))
        if step is None or not self._classes:
            super().keyPressEvent(event)
            return
        row, column = self._cell or (0, 0)
        last = len(self._classes) - 1
        self.chosen.emit(min(max(row + step[0], 0), last), min(max(column + step[1], 0), last))


class ConfusionView(QWidget):
    """The matrix, and what the chosen cell says."""

    shown = Signal(object)
    """(label, prediction) class indices whose pixels are wanted, or None to show all again."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = ConfusionMatrix()
        self._counts = np.zeros((0, 0), np.int64)
        self._classes: list[SharedClass] = []
        self._images = 0
        self._truth, self._seen = _Named(), _Named()
        self._share = label("", size=20, strong=600)
        self._pixels = label("", role="t2", size=12)
        self._show = push_button("Show these pixels", tall=24, icon_name="eye")
        self._show.setCheckable(True)
        self._show.clicked.connect(self._ask)
        words = QVBoxLayout()
        words.setSpacing(6)
        for widget in (self._truth, self._seen, self._share, self._pixels):
            words.addWidget(widget)
        words.addSpacing(2)
        words.addWidget(self._show, 0, Qt.AlignmentFlag.AlignLeft)
        words.addStretch(1)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 10, 8, 8)
        row.setSpacing(16)
        row.addWidget(self.matrix, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        self.matrix.chosen.connect(self._choose)

    def show_matrix(self, counts: NDArray[np.int64], classes: Sequence[SharedClass], images: int) -> None:
        """`counts` is indexed by class index; only the classes that occur are drawn."""
        used = [
            c
            for c in classes
            if c.index < len(counts) and (counts[c.index].any() or counts[:, c.index].any())
        ]
        before = [entry.index for entry in self._classes]
        self._classes, self._counts, self._images = used, counts, images
        places = [entry.index for entry in used]
        self.matrix.show_matrix(counts[np.ix_(places, places)], used)
        if places != before or self.matrix.cell is None:
            self._choose_worst()
        else:
            self._describe()

    def set_shown(self, confused: tuple[int, int] | None) -> None:
        """Whether the pixels of a cell are shown alone now."""
        self._show.setChecked(confused is not None)
        self._show.setText("Show all again" if confused is not None else "Show these pixels")

    def _choose_worst(self) -> None:
        """The confusion that costs the most pixels of its class."""
        places = [entry.index for entry in self._classes]
        counts = self._counts[np.ix_(places, places)].astype(float)
        if counts.size == 0:
            self.matrix.set_cell(None)
            return
        np.fill_diagonal(counts, -1)
        row, column = np.unravel_index(int(counts.argmax()), counts.shape)
        self._choose(int(row), int(column))

    def _choose(self, row: int, column: int) -> None:
        changed = (row, column) != self.matrix.cell
        self.matrix.set_cell((row, column))
        self._describe()
        if changed and self._show.isChecked():
            self._ask()

    def _describe(self) -> None:
        cell = self.matrix.cell
        if cell is None or max(cell) >= len(self._classes):
            return
        truth, seen = self._classes[cell[0]], self._classes[cell[1]]
        pixels = int(self._counts[truth.index, seen.index])
        total = int(self._counts[truth.index].sum())
        self._truth.show_class(truth, f"{truth.name} seen as")
        self._seen.show_class(seen, seen.name)
        self._share.setText(f"{100 * pixels / total:.1f} %" if total else "–")
        images = "this image" if self._images == 1 else f"{self._images} images"
        self._pixels.setText(f"{grouped(pixels)} px in {images}")

    def _ask(self) -> None:
        cell = self.matrix.cell
        if cell is not None:
            truth, seen = self._classes[cell[0]], self._classes[cell[1]]
            self.shown.emit((truth.index, seen.index) if self._show.isChecked() else None)


class _Named(QWidget):
    """A swatch and a name."""

    def __init__(self) -> None:
        super().__init__()
        self._color = QColor()
        self._name = ElidedLabel("", size=12)
        row = QHBoxLayout(self)
        row.setContentsMargins(22, 0, 0, 0)
        row.addWidget(self._name)
        self.setFixedHeight(18)

    def show_class(self, entry: SharedClass, text: str) -> None:
        self._color = QColor(*entry.color)
        self._name.setText(text)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_swatch(painter, QRect(0, 2, 14, 14), self._color)
        painter.end()
