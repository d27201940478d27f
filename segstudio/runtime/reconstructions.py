"""Asks the worker what a pre-trained network makes of a picture with parts of it hidden.

One request is in flight and the newest one waits: while cells are hidden with the mouse, answers that nobody
waits for any longer are never computed. A request about another picture or other weights cancels the one in
flight.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from segstudio.core.errors import UserError
from segstudio.ipc import MappedArray
from segstudio.runtime.call import Call
from segstudio.runtime.worker_client import WorkerClient

_FIRST_BYTES = 1 << 20
_PRIORITY = 60  # somebody waits for it with the mouse in the hand
_IN_PASSING = 5  # of a sweep, which lets others go first


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights of one way of pre-training (`spec` is a PretrainingSpec's id) and the run's options."""

    spec: str
    path: str
    options: Mapping[str, Any]
    stamp: float = 0.0
    """Tells newer weights in the same file from older ones."""

    def reference(self) -> dict[str, Any]:
        """As the worker wants it."""
        return {"pretraining": self.spec, "weights": self.path, "options": dict(self.options)}

    @property
    def key(self) -> str:
        return json.dumps([self.reference(), self.stamp], sort_keys=True, default=list)


@dataclass(frozen=True)
class Question:
    """What is hidden of which picture: the cells of `hidden` (row, column), or a mask drawn with `seed`."""

    path: str
    hidden: tuple[tuple[int, int], ...] | None = None
    ratio: float | None = None
    masking: str | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """An answer. `pictures` (V, H, W, 3) uint8 RGB in the order of `views`, whose first is the original.

    `hidden` (rows, columns) bool and `error` (rows, columns) float say which cells of `cell` pixels a side
    were hidden and how far each is off; None where nothing can be hidden. `ms` is the network's own time.
    """

    question: Question
    views: tuple[str, ...]
    pictures: NDArray[np.uint8]
    cell: int
    hidden: NDArray[np.bool_] | None
    error: NDArray[np.float64] | None
    mean_error: float | None
    ms: float
    notes: tuple[str, ...]


