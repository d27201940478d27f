"""The pixels of the image in front, level by level, and those of its neighbours ahead of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from segstudio.core.records import ImageRecord
from segstudio.runtime.image_cache import ImageCache, LevelImage
from segstudio.runtime.worker_client import WorkerClient

_LARGEST_AHEAD = 20_000_000  # pixels: bigger neighbours would push the image in front out of memory

Neighbours = Callable[[], Sequence[tuple[ImageRecord, Path]]]


class PictureInFront(QObject):
    """One picture at a time; `neighbours()` are the images that may come next, with their files."""

    changed = Signal()  # its size is known, or another level is there
    failed = Signal(object, object)  # the file, UserError: the picture in front or one ahead of time

    def __init__(self, reader: WorkerClient, neighbours: Neighbours, parent: QObject) -> None:
        super().__init__(parent)
        self.image: LevelImage | None = None
        self._neighbours = neighbours
        self._cache = ImageCache(reader)
        self._cache.changed.connect(self._level_came)
        self._cache.failed.connect(lambda key, error: self.failed.emit(key[0], error))

    def show(self, path: Path) -> None:
        """Bring a picture to the front, perhaps still without pixels."""
        self.image = self._cache.show(path)

    def clear(self) -> None:
        """The project was closed."""
        self.image = None
        self._cache.clear()

    def is_in_front(self, path: Path) -> bool:
        """Whether this file is the picture in front."""
        return self.image is not None and self.image.path == path

    def prefetch(self) -> None:
        """Decode the neighbours once the picture itself is whole; big ones wait for their turn."""
        image = self.image
        if image is None or not image.complete or image.width * image.height > _LARGEST_AHEAD:
            return
        self._cache.prefetch(
            [
                path
                for record, path in self._neighbours()
                if not record.problem and (record.width or 0) * (record.height or 0) <= _LARGEST_AHEAD
            ]
        )

    def _level_came(self, key: tuple[Path, int]) -> None:
        if self.image is not None and key == (self.image.path, self.image.page):
            self.changed.emit()
            self.prefetch()
