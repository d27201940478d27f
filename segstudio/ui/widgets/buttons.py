"""Buttons: primary, plain, quiet, icon-only, and the 36 px tool button with its letter."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QAction, QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QPushButton, QStyleOptionButton, QToolButton, QWidget

from segstudio.ui import theme
from segstudio.ui.icons import icon, paint_icon

Kind = Literal["plain", "primary", "quiet", "link"]


def push_button(text: str, *, kind: Kind = "plain", tall: int = 28, icon_name: str = "") -> QPushButton:
    """A text button, 28 high; 24 in headers, 32 in cards. At most one primary in a region."""
    made = _PushButton(text)
    made.setProperty("kind", kind)
    made.setProperty("tall", str(tall))
    made.setFont(theme.font(12 if tall == 24 else 13, 500 if kind == "primary" else 400))
    made.setAutoDefault(False)
    if icon_name:
        made.setIcon(icon(icon_name, 14, "on_accent" if kind == "primary" else "t2"))
        made.setIconSize(QSize(14, 14))
    return made


class _PushButton(QPushButton):
    """Keeps 8 px between its icon and its words, where the style would leave two."""

    _SPACE = "\u2002"

    def initStyleOption(self, option: QStyleOptionButton) -> None:
        super().initStyleOption(option)
        if option.text and not option.icon.isNull():  # type: ignore[attr-defined]
            turned = self.layoutDirection() == Qt.LayoutDirection.RightToLeft  # the icon stands behind
            words = option.text  # type: ignore[attr-defined]
            option.text = words + self._SPACE if turned else self._SPACE + words  # type: ignore[attr-defined]

    def sizeHint(self) -> QSize:
        hint = super().sizeHint()
        if self.text() and not self.icon().isNull():
            hint.setWidth(hint.width() + self.fontMetrics().horizontalAdvance(self._SPACE))
        return hint


class IconButton(QToolButton):
    """An icon without words: square, quiet, named for screen readers by its tooltip."""

    def __init__(self, name: str, tip: str, *, side: int = 24, size: int = 14, role: str = "t2") -> None:
        super().__init__()
        self.setIcon(icon(name, size, role))
        self.setIconSize(QSize(size, size))
        self.setFixedSize(side, side)
        self.setToolTip(tip)
        self.setAccessibleName(tip.split("\n")[0])
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def show_icon(self, name: str, *, size: int = 14, role: str = "t2") -> None:
        """Replace the drawn icon."""
        self.setIcon(icon(name, size, role))


def icon_button(action: QAction, *, side: int = 28, size: int = 18) -> QToolButton:
    """A square button of an action; it follows the action's icon, tooltip and state."""
    made = QToolButton()
    made.setDefaultAction(action)
    made.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
    made.setIconSize(QSize(size, size))
    made.setFixedSize(side, side)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    made.setAccessibleName(action.text())
    return made


class ToolColumnButton(QAbstractButton):
    """A drawing tool, 36x36 with its letter. `held`: it acts only while a key is down."""

    def __init__(self, name: str, letter: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon = name
        self._letter = letter
        self._held = False
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setCheckable(True)
        self.setFixedSize(36, 36)
        self.setToolTip(tip)
        self.setAccessibleName(tip.split("\n")[0])
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        theme.appearance().changed.connect(self.update)

    def set_held(self, held: bool) -> None:
        """Draw the button as spring-loaded (or no longer so)."""
        if held != self._held:
            self._held = held
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink, ground = self._colors()
        if ground is not None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ground)
            painter.drawRoundedRect(QRectF(self.rect()), 4, 4)
        if self._held:
            painter.setPen(theme.color("accent"))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        paint_icon(painter, self.rect().adjusted(9, 9, -9, -9), self._icon, ink)
        painter.setPen(theme.color(ink))
        painter.setFont(theme.font(10))
        flags = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom)
        painter.drawText(self.rect().adjusted(0, 0, -3, -1), flags, self._letter)
        painter.end()

    def _colors(self) -> tuple[str, QColor | None]:
        if not self.isEnabled():
            return "disabled", None
        if self.isChecked():
            return "on_accent", theme.color("accent_fill")
        if self.isDown():
            return "t1", theme.color("base")
        if self.underMouse():
            return "t1", theme.color("hover")
        return "t2", None
