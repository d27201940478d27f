"""Small pictures for the strip: asked for as they come into view, decoded by the reader, kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from segstudio.core.errors import UserError
from segstudio.ipc import MappedArray
from segstudio.runtime.worker_client import Call, WorkerClient

_AT_ONCE = 2
_KEPT = 600
_PRIORITY = 50


class Thumbnails(QObject):
    """`get(id)` gives what is there; `want(ids)` says what is in view now, in order of importance."""

    ready = Signal(int)
    failed = Signal(int, object)  # image id, UserError

    def __init__(
        self, reader: WorkerClient, path_of: Callable[[int], Path | None], *, side: int = 160
    ) -> None:
        super().__init__(reader)
        self._reader = reader
        self._path_of = path_of
        self._side = side
        self._kept: OrderedDict[int, QImage] = OrderedDict()
        self._refused: set[int] = set()
        self._waiting: list[int] = []
        self._working: dict[int, Call] = {}
        self._scratch: list[MappedArray] = []

    def get(self, image_id: int) -> QImage | None:
        """The small picture, at most 160 px on its longer side; None until it is ready."""
        found = self._kept.get(image_id)
        if found is not None:
            self._kept.move_to_end(image_id)
        return found

    def want(self, image_ids: Sequence[int]) -> None:
        """These are in view; wishes that are no longer named are dropped."""
        self._waiting = [
            number
            for number in image_ids
            if number not in self._kept and number not in self._working and number not in self._refused
        ]
        self._pump()

    def forget(self, image_id: int) -> None:
        """Make this one again when it comes into view."""
        self._kept.pop(image_id, None)
        self._refused.discard(image_id)

    def clear(self) -> None:
        """Drop all (the project was closed)."""
        self._waiting = []
        for call in self._working.values():
            call.cancel()
        self._working.clear()
        self._kept.clear()
        self._refused.clear()

    def _pump(self) -> None:
        while self._waiting and len(self._working) < _AT_ONCE:
            image_id = self._waiting.pop(0)
            path = self._path_of(image_id)
            if path is None:
                continue
            memory = self._scratch.pop() if self._scratch else self._new_scratch()
            if memory is None:
                return
            call = self._reader.request(
                "thumbnail", priority=_PRIORITY, path=str(path), size=self._side, out=memory.descriptor()
            )
            self._working[image_id] = call
            call.finished.connect(
                lambda values, number=image_id, used=memory: self._take(number, used, values)
            )
            call.failed.connect(lambda error, number=image_id, used=memory: self._refuse(number, used, error))
            call.cancelled.connect(lambda used=memory: self._scratch.append(used))

    def _new_scratch(self) -> MappedArray | None:
        try:
            return MappedArray.create((self._side * self._side * 4,), "u1")
        except OSError:
            # No memory for a thumbnail: the strip keeps its placeholders, the picture itself says why.
            return None

    def _take(self, image_id: int, memory: MappedArray, values: dict[str, Any]) -> None:
        width, height = int(values["width"]), int(values["height"])
        pixels = memory.array[: width * height * 4]
        view = QImage(pixels.data, width, height, width * 4, QImage.Format.Format_RGB32)
        picture = view.copy()
        self._scratch.append(memory)
        if self._working.pop(image_id, None) is None:
            return
        self._kept[image_id] = picture
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        self.ready.emit(image_id)
        self._pump()

    def _refuse(self, image_id: int, memory: MappedArray, error: UserError) -> None:
        self._scratch.append(memory)
        if self._working.pop(image_id, None) is None:
            return
        self._refused.add(image_id)
        self.failed.emit(image_id, error)
        self._pump()
