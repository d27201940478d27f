"""The real window with its processes, driven by events as a person's hand would give them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

if "DISPLAY" not in os.environ:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QApplication, QWidget

from segstudio.runtime.garbage import WindowThreadCollector
from segstudio.runtime.window_thread import prepare_window_thread
from segstudio.ui.application import make_application
from segstudio.ui.main_window import MainWindow
from tests.benchmarks.window_watch import settle, wait

LEFT = Qt.MouseButton.LeftButton
NONE = Qt.MouseButton.NoButton


class Driver:
    """One window of 1600x1000. `engines=False` leaves out the process of the networks."""

    def __init__(self, *, engines: bool = True) -> None:
        self.application = make_application()
        self._collector = WindowThreadCollector(self.application)
        self.window = MainWindow(engines=engines)
        painted: list[bool] = []
        self.window.painted.connect(lambda: painted.append(True))
        self.window.resize(1600, 1000)
        self.window.show()
        wait(lambda: bool(painted), what="the first paint")
        prepare_window_thread()
        if not engines:
            self.window.complete()
        wait(lambda: self.window.session is not None, what="the session")

    @property
    def session(self) -> Any:
        return self.window.session

    @property
    def services(self) -> Any:
        return self.window.services

    @property
    def room(self) -> Any:
        """The room in front."""
        return self.window.rooms.current

    def enter(self, title: str) -> None:
        """Enter a room and wait until it is whole and in front."""
        self.window.enter(title)
        wait(lambda: self.room is not None and self.room.title == title, what=f"the room {title}")

    def open(self, folder: Path) -> None:
        """Open a folder and wait for its first image."""
        self.window.open(folder)
        wait(self.shown, what="the first image")

    def open_demo(self) -> None:
        self.window.open_demo()
        wait(self.shown, what="the demo")

    def shown(self) -> bool:
        """Whether a room is in front, the image in it is decoded and its labels are there."""
        session, image = self.session, self.session.image
        return bool(self.room and image is not None and image.complete and session.label_map is not None)

    def mouse(self, widget: QWidget, kind: QEvent.Type, at: QPointF, button: Any, buttons: Any) -> None:
        """One event of the pointer, at a position of the widget."""
        event = QMouseEvent(
            kind, at, QPointF(widget.mapToGlobal(at)), button, buttons, Qt.KeyboardModifier.NoModifier
        )
        QApplication.sendEvent(widget, event)

    def press(self, widget: QWidget, at: QPointF) -> None:
        self.mouse(widget, QEvent.Type.MouseButtonPress, at, LEFT, LEFT)

    def move(self, widget: QWidget, at: QPointF) -> None:
        """With the button held."""
        self.mouse(widget, QEvent.Type.MouseMove, at, NONE, LEFT)

    def release(self, widget: QWidget, at: QPointF) -> None:
        self.mouse(widget, QEvent.Type.MouseButtonRelease, at, LEFT, NONE)

    def close(self) -> None:
        self.window.close()
        settle(0.2)
        self._collector.stop()
