"""The class table: name, key, pixels, eye and lock of every class; click chooses, double click edits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QRectF,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLineEdit, QStyleOptionViewItem, QWidget

from segstudio.core.records import LabelClass
from segstudio.runtime.session import ProjectSession
from segstudio.ui import theme
from segstudio.ui.canvas.tools.paint_state import PaintState
from segstudio.ui.icons import paint_icon
from segstudio.ui.widgets.mark import paint_key
from segstudio.ui.widgets.numbers import grouped
from segstudio.ui.widgets.table import SWATCH, RowDelegate, RowTable

Index = QModelIndex | QPersistentModelIndex

NAME, KEY, PIXELS, EYE, LOCK = range(5)
_HEADS = ("Class", "Key", "Pixels", "", "")
_WIDE = 272  # from here on the pixel column fits
_SHAKE_MS = 40
_SHAKE = (0, 3, -3, 2, -2, 0)


class ClassModel(QAbstractTableModel):
    """Rows are the project's classes that match `pattern`, and the unlabelled row at the end."""

    def __init__(self, session: ProjectSession, state: PaintState) -> None:
        super().__init__()
        self._session = session
        self._state = state
        self._rows: list[LabelClass] = []
        self._pattern = ""
        self._shown: list[str | None] = []  # the pixels as the table last told them
        session.classes_changed.connect(self.refill)
        session.counts_changed.connect(self._counts_changed)
        session.labels_loaded.connect(self._counts_changed)
        session.current_changed.connect(self._counts_changed)
        state.protection_changed.connect(self._protection_changed)
        self.refill()

    def refill(self) -> None:
        """Read the classes again."""
        self.beginResetModel()
        wanted = self._pattern.casefold()
        self._rows = [
            entry
            for entry in self._session.classes
            if wanted in entry.name.casefold() or any(wanted in alias.casefold() for alias in entry.aliases)
        ]
        self._shown = self._pixels()
        self.endResetModel()

    def set_pattern(self, pattern: str) -> None:
        """Show only classes whose name or alias has this in it."""
        self._pattern = pattern.strip()
        self.refill()

    def class_at(self, row: int) -> LabelClass | None:
        """The class of a row; None for the unlabelled one."""
        return self._rows[row] if 0 <= row < len(self._rows) else None

    def row_of(self, index: int) -> int:
        """The row of a class index, -1 where it is not shown."""
        return next((row for row, entry in enumerate(self._rows) if entry.id == index), -1)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._rows) + (0 if self._pattern else 1)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(_HEADS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _HEADS[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if section == PIXELS else Qt.AlignmentFlag.AlignLeft
            if section == KEY:
                side = Qt.AlignmentFlag.AlignHCenter
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        entry, column = self.class_at(index.row()), index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(entry, column)
        if role == SWATCH and column == NAME:
            return QColor(*entry.color) if entry is not None else "ignore"
        if role == Qt.ItemDataRole.TextAlignmentRole and column == PIXELS:
            return int(Qt.AlignmentFlag.AlignRight)
        if role == Qt.ItemDataRole.ForegroundRole:
            return "t2" if entry is None or entry.ignore else "t1"
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(entry, column)
        if role == Qt.ItemDataRole.EditRole and column == NAME and entry is not None:
            return entry.name
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return self._text(entry, column)
        return None

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        entry = self.class_at(index.row())
        name = str(value).strip()
        if entry is None or not name or name == entry.name:
            return False
        self._session.set_classes(
            [replace(each, name=name) if each.id == entry.id else each for each in self._session.classes]
        )
        return True

    def flags(self, index: Index) -> Qt.ItemFlag:
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.column() == NAME and self.class_at(index.row()) is not None:
            flags |= Qt.ItemFlag.ItemIsEditable
        return flags

    def _text(self, entry: LabelClass | None, column: int) -> str | None:
        if column == NAME:
            return entry.name if entry is not None else "Unlabelled"
        if column == KEY:
            return entry.key if entry is not None else ""
        if column == PIXELS:
            labels = self._session.label_map
            if labels is None:
                return ""
            index = entry.id if entry is not None else labels.ignore
            return grouped(self._session.class_counts.get(index, 0))
        return None

    def _tip(self, entry: LabelClass | None, column: int) -> str:
        if entry is None:
            return "Pixels without a label; they count nowhere"
        if column == EYE:
            return "Hide or show  (Alt: only this class; drag: several)"
        if column == LOCK:
            return "Lock or unlock: a locked class keeps its pixels  (drag: several)"
        keys = f"  {entry.key}" if entry.key else ""
        aliases = f"\nalso {', '.join(entry.aliases)}" if entry.aliases else ""
        return f"{entry.name}{keys}\nid {entry.id}{aliases}\nDouble click renames"

    def _pixels(self) -> list[str | None]:
        """The text of the pixel column, row by row."""
        return [self._text(self.class_at(row), PIXELS) for row in range(self.rowCount())]

    def _counts_changed(self, *_: object) -> None:
        """Only the cells that say something else: a stroke changes two of fifty."""
        before, self._shown = self._shown, self._pixels()
        for row, (old, new) in enumerate(zip(before, self._shown, strict=True)):
            if old != new:
                cell = self.index(row, PIXELS)
                self.dataChanged.emit(cell, cell)

    def _protection_changed(self) -> None:
        if self.rowCount():
            self.dataChanged.emit(self.index(0, EYE), self.index(self.rowCount() - 1, LOCK))


class _ClassDelegate(RowDelegate):
    def __init__(self, view: RowTable, model: ClassModel, state: PaintState) -> None:
        super().__init__(view)
        self._model = model
        self._state = state
        self.shaken: tuple[int, int] = (-1, 0)  # row, offset in pixels

    def paint_text(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        rect: QRect = option.rect  # type: ignore[attr-defined]
        entry = self._model.class_at(index.row())
        if index.column() == KEY:
            if entry is not None and entry.key:
                paint_key(painter, rect, entry.key)
        elif index.column() == EYE:
            hidden = (entry.id if entry is not None else -1) in self._state.hidden
            box = QRect(rect.center().x() - 6, rect.center().y() - 6, 14, 14)
            paint_icon(painter, box, "eye-off" if hidden else "eye", "accent" if hidden else "t3")
        elif index.column() == LOCK:
            if entry is not None:
                locked = entry.id in self._state.locked
                shake = self.shaken[1] if self.shaken[0] == index.row() else 0
                box = QRect(rect.center().x() - 6 + shake, rect.center().y() - 6, 14, 14)
                paint_icon(painter, box, "lock" if locked else "unlock", "t1" if locked else "t3")
        else:
            super().paint_text(painter, option, index)
            if entry is None and index.column() == NAME:
                self._paint_tag(painter, rect)

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: Index) -> QWidget:
        editor = QLineEdit(parent)
        editor.setProperty("tall", "24")
        return editor

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, index: Index) -> None:
        rect: QRect = option.rect  # type: ignore[attr-defined]
        editor.setGeometry(rect.adjusted(26, 1, -2, -2))

    def _paint_tag(self, painter: QPainter, rect: QRect) -> None:
        painter.setFont(theme.font(12))
        left = rect.left() + 36 + painter.fontMetrics().horizontalAdvance("Unlabelled")
        painter.setFont(theme.font(11))
        width = painter.fontMetrics().horizontalAdvance("ignore") + 10
        if left + width > rect.right():
            return
        box = QRect(left, rect.center().y() - 8, width, 17)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(theme.color("line2"))
        painter.drawRoundedRect(QRectF(box).translated(0.5, 0.5), 3, 3)
        painter.setPen(theme.color("t2"))
        painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), "ignore")
        painter.restore()


