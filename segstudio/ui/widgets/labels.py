"""Words: labels by role and size, tags, key caps and thin rules."""

from __future__ import annotations

import re

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QFontMetrics, QKeySequence, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QLabel, QSizePolicy, QWidget

from segstudio.ui import theme


def label(text: str = "", *, role: str = "t1", size: int = 13, strong: int = 400) -> QLabel:
    """A label in a token's colour. `size` in pixels, `strong` 400, 500 or 600."""
    made = QLabel(text)
    made.setProperty("role", role)
    made.setProperty("size", str(size))
    made.setProperty("strong", str(strong))
    made.setFont(theme.font(size, strong))
    made.setTextFormat(Qt.TextFormat.PlainText)
    return made


def set_role(made: QLabel, role: str) -> None:
    """Change the colour of a label that is already on screen."""
    if made.property("role") == role:
        return
    made.setProperty("role", role)
    made.style().unpolish(made)
    made.style().polish(made)


def tag(text: str, role: str = "t2") -> QLabel:
    """A small framed word, e.g. "not as trained"."""
    made = QLabel(text)
    made.setObjectName("Tag")
    made.setProperty("role", role)
    made.setFont(theme.font(11))
    made.setFixedHeight(18)
    made.setMinimumWidth(QFontMetrics(made.font()).horizontalAdvance(text) + 12)
    made.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    return made


def key_cap(text: str) -> QLabel:
    """One key, as it is written on a keyboard."""
    made = QLabel(text)
    made.setObjectName("KeyCap")
    made.setFont(theme.font(11))
    made.setAlignment(Qt.AlignmentFlag.AlignCenter)
    # Fixed, or a tight row would squeeze the key until nobody can read it.
    made.setFixedSize(max(20, QFontMetrics(made.font()).horizontalAdvance(text) + 12), 18)
    return made


def key_text(keys: str) -> str:
    """A key sequence in the words of this system ("Ctrl+K")."""
    return QKeySequence(keys).toString(QKeySequence.SequenceFormat.NativeText)


def rule(*, vertical: bool = False) -> QFrame:
    """A 1 px line in the colour `line`."""
    made = QFrame()
    made.setObjectName("Rule")
    if vertical:
        made.setFixedWidth(1)
    else:
        made.setFixedHeight(1)
    return made


class ElidedLabel(QLabel):
    """One line that shortens itself with an ellipsis and then tells its whole text in the tooltip."""

    def __init__(self, text: str = "", *, role: str = "t1", size: int = 13, strong: int = 400) -> None:
        super().__init__(text)
        self.setProperty("role", role)
        self.setProperty("size", str(size))
        self.setProperty("strong", str(strong))
        self.setFont(theme.font(size, strong))
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(24)
        self.elide = Qt.TextElideMode.ElideMiddle

    def minimumSizeHint(self) -> QSize:
        return QSize(24, super().minimumSizeHint().height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        metrics = QFontMetrics(self.font())
        shown = metrics.elidedText(self.text(), self.elide, self.width())
        painter.setPen(theme.color(self.property("role") or "t1"))
        painter.drawText(self.rect(), int(self.alignment() | Qt.AlignmentFlag.AlignVCenter), shown)
        painter.end()
        self.setToolTip(self.text() if shown != self.text() else "")


class KeyCaps(QWidget):
    """A line of words in which [bracketed] parts are drawn as key caps.

    Where there is no room for all of it, whole clauses (between " · ") are left out from the end, and the
    tooltip tells them.
    """

    def __init__(self, text: str = "", *, size: int = 12, role: str = "t2") -> None:
        super().__init__()
        self._role = role
        self._parts: list[tuple[str, bool]] = []
        self.setFont(theme.font(size))
        self.setFixedHeight(20)
        self.set_text(text)
        theme.appearance().changed.connect(self.update)

    def set_text(self, text: str) -> None:
        """Replace the words; nothing else moves, the width is whatever the layout gave."""
        self._text = text
        self._parts = _caps_and_words(text)
        self.setAccessibleName(text)
        self.updateGeometry()
        self.update()

    def text_width(self) -> int:
        """Width in pixels of the words with their caps."""
        return self._width_of(self._parts)

    def shown(self) -> str:
        """The clauses there is room for."""
        clauses = self._text.split(_CLAUSE)
        while len(clauses) > 1 and self._width_of(_caps_and_words(_CLAUSE.join(clauses))) > self.width():
            clauses.pop()
        return _CLAUSE.join(clauses)

    def sizeHint(self) -> QSize:
        return QSize(self.text_width() + 2, 20)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, 20)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shown = self.shown()
        parts = self._parts if shown == self._text else _caps_and_words(shown)
        self.setToolTip("" if shown == self._text else _CAP.sub(r"\1", self._text))
        x = max(0, (self.width() - self._width_of(parts)) // 2)
        for part, cap in parts:
            width = self._width(part, cap)
            if x + width > self.width():
                break
            if cap:
                x += 4
                box = QRect(x, 1, width - 8, 17)
                painter.setPen(theme.color("line2"))
                painter.setBrush(theme.color("base"))
                painter.drawRoundedRect(box.toRectF().translated(0.5, 0.5), 3, 3)
                painter.setPen(theme.color(self._role))
                painter.setFont(theme.font(11))
                painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), part)
                x += width - 4
            else:
                painter.setFont(self.font())
                painter.setPen(theme.color(self._role))
                painter.drawText(QRect(x, 0, width, 20), int(Qt.AlignmentFlag.AlignVCenter), part)
                x += width
        painter.end()

    def _width_of(self, parts: list[tuple[str, bool]]) -> int:
        return sum(self._width(part, cap) for part, cap in parts)

    def _width(self, part: str, cap: bool) -> int:
        if cap:
            return max(18, QFontMetrics(theme.font(11)).horizontalAdvance(part) + 10) + 8
        return QFontMetrics(self.font()).horizontalAdvance(part)


_CLAUSE = " · "
_CAP = re.compile(r"\[([^\]]+|\])\]")


def _caps_and_words(text: str) -> list[tuple[str, bool]]:
    """The parts of a line in order; True marks a key."""
    return [
        (part[1:-1], True) if part.startswith("[") else (part, False)
        for part in re.split(r"(\[[^\]]+\]|\[\]\])", text)
        if part
    ]
