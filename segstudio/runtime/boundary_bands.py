"""The bands around the borders of classes that Compare looks at alone: made and measured on a thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from segstudio.core.boundaries import boundary_band, boundary_iou

_KEPT = 24


class BoundaryBands(QObject):
    """Bands and what was measured in them, the last few kept; `changed` comes with each that is new.

    Maps are read on the thread while somebody may paint in them: who paints calls `forget`, and what was
    made of older labels is dropped.
    """

    changed = Signal()
    _made = Signal(object, object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._round = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="boundary bands")
        self._made.connect(self._take)

    def of(
        self, name: tuple[Any, ...], labels: NDArray[Any], width: int, *, ignore: int = -1
    ) -> NDArray[np.bool_] | None:
        """The band (H, W) of `labels`, which `name` tells from all other maps; None until it is made."""
        found: NDArray[np.bool_] | None = self._get(
            (*name, width), lambda: boundary_band(labels, width, ignore=ignore)
        )
        return found

    def measured(
        self,
        name: tuple[Any, ...],
        labels: NDArray[Any],
        other: NDArray[Any],
        band: NDArray[np.bool_],
        width: int,
        *,
        ignore: int = -1,
    ) -> tuple[float, float] | None:
        """The part of `band` where `labels` differs from `other`, and their mean boundary IoU, both 0-1.

        Pixels where `other` is `ignore` do not count. None until it is measured.
        """

        def work() -> tuple[float, float]:
            counted = band & (other != ignore)
            total = int(np.count_nonzero(counted))
            wrong = int(np.count_nonzero((labels != other) & counted))
            classes = [int(value) for value in np.unique(other[counted])]
            ious = boundary_iou(other, labels, classes, width, ignore=ignore)
            mean = float(np.mean(list(ious.values()))) if ious else 0.0
            return (wrong / total if total else 0.0), mean

        found: tuple[float, float] | None = self._get((*name, width, "measured"), work)
        return found

    def forget(self) -> None:
        self._round += 1
        self._kept.clear()

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _get(self, slot: tuple[Any, ...], work: Callable[[], Any]) -> Any:
        if slot in self._kept:
            self._kept.move_to_end(slot)
            return self._kept[slot]
        self._kept[slot] = None
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        asked = self._round

        def tell(done: Future[Any]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._made.emit(asked, slot, done.result())

        self._thread.submit(work).add_done_callback(tell)
        return None

    def _take(self, asked: int, slot: tuple[Any, ...], made: Any) -> None:
        if asked == self._round and slot in self._kept:
            self._kept[slot] = made
            self.changed.emit()
