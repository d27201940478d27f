"""How long the window's thread was away, and where it was then: a tick every millisecond, and the stack of
every gap.

A gap counts three times: by the clock; by the clock less the time in which the thread was ready and got no
core, because other programs had them (`own`: Linux tells that time, elsewhere it counts as 0); and by the
processor time of the thread. `faulthandler` writes the stack in the middle of a gap from a thread of its own,
which needs no interpreter lock.
"""

from __future__ import annotations

import faulthandler
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEventLoop, Qt, QTimer
from PySide6.QtWidgets import QApplication

from tests.benchmarks.timing import percentiles

FRAME = 0.016
_ROOT = f"{Path(__file__).parents[2]}{os.sep}"
_LINE = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>\S+)')


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds by the clock, less waiting for a core, and of the processor."""

    wall: float
    own: float
    processor: float


class ThreadClock:
    """Measures the thread it was made in."""

    def __init__(self) -> None:
        path = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._file = os.open(path, os.O_RDONLY) if path.exists() else -1
        self._at = self._now()

    def _now(self) -> tuple[float, float, float]:
        queued = int(os.pread(self._file, 64, 0).split()[1]) / 1e9 if self._file >= 0 else 0.0
        return time.perf_counter(), queued, time.thread_time()

    def start(self) -> None:
        self._at = self._now()

    def spent(self) -> Spent:
        """Since `start`."""
        wall, queued, processor = (now - then for now, then in zip(self._now(), self._at, strict=True))
        return Spent(wall, max(0.0, wall - queued), processor)


@dataclass(frozen=True, slots=True)
class Gap:
    """One time between two ticks; `where` are the innermost lines of this project in it."""

    step: str
    spent: Spent
    where: tuple[str, ...]


class WindowWatch:
    """Counts gaps from `start` to `stop`. `step` names what the window is doing now."""

    def __init__(self, *, bar: float = FRAME) -> None:
        self.step = ""
        self.gaps: list[Gap] = []
        self.ticks: list[Spent] = []
        self._bar = bar
        self._file = tempfile.TemporaryFile("w+b", buffering=0)  # noqa: SIM115  (open as long as the watch)
        self._read = 0
        self._clock = ThreadClock()
        self._timer = QTimer(timerType=Qt.TimerType.PreciseTimer, interval=1)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        self._timer.start()
        faulthandler.dump_traceback_later(self._bar, file=self._file)
        self._clock.start()

    def stop(self) -> None:
        self._tick()
        self._timer.stop()
        faulthandler.cancel_dump_traceback_later()

    def _tick(self) -> None:
        spent = self._clock.spent()
        self.ticks.append(spent)
        if spent.wall > self._bar:
            self.gaps.append(Gap(self.step, spent, self._stack()))
        faulthandler.dump_traceback_later(self._bar, file=self._file)
        self._clock.start()

    def _stack(self) -> tuple[str, ...]:
        """The lines of this project that the dump names for this thread, which comes last."""
        faulthandler.cancel_dump_traceback_later()
        size = os.fstat(self._file.fileno()).st_size
        text = os.pread(self._file.fileno(), size - self._read, self._read).decode(errors="replace")
        self._read = size
        frames = [_LINE.match(line) for line in text.split("most recent call first")[-1].splitlines()]
        lines = [
            (f"{found['file'].removeprefix(_ROOT)}:{found['line']} {found['name']}", found["file"])
            for found in frames
            if found is not None and f"{os.sep}benchmarks{os.sep}" not in found["file"]
        ]
        ours = [
            line for line, file in lines[1:] if file.startswith(f"{_ROOT}segstudio") and " call" not in line
        ]
        return tuple([line for line, _ in lines[:1]] + ours[:4])


def wait(ready: Callable[[], Any], *, seconds: float = 120, what: str = "") -> None:
    """Runs the event loop until `ready()`, asleep between events; TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    heartbeat = QTimer(interval=10)  # processEvents with a time limit would not sleep at all
    heartbeat.start()
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what or ready}")
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
    heartbeat.stop()


def settle(seconds: float) -> None:
    """Runs the event loop for this long."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() >= end)


def summary(samples: list[Spent]) -> dict[str, Any]:
    """Percentiles in milliseconds of all three."""
    return {
        "wall": percentiles([each.wall for each in samples]),
        "own": percentiles([each.own for each in samples]),
        "processor": percentiles([each.processor for each in samples]),
    }
