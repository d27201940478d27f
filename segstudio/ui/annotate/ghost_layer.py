"""A proposal over the picture: 45 degree hatch in the class colour, the region in hand outlined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QRect
from PySide6.QtGui import QColor, QPainter

from segstudio.runtime.proposals import Region
from segstudio.ui.canvas.frame import Frame, sample
from segstudio.ui.canvas.indexed_pictures import draw_indexed
from segstudio.ui.canvas.layers import Layer

_PERIOD, _LINE, _DASH = 10, 3, 6  # device pixels
_CLASSES = 100
_WHITE = 254
_LINE_OFFSET = _CLASSES  # index + 100 is the hatch line of a class


class GhostLayer(Layer):
    """Shows region numbers (H, W) uint16; only the first hundred classes of a project get their colour."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._numbers: NDArray[np.uint16] | None = None
        self._class_of = np.zeros(1, np.uint8)
        self._chosen = 0
        self._table = [0] * 256

    def set_regions(
        self, numbers: NDArray[np.uint16] | None, regions: Sequence[Region], chosen: Region | None
    ) -> None:
        """Show these regions; `chosen` is outlined."""
        self._numbers = numbers if regions else None
        self._class_of = np.full(max((region.number for region in regions), default=0) + 1, 255, np.uint8)
        for region in regions:
            self._class_of[region.number] = min(region.class_index, _CLASSES - 1)
        self._chosen = chosen.number if chosen is not None else 0
        self.changed.emit(None)

    def set_colors(self, colors: Sequence[tuple[int, int, int]]) -> None:
        """Colour of class 0, 1, ..."""
        self._table = [0] * 256
        for index, (red, green, blue) in enumerate(colors[:_CLASSES]):
            self._table[index] = QColor(red, green, blue, 60).rgba()
            self._table[index + _LINE_OFFSET] = QColor(red, green, blue, 200).rgba()
        self._table[_WHITE] = QColor(255, 255, 255).rgba()
        self.changed.emit(None)

    def render(self, painter: QPainter, frame: Frame, clip: QRect) -> None:
        if self._numbers is None:
            return
        rows = frame.rows(clip.y() - 1, clip.height() + 2)
        columns = frame.columns(clip.x() - 1, clip.width() + 2)
        seen = sample(self._numbers, rows, columns)
        inner = seen[1:-1, 1:-1]
        # A region number above the table is one that was dropped since: it shows as nothing.
        shown = np.where(inner > 0, self._class_of[np.minimum(inner, len(self._class_of) - 1)], 255)
        diagonal = (
            np.arange(clip.y(), clip.y() + clip.height())[:, None]
            + np.arange(clip.x(), clip.x() + clip.width())[None, :]
        )
        line = (diagonal % _PERIOD < _LINE) & (shown < _CLASSES)
        shown = np.where(line, shown + _LINE_OFFSET, shown).astype(np.uint8)
        if self._chosen:
            inside = seen == self._chosen
            edge = inside[1:-1, 1:-1] & ~(
                inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
            )
            dash = diagonal // _DASH % 2 == 0
            shown[edge & dash] = _WHITE
            ink = self._class_of[self._chosen] if self._chosen < len(self._class_of) else 0
            shown[edge & ~dash] = min(int(ink) + _LINE_OFFSET, 253)
        draw_indexed(painter, shown, self._table, clip)