class Reconstructions(QObject):
    """`ready(Reconstruction)` or `failed(UserError)` for the newest question."""

    ready = Signal(object)
    failed = Signal(object)

    def __init__(self, worker: WorkerClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._exchange = _Exchange(worker, _PRIORITY)
        self._flying: tuple[PretrainedWeights, Question] | None = None
        self._waiting: tuple[PretrainedWeights, Question] | None = None

    @property
    def is_busy(self) -> bool:
        return self._flying is not None

    def ask(self, weights: PretrainedWeights, question: Question) -> None:
        """Asks; takes the place of whatever waits."""
        if self._flying is None:
            self._send(weights, question)
            return
        self._waiting = (weights, question)
        flying, about = self._flying
        if flying.key != weights.key or about.path != question.path:
            self._exchange.cancel()

    def forget(self) -> None:
        """Nobody waits for an answer any longer."""
        self._waiting = None
        self._exchange.cancel()

    def _send(self, weights: PretrainedWeights, question: Question) -> None:
        self._flying = (weights, question)
        self._exchange.send(weights, question, self._take, self._fail, self._next)

    def _take(self, answer: Reconstruction) -> None:
        wanted = not self._exchange.is_cancelled
        self._next()
        if wanted:
            self.ready.emit(answer)

    def _fail(self, error: UserError) -> None:
        wanted = not self._exchange.is_cancelled and self._waiting is None
        self._next()
        if wanted:
            self.failed.emit(error)

    def _next(self) -> None:
        self._flying = None
        if self._waiting is not None:
            (weights, question), self._waiting = self._waiting, None
            self._send(weights, question)


class RatioSweep(QObject):
    """Error and time of one picture at one mask ratio after the other; `ended` says whether it is whole."""

    measured = Signal(float, float, float)  # ratio, mean error, milliseconds
    ended = Signal(bool)
    failed = Signal(object)  # UserError

    PASSES, QUICK_MS = 3, 300.0  # of a quick network, the fastest pass is the least disturbed by others
    RATIOS = tuple(percent / 100 for percent in range(10, 96, 5))

    def __init__(self, worker: WorkerClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._exchange = _Exchange(worker, _IN_PASSING)
        self._left: list[float] = []
        self._weights: PretrainedWeights | None = None
        self._about = Question("")
        self._warms_up = False
        self._taken: list[float] = []  # milliseconds of the passes at the ratio in hand

    @property
    def is_running(self) -> bool:
        return self._weights is not None

    def start(self, weights: PretrainedWeights, about: Question) -> None:
        """Goes through all ratios on the picture of `about`, with its masking and seed."""
        self.cancel()
        self._weights, self._about = weights, about
        self._left, self._taken = list(self.RATIOS), []
        self._warms_up = True  # the first pass of a size also brings memory into order: it is not counted
        self._send()

    def cancel(self) -> None:
        """Ends it; what was measured stays."""
        if self.is_running:
            self._weights = None
            self._exchange.cancel()
            self.ended.emit(False)

    def _send(self) -> None:
        assert self._weights is not None
        about = self._about
        question = Question(about.path, None, self._left[0], about.masking, about.seed)
        mine = self._exchange = _Exchange(self._exchange.worker, _IN_PASSING, self._exchange.memory)

        def take(answer: Reconstruction) -> None:
            if mine is self._exchange and self.is_running:  # else of a sweep before this one
                self._take(answer)

        def fail(error: UserError) -> None:
            if mine is self._exchange and self.is_running:
                self._fail(error)

        mine.send(self._weights, question, take, fail, lambda: None)

    def _take(self, answer: Reconstruction) -> None:
        if self._warms_up:
            self._warms_up = False
        else:
            self._taken.append(answer.ms)
            if len(self._taken) == self.PASSES or answer.ms > self.QUICK_MS:
                ratio, fastest = self._left.pop(0), min(self._taken)
                self._taken = []
                if answer.mean_error is not None:
                    self.measured.emit(ratio, answer.mean_error, fastest)
        if self._left:
            self._send()
        else:
            self._weights = None
            self.ended.emit(True)

    def _fail(self, error: UserError) -> None:
        self._weights = None
        self.failed.emit(error)
        self.ended.emit(False)


class _Exchange:
    """One request at a time and the memory for its pictures, which grows where the worker asks for more."""

    def __init__(self, worker: WorkerClient, priority: int, memory: MappedArray | None = None) -> None:
        self.worker = worker
        self.memory = memory
        self.is_cancelled = False
        self._priority = priority
        self._call: Call | None = None

    def send(
        self,
        weights: PretrainedWeights,
        question: Question,
        take: Callable[[Reconstruction], None],
        fail: Callable[[UserError], None],
        stop: Callable[[], None],
    ) -> None:
        """Ends in exactly one of `take(Reconstruction)`, `fail(UserError)` and `stop()`."""
        self.is_cancelled = False
        if self.memory is None:
            try:
                self.memory = MappedArray.create((_FIRST_BYTES,), "u1")
            except OSError as error:
                fail(UserError("There is no memory for the pictures", details=str(error)))
                return
        hidden = None if question.hidden is None else [list(cell) for cell in question.hidden]
        call = self._call = self.worker.request(
            "reconstruct",
            priority=self._priority,
            model=weights.reference(),
            image=question.path,
            page=0,
            hidden=hidden,
            ratio=question.ratio,
            masking=question.masking,
            seed=question.seed,
            out=self.memory.descriptor(),
        )

        def arrived(values: dict[str, Any]) -> None:
            self._call = None
            if "need" in values and not self.is_cancelled:
                self.memory = MappedArray.create((int(values["need"]),), "u1")
                self.send(weights, question, take, fail, stop)
            elif "need" in values:
                stop()
            else:
                assert self.memory is not None
                take(_answer(question, values, self.memory.array))

        def failed(error: UserError) -> None:
            self._call = None
            fail(error)

        def stopped() -> None:
            self._call = None
            stop()

        call.finished.connect(arrived)
        call.failed.connect(failed)
        call.cancelled.connect(stopped)

    def cancel(self) -> None:
        if self._call is not None:
            self.is_cancelled = True
            self._call.cancel()


def _answer(question: Question, values: Mapping[str, Any], memory: NDArray[np.uint8]) -> Reconstruction:
    shape = tuple(int(side) for side in values["shape"])
    count = int(np.prod(shape))
    cell, told = int(values.get("cell") or 0), values.get("hidden")
    hidden = None
    if cell and told is not None:
        hidden = np.zeros((shape[1] // cell, shape[2] // cell), np.bool_)
        for row, column in told:
            hidden[row, column] = True
    error = values.get("error")
    mean = values.get("mean_error")
    return Reconstruction(
        question=question,
        views=tuple(str(name) for name in values["views"]),
        pictures=memory[:count].reshape(shape).copy(),  # the memory is written again for the next question
        cell=cell,
        hidden=hidden,
        error=None if error is None else np.array(error, np.float64),
        mean_error=None if mean is None else float(mean),
        ms=float(values["ms"]),
        notes=tuple(str(note) for note in values.get("notes", ())),
    )
