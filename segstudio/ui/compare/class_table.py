"""The per-class table: IoU of one or two models, their difference with a bar, the class's share of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QRect, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QMouseEvent, QPainter
from PySide6.QtWidgets import QHeaderView, QStyleOptionViewItem

from segstudio.ui import theme
from segstudio.ui.widgets.table import SWATCH, TOTAL, RowDelegate, RowTable

Index = QModelIndex | QPersistentModelIndex

BAR = Qt.ItemDataRole.UserRole + 110
MINUS = "\u2212"


@dataclass(frozen=True, slots=True)
class ClassRow:
    """Fractions 0-1; NaN where a class does not occur."""

    index: int
    name: str
    color: tuple[int, int, int]
    first: float
    second: float | None
    pixels: float

    @property
    def gain(self) -> float:
        return math.nan if self.second is None else self.second - self.first


class ClassTableModel(QAbstractTableModel):
    """Rows in the chosen order, then the mean."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[ClassRow] = []
        self._letters: tuple[str, ...] = ("A",)
        self._means: tuple[float, ...] = ()
        self._sort = "gain"
        self._ascending = False

    @property
    def rows(self) -> list[ClassRow]:
        return self._rows

    @property
    def columns(self) -> tuple[str, ...]:
        """What the columns are: name, first, (second, gain, bar), pixels."""
        if len(self._letters) == 2:
            return ("name", "first", "second", "gain", "bar", "pixels")
        return ("name", "first", "pixels")

    def show(self, rows: Sequence[ClassRow], letters: tuple[str, ...], means: tuple[float, ...]) -> None:
        """`letters` and `means` of the one or two models compared."""
        self.beginResetModel()
        self._rows, self._letters, self._means = list(rows), letters, means
        self._order()
        self.endResetModel()

    def sort_by(self, section: int) -> None:
        column = self.columns[section]
        column = "gain" if column == "bar" else column
        self.layoutAboutToBeChanged.emit()
        self._ascending = not self._ascending if column == self._sort else column == "name"
        self._sort = column
        self._order()
        self.layoutChanged.emit()
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(self.columns) - 1)

    def _order(self) -> None:
        sort = self._sort if self._sort in self.columns else "first"
        if sort == "name":
            self._rows.sort(key=lambda row: row.name.casefold(), reverse=not self._ascending)
            return
        present = [row for row in self._rows if not math.isnan(_value(row, sort))]
        absent = [row for row in self._rows if math.isnan(_value(row, sort))]
        present.sort(key=lambda row: _value(row, sort), reverse=not self._ascending)
        self._rows = present + absent

    def rowCount(self, parent: Index | None = None) -> int:
        return len(self._rows) + 1 if self._rows else 0

    def columnCount(self, parent: Index | None = None) -> int:
        return len(self.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        if orientation != Qt.Orientation.Horizontal or section >= len(self.columns):
            return None
        column = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            first, second = self._letters[0], self._letters[-1]
            titles = {
                "name": "Class",
                "first": first,
                "second": second,
                "gain": f"{second} {MINUS} {first}",
                "bar": "",
                "pixels": "Pixels",
            }
            arrow = (" ↑" if self._ascending else " ↓") if column == self._sort else ""
            return titles[column] + arrow
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if column == "name" else Qt.AlignmentFlag.AlignRight
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: Index, role: int = 0) -> Any:
        column = self.columns[index.column()]
        row = self._rows[index.row()] if index.row() < len(self._rows) else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft if column == "name" else Qt.AlignmentFlag.AlignRight)
        if role == TOTAL:
            return row is None
        if row is None:
            return self._mean(column, role)
        if role == Qt.ItemDataRole.DisplayRole:
            return _words(row, column)
        if role == SWATCH and column == "name":
            return QColor(*row.color)
        if role == BAR and column == "bar":
            return row.gain
        if role == Qt.ItemDataRole.ForegroundRole and column == "pixels":
            return "t2"
        return None

    def _mean(self, column: str, role: int) -> Any:
        gain = self._means[-1] - self._means[0] if len(self._means) == 2 else math.nan
        if role == Qt.ItemDataRole.FontRole:
            return 600
        if role == BAR and column == "bar":
            return gain
        if role == Qt.ItemDataRole.DisplayRole:
            texts = {"name": "Mean IoU", "first": percent(self._means[0]) if self._means else ""}
            if len(self._means) == 2:
                texts |= {"second": percent(self._means[1]), "gain": signed(gain)}
            return texts.get(column, "")
        return None


