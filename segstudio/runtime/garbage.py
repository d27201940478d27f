"""Python's cycle collector, run in the window's thread only.

Left to itself the collector runs in whatever thread allocates, also in the project's writer. A QObject that
dies there leaves its timers and events behind in the window's thread, which then call into freed memory.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

_EVERY_MS = 500


class WindowThreadCollector(QObject):
    """While it lives, cycles are collected by a timer of the thread it was made in."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thresholds = gc.get_threshold()
        self._was_on = gc.isenabled()
        gc.disable()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._collect)
        self._timer.start(_EVERY_MS)

    def stop(self) -> None:
        """Hand collecting back to the interpreter."""
        self._timer.stop()
        if self._was_on:
            gc.enable()

    def _collect(self) -> None:
        """The youngest generation that is full, as the interpreter would."""
        for generation in (2, 1, 0):
            if gc.get_count()[generation] > self._thresholds[generation]:
                gc.collect(generation)
                return