class ClassTable(RowTable):
    """`class_chosen(index)`; `color_wanted(index)`; protection changes go to the paint state."""

    class_chosen = Signal(int)
    color_wanted = Signal(int)
    menu_wanted = Signal(int, object)  # class index or -1, global position

    def __init__(self, session: ProjectSession, state: PaintState) -> None:
        super().__init__()
        self._state = state
        self._rows = ClassModel(session, state)
        self._brush: tuple[int, bool] | None = None  # column and value that a drag sets
        self._solo_before: frozenset[int] | None = None
        self.setModel(self._rows)
        self._painter = _ClassDelegate(self, self._rows, state)
        self.use_delegate(self._painter)
        self.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.setAccessibleName("Classes")
        head = self.horizontalHeader()
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        head.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column, width in ((KEY, 36), (PIXELS, 72), (EYE, 24), (LOCK, 28)):
            self.setColumnWidth(column, width)
        state.class_changed.connect(self.show_class)
        state.refused.connect(self.shake)
        self._rows.modelReset.connect(self._after_reset)
        self.show_class(state.class_index)

    @property
    def rows(self) -> ClassModel:
        return self._rows

    def show_class(self, index: int) -> None:
        """Select the row of the class in hand."""
        row = self._rows.row_of(index)
        if row >= 0:
            self.selectRow(row)
        else:
            self.clearSelection()

    def height_for_rows(self) -> int:
        """Height of the head and all rows."""
        return 24 + self._rows.rowCount() * self.verticalHeader().defaultSectionSize() + 1

    def shake(self, index: int) -> None:
        """The lock of a class says no."""
        row = self._rows.row_of(index)
        for step, offset in enumerate(_SHAKE):
            QTimer.singleShot(step * _SHAKE_MS, self, self._shaker(row, offset))

    def _shaker(self, row: int, offset: int) -> Callable[[], None]:
        def move() -> None:
            self._painter.shaken = (row, offset)
            self.viewport().update()

        return move

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.setColumnHidden(PIXELS, self.width() < _WIDE)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        index = self.indexAt(event.position().toPoint())
        entry = self._rows.class_at(index.row())
        if event.button() == Qt.MouseButton.RightButton:
            if entry is not None:
                self.class_chosen.emit(entry.id)
            self.menu_wanted.emit(entry.id if entry is not None else -1, event.globalPosition().toPoint())
            return
        if event.button() != Qt.MouseButton.LeftButton or not index.isValid():
            return
        number = entry.id if entry is not None else -1
        if index.column() == EYE:
            if event.modifiers() & Qt.KeyboardModifier.AltModifier:
                self._solo(number)
            else:
                self._brush = (EYE, number not in self._state.hidden)
                self._apply(number)
        elif index.column() == LOCK and entry is not None:
            self._brush = (LOCK, number not in self._state.locked)
            self._apply(number)
        elif entry is not None:
            self.class_chosen.emit(entry.id)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        if self._brush is not None:
            entry = self._rows.class_at(self.rowAt(round(event.position().y())))
            if entry is not None:
                self._apply(entry.id)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._brush = None
        super().mouseReleaseEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        index = self.indexAt(event.position().toPoint())
        entry = self._rows.class_at(index.row())
        if entry is None:
            return
        if index.column() == NAME:
            if event.position().x() < 26:
                self.color_wanted.emit(entry.id)
            else:
                self.edit(self._rows.index(index.row(), NAME))
        elif index.column() in (EYE, LOCK):
            self.mousePressEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        super().keyPressEvent(event)
        entry = self._rows.class_at(self.currentIndex().row())
        if entry is not None and event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.class_chosen.emit(entry.id)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.EnabledChange:
            self.viewport().update()

    def _apply(self, number: int) -> None:
        if self._brush is None:
            return
        column, on = self._brush
        before = self._state.hidden if column == EYE else self._state.locked
        after = before | {number} if on else before - {number}
        if after != before:
            (self._state.set_hidden if column == EYE else self._state.set_locked)(after)

    def _solo(self, number: int) -> None:
        """Only this class; the second time the set of before returns."""
        everyone = frozenset(
            entry.id
            for row in range(self._rows.rowCount())
            if (entry := self._rows.class_at(row)) is not None
        )
        alone = (everyone | {-1}) - {number}
        if self._solo_before is not None and self._state.hidden == alone:
            self._state.set_hidden(self._solo_before)
            self._solo_before = None
        else:
            self._solo_before = self._state.hidden
            self._state.set_hidden(alone)

    def _after_reset(self) -> None:
        self.show_class(self._state.class_index)
        self.updateGeometry()
