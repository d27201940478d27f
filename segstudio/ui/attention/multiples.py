"""Small multiples: every probe of every chosen model on the query in front, each on a scale of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QSize, Qt, Signal
from PySide6.QtGui import (
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QScrollArea, QSizePolicy, QToolTip, QVBoxLayout, QWidget

from segstudio.core.attention_measures import shares
from segstudio.core.errors import UserError
from segstudio.runtime.attention import ProbeResult, ProbeSlot
from segstudio.runtime.inspection import Inspection
from segstudio.ui import theme
from segstudio.ui.attention.bars import BarChart, lay_out
from segstudio.ui.attention.figures import Look, fitted, paint_answer, paint_ring, with_classes
from segstudio.ui.canvas.layers import ImageLayer
from segstudio.ui.widgets.first_frames import first_frames
from segstudio.ui.widgets.labels import label

HEAD = 22
GAP = 6
LEAST_WIDTH = 176
_NEARLY_ALL = 0.995

ChartOf = Callable[[ProbeSlot, ProbeResult], BarChart]


def short_name(title: str) -> str:
    """The network's own name: what stands before the first separator of a title."""
    return title.split(" · ")[0].split(" (")[0]


def spread_words(values: NDArray[np.float32], entropy: float) -> str:
    """How far a map is spread: its entropy in bits, or that one cell holds nearly all of it."""
    largest = float(shares(values).max(initial=0.0)) * min(1.0, float(np.abs(values).sum()))
    if largest >= _NEARLY_ALL:
        return f"{math.floor(1000 * largest) / 10:.1f} % in one cell"
    return f"{entropy:.2f} bits"


def tap_counts(result: ProbeResult) -> list[tuple[str, int, int]]:
    """For each rate of dilated taps: its name, the taps on the map, and all (`extras["valid"]`)."""
    valid = result.extras.get("valid")
    if result.kind != "points" or not isinstance(valid, Mapping):
        return []
    named = ((f"rate {rate}", int(held)) for rate, held in valid.items())
    return [(name, held, result.labels.count(name) or 9) for name, held in named]


