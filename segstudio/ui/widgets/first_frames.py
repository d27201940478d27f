"""A few milliseconds of costly pictures a turn: where several come into view at once, they follow each other.

A room with four canvases would hold the window for four pictures before anything of it is seen.
"""

from __future__ import annotations

import time
from functools import lru_cache

import shiboken6
from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QWidget

SLICE_SECONDS = 0.004


class FirstFrames(QObject):
    """Gives each turn of the event loop to the first widgets that ask; the others get the next turns."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[QWidget] = []
        self._end = 0.0
        self._timer = QTimer(self, singleShot=True, interval=0)
        self._timer.timeout.connect(self._next)

    def take(self, widget: QWidget) -> bool:
        """Whether the widget may paint its picture anew now; if not, it is asked to paint again."""
        now = time.perf_counter()
        if not self._timer.isActive():
            self._timer.start()
            self._end = now + SLICE_SECONDS
        if now < self._end:
            return True
        if widget not in self._waiting:
            self._waiting.append(widget)
        return False

    def _next(self) -> None:
        waiting, self._waiting = self._waiting, []
        for widget in waiting:
            if shiboken6.isValid(widget) and widget.isVisible():
                widget.update()


@lru_cache(maxsize=1)
def first_frames() -> FirstFrames:
    """The one of this process: a window has one thread."""
    return FirstFrames()
