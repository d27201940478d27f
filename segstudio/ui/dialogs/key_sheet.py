"""The key sheet (F1): every key in force, grouped, made from the action table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from segstudio.runtime.actions import GROUPS, ActionSpec, ActionTable
from segstudio.ui.dialogs.overlay import Overlay
from segstudio.ui.widgets.buttons import IconButton
from segstudio.ui.widgets.labels import key_cap, key_text, label

if TYPE_CHECKING:
    from segstudio.ui.main_window import MainWindow

_COLUMNS = 3
# Keys the canvas itself handles with every tool; they are no verbs but belong on the sheet.
_POINTER_KEYS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Move", "Zoom at the pointer", ("Wheel",)),
    ("Move", "Pan", ("Space", "drag")),
    ("Paint", "Straight line", ("Shift",)),
    ("Paint", "Size by dragging", ("Ctrl+Alt",)),
    ("Paint", "Finish, cancel, last point", ("Enter", "Esc", "⌫")),
    ("See", "Opacity on the picture", ("Alt", "wheel")),
)


class KeySheet(Overlay):
    """Closes with Esc or a click beside it."""

    def __init__(self, window: MainWindow, table: ActionTable) -> None:
        super().__init__(window, width=960, top=64)
        head = QFrame()
        row = QHBoxLayout(head)
        row.setContentsMargins(24, 16, 16, 0)
        row.addWidget(label("Keys", size=17, strong=600))
        row.addStretch(1)
        close = IconButton("close", "Close  Esc")
        close.clicked.connect(self.leave)
        row.addWidget(close)
        self.column.addWidget(head)
        body = QWidget()
        body.setObjectName("Plain")
        grid = QGridLayout(body)
        grid.setContentsMargins(24, 8, 24, 24)
        grid.setHorizontalSpacing(48)
        grid.setVerticalSpacing(24)
        groups = [group for group in GROUPS if _lines(group, table)]
        for place, group in enumerate(groups):
            grid.addLayout(_group(group, table), place // _COLUMNS, place % _COLUMNS)
            grid.setColumnStretch(place % _COLUMNS, 1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(body)
        area.setMinimumHeight(min(body.sizeHint().height(), max(200, window.height() - 160)))
        self.column.addWidget(area)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.refit()

    def showEvent(self, event: object) -> None:
        super().showEvent(event)
        self.setFocus(Qt.FocusReason.ShortcutFocusReason)


def _group(group: str, table: ActionTable) -> QVBoxLayout:
    column = QVBoxLayout()
    column.setSpacing(4)
    column.addWidget(label(group, role="accent", strong=600))
    column.addSpacing(4)
    for title, keys in _lines(group, table):
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(label(title, size=13))
        row.addStretch(1)
        for key in keys:
            row.addWidget(key_cap(key))
        column.addLayout(row)
    column.addStretch(1)
    return column


def _lines(group: str, table: ActionTable) -> list[tuple[str, tuple[str, ...]]]:
    """Titles and keys; the ten classes and the rooms share a line each."""
    lines: list[tuple[str, tuple[str, ...]]] = []
    specs = [spec for spec in table.available() if spec.group == group and spec.keys]
    ranges = (("class.", "Class 1 to 10", ("1", "…", "0")), ("room.", "Tabs", ()))
    for prefix, title, keys in ranges:
        inside = [spec for spec in specs if spec.id.startswith(prefix) and _is_numbered(spec, prefix)]
        if inside:
            first, last = key_text(inside[0].keys[0]), key_text(inside[-1].keys[0])
            lines.append((title, keys or ((first, "…", last) if len(inside) > 1 else (first,))))
            specs = [spec for spec in specs if spec not in inside]
    for spec in specs:
        lines.append((spec.title.rstrip("…"), _caps(spec)))
    if lines:
        lines.extend((title, keys) for place, title, keys in _POINTER_KEYS if place == group)
    return lines


def _caps(spec: ActionSpec) -> tuple[str, ...]:
    """The first key, and the second where both are short enough for one line."""
    keys = tuple(key if spec.held else key_text(key) for key in spec.keys[:2])
    return keys if sum(map(len, keys)) <= 14 else keys[:1]


def _is_numbered(spec: ActionSpec, prefix: str) -> bool:
    return prefix == "room." or spec.id.removeprefix(prefix).isdigit()
