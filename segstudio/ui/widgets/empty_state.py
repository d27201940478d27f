"""What a panel shows when it has nothing: what will appear, why it is empty, one button."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.labels import key_cap, key_text, label
from segstudio.ui.widgets.mark import IconMark


class EmptyState(QWidget):
    """At most 360 wide, centred in the panel it replaces. `clicked` comes from its one button."""

    clicked = Signal()

    def __init__(self, icon: str, title: str, why: str, *, button: str = "", keys: str = "") -> None:
        super().__init__()
        self._button: QPushButton | None = None
        self._key: QLabel | None = None
        outer = QHBoxLayout(self)
        outer.setContentsMargins(16, 16, 16, 16)
        inner = QWidget()
        inner.setMaximumWidth(328)
        outer.addStretch(1)
        outer.addWidget(inner, 1000)
        outer.addStretch(1)
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addStretch(1)
        column.addWidget(IconMark(icon, 22), 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(8)
        self._title = label(title, strong=500)
        self._why = label(why, role="t2", size=12)
        for words in (self._title, self._why):
            words.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            words.setWordWrap(True)
            column.addWidget(words)
            column.addSpacing(4)
        if button:
            column.addSpacing(8)
            row = QHBoxLayout()
            row.setSpacing(8)
            row.addStretch(1)
            self._button = push_button(button)
            self._button.clicked.connect(self.clicked)
            row.addWidget(self._button)
            if keys:
                self._key = key_cap(key_text(keys))
                row.addWidget(self._key)
            row.addStretch(1)
            column.addLayout(row)
        column.addStretch(1)

    @property
    def button(self) -> QPushButton | None:
        return self._button

    def offer(self, shown: bool) -> None:
        """Show the button with its key, or neither, where it would lead nowhere now."""
        for widget in (self._button, self._key):
            if widget is not None:
                widget.setVisible(shown)

    def set_texts(self, title: str, why: str) -> None:
        """Say something else in the same place."""
        self._title.setText(title)
        self._why.setText(why)
