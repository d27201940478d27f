"""The command palette: every verb by its words, with its key and the reason where it is off.

"#" lists the classes, "@" the images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import (
    QAbstractListModel,
    QEvent,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QRect,
    QSize,
    Qt,
)
from PySide6.QtGui import QColor, QFontMetrics, QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QListView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
)

from segstudio.ui import theme
from segstudio.ui.dialogs.overlay import Overlay
from segstudio.ui.icons import paint_icon, pixmap
from segstudio.ui.widgets.chip import paint_swatch
from segstudio.ui.widgets.labels import KeyCaps, key_text, label, rule
from segstudio.ui.widgets.mark import paint_key

if TYPE_CHECKING:
    from segstudio.ui.main_window import MainWindow

Index = QModelIndex | QPersistentModelIndex

_ROW = 36
_SHOWN = 9


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: what Enter does, and what is said about it."""

    title: str
    run: Callable[[], object]
    icon: str = ""
    key: str = ""
    detail: str = ""
    reason: str = ""
    color: QColor | None = None


def matching(entries: list[Entry], words: str) -> list[Entry]:
    """The entries in which every word occurs; those that begin with the text first, those off last."""
    parts = words.casefold().split()

    def rank(entry: Entry) -> tuple[bool, bool, bool]:
        title = entry.title.casefold()
        starts = title.startswith(words.casefold().strip())
        inside = any(word.startswith(parts[0]) for word in title.split()) if parts else True
        return (bool(entry.reason), not starts, not inside)

    def said(entry: Entry) -> str:
        return f"{entry.title} {entry.detail}".casefold()

    return sorted((entry for entry in entries if all(part in said(entry) for part in parts)), key=rank)


class CommandPalette(Overlay):
    """Open it with `show()`; Enter runs the chosen line and closes."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window, width=752, top=88)
        self._main = window
        self._commands = commands(window)
        head = QFrame()
        head.setFixedHeight(48)
        row = QHBoxLayout(head)
        row.setContentsMargins(16, 0, 16, 0)
        row.setSpacing(12)
        mark = label("")
        mark.setPixmap(pixmap("search", 18, "t2", self.devicePixelRatioF()))
        row.addWidget(mark)
        self.field = QLineEdit()
        self.field.setProperty("kind", "bare")
        self.field.setProperty("noFocusRing", True)
        self.field.setFont(theme.font(15))
        self.field.setPlaceholderText("Search or run a command")
        self.field.setAccessibleName("Search or run a command")
        row.addWidget(self.field, 1)
        self._count = label("", role="t2", size=12)
        row.addWidget(self._count)
        self.column.addWidget(head)
        self.column.addWidget(rule())
        self.rows = _Rows()
        self.list = QListView()
        self.list.setModel(self.rows)
        self.list.setFrameShape(QListView.Shape.NoFrame)
        self.list.setItemDelegate(_Delegate(self.rows, self.list))
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setUniformItemSizes(True)
        self.list.setMouseTracking(True)
        self.list.entered.connect(self.list.setCurrentIndex)
        self.list.clicked.connect(lambda index: self.run(index.row()))
        self.list.setStyleSheet(f"QListView {{ background: {theme.color('raised').name()}; }}")
        self.column.addWidget(self.list)
        self.column.addWidget(rule())
        foot = QFrame()
        foot.setFixedHeight(32)
        row = QHBoxLayout(foot)
        row.setContentsMargins(12, 0, 12, 0)
        row.addWidget(KeyCaps("[↑] [↓] choose   [Enter] run   [Esc] close"))
        row.addStretch(1)
        row.addWidget(KeyCaps("[#] class [@] image"))
        self.column.addWidget(foot)
        self.field.textChanged.connect(self._search)
        self.field.installEventFilter(self)
        self._search("")

    def showEvent(self, event: object) -> None:
        super().showEvent(event)
        self.field.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.field and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            key = event.key()
            if key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
                self._move(1 if key == Qt.Key.Key_Down else -1)
                return True
            if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self.run(self.list.currentIndex().row())
                return True
            if key == Qt.Key.Key_Escape:
                self.leave()
                return True
        return super().eventFilter(watched, event)

    def run(self, row: int) -> None:
        """Close and do what the line says; a line that is off stays and tells why."""
        entry = self.rows.entry(row)
        if entry is None or entry.reason:
            return
        self.leave()
        entry.run()

    def _move(self, by: int) -> None:
        count = self.rows.rowCount()
        if count:
            self.list.setCurrentIndex(self.rows.index((self.list.currentIndex().row() + by) % count))

    def _search(self, text: str) -> None:
        if text.startswith("#"):
            entries, words = class_entries(self._main), text[1:]
        elif text.startswith("@"):
            entries, words = image_entries(self._main), text[1:]
        else:
            entries, words = self._commands, text
        found = matching(entries, words)
        self.rows.show(found, words)
        noun = {"#": "classes", "@": "images"}.get(text[:1], "commands")
        self._count.setText(f"{len(found)} of {len(entries)} {noun}")
        self.list.setCurrentIndex(self.rows.index(0))
        self.list.setFixedHeight(max(1, min(_SHOWN, len(found))) * _ROW)
        self.refit()


def commands(window: MainWindow) -> list[Entry]:
    """Every verb of the action table that is bound, in its order."""
    table = window.actions_table
    entries = []
    for spec in table.available():
        if spec.held or spec.id == "window.palette":
            continue
        action = table.action(spec.id)
        reason = table.reason(spec.id)
        scope = spec.scope.capitalize()
        if not reason and spec.scope and not action.isEnabled():
            run: Callable[[], object] = lambda scope=scope, action=action: window.enter(  # noqa: E731
                scope, lambda _room: action.trigger()
            )
        else:
            run = action.trigger
        key = key_text(spec.keys[0]) if spec.keys else ""
        entries.append(Entry(spec.title, run, spec.icon, key, scope, reason))
    return entries


def class_entries(window: MainWindow) -> list[Entry]:
    """The project's classes; Enter takes one into the hand."""
    session, room = window.session, window.rooms.named("Annotate")
    if session is None or room is None:
        return []
    state: Any = getattr(room, "state", None)
    return [
        Entry(
            entry.name,
            lambda index=entry.id: state.set_class(index),
            key=entry.key,
            detail=", ".join(entry.aliases),
            color=QColor(*entry.color),
        )
        for entry in session.classes
    ]


