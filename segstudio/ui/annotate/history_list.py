"""What was done to the image in front, newest first; undone steps stay until something new comes."""

from __future__ import annotations

import time
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QAbstractItemView, QListView, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from segstudio.core.records import HistoryRow
from segstudio.runtime.session import ProjectSession
from segstudio.ui import theme
from segstudio.ui.icons import paint_icon
from segstudio.ui.widgets.numbers import grouped

Index = QModelIndex | QPersistentModelIndex

_ICONS = {
    "brush": "brush",
    "erase": "eraser",
    "fill": "fill",
    "polygon": "polygon",
    "lasso": "lasso",
    "rectangle": "rectangle",
    "ellipse": "ellipse",
    "import": "import",
    "proposal": "sparkle",
}
_DRAWN = ("brush", "fill", "polygon", "lasso", "rectangle", "ellipse")
_LIMIT = 200


class HistoryModel(QAbstractListModel):
    """Rows of the image in front."""

    def __init__(self, session: ProjectSession) -> None:
        super().__init__()
        self._session = session
        self._rows: list[HistoryRow] = []
        session.history_changed.connect(self.refill)
        session.current_changed.connect(self.refill)

    def refill(self) -> None:
        """Read the history again."""
        self.beginResetModel()
        self._rows = self._session.edits.history(_LIMIT)
        self.endResetModel()

    @property
    def current_row(self) -> int:
        """The newest step that is not undone; -1 without one."""
        return next((place for place, row in enumerate(self._rows) if not row.undone), -1)

    def row(self, place: int) -> HistoryRow | None:
        """One step."""
        return self._rows[place] if 0 <= place < len(self._rows) else None

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row = self._rows[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return self.title(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            when = time.strftime("%d %B, %H:%M", time.localtime(row.time))
            return f"{self.title(row)}\n{when}" + ("\nundone" if row.undone else "")
        return None

    def title(self, row: HistoryRow) -> str:
        """ "Brush · Car"."""
        entry = self._session.class_of(row.class_index)
        verb = row.tool.replace("_", " ").capitalize()
        return f"{verb} · {entry.name}" if entry is not None else verb


class _HistoryDelegate(QStyledItemDelegate):
    def __init__(self, model: HistoryModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._model = model
        self.hovered_row = -1

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(100, 26)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        rect: QRect = option.rect  # type: ignore[attr-defined]
        row = self._model.row(index.row())
        if row is None:
            return
        if index.row() == self._model.current_row:
            painter.fillRect(rect, theme.color("selected"))
        painter.fillRect(QRect(rect.left(), rect.bottom(), rect.width(), 1), theme.color("grid"))
        ink = "t3" if row.undone else "t1"
        icon = QRect(rect.left() + 8, rect.center().y() - 6, 14, 14)
        paint_icon(painter, icon, _ICONS.get(row.tool.split(" ")[0], "history"), "t3" if row.undone else "t2")
        painter.setFont(theme.font(12))
        erased = row.tool == "erase" or (row.tool in _DRAWN and row.class_index < 0)
        sign = "\u2212" if erased else "+" if row.tool in _DRAWN else ""
        amount = f"{sign}{grouped(row.pixels)} px"
        width = painter.fontMetrics().horizontalAdvance(amount)
        flags = int(Qt.AlignmentFlag.AlignVCenter)
        painter.setPen(theme.color("t3" if row.undone else "t2"))
        painter.drawText(rect.adjusted(0, 0, -12, -1), flags | int(Qt.AlignmentFlag.AlignRight), amount)
        painter.setPen(theme.color(ink))
        line = rect.adjusted(30, 0, -20 - width, -1)
        words = painter.fontMetrics().elidedText(
            self._model.title(row), Qt.TextElideMode.ElideRight, line.width()
        )
        painter.drawText(line, flags, words)


class HistoryList(QListView):
    """A double click goes back (or forward) to that step."""

    def __init__(self, session: ProjectSession) -> None:
        super().__init__()
        self._session = session
        self.rows = HistoryModel(session)
        self.setModel(self.rows)
        self.setItemDelegate(_HistoryDelegate(self.rows, self))
        self.setUniformItemSizes(True)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("History")
        self.doubleClicked.connect(self._go_to)
        theme.appearance().changed.connect(self.viewport().update)

    def _go_to(self, index: QModelIndex) -> None:
        here, there = self.rows.current_row, index.row()
        if here < 0:
            here = self.rows.rowCount()
        for _ in range(abs(there - here)):
            if there > here:
                self._session.edits.undo()
            else:
                self._session.edits.redo()
