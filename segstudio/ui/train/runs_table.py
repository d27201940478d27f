"""The table of runs: number, model, state with its bar, best mIoU (or loss of pre-training), hours."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter
from PySide6.QtWidgets import QHeaderView, QStyleOptionViewItem

from segstudio.runtime.run_view import RunView
from segstudio.runtime.runs import Runs
from segstudio.ui import theme
from segstudio.ui.train.state_icon import paint_state
from segstudio.ui.widgets.table import RowDelegate, RowTable

Index = QModelIndex | QPersistentModelIndex

HEADS = ("#", "Model", "State", "Best", "Hours")
STATES: dict[str, tuple[str, str, str]] = {
    "queued": ("clock", "t2", "Queued"),
    "starting": ("spinner", "accent", "Starting"),
    "running": ("play", "accent", "Running"),
    "stopping": ("spinner", "warn", "Stopping"),
    "paused": ("pause", "warn", "Paused"),
    "failed": ("error", "err", "Failed"),
    "done": ("check", "ok", "Done"),
}


class RunsModel(QAbstractTableModel):
    """The runs, newest first."""

    def __init__(self, runs: Runs) -> None:
        super().__init__(runs)
        self._runs = runs
        self._views: tuple[RunView, ...] = runs.views
        runs.changed.connect(self.refresh)

    def refresh(self) -> None:
        views = self._runs.views
        if [view.name for view in views] != [view.name for view in self._views]:
            self.beginResetModel()
            self._views = views
            self.endResetModel()
        elif views:
            self._views = views
            self.dataChanged.emit(self.index(0, 0), self.index(len(views) - 1, len(HEADS) - 1))

    def view(self, row: int) -> RunView | None:
        return self._views[row] if 0 <= row < len(self._views) else None

    def row_of(self, name: str) -> int:
        return next((row for row, view in enumerate(self._views) if view.name == name), -1)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self._views)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return len(HEADS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return HEADS[section]
        if role == Qt.ItemDataRole.TextAlignmentRole and section >= 3:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        view = self.view(index.row())
        if view is None:
            return None
        column = index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            hours = (
                f"{int(view.seconds // 3600)}:{int(view.seconds % 3600 // 60):02d}" if view.seconds else "–"
            )
            return (view.number, view.title, STATES[view.state][2], view.best_words or "–", hours)[column]
        if role == Qt.ItemDataRole.TextAlignmentRole and column >= 3:
            return int(Qt.AlignmentFlag.AlignRight)
        if role == Qt.ItemDataRole.ForegroundRole and column == 0:
            return "t2"
        if role == Qt.ItemDataRole.FontRole and column == 1 and view.is_active:
            return 500
        if role == Qt.ItemDataRole.ToolTipRole:
            measure = "validation loss" if view.is_pretraining else "mIoU"
            best = f"\nBest {measure} {view.best_words}" if view.best_words else ""
            return f"{view.title} ({view.model})\n{view.reason}".strip() + best
        if role == Qt.ItemDataRole.UserRole:
            return view
        return None


class _RunDelegate(RowDelegate):
    """Draws the state as icon, word and, while it is at work, a short bar."""

    def paint_text(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        if index.column() != 2:
            super().paint_text(painter, option, index)
            return
        view: RunView = index.data(Qt.ItemDataRole.UserRole)
        icon, role, word = STATES[view.state]
        rect = QRectF(option.rect)  # type: ignore[attr-defined]
        paint_state(painter, rect.adjusted(8, 0, 0, 0), icon, role)
        painter.setFont(theme.font(12))
        painter.setPen(theme.color("t1"))
        painter.drawText(rect.adjusted(28, 0, 0, -1), int(Qt.AlignmentFlag.AlignVCenter), word)
        if (
            view.state in ("running", "stopping", "paused")
            and view.fraction is not None
            and rect.width() > 130
        ):
            bar = QRectF(rect.right() - 50, rect.center().y() - 2, 44, 5)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setBrush(theme.color("line2"))
            painter.drawRoundedRect(bar, 2.5, 2.5)
            painter.setBrush(theme.color("accent"))
            bar.setWidth(max(5.0, bar.width() * view.fraction))
            painter.drawRoundedRect(bar, 2.5, 2.5)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)


class RunsTable(RowTable):
    """`chosen` names the run in front. The choice survives a refresh of the table."""

    chosen = Signal(str)

    def __init__(self, runs: Runs) -> None:
        super().__init__()
        self.setAccessibleName("Runs")
        self._model = RunsModel(runs)
        self.setModel(self._model)
        self.use_delegate(_RunDelegate(self))
        head = self.horizontalHeader()
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        head.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        for column, width in ((0, 40), (2, 152), (3, 54), (4, 58)):
            self.setColumnWidth(column, width)
        self._current = ""
        self._model.modelReset.connect(self._restore)
        self.selectionModel().currentRowChanged.connect(self._row_changed)

    @property
    def current(self) -> str:
        return self._current

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space:
            event.ignore()  # a table of single rows has no use for it; the room plays the pictures
            return
        super().keyPressEvent(event)

    def choose(self, name: str) -> None:
        """Puts a run in front; a name that is not here clears the choice."""
        self._current = name
        self._restore()
        self.chosen.emit(name)

    def _restore(self) -> None:
        row = self._model.row_of(self._current)
        selection = self.selectionModel()
        was_blocked = selection.blockSignals(True)
        if row >= 0:
            self.selectRow(row)
        else:
            self.clearSelection()
        selection.blockSignals(was_blocked)
        self.viewport().update()

    def _row_changed(self, current: QModelIndex, _previous: QModelIndex) -> None:
        view = self._model.view(current.row())
        if view is not None and view.name != self._current:
            self._current = view.name
            self.chosen.emit(view.name)
