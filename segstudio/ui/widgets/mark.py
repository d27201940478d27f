"""Small pictures in a row of words: an icon, a class's colour, a key."""

from __future__ import annotations

from PySide6.QtCore import QRect, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from segstudio.ui import theme
from segstudio.ui.icons import paint_icon
from segstudio.ui.widgets.chip import paint_swatch

_SWATCH = 14
_KEY_LEAST, _KEY_TALL = 18, 17


class IconMark(QWidget):
    """An icon beside words: it says nothing of its own and takes no click. `size` in logical pixels."""

    def __init__(self, name: str, size: int = 14, role: str = "t2") -> None:
        super().__init__()
        self._name, self._role = name, role
        self.setFixedSize(size, size)

    def show_icon(self, name: str) -> None:
        """Change the icon."""
        self._name = name
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        paint_icon(painter, self.rect(), self._name, self._role)
        painter.end()


class Swatch(QWidget):
    """The colour of a class; None is drawn as no class."""

    def __init__(self, color: QColor | None = None) -> None:
        super().__init__()
        self._color = color
        self.setFixedSize(_SWATCH, _SWATCH)

    def show_color(self, color: QColor | None) -> None:
        """Change the colour."""
        self._color = color
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        paint_swatch(painter, self.rect(), self._color)
        painter.end()


def paint_key(painter: QPainter, rect: QRect, text: str, *, right: bool = False) -> None:
    """A key cap in the middle of `rect` or at its right end."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setFont(theme.font(11))
    width = max(_KEY_LEAST, painter.fontMetrics().horizontalAdvance(text) + 10)
    left = rect.right() - width if right else rect.center().x() - width // 2 + 1
    box = QRect(left, rect.center().y() - 8, width, _KEY_TALL)
    painter.setPen(theme.color("line2"))
    painter.setBrush(theme.color("base"))
    painter.drawRoundedRect(QRectF(box).translated(0.5, 0.5), 3, 3)
    painter.setPen(theme.color("t2"))
    painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), text)
    painter.restore()
