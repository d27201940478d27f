"""Cards: a raised frame, and the notice card that says what failed, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPlainTextEdit, QSizePolicy, QVBoxLayout, QWidget

from segstudio.core.errors import UserError
from segstudio.ui import theme
from segstudio.ui.icons import icon, paint_icon
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.labels import label

Severity = Literal["err", "warn", "ok", "info"]
_ICONS = {"err": "warning", "warn": "warning", "ok": "check", "info": "info"}
_ROLES = {"err": "err", "warn": "warn", "ok": "ok", "info": "accent"}


class Card(QFrame):
    """A raised frame with a 1 px border and 16 px inside."""

    def __init__(self, parent: QWidget | None = None, *, padding: int = 16) -> None:
        super().__init__(parent)
        self.setObjectName("Card")
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(padding, padding, padding, padding)
        self.column.setSpacing(8)


class NoticeCard(QFrame):
    """An error or warning in the panel it concerns: title, sentence, likely cause, actions, details."""

    dismissed = Signal()

    def __init__(
        self, title: str, sentence: str = "", *, cause: str = "", severity: Severity = "err"
    ) -> None:
        super().__init__()
        self.setObjectName("Card")
        self._severity: Severity = severity
        self._details = ""
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        column = QVBoxLayout(self)
        column.setContentsMargins(44, 12, 12, 12)
        column.setSpacing(4)
        head = QHBoxLayout()
        head.setSpacing(8)
        self._title = label(title, strong=500)
        self._title.setWordWrap(True)
        head.addWidget(self._title, 1)
        close = IconButton("close", "Dismiss")
        close.clicked.connect(self.dismissed)
        close.clicked.connect(self.deleteLater)
        head.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        column.addLayout(head)
        self._sentence = label(sentence)
        self._cause = label(cause, role="t2", size=12)
        for words in (self._sentence, self._cause):
            words.setWordWrap(True)
            words.setVisible(bool(words.text()))
            column.addWidget(words)
        self._row = QHBoxLayout()
        self._row.setSpacing(8)
        self._row.setContentsMargins(0, 4, 0, 0)
        self._row.addStretch(1)
        self._more = push_button("Details", kind="quiet", icon_name="chevron-right")
        self._more.clicked.connect(self._toggle_details)
        self._copy = push_button("Copy report", kind="quiet", icon_name="copy")
        self._copy.clicked.connect(self._copy_report)
        self._row.addWidget(self._more)
        self._row.addWidget(self._copy)
        column.addLayout(self._row)
        self._box = QPlainTextEdit()
        self._box.setReadOnly(True)
        self._box.setFont(theme.mono(11))
        self._box.setFixedHeight(96)
        self._box.hide()
        column.addWidget(self._box)
        self._actions = 0
        self._show_row()

    @classmethod
    def of(cls, error: UserError, *, title: str = "", severity: Severity = "err") -> NoticeCard:
        """The card of an error: its own words, its details behind a fold."""
        if title:
            card = cls(title, str(error), severity=severity)
        else:
            where = error.where
            if where.startswith("(") and where.endswith(")"):
                where = _sentence(where[1:-1])  # brackets are for the middle of a sentence
            card = cls(_sentence(error.what), where, cause=error.action, severity=severity)
        card.set_details(error.details)
        return card

    def set_sentence(self, sentence: str) -> None:
        """Say it for more than one file, for instance."""
        self._sentence.setText(sentence)
        self._sentence.setVisible(bool(sentence))

    def set_details(self, details: str) -> None:
        """Text behind "Details" and in the copied report; no fold where it is empty."""
        self._details = details
        self._box.setPlainText(details)
        self._show_row()

    def add_button(self, text: str, action: Callable[[], object], *, primary: bool = False) -> None:
        """Put an action at the left of the lower row, in the order of the calls."""
        button = push_button(text, kind="primary" if primary else "plain")
        button.clicked.connect(lambda: action())
        self._row.insertWidget(self._actions, button)
        self._actions += 1
        self._show_row()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        role = _ROLES[self._severity]
        painter.fillRect(1, 4, 3, self.height() - 8, theme.color(role))
        box = self.rect()
        box.setRect(16, 14, 18, 18)
        paint_icon(painter, box, _ICONS[self._severity], role)
        painter.end()

    def _show_row(self) -> None:
        self._more.setVisible(bool(self._details))
        self._copy.setVisible(bool(self._details))

    def _toggle_details(self) -> None:
        shown = self._box.isHidden()
        self._box.setVisible(shown)
        self._more.setIcon(icon("chevron-down" if shown else "chevron-right", 14))

    def _copy_report(self) -> None:
        parts = [self._title.text(), self._sentence.text(), self._cause.text(), "", self._details]
        QGuiApplication.clipboard().setText("\n".join(part for part in parts if part is not None))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text else text