def image_entries(window: MainWindow) -> list[Entry]:
    """The project's images; Enter goes there."""
    session = window.session
    if session is None:
        return []
    return [
        Entry(record.display_name, lambda number=record.id: session.go(number), "image", detail=record.status)
        for record in session.images
    ]


class _Rows(QAbstractListModel):
    def __init__(self) -> None:
        super().__init__()
        self._entries: list[Entry] = []
        self.words = ""

    def show(self, entries: list[Entry], words: str) -> None:
        self.beginResetModel()
        self._entries, self.words = entries, words
        self.endResetModel()

    def entry(self, row: int) -> Entry | None:
        return self._entries[row] if 0 <= row < len(self._entries) else None

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._entries)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return self._entries[index.row()].title
        return None


class _Delegate(QStyledItemDelegate):
    def __init__(self, rows: _Rows, parent: QListView) -> None:
        super().__init__(parent)
        self._rows = rows
        self._view = parent

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(200, _ROW)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        rect: QRect = option.rect  # type: ignore[attr-defined]
        entry = self._rows.entry(index.row())
        if entry is None:
            return
        if index.row() == self._view.currentIndex().row():
            painter.fillRect(rect, theme.color("selected"))
            painter.fillRect(QRect(rect.left(), rect.top(), 2, rect.height()), theme.color("accent"))
        off = bool(entry.reason)
        box = QRect(rect.left() + 18, rect.center().y() - 6, 14, 14)
        if entry.color is not None:
            paint_swatch(painter, box, entry.color)
        elif entry.icon:
            paint_icon(painter, box, entry.icon, "t3" if off else "t2")
        x = self._paint_title(painter, rect, entry.title, "t3" if off else "t1")
        painter.setFont(theme.font(12))
        painter.setPen(theme.color("t3" if off else "t2"))
        detail = entry.reason or entry.detail
        line = QRect(x + 12, rect.top(), rect.right() - x - 90, rect.height())
        shown = painter.fontMetrics().elidedText(detail, Qt.TextElideMode.ElideRight, line.width())
        painter.drawText(line, int(Qt.AlignmentFlag.AlignVCenter), shown)
        if entry.key:
            paint_key(painter, rect.adjusted(0, 0, -16, 0), entry.key, right=True)

    def _paint_title(self, painter: QPainter, rect: QRect, title: str, role: str) -> int:
        """The title with the matched part in accent; the x where it ends."""
        word = self._rows.words.casefold().split()[0] if self._rows.words.split() else ""
        at = title.casefold().find(word) if word else -1
        parts = [(title, False)]
        if at >= 0:
            parts = [
                (title[:at], False),
                (title[at : at + len(word)], True),
                (title[at + len(word) :], False),
            ]
        x = rect.left() + 46
        for text, hit in parts:
            painter.setFont(theme.font(13, 600 if hit else 400))
            painter.setPen(theme.color("accent" if hit and role == "t1" else role))
            width = QFontMetrics(painter.font()).horizontalAdvance(text)
            painter.drawText(
                QRect(x, rect.top(), width + 2, rect.height()), int(Qt.AlignmentFlag.AlignVCenter), text
            )
            x += width
        return x
