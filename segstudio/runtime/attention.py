"""Asks the worker what networks attended to: one request in flight for each map, the newest query next.

While a query is dragged, answers that nobody waits for any longer are never computed: a newer query of
the same map takes the place of the one that waits.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from segstudio.core.attention_measures import entropy_bits
from segstudio.core.errors import UserError
from segstudio.ipc import MappedArray
from segstudio.plugin_api import ProbeSpec
from segstudio.runtime.mask_result import image_key
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.worker_client import WorkerClient

_FIRST_BYTES = 1 << 20


@dataclass(frozen=True)
class ProbeSlot:
    """One map that is shown: a probe of one model (with switches) under chosen options."""

    runnable: RunnableModel
    spec: ProbeSpec
    switches: tuple[tuple[str, Any], ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class PixelQuery:
    """What is asked: the pixel (x, y) of the image; `index` of a channel or class."""

    image_id: int
    x: int
    y: int
    index: int = 0


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """A probe's answer in pixels of the image (see `plugin_api.ProbeMap`); `ms` from asking to here."""

    query: PixelQuery
    values: NDArray[np.float32]
    kind: str
    stride: tuple[float, float]
    offset: tuple[float, float]
    labels: tuple[str, ...]
    signed: bool
    rows_sum_to_one: bool
    query_cell: tuple[int, int] | None
    notes: tuple[str, ...]
    extras: Mapping[str, Any]
    tile: tuple[int, int, int, int] | None
    ms: float

    @property
    def entropy(self) -> float | None:
        """Shannon entropy in bits of the row that is asked for, with tokens that the map has no place for;
        None where the values are no row of attention."""
        told = self.extras.get("entropy_bits")
        if isinstance(told, int | float):
            return float(told)
        return entropy_bits(self.values) if self.kind == "map" and self.rows_sum_to_one else None


@dataclass(slots=True)
class _Line:
    """What one map has under way and what waits."""

    out: MappedArray | None = None
    busy: bool = False
    waiting: tuple[ProbeSlot, PixelQuery, int] | None = None


class ProbeQueries(QObject):
    """`ready(token, ProbeResult)`, `failed(token, UserError)`; a token names a map and may be any value."""

    ready = Signal(object, object)
    failed = Signal(object, object)

    def __init__(self, worker: WorkerClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker = worker
        self._lines: dict[Any, _Line] = {}
        self._image: dict[str, Any] | None = None

    def set_image(self, descriptor: dict[str, Any] | None) -> None:
        """The picture in front, for the case that the worker has to run it again."""
        self._image = descriptor

    def ask(self, token: Any, slot: ProbeSlot, query: PixelQuery, *, priority: int = 60) -> None:
        """Asks for one map. Another query for the same token waits in the place of an older waiting one."""
        line = self._lines.setdefault(token, _Line())
        if line.busy:
            line.waiting = (slot, query, priority)
            return
        self._send(token, slot, query, priority, line, run=False)

    def forget(self) -> None:
        """Drops what waits; answers under way are not told."""
        self._lines = {}

    def _send(
        self, token: Any, slot: ProbeSlot, query: PixelQuery, priority: int, line: _Line, *, run: bool
    ) -> None:
        if line.out is None:
            line.out = MappedArray.create((_FIRST_BYTES // 4,), "f4")
        line.busy = True
        started = time.perf_counter()
        arguments: dict[str, Any] = {"image": self._image} if run and self._image is not None else {}
        call = self._worker.request(
            "probe",
            priority=priority,
            model={**slot.runnable.ref, "switches": dict(slot.switches)},
            key=image_key(query.image_id),
            probe=slot.spec.id,
            query={"kind": slot.spec.query, "x": query.x, "y": query.y, "index": query.index},
            options=dict(slot.options),
            out=line.out.descriptor(),
            **arguments,
        )

        def take(values: dict[str, Any]) -> None:
            if self._lines.get(token) is not line:
                return
            if "need" in values:
                line.out = MappedArray.create((-(-int(values["need"]) // 4),), "f4")
                self._send(token, slot, query, priority, line, run=run)
                return
            assert line.out is not None
            result = _result(values, line.out.array, query, 1000 * (time.perf_counter() - started))
            self._next(token, line)
            self.ready.emit(token, result)

        def fail(error: UserError) -> None:
            if self._lines.get(token) is not line:
                return
            if not run and self._image is not None and "has not run" in error.what:
                self._send(token, slot, query, priority, line, run=True)
                return
            self._next(token, line)
            self.failed.emit(token, error)

        def stop() -> None:
            if self._lines.get(token) is line:
                self._next(token, line)

        call.finished.connect(take)
        call.failed.connect(fail)
        call.cancelled.connect(stop)

    def _next(self, token: Any, line: _Line) -> None:
        line.busy = False
        if line.waiting is not None:
            (slot, query, priority), line.waiting = line.waiting, None
            self._send(token, slot, query, priority, line, run=False)


def _result(
    values: Mapping[str, Any], memory: NDArray[np.float32], query: PixelQuery, ms: float
) -> ProbeResult:
    shape = tuple(int(side) for side in values["shape"])
    count = int(np.prod(shape)) if shape else 1
    cell, tile = values.get("query_cell"), values.get("tile")
    return ProbeResult(
        query=query,
        values=memory[:count].reshape(shape).copy(),  # the memory is written again for the next query
        kind=str(values["kind"]),
        stride=(float(values["stride"][0]), float(values["stride"][1])),
        offset=(float(values["offset"][0]), float(values["offset"][1])),
        labels=tuple(str(label) for label in values.get("labels", ())),
        signed=bool(values["signed"]),
        rows_sum_to_one=bool(values["rows_sum_to_one"]),
        query_cell=None if cell is None else (int(cell[0]), int(cell[1])),
        notes=tuple(str(note) for note in values.get("notes", ())),
        extras=dict(values.get("extras", {})),
        tile=None if tile is None else (int(tile[0]), int(tile[1]), int(tile[2]), int(tile[3])),
        ms=ms,
    )
