"""Paints a probe's answer into any rectangle: maps over the picture, matrices, bars, boxes, points."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPoint, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QImage, QPainter, QPainterPath, QPen

from segstudio.runtime.attention import ProbeResult, ProbeSlot
from segstudio.ui import theme
from segstudio.ui.attention.bars import BarChart, chart_of, lay_out, paint_bars
from segstudio.ui.canvas.color_maps import color_table
from segstudio.ui.canvas.frame import Frame
from segstudio.ui.canvas.heat_layer import HeatLayer, HeatScale
from segstudio.ui.canvas.layers import ImageLayer

GREY_BRIGHTNESS = 0.7
MOST_ROWS = 128
_NAME_HEIGHT = 18


@dataclass(frozen=True)
class Look:
    """How values become colours everywhere in the tab; `classes` are those of values that are classes."""

    scale: HeatScale = field(default_factory=lambda: HeatScale("clip"))
    color_map: str = "Ember"
    grey: bool = True
    interpolate: bool = False
    classes: tuple[tuple[int, int, int], ...] = ()


def with_classes(look: Look, slot: ProbeSlot | None, result: ProbeResult | None) -> Look:
    """The look of an answer: in the classes' own colours where its values are classes."""
    if slot is None or result is None or not result.extras.get("classes"):
        return look
    return replace(look, classes=tuple(slot.runnable.class_colors))


def fitted(size: QSize, image: QSize) -> QRect:
    """The largest rectangle of the image's shape in the middle of `size`."""
    if image.isEmpty():
        return QRect(0, 0, size.width(), size.height())
    scale = min(size.width() / image.width(), size.height() / image.height())
    width, height = max(1, round(image.width() * scale)), max(1, round(image.height() * scale))
    return QRect((size.width() - width) // 2, (size.height() - height) // 2, width, height)


def paint_map(
    result: ProbeResult | None, picture: ImageLayer, image: QSize, size: QSize, look: Look
) -> QImage:
    """The picture with a map over it, `size` pixels large; without an answer the picture alone."""
    drawn = QImage(size, QImage.Format.Format_RGB32)
    drawn.fill(theme.color("canvas"))
    if image.isEmpty():
        return drawn
    area = fitted(size, image)
    frame = Frame(
        scale=area.width() / image.width(),
        left=area.x(),
        top=area.y(),
        width=size.width(),
        height=size.height(),
        image_width=image.width(),
        image_height=image.height(),
    )
    painter = QPainter(drawn)
    clip = frame.image_rect()
    if result is not None and "plane" in result.extras:
        painter.fillRect(clip, theme.color("canvas"))  # its points lie in a plane of their own
    else:
        picture.render(painter, frame, clip)
    if result is not None and result.kind == "map":
        layer = heat_layer(result, look)
        layer.render(painter, frame, clip)
        painter.setClipRect(clip)
        paint_beyond(painter, result, frame.to_device)
    elif result is not None and result.kind in ("regions", "points"):
        painter.setClipRect(clip)
        paint_marks(painter, result, lambda point: frame.to_device(point), frame.scale, look)
    painter.end()
    return drawn


def heat_layer(result: ProbeResult, look: Look) -> HeatLayer:
    """A layer with the cells of one answer."""
    layer = HeatLayer()
    layer.set_scale(look.scale)
    layer.set_color_map(look.color_map)
    layer.set_interpolate(look.interpolate)
    layer.set_cells(result.values, stride=result.stride, offset=result.offset, signed=result.signed)
    return layer


def beyond_reach(result: ProbeResult) -> tuple[QRectF, QRectF] | None:
    """The grid and the part of it that a map holds offsets for, in cells (`extras["reach"]`: y0, x0, y1, x1).

    None where the map reaches every cell.
    """
    reach = result.extras.get("reach")
    if result.kind != "map" or "window" in result.extras or not reach:
        return None
    y0, x0, y1, x1 = (float(side) for side in reach)
    height, width = result.values.shape
    grid, held = QRectF(0, 0, width, height), QRectF(x0, y0, max(0.0, x1 - x0), max(0.0, y1 - y0))
    return None if held.contains(grid) else (grid, held)


def paint_beyond(painter: QPainter, result: ProbeResult, place: Callable[[QPointF], QPointF]) -> None:
    """Hatches the cells beyond the map. `place` maps image points to the painter's."""
    found = beyond_reach(result)
    if found is None:
        return
    (down, across), (top, left) = result.stride, result.offset

    def placed(cells: QRectF) -> QRectF:
        corners = (cells.topLeft(), cells.bottomRight())
        first, last = (place(QPointF(left + at.x() * across, top + at.y() * down)) for at in corners)
        return QRectF(first, last)

    hatch(painter, placed(found[0]), placed(found[1]))


def hatch(painter: QPainter, whole: QRectF, free: QRectF) -> None:
    """Dims `whole` but for `free` and draws diagonal lines over it, which no colour of a map looks like."""
    path = QPainterPath()
    path.addRect(whole)
    if not free.isEmpty():
        kept = QPainterPath()
        kept.addRect(free)
        path = path.subtracted(kept)
    painter.save()
    painter.fillPath(path, QColor(0, 0, 0, 90))
    painter.fillPath(path, QBrush(QColor(235, 235, 235, 150), Qt.BrushStyle.BDiagPattern))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor("#F2F2F2"), 1.5))
    if not free.isEmpty():
        painter.drawRect(free)
    painter.restore()


