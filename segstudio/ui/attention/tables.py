"""The tables of the Attention tab: pinned queries, and where the attention in front goes by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QRect, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter
from PySide6.QtWidgets import QHeaderView, QStyleOptionViewItem

from segstudio.ui import theme
from segstudio.ui.icons import paint_icon
from segstudio.ui.widgets.table import SWATCH, RowDelegate, RowTable

Index = QModelIndex | QPersistentModelIndex

SHARE = Qt.ItemDataRole.UserRole + 120
FRONT = Qt.ItemDataRole.UserRole + 121
_RIGHT = int(Qt.AlignmentFlag.AlignRight)


@dataclass(frozen=True)
class PinRow:
    """One pinned query; figures are NaN where there is no answer or no meaning."""

    number: int
    name: str
    class_name: str
    color: tuple[int, int, int] | None
    x: int
    y: int
    own_share: float
    entropy: float
    distance: float


class _PinModel(QAbstractTableModel):
    HEADS = ("", "Pinned query", "Pixel", "Own class", "Entropy, bits", "Mean distance, px", "")

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[PinRow] = []
        self.active = 0

    def show(self, rows: Sequence[PinRow], active: int) -> None:
        if len(rows) == len(self.rows):
            self.rows, self.active = list(rows), active
            if rows:
                self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(self.HEADS) - 1))
            return
        self.beginResetModel()
        self.rows, self.active = list(rows), active
        self.endResetModel()

    def rowCount(self, parent: Index | None = None) -> int:
        return len(self.rows)

    def columnCount(self, parent: Index | None = None) -> int:
        return len(self.HEADS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.HEADS[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if 2 <= section <= 5 else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: Index, role: int = 0) -> Any:
        row, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return (
                row.name,
                row.class_name,
                f"{row.x}, {row.y}",
                _number(100 * row.own_share, "{:.0f} %"),
                _number(row.entropy, "{:.2f}"),
                _number(row.distance, "{:.0f}"),
                None,
            )[column]
        if role == SWATCH and column == 1 and row.color is not None:
            return QColor(*row.color)
        if role == Qt.ItemDataRole.TextAlignmentRole and 2 <= column <= 5:
            return _RIGHT
        if role == Qt.ItemDataRole.ForegroundRole and column == 0:
            return "accent" if row.number == self.active else "t2"
        if role == Qt.ItemDataRole.FontRole and column == 0:
            return 600
        return None


class PinTable(RowTable):
    """A press chooses a query, the pin at the end of a row lets it go."""

    chosen = Signal(int)
    removed = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.table_model = _PinModel()
        self.setModel(self.table_model)
        self.use_delegate(_PinDelegate(self))
        head = self.horizontalHeader()
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        for section, width in enumerate((36, 150, 88, 80, 92, 116, 32)):
            self.setColumnWidth(section, width)
        head.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.table_model.modelReset.connect(self._mark)

    def show_pins(self, rows: Sequence[PinRow], active: int) -> None:
        self.table_model.show(rows, active)
        self._mark()

    def _mark(self) -> None:
        for place, row in enumerate(self.table_model.rows):
            if row.number == self.table_model.active:
                self.selectRow(place)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        index = self.indexAt(event.position().toPoint())
        if event.button() != Qt.MouseButton.LeftButton or not index.isValid():
            return
        number = self.table_model.rows[index.row()].number
        (self.removed if index.column() == 6 else self.chosen).emit(number)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Delete and self.currentIndex().isValid():
            self.removed.emit(self.table_model.rows[self.currentIndex().row()].number)
            return
        super().keyPressEvent(event)


class _PinDelegate(RowDelegate):
    def paint_text(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        if index.column() != 6:
            super().paint_text(painter, option, index)
            return
        rect: QRect = option.rect  # type: ignore[attr-defined]
        paint_icon(painter, QRect(rect.center().x() - 7, rect.center().y() - 6, 14, 14), "pin", "t2")


@dataclass(frozen=True)
class MassRow:
    """One class and the share (0-1) of each map's mass on it."""

    name: str
    color: tuple[int, int, int] | None
    shares: tuple[float, ...]


class _MassModel(QAbstractTableModel):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[MassRow] = []
        self.heads: tuple[str, ...] = ()

    def show(self, rows: Sequence[MassRow], heads: Sequence[str]) -> None:
        same = len(rows) == len(self.rows) and tuple(heads) == self.heads
        if not same:
            self.beginResetModel()
        self.rows, self.heads = list(rows), tuple(heads)
        if not same:
            self.endResetModel()
        elif rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(self.heads)))

    def rowCount(self, parent: Index | None = None) -> int:
        return len(self.rows)

    def columnCount(self, parent: Index | None = None) -> int:
        return 1 + len(self.heads)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return ("Class", *self.heads)[section]
        return None

    def data(self, index: Index, role: int = 0) -> Any:
        row, column = self.rows[index.row()], index.column()
        if column == 0:
            if role == Qt.ItemDataRole.DisplayRole:
                return row.name
            if role == SWATCH:
                return QColor(*row.color) if row.color is not None else "ignore"
            return None
        if role == SHARE:
            return row.shares[column - 1]
        if role == FRONT:
            return column == 1
        return None


class MassTable(RowTable):
    """Bars: the map in front in the accent, the others quiet."""

    def __init__(self) -> None:
        super().__init__()
        self.table_model = _MassModel()
        self.setModel(self.table_model)
        self.use_delegate(_MassDelegate(self))
        self.setSelectionMode(RowTable.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table_model.modelReset.connect(self._fit)

    def show_mass(self, rows: Sequence[MassRow], heads: Sequence[str]) -> None:
        self.table_model.show(rows, heads)

    def _fit(self) -> None:
        self.setFixedHeight(24 + self.table_model.rowCount() * 26)
        head = self.horizontalHeader()
        head.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(0, 124)
        for section in range(1, self.table_model.columnCount()):
            head.setSectionResizeMode(section, QHeaderView.ResizeMode.Stretch)


class _MassDelegate(RowDelegate):
    def paint_text(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        share = index.data(SHARE)
        if share is None:
            super().paint_text(painter, option, index)
            return
        rect: QRect = option.rect  # type: ignore[attr-defined]
        bar = QRect(rect.x() + 8, rect.center().y() - 4, max(8, min(88, rect.width() - 64)), 8)
        painter.fillRect(bar, theme.color("base"))
        if math.isnan(share):
            return
        color = theme.color("accent" if index.data(FRONT) else "t2")
        painter.fillRect(QRect(bar.x(), bar.y(), round(bar.width() * min(share, 1.0)), 8), color)
        painter.setFont(theme.font(12))
        painter.setPen(theme.color("t1"))
        figure = QRect(bar.right() + 4, rect.y(), 44, rect.height() - 1)
        painter.drawText(
            figure, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), f"{100 * share:.1f}"
        )


def _number(value: float, form: str) -> str:
    return "–" if math.isnan(value) else form.format(value)
