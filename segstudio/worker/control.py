"""What a request at work may ask and tell: is it cancelled, how far is it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_PROGRESS_SECONDS = 0.05


class Cancelled(Exception):
    """The person asked to stop; raised between two steps of a request."""


class Control:
    """Handed to every operation. The defaults suit callers without a window (command line, tests)."""

    def __init__(
        self,
        *,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> None:
        self._event = threading.Event()
        self._cancel = cancel
        self._progress = progress
        self._last = 0.0

    def cancel(self) -> None:
        self._event.set()

    def cancelled(self) -> bool:
        return self._event.is_set() or (self._cancel is not None and self._cancel())

    def check(self) -> None:
        """Raises Cancelled once the person asked to stop."""
        if self.cancelled():
            raise Cancelled

    def progress(self, fraction: float, text: str = "") -> None:
        """Tells how far the request is, 0..1; at most twenty times a second, and always the end."""
        self.check()
        now = time.monotonic()
        if self._progress is not None and (fraction >= 1 or now - self._last >= _PROGRESS_SECONDS):
            self._last = now
            self._progress(min(1.0, max(0.0, fraction)), text)