def paint_marks(painter: QPainter, result: ProbeResult, place, scale: float, look: Look) -> None:  # type: ignore[no-untyped-def]
    """Boxes (regions) or dots (points), coloured by weight. `place` maps image points to the painter's."""
    values = result.values
    if values.size == 0:
        return
    weights = values[:, -1]
    top = float(np.abs(weights).max()) or 1.0
    table = color_table("Diverging" if result.signed else look.color_map)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for row in values[np.argsort(np.abs(weights))]:
        share = float(row[-1]) / top
        color = QColor(*(int(c) for c in table[_index(share, result.signed)]))
        if result.kind == "regions":
            color.setAlphaF(min(0.75, 0.08 + 0.7 * abs(share)))
            rect = QRectF(place(QPointF(row[1], row[0])), place(QPointF(row[3], row[2])))
            painter.setPen(QPen(QColor(255, 255, 255, 60), 1))
            painter.setBrush(color)
            painter.drawRect(rect)
        else:
            radius = max(1.5, min(6.0, 3 * math.sqrt(scale)))
            painter.setPen(QPen(QColor(0, 0, 0, 160), 1))
            painter.setBrush(color)
            painter.drawEllipse(place(QPointF(row[1] + 0.5, row[0] + 0.5)), radius, radius)


def paint_matrix(result: ProbeResult, size: QSize, look: Look) -> QImage:
    """A matrix or a raw map as squares without interpolation, in the middle of `size`."""
    drawn = QImage(size, QImage.Format.Format_RGB32)
    drawn.fill(theme.color("canvas"))
    values = thinned(result.values)
    colors = colored(values, look, signed=result.signed)
    height, width = values.shape
    area = fitted(size, QSize(width, height))
    image = QImage(colors.data, width, height, 4 * width, QImage.Format.Format_RGB32)
    painter = QPainter(drawn)
    painter.drawImage(area, image)
    window = result.extras.get("window")
    if window:  # offsets outside it point beyond the picture
        across, down = area.width() / result.values.shape[1], area.height() / result.values.shape[0]
        y0, x0, y1, x1 = (float(v) for v in window)
        inside = QRectF(area.x() + x0 * across, area.y() + y0 * down, (x1 - x0) * across, (y1 - y0) * down)
        hatch(painter, QRectF(area), inside)
    painter.end()
    return drawn


def paint_vector(chart: BarChart, size: QSize, ratio: float = 1.0) -> QImage:
    """The bars of a vector with names and values; `ratio` device pixels for one of the text's."""
    drawn = QImage(size, QImage.Format.Format_RGB32)
    drawn.fill(theme.color("base"))
    painter = QPainter(drawn)
    painter.scale(ratio, ratio)
    room = QSize(round(size.width() / ratio), round(size.height() / ratio))
    paint_bars(painter, lay_out(chart, room))
    painter.end()
    return drawn


