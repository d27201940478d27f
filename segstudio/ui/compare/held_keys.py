"""Keys of the Compare tab that act while they are held, wherever the focus is; a tap switches.

Looks at the widget that has the focus and at its window. A filter on the whole application would see every
event of every widget, which cost a third of entering the tab.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import shiboken6
from PySide6.QtCore import QElapsedTimer, QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QAbstractSpinBox, QApplication, QLineEdit, QPlainTextEdit, QWidget

TAP_MS = 200


class HeldKeys(QObject):
    """`keys` has for each key a pair: whether its effect is on, and what turns it on or off."""

    def __init__(
        self,
        keys: Mapping[Qt.Key, tuple[Callable[[], bool], Callable[[bool], None]]],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._keys = dict(keys)
        self._held = QElapsedTimer()
        self._watched: list[QWidget] = []

    def start(self, room: QWidget) -> None:
        """Acts from now on on keys in the window of `room`."""
        self.stop()
        application = QApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._focus_changed)
            self._watch(room.window(), application.focusWidget())

    def stop(self) -> None:
        """Keys belong to others."""
        application = QApplication.instance()
        if self._watched and isinstance(application, QApplication):
            application.focusChanged.disconnect(self._focus_changed)
        self._watch()

    @property
    def held_for(self) -> int:
        """Milliseconds since a key went down."""
        return self._held.elapsed() if self._held.isValid() else 0

    def _focus_changed(self, _old: QWidget | None, new: QWidget | None) -> None:
        self._watch(self._watched[0], new)

    def _watch(self, *widgets: QWidget | None) -> None:
        for widget in self._watched:
            if shiboken6.isValid(widget):
                widget.removeEventFilter(self)
        self._watched = [widget for widget in dict.fromkeys(widgets) if widget is not None]
        for widget in self._watched:
            widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() not in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
            return False
        assert isinstance(event, QKeyEvent)
        held = self._keys.get(Qt.Key(event.key()))
        if held is None or event.modifiers() or _is_writing():
            return False
        if not event.isAutoRepeat():
            self._hold(*held, event.type() == QEvent.Type.KeyPress)
        return True

    def _hold(self, is_on: Callable[[], bool], turn: Callable[[bool], None], down: bool) -> None:
        if down:
            self._held.start()
            turn(not is_on())
        elif self.held_for >= TAP_MS:
            turn(not is_on())


def _is_writing() -> bool:
    """Whether keys belong to a text field now."""
    return isinstance(QApplication.focusWidget(), QLineEdit | QPlainTextEdit | QAbstractSpinBox)
