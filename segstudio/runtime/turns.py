"""Work in several turns of the event loop: between two of them the window hears its person and paints."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer


class Turns(QObject):
    """Runs what it was given in that order, one piece a turn, in the thread it lives in."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: deque[Callable[[], object]] = deque()
        self._timer = QTimer(self, singleShot=True, interval=0)
        self._timer.timeout.connect(self._next)

    def add(self, *pieces: Callable[[], object]) -> None:
        """After all that waits already; none of them runs before the caller is done."""
        self._waiting.extend(pieces)
        if self._waiting:
            self._timer.start()

    def clear(self) -> None:
        """What has not run yet never will."""
        self._waiting.clear()
        self._timer.stop()

    def _next(self) -> None:
        piece = self._waiting.popleft()
        if self._waiting:
            self._timer.start()  # first: what raises must not keep the others waiting
        piece()