def paint_images(result: ProbeResult, size: QSize, look: Look) -> QImage:
    """Several maps side by side in a grid, each under its name."""
    drawn = QImage(size, QImage.Format.Format_RGB32)
    drawn.fill(theme.color("canvas"))
    count = min(len(result.values), 16)
    if count == 0:
        return drawn
    (down, across), sides = result.stride, result.values.shape[1:]
    shape = QSize(max(1, round(sides[1] * across * 8)), max(1, round(sides[0] * down * 8)))

    def room(columns: int) -> QSize:
        return QSize(size.width() // columns - 2, size.height() // math.ceil(count / columns) - 2)

    columns = max(range(1, count + 1), key=lambda number: fitted(room(number), shape).width())
    cell = room(columns)
    painter = QPainter(drawn)
    high = min(_NAME_HEIGHT, cell.height() // 4) if result.labels else 0
    body = QSize(cell.width(), max(1, cell.height() - high))
    painter.setFont(theme.font(min(12, max(8, high - 4))))
    painter.setPen(theme.color("t2"))
    for place in range(count):
        values = thinned(result.values[place])
        colors = colored(values, look, signed=result.signed)
        height, width = values.shape
        image = QImage(colors.data, width, height, 4 * width, QImage.Format.Format_RGB32)
        corner = QPoint((place % columns) * (cell.width() + 2), (place // columns) * (cell.height() + 2))
        area = fitted(body, shape).translated(corner + QPoint(0, high))
        painter.drawImage(area, image)
        if high and place < len(result.labels):
            name = QRect(corner.x(), area.top() - high, cell.width(), high)
            painter.drawText(name, Qt.AlignmentFlag.AlignCenter, result.labels[place])
    painter.end()
    return drawn


def paint_answer(
    result: ProbeResult | None,
    kind: str,
    picture: ImageLayer,
    image: QSize,
    size: QSize,
    look: Look,
    *,
    chart: BarChart | None = None,
    ratio: float = 1.0,
) -> QImage:
    """Any answer; `kind` is what the probe declares, for the time before it answered.

    `chart` has the names of a vector's bars; `ratio` device pixels are one of the text's.
    """
    shown = result.kind if result is not None else kind
    if shown in ("map", "regions", "points") and not (result is not None and "window" in result.extras):
        return paint_map(result, picture, image, size, look)
    if result is None:
        drawn = QImage(size, QImage.Format.Format_RGB32)
        drawn.fill(theme.color("canvas"))
        return drawn
    if shown == "vector":
        return paint_vector(chart if chart is not None else chart_of(result), size, ratio)
    if shown == "images":
        return paint_images(result, size, look)
    return paint_matrix(result, size, look)


def thinned(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most `MOST_ROWS` rows and columns, evenly picked, never averaged."""
    step = max(1, -(-max(values.shape) // MOST_ROWS))
    return np.ascontiguousarray(values[::step, ::step])


def colored(values: NDArray[np.float32], look: Look, *, signed: bool) -> NDArray[np.uint32]:
    """0xFFRRGGBB for each value (h, w); values of classes have the classes' colours."""
    if look.classes:
        palette = np.array([*look.classes, (0, 0, 0)], np.uint32)
        rgb = palette[np.clip(values, 0, len(look.classes)).astype(np.intp)]
        return np.ascontiguousarray(0xFF000000 | (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2])
    indices = look.scale.indices(values, look.scale.top_of(values, signed=signed), signed=signed)
    rgb = color_table("Diverging" if signed else look.color_map).astype(np.uint32)
    table = np.uint32(0xFF000000) | (rgb[:, 0] << 16) | (rgb[:, 1] << 8) | rgb[:, 2]
    return np.ascontiguousarray(table.astype(np.uint32)[indices])


def _index(share: float, signed: bool) -> int:
    if signed:
        return min(max(round(128 + 127 * share), 0), 255)
    return min(max(round(255 * abs(share)), 0), 255)


def paint_ring(painter: QPainter, middle: QPointF) -> None:
    """The query in a small picture."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(0, 0, 0), 3))
    painter.drawEllipse(middle, 4.5, 4.5)
    painter.setPen(QPen(QColor(255, 255, 255), 1.4))
    painter.drawEllipse(middle, 4.5, 4.5)
