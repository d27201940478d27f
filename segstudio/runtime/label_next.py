"""Which image to label next: the one of those without labels that a network is least sure of.

The doubt of a network about an image is one minus its mean confidence. It is kept with the project, so that
masks need not be, and counts for exactly the weights that were asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from segstudio.core.errors import UserError
from segstudio.runtime.image_runs import ImageRuns, Task
from segstudio.runtime.jobs import JobQueue
from segstudio.runtime.mask_result import MaskResult, prediction_key
from segstudio.runtime.predictions import Predictions
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.session import ProjectSession

_SETTING = "label_next"
_MODELS_KEPT = 4
_SAMPLES = 1_000_000  # pixels: the mean of so many on a grid is that of all


class LabelNext(QObject):
    """Doubts of every model that was asked. `changed` when another is known or the order is new."""

    changed = Signal()
    failed = Signal(object)  # UserError
    _measured = Signal(str, int)

    def __init__(
        self,
        session: ProjectSession,
        predictions: Predictions,
        jobs: JobQueue | None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._predictions = predictions
        self._doubts: dict[str, dict[int, float]] = {}
        self._model: RunnableModel | None = None
        self._told = False
        predictions.failed.connect(self._tell_once)
        predictions.ready.connect(self._measure)
        self._runs = ImageRuns(session, predictions, self._measured, jobs, self)
        session.opened.connect(self._load)
        session.closed.connect(self._forget)
        self._load()

    @property
    def model(self) -> RunnableModel | None:
        """The network whose doubt gives the order, None before `start`."""
        return self._model

    def start(self, model: RunnableModel) -> None:
        """Order by this network from now on; it runs as a job on the images it was not asked about yet."""
        self._model = model
        key = prediction_key(model)
        known = self._doubts.setdefault(key, {})
        tasks: list[Task] = []
        self._told = False
        for record in self._session.images:
            if record.status == "none" and not record.problem and record.id not in known:
                result = self._predictions.get(key, record.id)
                if result is not None:
                    known[record.id] = doubt_of(result)
                else:
                    tasks.append((model, {}, record.id))
        self._runs.start(f"Doubts of {model.title}", tasks)
        self._keep()
        self.changed.emit()

    def stop(self) -> None:
        """No order any more; what is known is kept."""
        self._runs.stop()
        self._model = None
        self._keep()
        self.changed.emit()

    def ranked(self) -> list[tuple[int, float]]:
        """(image id, doubt 0-1), largest doubt first: all images without labels that the network was asked
        about, and the one in front while a person labels it.
        """
        if self._model is None:
            return []
        known = self._doubts.get(prediction_key(self._model), {})
        current = self._session.current
        in_front = current.id if current is not None else -1
        doubts = [
            (record.id, known[record.id])
            for record in self._session.images
            if record.id in known and (record.status == "none" or record.id == in_front)
        ]
        return sorted(doubts, key=lambda item: -item[1])

    def _measure(self, key: str, image_id: int) -> None:
        """A prediction is there, for whatever reason it was made."""
        record, result = self._session.images.find(image_id), self._predictions.get(key, image_id)
        if record is None or result is None or record.status != "none":
            return
        self._doubts.setdefault(key, {})[image_id] = doubt_of(result)
        self._measured.emit(key, image_id)
        if self._model is None or key != prediction_key(self._model):
            return
        self.changed.emit()
        if not self._runs.is_running:
            self._keep()
            self._look_whether_sure(self._model, self._doubts[key])

    def _tell_once(self, key: str, _image_id: int, error: UserError) -> None:
        """Where one image fails the next is tried; a person is told of the first."""
        if self._model is not None and key == prediction_key(self._model) and not self._told:
            self._told = self._runs.is_running
            if self._told:
                self.failed.emit(error)

    def _look_whether_sure(self, model: RunnableModel, doubts: Mapping[int, float]) -> None:
        if doubts and max(doubts.values()) == 0 and not self._told:
            self._told = True
            self.failed.emit(
                UserError(
                    f"{model.title} says of every pixel that it is sure",
                    action="Choose another network to order the images by.",
                )
            )

    def _keep(self) -> None:
        newest = list(self._doubts)[-_MODELS_KEPT:]
        self._session.remember(
            _SETTING,
            {
                key: {str(number): round(value, 4) for number, value in self._doubts[key].items()}
                for key in newest
            },
        )

    def _load(self) -> None:
        project = self._session.project
        kept: dict[str, dict[str, Any]] = {} if project is None else project.settings.get(_SETTING, {})
        self._doubts = {
            key: {int(number): float(value) for number, value in values.items()}
            for key, values in kept.items()
        }

    def _forget(self) -> None:
        self._doubts, self._model = {}, None
        self.changed.emit()


def doubt_of(result: MaskResult) -> float:
    """One minus the mean confidence, 0-1; 0 of a network that tells none."""
    if result.confidence is None:
        return 0.0
    step = max(1, int(np.sqrt(result.confidence.size / _SAMPLES)))
    return 1.0 - float(result.confidence[::step, ::step].mean()) / 255
