"""The large map: header, canvas with the query, chip about the cell under the cursor."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QSplitter, QVBoxLayout, QWidget

from segstudio.runtime.attention import ProbeResult, ProbeSlot
from segstudio.runtime.inspection import Inspection, Pin
from segstudio.ui import theme
from segstudio.ui.attention.bars import BarChart, figure, lay_out
from segstudio.ui.attention.figures import (
    Look,
    beyond_reach,
    paint_answer,
    paint_beyond,
    paint_marks,
    paint_vector,
    with_classes,
)
from segstudio.ui.attention.multiples import ChartOf, short_name, tap_counts
from segstudio.ui.attention.query_tool import QueryTool, box_of
from segstudio.ui.canvas.heat_layer import HeatLayer
from segstudio.ui.canvas.layers import ImageLayer
from segstudio.ui.canvas.readout import Readout, chip_size, paint_chip
from segstudio.ui.canvas.view import CanvasView
from segstudio.ui.canvas.viewport import Viewport
from segstudio.ui.widgets.labels import ElidedLabel, label, tag

_MARGIN = 24

ClassAt = Callable[[int, int], tuple[str, tuple[int, int, int]] | None]


class HeatCanvas(CanvasView):
    """The greyed picture under the cells, with the chips that belong to it."""

    def __init__(self, viewport: Viewport, class_at: ClassAt) -> None:
        super().__init__(viewport)
        self.result: ProbeResult | None = None
        self.sentence = ""
        self._class_at = class_at
        self._look = Look()
        viewport.cursor_changed.connect(self.update)

    def show_result(self, result: ProbeResult | None, look: Look) -> None:
        self.result, self._look = result, look
        self.update()

    def paint_over(self, painter: QPainter) -> None:
        result = self.result
        if result is not None and result.kind in ("regions", "points"):
            painter.save()
            paint_marks(painter, result, self.to_view, self.viewport.scale, self._look)
            painter.restore()
        if result is not None and beyond_reach(result) is not None:
            painter.save()
            frame = QRectF(self.to_view(QPointF(0, 0)), self.to_view(self._far_corner()))
            painter.setClipRect(frame)
            paint_beyond(painter, result, self.to_view)
            painter.restore()
        readouts = [Readout(name, value=words) for name, words in self.tap_words()]
        readouts += [Readout(self.sentence)] if self.sentence else []
        bottom = self.height() - 8
        for readout in reversed(readouts):
            size = chip_size(readout)
            paint_chip(painter, readout, QPointF(8 + size.width(), bottom))
            bottom -= size.height() + 4
        if result is not None and result.kind == "map":
            self._paint_cell_chip(painter, result)

    def tap_words(self) -> list[tuple[str, str]]:
        """How many taps of each rate fall on the map."""
        if self.result is None:
            return []
        return [(name, f"{held} of {count} taps on the map") for name, held, count in tap_counts(self.result)]

    def _far_corner(self) -> QPointF:
        size = self.viewport.image_size
        return QPointF(size.width(), size.height())

    def _paint_cell_chip(self, painter: QPainter, result: ProbeResult) -> None:
        """Cell, value, class and, where hops are composed, the two links of the target."""
        lines = self.cell_lines()
        if not lines:
            return
        regular, bold = theme.font(12), theme.font(12, 600)
        painter.setFont(bold)
        width = max(painter.fontMetrics().horizontalAdvance(f"{a} {b}") for a, b, _ in lines) + 40
        height = 12 + 16 * len(lines)
        cursor = self.viewport.cursor
        at = self.to_view(cursor) if cursor is not None else QPointF(0, 0)
        x = at.x() + 16 if at.x() + 16 + width < self.width() else at.x() - 16 - width
        # Above the name of a pin under the pointer.
        y = at.y() - 36 - height if at.y() - 36 - height > 0 else at.y() + 16
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("chip"))
        painter.drawRoundedRect(QRectF(x, y, width, height), 4, 4)
        for place, (strong, plain, color) in enumerate(lines):
            left, top = x + 8, y + 6 + 16 * place
            if color is not None:
                painter.setBrush(QColor(*color))
                painter.drawRoundedRect(QRectF(left, top + 1, 13, 13), 3, 3)
                left += 20
            painter.setFont(bold)
            painter.setPen(theme.color("chip_text"))
            painter.drawText(QPointF(left, top + 12), strong)
            left += painter.fontMetrics().horizontalAdvance(strong) + (6 if strong else 0)
            painter.setFont(regular)
            painter.setPen(theme.color("chip_text" if place == 0 else "chip_detail"))
            painter.drawText(QPointF(left, top + 12), plain)
            painter.setPen(Qt.PenStyle.NoPen)

    def cell_lines(self) -> list[tuple[str, str, tuple[int, int, int] | None]]:
        """What the chip at the cursor says, line by line: strong words, plain words, swatch."""
        result, pixel = self.result, self.viewport.cursor_pixel
        if result is None or result.kind != "map" or pixel is None or not self.underMouse():
            return []
        layer = HeatLayer()
        layer.set_cells(result.values, stride=result.stride, offset=result.offset)
        cell = layer.cell_at(pixel[0] + 0.5, pixel[1] + 0.5)
        if cell is None:
            return [("outside the key grid", "", None)]
        value = float(result.values[cell])
        found = self._class_at(*pixel)
        words = figure(value, shares=result.rows_sum_to_one)
        lines: list[tuple[str, str, tuple[int, int, int] | None]] = [
            (f"cell {cell[1]}, {cell[0]}", words, found[1] if found is not None else None)
        ]
        beyond = beyond_reach(result)
        if beyond is not None and not beyond[1].contains(QPointF(cell[1] + 0.5, cell[0] + 0.5)):
            lines.append(("", "beyond the map: no offset of its own", None))
        target, corners = result.extras.get("target_cell"), result.extras.get("corners")
        if target and corners and tuple(target) == cell:
            for corner, legs in zip(corners, result.extras.get("legs", ()), strict=False):
                lines.append(("", f"via {corner[1]}, {corner[0]}: {legs[0]:.4f} × {legs[1]:.4f}", None))
        return lines


class _Figure(QWidget):
    """Answers that lie on no picture: matrices, vectors, images, the raw map."""

    def __init__(self) -> None:
        super().__init__()
        self._result: ProbeResult | None = None
        self._kind = "matrix"
        self._look = Look()
        self._chart: BarChart | None = None
        self._drawn: tuple[tuple[QSize, float, bool], QImage] | None = None
        self._cursor: QPointF | None = None
        self.setMouseTracking(True)

    def show_result(
        self, result: ProbeResult | None, kind: str, look: Look, chart: BarChart | None = None
    ) -> None:
        """`chart` for a vector: its bars by name."""
        self._result, self._kind, self._look, self._chart = result, kind, look, chart
        self._drawn = None
        self.update()

    def read_labels(self, slot: ProbeSlot | None, chart_of: ChartOf) -> None:
        """Names the bars of the answer anew."""
        if self._chart is not None and slot is not None and self._result is not None:
            self._chart, self._drawn = chart_of(slot, self._result), None
            self.update()

    @property
    def chart(self) -> BarChart | None:
        return self._chart

    @property
    def body(self) -> QRect:
        """Where the answer is drawn."""
        return self.rect().adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)

    @property
    def pointed(self) -> Readout | None:
        """What the chip at the pointer says of a bar."""
        if self._chart is None or self._cursor is None:
            return None
        bar = lay_out(self._chart, self.body.size()).bar_at(self._cursor - QPointF(self.body.topLeft()))
        if bar is None:
            return None
        truth = "" if bar.present is None else "labelled here" if bar.present else "not labelled"
        return Readout(bar.name, bar.color, self._chart.exact_words(bar), truth)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        has_bars = self._chart is not None
        painter.fillRect(self.rect(), theme.color("base" if has_bars else "canvas"))
        body = self.body
        if has_bars:
            painter.drawImage(body, self._bars_drawn(body.size()))
        else:
            size = body.size().expandedTo(QSize(1, 1))
            drawn = paint_answer(self._result, self._kind, ImageLayer(), QSize(), size, self._look)
            painter.drawImage(body.topLeft(), drawn)
        readout = self.pointed
        if readout is not None and self._cursor is not None:
            size = chip_size(readout)
            right = self._cursor.x() + 16 + size.width()
            right = right if right < self.width() else self._cursor.x() - 12
            bottom = max(self._cursor.y() - 8, float(size.height()))
            paint_chip(painter, readout, QPointF(max(right, size.width()), bottom))
        painter.end()

    def _bars_drawn(self, size: QSize) -> QImage:
        """The bars as they were drawn last, where nothing changed but the pointer."""
        assert self._chart is not None
        ratio = self.devicePixelRatioF()
        at = (size, ratio, theme.appearance().dark)
        if self._drawn is None or self._drawn[0] != at:
            device = QSize(round(size.width() * ratio), round(size.height() * ratio)).expandedTo(QSize(1, 1))
            self._drawn = (at, paint_vector(self._chart, device, ratio))
        return self._drawn[1]

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._cursor = event.position()
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._cursor = None
        self.update()


class HeatView(QFrame):
    """Header over canvas; `value_under_cursor(float | None)` follows the pointer.

    An answer that lies on no picture stands in its place, or beside it where it is about a pixel, so that
    the query can be moved.
    """

    value_under_cursor = Signal(object)

    def __init__(
        self,
        viewport: Viewport,
        inspection: Inspection,
        picture: ImageLayer,
        class_at: ClassAt,
        chart_of: ChartOf,
    ) -> None:
        super().__init__()
        self._inspection = inspection
        self._picture = picture
        self._chart_of = chart_of
        self.heat = HeatLayer(self)
        self.tool = QueryTool(inspection)
        self.tool.setParent(self)
        self.canvas = HeatCanvas(viewport, class_at)
        self.canvas.set_layers([picture, self.heat])
        self.canvas.set_tool(self.tool)
        self.canvas.hovered.connect(self._hovered)
        self.figure = _Figure()
        self._sides = QSplitter(Qt.Orientation.Horizontal)
        self._sides.setChildrenCollapsible(False)
        self._sides.addWidget(self.canvas)
        self._sides.addWidget(self.figure)
        self.figure.hide()
        self._title = ElidedLabel("", size=12, strong=500)
        self._detail = label("", role="t2", size=12)
        self._grid = tag("")
        self._smooth = tag("interpolation off")
        self._changed = tag("not as trained", "warn")
        header = QFrame()
        header.setObjectName("PaneHeader")
        header.setFixedHeight(28)
        row = QHBoxLayout(header)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(8)
        self._title.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        row.addWidget(self._title)
        row.addWidget(self._changed)
        row.addWidget(self._detail)
        row.addStretch(1)
        row.addWidget(self._grid)
        row.addWidget(self._smooth)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(header)
        column.addWidget(self._sides, 1)

    @property
    def detail_text(self) -> str:
        return self._detail.text()

    @property
    def is_marked_changed(self) -> bool:
        """Whether the tag "not as trained" is shown."""
        return not self._changed.isHidden()

    @property
    def grid_text(self) -> str:
        return self._grid.text()

    def show_answer(
        self, slot: ProbeSlot | None, pin: Pin | None, result: ProbeResult | None, look: Look, sentence: str
    ) -> None:
        """The map in front as it is known now."""
        on_picture = slot is None or _lies_on_picture(slot, result)
        self._show_sides(
            canvas=on_picture or (slot is not None and slot.spec.query == "pixel"), figure=not on_picture
        )
        self._title.setText(
            f"{short_name(slot.runnable.title)} · {slot.spec.title}" if slot is not None else ""
        )
        self._changed.setVisible(bool(slot is not None and slot.switches))
        self._smooth.setText("interpolated" if look.interpolate else "interpolation off")
        self.tool.result = result if on_picture else None
        self.tool.box = box_of(slot)
        self.heat.set_scale(look.scale)
        self.heat.set_color_map(look.color_map)
        self.heat.set_interpolate(look.interpolate)
        is_map = result is not None and result.kind == "map" and on_picture
        if result is not None and is_map:
            self.heat.set_cells(
                result.values, stride=result.stride, offset=result.offset, signed=result.signed
            )
        else:
            self.heat.set_cells(None)
        self._grid.setVisible(result is not None)
        self._smooth.setVisible(is_map)
        self._detail.setText(_detail(slot, pin, result))
        self._grid.setText(_grid(result))
        self.canvas.sentence = sentence
        self.canvas.show_result(result if on_picture else None, look)
        is_vector = slot is not None and result is not None and result.kind == "vector"
        chart = self._chart_of(slot, result) if is_vector else None
        kind = slot.spec.kind if slot is not None else "matrix"
        self.figure.show_result(result, kind, with_classes(look, slot, result), chart)

    def _show_sides(self, *, canvas: bool, figure: bool) -> None:
        if (self.canvas.isHidden(), self.figure.isHidden()) == (not canvas, not figure):
            return
        self.canvas.setVisible(canvas)
        self.figure.setVisible(figure)
        half = max(self.width() // 2, 1)
        self._sides.setSizes([half, half])

    def read_labels(self) -> None:
        """The labels of the picture changed: what is marked as present may have."""
        self.figure.read_labels(self._inspection.front_slot, self._chart_of)

    def _hovered(self, pixel: tuple[int, int] | None) -> None:
        cell = self.heat.cell_at(pixel[0] + 0.5, pixel[1] + 0.5) if pixel is not None else None
        cells = self.heat.cells
        self.value_under_cursor.emit(float(cells[cell]) if cell is not None and cells is not None else None)


def _lies_on_picture(slot: ProbeSlot, result: ProbeResult | None) -> bool:
    kind = result.kind if result is not None else slot.spec.kind
    if result is not None and "window" in result.extras:
        return False
    return kind in ("map", "regions", "points")


def _detail(slot: ProbeSlot | None, pin: Pin | None, result: ProbeResult | None) -> str:
    if slot is None or result is None:
        return ""
    if "window" in result.extras:
        return "hatched: offsets beyond the picture"
    if slot.spec.query != "pixel":
        return "the same for every pixel" if slot.spec.query == "global" else "of the class at the query"
    name = pin.name if pin is not None else "the query"
    hatched = " · hatched: beyond the map" if beyond_reach(result) is not None else ""
    if result.rows_sum_to_one:
        return f"row of {name} · sums to {float(result.values.sum()):.3f}{hatched}"
    if "other_tokens" in result.extras:
        return f"row of {name} · {float(result.values.sum()):.3f} on the picture{hatched}"
    box = box_of(slot)
    if box is not None:
        return f"{box[1]} × {box[0]} pixels around {name} · drag draws the box"
    return f"of {name}{hatched}"


def _grid(result: ProbeResult | None) -> str:
    if result is None:
        return ""
    if result.kind == "map":
        height, width = result.values.shape
        stride = result.stride[0]
        words = f"{stride:.0f}" if abs(stride - round(stride)) < 0.05 else f"{stride:.1f}"
        return f"stride {words} · {width} × {height} cells"
    return " × ".join(str(side) for side in result.values.shape)