class MapTile(QWidget):
    """One map with its title and a figure; a press shows it large."""

    pressed = Signal(object)

    def __init__(self, slot: ProbeSlot, chart_of: ChartOf) -> None:
        super().__init__()
        self.slot = slot
        self._chart_of = chart_of
        self._chart: BarChart | None = None
        self.result: ProbeResult | None = None
        self._error = ""
        self._picture: ImageLayer | None = None
        self._image = QSize()
        self._look = Look()
        self._query: tuple[int, int] | None = None
        self._chosen = False
        self._drawn: QImage | None = None
        self._is_stale = True
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip(f"{slot.spec.title}\n{slot.spec.help}".strip())
        self.setAccessibleName(f"{short_name(slot.runnable.title)}: {slot.spec.title}")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme.appearance().changed.connect(self.redraw)

    def show_picture(self, picture: ImageLayer, image: QSize, look: Look) -> None:
        self._picture, self._image, self._look = picture, image, look
        self.redraw()

    def show_result(self, result: ProbeResult | None, query: tuple[int, int] | None) -> None:
        self.result, self._query, self._error = result, query, ""
        self.read_labels()
        self.redraw()

    def read_labels(self) -> None:
        """Names the bars anew: what is labelled in the picture may have changed."""
        is_vector = self.result is not None and self.result.kind == "vector"
        chart = self._chart_of(self.slot, self.result) if self.result is not None and is_vector else None
        if chart != self._chart:
            self._chart = chart
            self.redraw()

    def show_error(self, error: UserError) -> None:
        self._error = error.what
        self.setToolTip(str(error))
        self.redraw()

    def set_chosen(self, chosen: bool) -> None:
        if chosen != self._chosen:
            self._chosen = chosen
            self.update()

    def redraw(self) -> None:
        self._is_stale = True
        self.update()

    @property
    def note(self) -> str:
        """What stands right of the title: entropy, or what the figure shows."""
        result = self.result
        if result is None:
            return ""
        if result.kind == "map" and "window" in result.extras:
            return "whole map"
        if result.kind == "map" and result.entropy is not None:
            return spread_words(result.values, result.entropy)
        taps = tap_counts(result)
        if taps:
            return f"{', '.join(str(held) for _, held, _ in taps)} of {taps[0][2]} taps"
        if result.kind == "matrix":
            rows = result.values.shape[0]
            step = max(1, -(-max(result.values.shape) // 128))
            shown = f"{-(-rows // step)} of {rows}" if step > 1 else f"{rows} × {result.values.shape[1]}"
            return ("signed, " if result.signed else "") + shown
        if result.signed:
            return "signed"
        return f"{len(result.values)}" if result.kind in ("vector", "regions", "points", "images") else ""

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(theme.font(11))
        note_width = painter.fontMetrics().horizontalAdvance(self.note) + 4
        painter.setPen(theme.color("t2"))
        right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        painter.drawText(QRect(0, 0, self.width() - 4, HEAD), right, self.note)
        painter.setFont(theme.font(12, 500))
        painter.setPen(theme.color("t1"))
        room = self.width() - note_width - 12
        title = painter.fontMetrics().elidedText(self.slot.spec.title, Qt.TextElideMode.ElideRight, room)
        painter.drawText(QRect(4, 0, room, HEAD), int(Qt.AlignmentFlag.AlignVCenter), title)
        body = QRect(0, HEAD, self.width(), self.height() - HEAD)
        ratio = self.devicePixelRatioF()
        if self._is_stale and self._picture is not None and first_frames().take(self):
            self._is_stale = False
            size = QSize(round(body.width() * ratio), round(body.height() * ratio))
            self._drawn = paint_answer(
                self.result,
                self.slot.spec.kind,
                self._picture,
                self._image,
                size,
                with_classes(self._look, self.slot, self.result),
                chart=self._chart,
                ratio=ratio,
            )
        if self._drawn is not None:
            painter.drawImage(body, self._drawn)
        has_image = self.result is None or (
            self.result.kind in ("map", "regions", "points") and "window" not in self.result.extras
        )
        if self._query is not None and has_image and self.slot.spec.query == "pixel":
            area = fitted(body.size(), self._image).translated(body.topLeft())
            scale = area.width() / max(self._image.width(), 1)
            x, y = self._query
            paint_ring(painter, QPointF(area.x() + (x + 0.5) * scale, area.y() + (y + 0.5) * scale))
        if self._error:
            painter.fillRect(body, theme.color("base"))
            painter.setPen(theme.color("t2"))
            painter.setFont(theme.font(12))
            flags = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap)
            painter.drawText(body.adjusted(12, 8, -12, -8), flags, self._error)
        if self._chosen or self.hasFocus():
            painter.setPen(QPen(theme.color("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))
        painter.end()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Drawn anew: words must not be stretched."""
        super().resizeEvent(event)
        self._is_stale = True

    def event(self, event: QEvent) -> bool:
        """The tip over a bar is its name and value."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent) and self._chart is not None:
            words = self.words_at(event.pos())
            if words:
                QToolTip.showText(event.globalPos(), words, self)
                return True
        return super().event(event)

    def words_at(self, point: QPoint) -> str:
        """Name and value of the bar under a point, "" beside the bars."""
        if self._chart is None:
            return ""
        layout = lay_out(self._chart, QSize(self.width(), self.height() - HEAD))
        bar = layout.bar_at(QPointF(point) - QPointF(0, HEAD))
        return f"{bar.name}: {self._chart.exact_words(bar)}" if bar is not None else ""

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.pressed.emit(self.slot)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.pressed.emit(self.slot)
            return
        super().keyPressEvent(event)


class _Group(QWidget):
    """One model: a heading over its maps, as many a row as fit."""

    def __init__(self, title: str, detail: str, tiles: Sequence[MapTile]) -> None:
        super().__init__()
        self.tiles = list(tiles)
        self._title = label(title, size=12, strong=600)
        self._detail = label(detail, role="t2", size=12)
        for part in (self._title, self._detail, *tiles):
            part.setParent(self)
        self._title.move(12, 4)
        self._title.adjustSize()
        self._detail.move(20 + self._title.width(), 4)

    def lay_out(self, width: int, shape: float) -> int:
        """Places the tiles in `width`; gives the height. `shape` is the picture's height over its width."""
        inner = width - 16
        columns = max(1, min(3, (inner + GAP) // (LEAST_WIDTH + GAP)))
        across = (inner - GAP * (columns - 1)) // columns
        down = HEAD + round(across * min(max(shape, 0.4), 1.2))
        for place, tile in enumerate(self.tiles):
            tile.setFixedSize(across, down)
            tile.move(8 + (place % columns) * (across + GAP), 24 + (place // columns) * (down + 4))
        rows = -(-len(self.tiles) // columns)
        height = 24 + rows * (down + 4)
        self._detail.setFixedWidth(max(0, width - 32 - self._title.width()))
        self.setFixedHeight(height)
        return height


class Multiples(QScrollArea):
    """All tiles of an inspection, grouped by model."""

    chosen = Signal(object)

    def __init__(self, inspection: Inspection, picture: ImageLayer, chart_of: ChartOf) -> None:
        super().__init__()
        self._inspection = inspection
        self._picture = picture
        self._chart_of = chart_of
        self._image = QSize()
        self._look = Look()
        self._groups: list[_Group] = []
        self._tiles: dict[ProbeSlot, MapTile] = {}
        self._inside = QWidget()
        self._inside.setObjectName("Plain")
        self._column = QVBoxLayout(self._inside)
        self._column.setContentsMargins(0, 4, 0, 4)
        self._column.setSpacing(4)
        self._column.addStretch(1)
        self.setWidget(self._inside)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(2 * LEAST_WIDTH + 40)

    @property
    def tiles(self) -> Mapping[ProbeSlot, MapTile]:
        return self._tiles

    def rebuild(self) -> None:
        """Tiles for the maps that are shown now; the ones that stay keep their picture."""
        for group in self._groups:
            self._column.removeWidget(group)
            group.hide()
            group.deleteLater()
        self._groups, self._tiles = [], {}
        front = self._inspection.front_slot
        for model in self._inspection.models:
            tiles = []
            for slot in self._inspection.slots_of(model):
                tile = MapTile(slot, self._chart_of)
                tile.show_picture(self._picture, self._image, self._look)
                tile.set_chosen(slot == front)
                tile.pressed.connect(self.chosen)
                self._tiles[slot] = tile
                tiles.append(tile)
            groups = ", ".join(
                dict.fromkeys(slot.spec.group for slot in self._tiles if slot.runnable == model)
            )
            group = _Group(short_name(model.title), groups.lower(), tiles)
            self._groups.append(group)
            self._column.insertWidget(len(self._groups) - 1, group)
            group.show()
        self._lay_out()
        self.refresh()

    def show_picture(self, image: QSize, look: Look) -> None:
        """The picture or the colours changed."""
        reshaped = image != self._image
        self._image, self._look = image, look
        for tile in self._tiles.values():
            tile.show_picture(self._picture, image, look)
        if reshaped:
            self._lay_out()

    def refresh(self) -> None:
        for slot in self._tiles:
            self.show_answer(slot)

    def read_labels(self) -> None:
        """The labels of the picture changed."""
        for tile in self._tiles.values():
            tile.read_labels()

    def show_answer(self, slot: ProbeSlot) -> None:
        """Brings one tile up to date."""
        tile, pin = self._tiles.get(slot), self._inspection.active_pin
        if tile is not None:
            query = (pin.x, pin.y) if pin is not None else None
            tile.show_result(self._inspection.result(slot, pin), query)

    def show_error(self, slot: ProbeSlot, error: UserError) -> None:
        tile = self._tiles.get(slot)
        if tile is not None:
            tile.show_error(error)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._lay_out()

    def _lay_out(self) -> None:
        shape = self._image.height() / self._image.width() if not self._image.isEmpty() else 0.75
        for group in self._groups:
            group.lay_out(self.viewport().width(), shape)
