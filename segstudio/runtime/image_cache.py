"""Pictures ready to paint: pyramids that the reader process decodes into memory the window owns.

The window never decodes a file itself. A picture becomes visible with its first level (for a big JPEG a
reduced one), the rest follows; neighbours are decoded ahead at low priority.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from segstudio.core.errors import UserError
from segstudio.runtime.picture_memory import Lease, PictureMemory, Wish
from segstudio.runtime.worker_client import Call, WorkerClient

BUDGET_BYTES = 384 * 2**20
_REDUCE_ABOVE = 6_000_000  # pixels: below that the full picture comes as fast as a reduced one
_NOW, _AHEAD = 100, 10


class LevelImage:
    """One picture as a pyramid. `levels` grows: a reduced level first, then all, the full size first.

    `levels[i]` is a QImage (RGB32) whose pixels lie in mapped memory; each keeps that memory alive.
    """

    def __init__(self, path: Path, page: int = 0) -> None:
        self.path = path
        self.page = page
        self.width = 0
        self.height = 0
        self.description = ""
        self.levels: list[QImage] = []
        self.complete = False
        self.problem: UserError | None = None
        self._lease: Lease | None = None

    @property
    def nbytes(self) -> int:
        return 0 if self._lease is None else int(self._lease.memory.array.nbytes)

    def descriptor(self) -> dict[str, Any] | None:
        """The full-size BGRA pixels (H, W, 4) uint8 for a worker process; None until complete."""
        if not self.complete or self._lease is None:
            return None
        return self._lease.memory.part((self.height, self.width, 4), "u1", 0).descriptor()

    def take_memory(self, lease: Lease, sizes: Sequence[tuple[int, int]]) -> None:
        """Show the levels that lie one after another in the memory of `lease` (BGRA)."""
        levels: list[QImage] = []
        offset = 0
        for width, height in sizes:
            levels.append(_view(lease, width, height, offset))
            offset += width * height * 4
        self._lease, self.levels, self.complete = lease, levels, True


class ImageCache(QObject):
    """The pictures at hand, least recently used dropped first. `changed(key)` after every new level."""

    changed = Signal(object)  # the key (path, page)
    failed = Signal(object, object)  # the key, UserError

    def __init__(self, reader: WorkerClient, *, budget: int = BUDGET_BYTES) -> None:
        super().__init__(reader)
        self._reader = reader
        self._budget = budget
        self._images: OrderedDict[tuple[Path, int], LevelImage] = OrderedDict()
        self._calls: dict[tuple[Path, int], Call] = {}
        self._memory = PictureMemory(self)
        self._wishes: dict[tuple[Path, int], list[Wish]] = {}
        self._wanted: tuple[Path, int] | None = None

    def show(self, path: Path, page: int = 0) -> LevelImage:
        """The picture, perhaps still empty; decoding starts at once and goes before everything else."""
        key = (path, page)
        self._wanted = key
        self._cancel_others(keep={key})
        found = self._images.get(key)
        if found is None or found.problem is not None:
            found = self._start(key, _NOW)
        self._images.move_to_end(key)
        self._trim()
        return found

    def prefetch(self, paths: Sequence[Path]) -> None:
        """Decode these when nothing else is to do; earlier wishes are dropped."""
        keys = [(path, 0) for path in paths]
        self._cancel_others(keep={*keys, *({self._wanted} if self._wanted else ())})
        for key in keys:
            if key not in self._images:
                self._start(key, _AHEAD)

    def forget(self, path: Path) -> None:
        """The file changed: decode it again when it is shown next."""
        for key in [key for key in self._images if key[0] == path]:
            del self._images[key]

    def clear(self) -> None:
        """Drop everything (the project was closed)."""
        self._wanted = None
        self._cancel_others(keep=set())
        self._images.clear()

    def _start(self, key: tuple[Path, int], priority: int) -> LevelImage:
        image = LevelImage(*key)
        self._images[key] = image
        self._images.move_to_end(key, last=priority == _NOW)
        self._ask(image, priority, self._take_header, "header")
        return image

    def _ask(
        self,
        image: LevelImage,
        priority: int,
        take: Callable[[LevelImage, int, dict[str, Any]], None],
        op: str,
        **arguments: Any,
    ) -> None:
        key = (image.path, image.page)
        call = self._reader.request(op, priority=priority, path=str(image.path), page=image.page, **arguments)
        self._calls[key] = call
        call.finished.connect(lambda values: take(image, priority, values))
        call.failed.connect(lambda error: self._fail(image, error))

    def _take_header(self, image: LevelImage, priority: int, values: dict[str, Any]) -> None:
        if not self._alive(image):
            return
        image.width, image.height = int(values["width"]), int(values["height"])
        image.description = describe(values)
        self.changed.emit((image.path, image.page))
        is_jpeg = str(values.get("format", "")).upper() in ("JPEG", "MPO")
        if image.width * image.height > _REDUCE_ABOVE and is_jpeg and priority == _NOW:
            self._ask_reduced(image, priority)
        else:
            nbytes = pyramid_bytes(image.width, image.height)
            self._reserve(image, nbytes, lambda lease: self._ask_levels(image, priority, lease))

    def _ask_reduced(self, image: LevelImage, priority: int) -> None:
        """A reduced picture first. Room for the whole one is made while the reader decodes."""
        factor = 8 if image.width * image.height > 24_000_000 else 4
        nbytes = -(-image.width // factor) * -(-image.height // factor) * 4
        whole = _Room()

        def ask(lease: Lease) -> None:
            def take(image: LevelImage, priority: int, values: dict[str, Any]) -> None:
                if self._alive(image):
                    image.levels = [_view(lease, int(values["width"]), int(values["height"]), 0)]
                    self.changed.emit((image.path, image.page))
                    whole.when_there(lambda room: self._ask_levels(image, priority, room))

            out = lease.memory.descriptor()
            self._ask(image, priority, take, "reduced", factor=factor, out=out)

        self._reserve(image, nbytes, ask)
        self._reserve(image, pyramid_bytes(image.width, image.height), whole.take)

    def _ask_levels(self, image: LevelImage, priority: int, lease: Lease) -> None:
        def take(image: LevelImage, _priority: int, values: dict[str, Any]) -> None:
            self._calls.pop((image.path, image.page), None)
            self._wishes.pop((image.path, image.page), None)
            if self._alive(image):
                image.take_memory(lease, [(int(width), int(height)) for width, height in values["sizes"]])
                self._trim()
                self.changed.emit((image.path, image.page))

        if self._alive(image):
            self._ask(image, priority, take, "levels", out=lease.memory.descriptor(), range=None)

    def _reserve(self, image: LevelImage, nbytes: int, then: Callable[[Lease], None]) -> None:
        """`then(lease)` when there is room; the picture fails where there is none."""
        key = (image.path, image.page)

        def take(found: Lease | OSError) -> None:
            if not self._alive(image):
                return
            if isinstance(found, Lease):
                then(found)
                return
            problem = UserError(
                f"There is no room for the {nbytes / 2**20:.0f} MB that the picture takes",
                where=f"to show {image.path.name}",
                action="Close other programs or free some disk space.",
                details=str(found),
            )
            self._fail(image, problem)

        self._wishes.setdefault(key, []).append(self._memory.ask(nbytes, take))

    def _fail(self, image: LevelImage, error: UserError) -> None:
        self._calls.pop((image.path, image.page), None)
        self._drop_wishes((image.path, image.page))
        image.problem = error
        if self._alive(image):
            self.failed.emit((image.path, image.page), error)

    def _alive(self, image: LevelImage) -> bool:
        return self._images.get((image.path, image.page)) is image

    def _cancel_others(self, keep: set[tuple[Path, int]]) -> None:
        for key, call in list(self._calls.items()):
            image = self._images.get(key)
            if key in keep or (image is not None and image.complete):
                continue
            del self._calls[key]
            self._images.pop(key, None)
            self._drop_wishes(key)
            call.cancel()

    def _drop_wishes(self, key: tuple[Path, int]) -> None:
        for wish in self._wishes.pop(key, []):
            wish.drop()

    def _trim(self) -> None:
        total = sum(image.nbytes for image in self._images.values())
        for key in list(self._images):
            if total <= self._budget:
                return
            if key != self._wanted and self._images[key].complete:
                total -= self._images.pop(key).nbytes


def pyramid_bytes(width: int, height: int) -> int:
    """Bytes that a BGRA pyramid takes at most: halved, rounded up, until both sides are at most 512."""
    total = width * height * 4
    while max(width, height) > 512:
        width, height = -(-width // 2), -(-height // 2)
        total += width * height * 4
    return total


def describe(header: dict[str, Any]) -> str:
    """A header in words: "960 × 720 · 8-bit RGB"."""
    channels = int(header.get("channels", 3))
    kind = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGBA"}.get(channels, f"{channels} channels")
    bits = int(header.get("bits", 8))
    pages = int(header.get("pages", 1) or 1)
    words = f"{header['width']} × {header['height']} · {bits}-bit {kind}"
    return words if pages < 2 else f"{words} · page 1 of {pages}"


class _Room:
    """Memory that may be there before or after somebody is ready to use it."""

    def __init__(self) -> None:
        self._lease: Lease | None = None
        self._then: Callable[[Lease], None] | None = None

    def take(self, lease: Lease) -> None:
        self._lease = lease
        self._go()

    def when_there(self, then: Callable[[Lease], None]) -> None:
        self._then = then
        self._go()

    def _go(self) -> None:
        if self._lease is not None and self._then is not None:
            lease, self._lease = self._lease, None
            self._then(lease)


def _view(lease: Lease, width: int, height: int, offset: int) -> QImage:
    pixels = lease.memory.part((height, width, 4), "u1", offset).array
    image = QImage(pixels.data, width, height, width * 4, QImage.Format.Format_RGB32)
    # Qt only keeps the pointer: the Python object must hold the memory as long as anybody paints it.
    image.__dict__["memory"] = (lease, pixels)
    return image
