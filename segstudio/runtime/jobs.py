"""Work that takes a while, as the job drawer shows it: title, bar, rate, time left, cancel, hard stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from PySide6.QtCore import QObject, QTimer, Signal

from segstudio.core.errors import UserError
from segstudio.runtime.worker_client import Call

JobState = Literal["queued", "running", "cancelling", "done", "failed", "cancelled"]

FORCE_STOP_AFTER_MS = 5000
_ENDED: frozenset[str] = frozenset({"done", "failed", "cancelled"})


class Job(QObject):
    """One piece of work. Whoever does the work calls `begin`, `report` and one of the three ends.

    `on_cancel` is called once when the person cancels; `on_force_stop` when they insist.
    """

    changed = Signal()
    ended = Signal()

    def __init__(
        self,
        title: str,
        *,
        unit: str = "",
        on_cancel: Callable[[], None] | None = None,
        on_force_stop: Callable[[], None] | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.title = title
        self.unit = unit
        self.state: JobState = "queued"
        self.fraction: float | None = None
        self.text = ""
        self.error: UserError | None = None
        self.can_force_stop = False
        self._on_cancel = on_cancel
        self._on_force_stop = on_force_stop
        self._done = 0.0
        self._started = 0.0
        self._from = 0.0
        self._patience = QTimer(self, singleShot=True, interval=FORCE_STOP_AFTER_MS)
        self._patience.timeout.connect(self._offer_force_stop)

    @property
    def is_over(self) -> bool:
        return self.state in _ENDED

    @property
    def seconds(self) -> float:
        """Time at work so far."""
        return time.monotonic() - self._started if self._started else 0.0

    @property
    def rate_text(self) -> str:
        """Such as "3.4 images/s"; empty where nothing is counted or known yet."""
        if not self.unit or self._done <= 0 or self.seconds < 0.5:
            return ""
        rate = self._done / self.seconds
        return f"{rate:.1f} {self.unit}/s" if rate >= 1 else f"{1 / rate:.1f} s per {self.unit.rstrip('s')}"

    @property
    def left_text(self) -> str:
        """Such as "2 min left"; empty where it cannot be told."""
        if self.state != "running" or not self.fraction or self.seconds < 1:
            return ""
        # Work that is taken up again begins in the middle: only what was done since tells the speed.
        achieved = self.fraction - self._from
        if achieved < 0.02:
            return ""
        return f"{_duration(self.seconds * (1 - self.fraction) / achieved)} left"

    def begin(self, *, at: float = 0.0) -> None:
        """Starts the clock. `at` is the fraction done earlier, where work is taken up again."""
        if self.state == "queued":
            self.state = "running"
            self._from = at
            self._started = time.monotonic()
            self.changed.emit()

    def report(self, fraction: float | None, text: str = "", *, done: float = 0.0) -> None:
        """How far it is: `fraction` 0..1, or None where unknown; `done` counts `unit`."""
        if self.is_over:
            return
        self.begin()
        self.fraction = fraction
        self.text = text
        self._done = done
        self.changed.emit()

    def hand_over(self, *, on_cancel: Callable[[], None], on_force_stop: Callable[[], None]) -> None:
        """The work goes on elsewhere: a wish to stop reaches its next worker."""
        self._on_cancel, self._on_force_stop = on_cancel, on_force_stop
        if self.state == "cancelling":
            on_cancel()

    def finish(self) -> None:
        self.fraction = 1.0
        self._end("done")

    def fail(self, error: UserError) -> None:
        if not self.is_over:
            self.error = error
        self._end("failed")

    def end_cancelled(self) -> None:
        self._end("cancelled")

    def cancel(self) -> None:
        """Shows "cancelling" at once; the work ends at its next step. A queued job ends here."""
        if self.is_over or self.state == "cancelling":
            return
        waiting = self.state == "queued"
        self.state = "cancelling"
        self._patience.start()
        self.changed.emit()
        if self._on_cancel is not None:
            self._on_cancel()
        elif waiting:
            self._end("cancelled")

    def force_stop(self) -> None:
        """Ends it the hard way; offered (`can_force_stop`) when cancelling takes over five seconds."""
        if not self.is_over and self._on_force_stop is not None:
            self._on_force_stop()

    def _offer_force_stop(self) -> None:
        if self.state == "cancelling" and self._on_force_stop is not None:
            self.can_force_stop = True
            self.changed.emit()

    def _end(self, state: JobState) -> None:
        if self.is_over:
            return
        self.state = state
        self._patience.stop()
        self.changed.emit()
        self.ended.emit()


class JobQueue(QObject):
    """All jobs since the window opened, newest last."""

    job_added = Signal(object)
    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs: list[Job] = []

    @property
    def jobs(self) -> tuple[Job, ...]:
        return tuple(self._jobs)

    @property
    def running(self) -> tuple[Job, ...]:
        """Jobs that are not over."""
        return tuple(job for job in self._jobs if not job.is_over)

    def add(self, job: Job) -> Job:
        """Takes the job over and shows it."""
        job.setParent(self)
        self._jobs.append(job)
        job.changed.connect(self.changed)
        self.job_added.emit(job)
        self.changed.emit()
        return job

    def clear_ended(self) -> None:
        """Forgets the jobs that are over."""
        for job in [job for job in self._jobs if job.is_over]:
            self._jobs.remove(job)
            job.deleteLater()
        self.changed.emit()


def job_of_call(title: str, call: Call) -> Job:
    """A job that follows one request to a worker."""
    job = Job(title, on_cancel=call.cancel, on_force_stop=call.force_stop)
    call.started.connect(job.begin)
    call.progressed.connect(lambda fraction, text: job.report(fraction, text))
    call.finished.connect(lambda _values: job.finish())
    call.failed.connect(job.fail)
    call.cancelled.connect(job.end_cancelled)
    return job


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