class ClassTable(RowTable):
    """A press on a class isolates it; Space does the same for the row in front."""

    isolated = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.table_model = ClassTableModel()
        self.setModel(self.table_model)
        self.use_delegate(_BarDelegate(self, padding=6))
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        head = self.horizontalHeader()
        head.setSectionsClickable(True)
        head.sectionClicked.connect(self.table_model.sort_by)
        self.table_model.modelReset.connect(self._fit)
        self.table_model.layoutChanged.connect(self.viewport().update)
        self.setSelectionMode(RowTable.SelectionMode.SingleSelection)

    def select_class(self, class_index: int | None) -> None:
        """Marks the isolated class."""
        self.clearSelection()
        for place, row in enumerate(self.table_model.rows):
            if row.index == class_index:
                self.selectRow(place)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        place = self.rowAt(round(event.position().y()))
        if event.button() == Qt.MouseButton.LeftButton and 0 <= place < len(self.table_model.rows):
            self.setCurrentIndex(self.table_model.index(place, 0))
            self.isolated.emit(self.table_model.rows[place].index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        place = self.currentIndex().row()
        if event.key() == Qt.Key.Key_Space and 0 <= place < len(self.table_model.rows):
            self.isolated.emit(self.table_model.rows[place].index)
            return
        super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.viewport().update()

    def _fit(self) -> None:
        """As high as its rows; the name takes the width that is left."""
        rows = self.table_model.rowCount()
        self.setFixedHeight(24 + rows * self.verticalHeader().defaultSectionSize() if rows else 0)
        head = self.horizontalHeader()
        widths = {"first": 48, "second": 48, "gain": 58, "bar": 72, "pixels": 62}
        for section, column in enumerate(self.table_model.columns):
            if column == "name":
                head.setSectionResizeMode(section, QHeaderView.ResizeMode.Stretch)
            else:
                head.setSectionResizeMode(section, QHeaderView.ResizeMode.Fixed)
                self.setColumnWidth(section, widths[column])


class _BarDelegate(RowDelegate):
    """Draws the difference as a bar from a centre line: accent to the right, warn to the left."""

    LEAST = 0.05

    def paint_text(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        gain = index.data(BAR)
        if gain is None:
            super().paint_text(painter, option, index)
            return
        rect: QRect = option.rect  # type: ignore[attr-defined]
        middle, top = rect.center().x(), rect.center().y() - 4
        painter.fillRect(QRect(middle, rect.top() + 5, 1, rect.height() - 11), theme.color("line2"))
        if math.isnan(gain):
            return
        gains = [abs(row.gain) for row in index.model().rows if not math.isnan(row.gain)]
        full = max([self.LEAST, *gains])
        length = round(min(abs(gain) / full, 1.0) * (rect.width() / 2 - 4))
        if gain >= 0:
            painter.fillRect(QRect(middle, top, max(length, 1), 8), theme.color("accent"))
        else:
            painter.fillRect(QRect(middle - length, top, max(length, 1), 8), theme.color("warn"))


def _value(row: ClassRow, column: str) -> float:
    value = {"first": row.first, "second": row.second, "gain": row.gain, "pixels": row.pixels}[column]
    return math.nan if value is None else value


def _words(row: ClassRow, column: str) -> str:
    if column == "name":
        return row.name
    if column == "gain":
        return signed(row.gain)
    if column == "pixels":
        return f"{100 * row.pixels:.1f} %" if row.pixels else "0 %"
    return "" if column == "bar" else percent(_value(row, column))


def percent(value: float) -> str:
    """One decimal of per cent; an en dash where there is no value."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def signed(value: float) -> str:
    """A difference in per cent with its sign."""
    if math.isnan(value):
        return "–"
    text = f"{abs(100 * value):.1f}"
    return text if text == "0.0" else ("+" if value > 0 else MINUS) + text
