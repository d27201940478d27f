"""The top bar: where one is (project, image, n of N), undo and redo, the command field, saved state."""

from __future__ import annotations

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractButton, QFrame, QHBoxLayout, QPushButton, QSizePolicy, QWidget

from segstudio.runtime.actions import ActionTable
from segstudio.ui import theme
from segstudio.ui.icons import icon, paint_icon, paint_logo
from segstudio.ui.widgets.buttons import icon_button
from segstudio.ui.widgets.labels import ElidedLabel, key_text, label
from segstudio.ui.widgets.mark import IconMark, paint_key


class TopBar(QFrame):
    """`project_button` opens the project's menu, `command_field` the palette."""

    def __init__(self, actions: ActionTable) -> None:
        super().__init__()
        self.setObjectName("TopBar")
        self.setFixedHeight(40)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 8, 0)
        row.setSpacing(8)
        row.addWidget(_Logo())
        self.project_button = _ProjectButton()
        self._arrow = IconMark("chevron-right", role="t3")
        self._image = ElidedLabel()
        self._image.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        self._place = label("", role="t2", size=12)
        for part in (self.project_button, self._arrow, self._image, self._place):
            row.addWidget(part)
        row.addSpacing(4)
        self._steps: list[QWidget] = []
        for action_id in ("edit.undo", "edit.redo"):
            action = actions.action(action_id)
            action.setIcon(icon(actions.spec(action_id).icon, 18))
            button = icon_button(action)
            self._steps.append(button)
            row.addWidget(button)
        row.addStretch(1)
        self.command_field = _CommandField()
        row.addWidget(self.command_field)
        row.addStretch(1)
        self._saved = _SavedState()
        row.addWidget(self._saved)
        for action_id in ("window.jobs", "window.theme"):
            action = actions.action(action_id)
            action.setIcon(icon(actions.spec(action_id).icon, 18))
            row.addWidget(icon_button(action))
        self.set_place("", "", 0, 0)

    def set_place(self, project: str, image: str, number: int, total: int) -> None:
        """Name of project and image, and which of how many; empty names say that there is none."""
        self.project_button.set_name(project)
        self._image.setText(image)
        self._place.setText(f"{number} of {total}" if total and number else "")
        for part in (self._arrow, self._image, self._place):
            part.setVisible(bool(image))
        for part in self._steps:
            part.setVisible(bool(project))

    def set_saved(self, saved: bool | None, note: str = "") -> None:
        """True "Saved", False "Saving", None nothing; `note` ("Read-only") replaces both."""
        self._saved.show_state(saved, note)

    def resizeEvent(self, event: QResizeEvent) -> None:
        wide = self.width() >= 1400
        self.command_field.set_text(
            "Search or run a command" if wide else "Search or run", 320 if wide else 240
        )
        self._image.setMaximumWidth(320 if wide else 176)
        super().resizeEvent(event)


class _ProjectButton(QPushButton):
    def __init__(self) -> None:
        super().__init__()
        self.setProperty("kind", "quiet")
        self.setAccessibleName("Project")
        self.setToolTip("Project\nOpen a folder, a recent project or the demo")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._name = ""

    def set_name(self, name: str) -> None:
        """The project's name; empty shows the application's, without folder and arrow."""
        self._name = name
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(self._text_width() + (64 if self._name else 24), 28)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def _text_width(self) -> int:
        width = QFontMetrics(theme.font(13, 500)).horizontalAdvance(self._name or "SegStudio")
        return min(width, 220)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setFont(theme.font(13, 500))
        painter.setPen(theme.color("t1"))
        x = 12
        if self._name:
            paint_icon(painter, QRect(x - 2, 5, 18, 18), "project", "t2")
            x += 22
        width = self._text_width()
        name = painter.fontMetrics().elidedText(
            self._name or "SegStudio", Qt.TextElideMode.ElideRight, width + 1
        )
        painter.drawText(QRect(x, 0, width + 2, 28), int(Qt.AlignmentFlag.AlignVCenter), name)
        if self._name:
            paint_icon(painter, QRect(x + width + 6, 7, 14, 14), "chevron-down", "t2")
        painter.end()


class _CommandField(QAbstractButton):
    """Looks like a field, opens the palette."""

    def __init__(self) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self._hint = "Search or run a command"
        self.setFixedSize(320, 28)
        self.setAccessibleName("Search or run a command")
        self.setToolTip("Search or run a command  Ctrl+K")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        theme.appearance().changed.connect(self.update)

    def set_text(self, hint: str, width: int) -> None:
        self._hint = hint
        self.setFixedWidth(width)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(theme.color("ctl"))
        painter.setBrush(theme.color("hover" if self.underMouse() else "base"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        paint_icon(painter, QRect(9, 7, 14, 14), "search", "t3")
        painter.setFont(theme.font(13))
        painter.setPen(theme.color("t3"))
        painter.drawText(self.rect().adjusted(29, 0, 0, 0), int(Qt.AlignmentFlag.AlignVCenter), self._hint)
        paint_key(painter, self.rect().adjusted(0, 0, -8, 0), key_text("Ctrl+K"), right=True)
        painter.end()


class _SavedState(QWidget):
    """Tick and word in a fixed width, so that nothing moves when the word changes."""

    def __init__(self) -> None:
        super().__init__()
        self._word = ""
        self._icon = ""
        self._role = "t2"
        self.setFixedSize(88, 28)
        theme.appearance().changed.connect(self.update)

    def show_state(self, saved: bool | None, note: str) -> None:
        if note:
            self._word, self._icon, self._role = note, "lock", "warn"
        elif saved is None:
            self._word = self._icon = ""
        elif saved:
            self._word, self._icon, self._role = "Saved", "check", "ok"
        else:
            self._word, self._icon, self._role = "Saving", "spinner", "t2"
        self.setAccessibleName(self._word)
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not self._word:
            return
        painter = QPainter(self)
        painter.setFont(theme.font(12))
        width = painter.fontMetrics().horizontalAdvance(self._word)
        x = self.width() - width - 8
        paint_icon(painter, QRect(x - 18, 7, 14, 14), self._icon, self._role)
        painter.setPen(theme.color("t2"))
        painter.drawText(QRect(x, 0, width + 2, 28), int(Qt.AlignmentFlag.AlignVCenter), self._word)
        painter.end()


class _Logo(QWidget):
    """Three overlapping regions: the mark of the application."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(64, 39)
        theme.appearance().changed.connect(self.update)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        paint_logo(painter, QRect(24, 12, 16, 16))
        painter.end()
