"""The focus ring: 2 px of accent, 1 px outside the control, and only while the keyboard moves the focus.

One transparent child of the window follows the focus, so a ring never shifts a layout and is never cut off
by the control's own rectangle. A widget whose property "focusInside" is true (a canvas) gets it inside, one
with "noFocusRing" (it shows its focus itself) none.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QApplication, QWidget

from segstudio.ui import theme

_OUTSIDE = 3


class FocusRing(QWidget):
    """Follows the focus inside `window`."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.hide()
        self._target: QWidget | None = None
        application = QApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._focus_changed)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Resize, QEvent.Type.Move, QEvent.Type.Show):
            self._place()
        elif event.type() in (QEvent.Type.Hide, QEvent.Type.FocusOut, QEvent.Type.Destroy):
            self.hide()
        return False

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.color("accent"), 2))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 6, 6)
        painter.end()

    def _focus_changed(self, _old: QWidget | None, new: QWidget | None) -> None:
        if self._target is not None:
            self._target.removeEventFilter(self)
            self._target = None
        window = self.window()
        by_keyboard = window.testAttribute(Qt.WidgetAttribute.WA_KeyboardFocusChange)
        quiet = new is None or bool(new.property("noFocusRing"))
        if new is None or quiet or new.window() is not window or not by_keyboard:
            self.hide()
            return
        self._target = new
        new.installEventFilter(self)
        self._place()

    def _place(self) -> None:
        target = self._target
        if target is None or not target.isVisible():
            self.hide()
            return
        box = QRect(target.mapTo(self.window(), QPoint(0, 0)), target.size())
        reach = 0 if target.property("focusInside") else _OUTSIDE
        self.setGeometry(box.adjusted(-reach, -reach, reach, reach))
        self.raise_()
        self.show()
