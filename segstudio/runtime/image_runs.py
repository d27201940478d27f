"""Runs models over many images, one after another, as one job: for scores of a whole set and rankings."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QObject, SignalInstance

from segstudio.runtime.jobs import Job, JobQueue
from segstudio.runtime.mask_result import prediction_key
from segstudio.runtime.predictions import Predictions
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.session import ProjectSession

_BEHIND = 5

Task = tuple[RunnableModel, dict[str, Any], int]
"""Model, switches, image id."""


class ImageRuns(QObject):
    """One run at a time. A task is over when `answered(key, image id)` comes, or when it fails.

    Masks are dropped as soon as they have answered, but for the image in front.
    """

    def __init__(
        self,
        session: ProjectSession,
        predictions: Predictions,
        answered: SignalInstance,
        jobs: JobQueue | None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._predictions, self._jobs = session, predictions, jobs
        self._todo: deque[Task] = deque()
        self._job: Job | None = None
        self._all = 0
        self._waiting: tuple[str, int] | None = None
        answered.connect(self._next)
        predictions.failed.connect(self._next)
        predictions.cancelled.connect(self._next)
        session.closed.connect(self.stop)

    @property
    def is_running(self) -> bool:
        return self._job is not None

    def start(self, title: str, tasks: Sequence[Task]) -> None:
        """Puts all tasks into one job, in place of the run before; nothing happens where there are none."""
        self.stop()
        if not tasks:
            return
        self._todo.extend(tasks)
        self._all = len(tasks)
        self._job = Job(title, unit="images", on_cancel=self.stop)
        if self._jobs is not None:
            self._jobs.add(self._job)
        self._job.begin()
        self._ask()

    def stop(self) -> None:
        """Ends the run; what has answered stays."""
        waiting, self._waiting = self._waiting, None
        self._todo.clear()
        job, self._job = self._job, None
        if waiting is not None:
            self._predictions.cancel(*waiting)
        if job is not None and not job.is_over:
            job.end_cancelled()

    def _ask(self) -> None:
        if self._job is None:
            return
        if not self._todo:
            job, self._job = self._job, None
            self._waiting = None
            job.finish()
            return
        runnable, switches, image_id = self._todo.popleft()
        self._waiting = (prediction_key(runnable, switches), image_id)
        self._predictions.request(runnable, image_id, switches=switches, priority=_BEHIND, job=False)

    def _next(self, key: str, image_id: int) -> None:
        if (key, image_id) != self._waiting or self._job is None:
            return
        self._waiting = None
        done = self._all - len(self._todo)
        current = self._session.current
        if current is None or current.id != image_id:
            self._predictions.forget(image_id)
        self._job.report(done / self._all, f"{done} of {self._all}", done=done)
        self._ask()
