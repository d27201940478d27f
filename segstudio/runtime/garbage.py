"""Python's cycle collector, run in the window's thread only, and never for longer than a frame.

Left to itself the collector runs in whatever thread allocates, also in the project's writer. A QObject that
dies there leaves its timers and events behind in the window's thread, which then call into freed memory.

Looking through all objects of the window takes 50 to 80 ms. What has grown old (modules, rooms, the list of
images) is therefore set aside unseen, and looked through when the person turns to another window, or when
there is twice as much of it as the last time.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtGui import QGuiApplication

_EVERY_MS = 500
_BURST = 20_000  # objects since the last look
_UNSEEN_AT_FIRST = 500_000  # objects: twice those of a window with all its rooms


class WindowThreadCollector(QObject):
    """While it lives, cycles are collected by a timer of the thread it was made in."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thresholds = gc.get_threshold()
        self._was_on = gc.isenabled()
        gc.disable()
        self._seen = 0
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._collect)
        self._timer.start(_EVERY_MS)
        application = QGuiApplication.instance()
        if isinstance(application, QGuiApplication):
            application.applicationStateChanged.connect(self._state_changed)

    def stop(self) -> None:
        """Hand collecting back to the interpreter."""
        self._timer.stop()
        gc.unfreeze()
        if self._was_on:
            gc.enable()

    def _collect(self) -> None:
        """The youngest generation that is full, as the interpreter would; the oldest is set aside.

        So is what came in a burst: code was read, and nearly all of it stays.
        """
        if gc.get_count()[0] > _BURST:
            gc.freeze()  # without counting what lies there: that takes longer than a frame
            return
        for generation in (2, 1, 0):
            if gc.get_count()[generation] > self._thresholds[generation]:
                gc.collect(min(generation, 1))
                if generation == 2:
                    self._set_aside()
                return

    def _set_aside(self) -> None:
        gc.freeze()
        if gc.get_freeze_count() > 2 * self._seen + _UNSEEN_AT_FIRST:
            self._look_through()

    def _look_through(self) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._seen = gc.get_freeze_count()

    def _state_changed(self, state: Qt.ApplicationState) -> None:
        if self._timer.isActive() and state != Qt.ApplicationState.ApplicationActive:
            self._look_through()
