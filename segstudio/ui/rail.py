"""The narrow rail on the left: the rooms on top, project and settings at its foot."""

from __future__ import annotations

from PySide6.QtCore import QRect, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QFrame, QSizePolicy, QVBoxLayout

from segstudio.ui import theme
from segstudio.ui.icons import paint_icon


class RailButton(QAbstractButton):
    """64x56: an icon over an 11 px word; raised ground and an accent edge when chosen."""

    def __init__(self, text: str, icon: str, tip: str, *, checkable: bool = True) -> None:
        super().__init__()
        self._icon = icon
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setText(text)
        self.setCheckable(checkable)
        self.setToolTip(tip)
        self.setAccessibleName(text)
        self.setFixedSize(64, 56)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setProperty("focusInside", True)
        theme.appearance().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(64, 56)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        on = self.isChecked()
        if on:
            painter.fillRect(self.rect(), theme.color("raised"))
            painter.fillRect(QRect(0, 0, 2, self.height()), theme.color("accent"))
        elif self.underMouse():
            painter.fillRect(self.rect(), theme.color("hover"))
        ink = "t1" if on or self.underMouse() else "t2"
        paint_icon(painter, QRect(21, 9, 22, 22), self._icon, "accent" if on else ink)
        painter.setPen(theme.color(ink))
        painter.setFont(theme.font(11))
        painter.drawText(QRect(0, 33, 64, 16), int(Qt.AlignmentFlag.AlignCenter), self.text())
        painter.end()


class Rail(QFrame):
    """`room_chosen(title)` when a person picks a room; `foot_chosen("project" | "settings")`."""

    room_chosen = Signal(str)
    foot_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("Rail")
        self.setFixedWidth(64)
        self._rooms: dict[str, RailButton] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 8, 0, 8)
        self._column.setSpacing(0)
        self._column.addStretch(1)
        for text, name, tip in (
            ("Project", "project", "Project\nClasses, images and labels of this folder"),
            ("Settings", "settings", "Settings  Ctrl+,"),
        ):
            button = RailButton(text, name, tip, checkable=False)
            button.clicked.connect(lambda _on=False, name=name: self.foot_chosen.emit(name))
            self._column.addWidget(button)
            if name == "project":
                self.project_button = button

    def add_room(self, title: str, icon: str, key: str) -> RailButton:
        """A button for one more room, below those that are there."""
        button = RailButton(title, icon, f"{title}  {key}")
        button.clicked.connect(lambda _on=False: self.room_chosen.emit(title))
        self._column.insertWidget(len(self._rooms), button)
        self._rooms[title] = button
        return button

    def show_chosen(self, title: str) -> None:
        """Mark one room as being in front; an empty title marks none."""
        for name, button in self._rooms.items():
            button.setChecked(name == title)

    def button(self, title: str) -> RailButton:
        """The button of a room. Raises KeyError."""
        return self._rooms[title]
