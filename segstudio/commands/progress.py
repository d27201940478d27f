"""A plain progress bar on standard error, only where a person watches."""

from __future__ import annotations

import sys
import time

_WIDTH = 30
_SECONDS = 0.1


class ProgressBar:
    """Redraws one line; silent where standard error is no terminal."""

    def __init__(self, total: int, unit: str) -> None:
        self._total = max(1, total)
        self._unit = unit
        self._shown = sys.stderr.isatty()
        self._started = time.monotonic()
        self._last = 0.0

    def show(self, done: float, text: str = "") -> None:
        """`done` counts units and may be a fraction of one."""
        now = time.monotonic()
        if not self._shown or (now - self._last < _SECONDS and done < self._total):
            return
        self._last = now
        share = min(1.0, done / self._total)
        bar = ("#" * round(share * _WIDTH)).ljust(_WIDTH, ".")
        left = (now - self._started) * (1 - share) / share if share > 0.01 else 0.0
        line = f"\r{bar} {int(done)}/{self._total} {self._unit}  {left:.0f} s left  {text}"
        print(line[:110].ljust(110), end="", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """A line above the bar."""
        self.clear()
        print(line, file=sys.stderr)

    def clear(self) -> None:
        if self._shown:
            print("\r" + " " * 110 + "\r", end="", file=sys.stderr, flush=True)
