"""What networks take: operations are counted and first runs timed once more when the worker is idle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Signal

from segstudio.runtime.mask_result import MaskResult
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.worker_client import WorkerClient

_WHEN_IDLE = -10  # of a request, against 0 of what somebody waits for
_SLOWEST_TIMED_MS = 3000


@dataclass(frozen=True, slots=True)
class RunCost:
    """Floating point operations and milliseconds of a network's pass over one image; None while unknown."""

    flops: float | None
    milliseconds: float | None


class RunCosts(QObject):
    """Costs by model and image size, each asked for once."""

    changed = Signal(str)  # the key of the model

    def __init__(self, worker: WorkerClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker = worker
        self._known: dict[tuple[str, tuple[int, ...]], RunCost] = {}

    def of(self, result: MaskResult, runnable: RunnableModel | None) -> RunCost:
        """What is known by now; `changed` follows when that is more.

        A network's first run on a size also brings its weights into order, so that its time says little: it
        is timed again. Slow networks, and those run with a part replaced, are left with their first time.
        """
        slot = (result.key, tuple(result.labels.shape))
        if slot in self._known:
            return self._known[slot]
        info = result.info
        told = float(info["flops"]) if info.get("flops") else None
        taken = float(info.get("forward_ms") or 0) or None
        again = info.get("first_of_size") and not info.get("not_as_trained")
        timed = bool(again) and (taken or 0) <= _SLOWEST_TIMED_MS
        cost = RunCost(told, None if timed else taken)
        if runnable is None or not info.get("parameters") or (told and not timed):
            return cost
        self._known[slot] = cost
        height, width = result.labels.shape
        call = self._worker.request(
            "model_info", priority=_WHEN_IDLE, model=runnable.ref, width=width, height=height, timed=timed
        )

        def take(values: dict[str, Any]) -> None:
            flops = values.get("flops") or told
            self._tell(slot, RunCost(float(flops) if flops else None, values.get("forward_ms") or taken))

        def keep_first(_error: object) -> None:
            self._tell(slot, RunCost(told, taken))

        call.finished.connect(take)
        call.failed.connect(keep_first)
        return cost

    def _tell(self, slot: tuple[str, tuple[int, ...]], cost: RunCost) -> None:
        self._known[slot] = cost
        self.changed.emit(slot[0])
