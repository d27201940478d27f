"""Runs models over many images, one after another, as one job: for scores of a whole set and rankings."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QObject

from segstudio.runtime.jobs import Job, JobQueue
from segstudio.runtime.mask_result import prediction_key
from segstudio.runtime.model_shelf import RunnableModel
from segstudio.runtime.predictions import Predictions
from segstudio.runtime.scores import Scores
from segstudio.runtime.session import ProjectSession

_BEHIND = 5


class ImageRuns(QObject):
    """One run at a time. Images whose matrix the project has already are left out."""

    def __init__(
        self,
        session: ProjectSession,
        predictions: Predictions,
        scores: Scores,
        jobs: JobQueue | None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._predictions, self._scores, self._jobs = session, predictions, scores, jobs
        self._todo: deque[tuple[RunnableModel, dict[str, Any], int]] = deque()
        self._job: Job | None = None
        self._all = 0
        self._waiting: tuple[str, int] | None = None
        predictions.failed.connect(self._next)
        predictions.cancelled.connect(self._next)
        scores.changed.connect(self._next)
        session.closed.connect(self.stop)

    @property
    def is_running(self) -> bool:
        return self._job is not None

    def start(self, models: Sequence[tuple[RunnableModel, dict[str, Any]]], image_ids: Sequence[int]) -> None:
        """Puts everything that is not scored yet into one job; nothing happens where all is."""
        self.stop()
        labelled = [image for image in image_ids if self._is_labelled(image)]
        for image_id in labelled:
            for runnable, switches in models:
                if self._scores.get(prediction_key(runnable, switches), image_id) is None:
                    self._todo.append((runnable, switches, image_id))
        self._all = len(self._todo)
        if not self._all:
            return
        self._job = Job(f"Scores of {len(labelled)} images", unit="images", on_cancel=self.stop)
        if self._jobs is not None:
            self._jobs.add(self._job)
        self._job.begin()
        self._ask()

    def stop(self) -> None:
        """Ends the run; what is scored stays."""
        waiting, self._waiting = self._waiting, None
        self._todo.clear()
        job, self._job = self._job, None
        if waiting is not None:
            self._predictions.cancel(*waiting)
        if job is not None and not job.is_over:
            job.end_cancelled()

    def _is_labelled(self, image_id: int) -> bool:
        record = self._session.images.find(image_id)
        return record is not None and record.status != "none" and not record.problem

    def _ask(self) -> None:
        if self._job is None:
            return
        if not self._todo:
            job, self._job = self._job, None
            self._waiting = None
            job.finish()
            return
        runnable, switches, image_id = self._todo.popleft()
        key = prediction_key(runnable, switches)
        self._waiting = (key, image_id)
        self._scores.want(key, image_id)
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
