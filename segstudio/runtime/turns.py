"""Work in several turns of the event loop: between two of them the window hears its person and paints.

All pieces of a process stand in one line, so that never two of them share a turn, and a turn in which
painting or answers of workers took their time gets none.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache

import shiboken6
from PySide6.QtCore import QObject, QTimer

BUSY_SECONDS = 0.002  # others were at work for so long in this turn: the piece waits for the next one,
MOST_BUSY = 3  # but not for more than so many


class Turns(QObject):
    """Runs what it was given in that order, one piece a turn, in the window's thread, as long as it lives."""

    def add(self, *pieces: Callable[[], object]) -> None:
        """After all that waits already; none of them runs before the caller is done."""
        _line().add(self, pieces)

    def clear(self) -> None:
        """What has not run yet never will."""
        _line().drop(self)


class _Line(QObject):
    """The pieces of all."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[tuple[Turns, Callable[[], object]]] = deque()
        self._timer = QTimer(self, singleShot=True, interval=0)
        self._timer.timeout.connect(self._next)
        self._asked = 0.0
        self._busy_turns = 0

    def add(self, owner: Turns, pieces: tuple[Callable[[], object], ...]) -> None:
        self._waiting.extend((owner, piece) for piece in pieces)
        self._await_turn()

    def drop(self, owner: Turns) -> None:
        self._waiting = deque(entry for entry in self._waiting if entry[0] is not owner)

    def _await_turn(self) -> None:
        if self._waiting and not self._timer.isActive():
            self._asked = time.perf_counter()
            self._timer.start()

    def _next(self) -> None:
        # What was posted since the timer was started (painting, mostly) came before it in this turn.
        busy = time.perf_counter() - self._asked > BUSY_SECONDS
        if busy and self._busy_turns < MOST_BUSY:
            self._busy_turns += 1
            self._await_turn()
            return
        self._busy_turns = 0
        try:
            if self._waiting:
                owner, piece = self._waiting.popleft()
                if shiboken6.isValid(owner):
                    piece()
        finally:
            self._timer.stop()  # started in the piece, it would count the piece's own time
            self._await_turn()


@lru_cache(maxsize=1)
def _line() -> _Line:
    return _Line()
