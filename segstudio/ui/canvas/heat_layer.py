"""A heat map of feature cells over the image, drawn at the cells' true stride."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QRect, QRectF
from PySide6.QtGui import QImage, QPainter

from segstudio.ui.canvas.color_maps import argb_table
from segstudio.ui.canvas.frame import Frame, sample
from segstudio.ui.canvas.indexed_pictures import draw_indexed
from segstudio.ui.canvas.layers import Layer

ScaleKind = Literal["linear", "log", "clip"]
LOG_DECADES = 4.0
LEAST_TOP = 1e-3
"""The top of a clipped scale as a share of the largest value: where one cell holds nearly everything, the
percentile lies among values of no weight at all, and would light them all."""


@dataclass(frozen=True, slots=True)
class HeatScale:
    """How values become colours.

    `clip` is the percentile (0-100) whose value is the top of the scale for kind "clip". `top` fixes
    the value at the top for all kinds ("same scale" of several maps).
    """

    kind: ScaleKind = "linear"
    clip: float = 99.4
    top: float | None = None

    def top_of(self, values: NDArray[np.float32], *, signed: bool = False) -> float:
        """The value (for signed maps: the magnitude) drawn with the last colour."""
        if self.top is not None:
            return self.top
        finite = np.abs(values[np.isfinite(values)]) if signed else values[np.isfinite(values)]
        if finite.size == 0:
            return 1.0
        largest = max(float(finite.max()), 1e-12)
        if self.kind != "clip":
            return largest
        found = _percentile(finite, self.clip)
        return max(found, LEAST_TOP * largest) if found > 0 else largest

    def position(self, value: float, top: float, *, signed: bool = False) -> float:
        """Where on the colour bar (0-1) a value lies."""
        return float(self.indices(np.array([value], np.float32), top, signed=signed)[0]) / 255.0

    def indices(self, values: NDArray[np.float32], top: float, *, signed: bool = False) -> NDArray[np.uint8]:
        """Indices 0-255 into the colour table; 128 is zero of a signed map; NaN becomes 0 (or 128)."""
        values = np.nan_to_num(np.asarray(values, np.float32), nan=0.0)
        share = np.clip(np.abs(values) / top, 0.0, 1.0)
        if self.kind == "log":
            floor = 10.0**-LOG_DECADES
            share = np.where(share > floor, 1.0 + np.log10(np.maximum(share, floor)) / LOG_DECADES, 0.0)
        if signed:
            return np.rint(128 + np.sign(values) * share * 127).astype(np.uint8)
        share = np.where(values > 0, share, 0.0)
        return np.rint(255 * share).astype(np.uint8)


def _percentile(values: NDArray[np.float32], percent: float) -> float:
    """As numpy's, which would import its masked arrays first: 13 ms of the window's thread."""
    place = (values.size - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, values.size - 1)
    ordered = np.partition(values, (below, above))
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


class HeatLayer(Layer):
    """Cells (h, w) float32 of which (r, c) covers [offset + r * stride, offset + (r + 1) * stride).

    Not interpolated unless asked: a cell is what the network computed.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._cells: NDArray[np.float32] | None = None
        self._stride = (1.0, 1.0)
        self._offset = (0.0, 0.0)
        self._signed = False
        self._scale = HeatScale()
        self._color_map = "Ember"
        self._interpolate = False
        self._indices = np.zeros((0, 0), np.uint8)
        self._top = 1.0

    def set_cells(
        self,
        cells: NDArray[np.float32] | None,
        *,
        stride: tuple[float, float] = (1.0, 1.0),
        offset: tuple[float, float] = (0.0, 0.0),
        signed: bool = False,
    ) -> None:
        """`stride` and `offset` are (y, x) in image pixels. An array that is shown already must not have been
        written to."""
        if cells is self._cells and (stride, offset, signed) == (self._stride, self._offset, self._signed):
            return
        self._cells, self._stride, self._offset, self._signed = cells, stride, offset, signed
        self._requantize()

    @property
    def cells(self) -> NDArray[np.float32] | None:
        return self._cells

    @property
    def top(self) -> float:
        """The value drawn with the last colour."""
        return self._top

    @property
    def signed(self) -> bool:
        return self._signed

    @property
    def scale(self) -> HeatScale:
        return self._scale

    @property
    def color_map(self) -> str:
        """The scale in use: the diverging one for signed maps."""
        return "Diverging" if self._signed else self._color_map

    def set_scale(self, scale: HeatScale) -> None:
        if scale != self._scale:
            self._scale = scale
            self._requantize()

    def set_color_map(self, name: str) -> None:
        if name != self._color_map:
            self._color_map = name
            self.changed.emit(None)

    def set_interpolate(self, interpolate: bool) -> None:
        if interpolate != self._interpolate:
            self._interpolate = interpolate
            self.changed.emit(None)

    def cell_at(self, x: float, y: float) -> tuple[int, int] | None:
        """(row, column) of the cell under an image point, None beside the grid."""
        if self._cells is None:
            return None
        row = math.floor((y - self._offset[0]) / self._stride[0])
        column = math.floor((x - self._offset[1]) / self._stride[1])
        inside = 0 <= row < self._cells.shape[0] and 0 <= column < self._cells.shape[1]
        return (row, column) if inside else None

    def cell_rect(self, row: int, column: int) -> QRectF:
        """The image pixels a cell covers."""
        return QRectF(
            self._offset[1] + column * self._stride[1],
            self._offset[0] + row * self._stride[0],
            self._stride[1],
            self._stride[0],
        )

    def _requantize(self) -> None:
        if self._cells is not None:
            self._top = self._scale.top_of(self._cells, signed=self._signed)
            self._indices = self._scale.indices(self._cells, self._top, signed=self._signed)
        self.changed.emit(None)

    def render(self, painter: QPainter, frame: Frame, clip: QRect) -> None:
        if self._cells is None or self._cells.size == 0:
            return
        table = argb_table(self.color_map, signed=self._signed)
        height, width = self._indices.shape
        area = QRectF(self._offset[1], self._offset[0], width * self._stride[1], height * self._stride[0])
        inside = frame.device_rect(area) & clip
        if inside.isEmpty():
            return
        if self._interpolate:
            self._paint_smooth(painter, frame, inside, area, table)
            return
        x = (np.arange(inside.x(), inside.x() + inside.width()) + 0.5 - frame.left) / frame.scale
        y = (np.arange(inside.y(), inside.y() + inside.height()) + 0.5 - frame.top) / frame.scale
        columns = np.clip((x - self._offset[1]) / self._stride[1], 0, width - 1).astype(np.intp)
        rows = np.clip((y - self._offset[0]) / self._stride[0], 0, height - 1).astype(np.intp)
        draw_indexed(painter, sample(self._indices, rows, columns), table, inside)

    def _paint_smooth(
        self, painter: QPainter, frame: Frame, clip: QRect, area: QRectF, table: list[int]
    ) -> None:
        indices = np.ascontiguousarray(self._indices)
        height, width = indices.shape
        image = QImage(indices.data, width, height, width, QImage.Format.Format_Indexed8)
        image.setColorTable(table)
        shown = image.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
        painter.save()
        painter.setClipRect(clip)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, True)
        target = QRectF(frame.to_device(area.topLeft()), frame.to_device(area.bottomRight()))
        painter.drawImage(target, shown)
        painter.restore()
