"""The pictures a run wrote for its previews, read on a thread and kept while they are of use."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QColor, QImage, qRgba

_MOST_KEPT = 400


class PreviewPictures(QObject):
    """Gives what is there at once; `loaded` when more of what was asked for has come."""

    loaded = Signal()
    _done = Signal(object, str, object)  # folder, name, QImage

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._folder: Path | None = None
        self._ignore = 255
        self._kept: OrderedDict[str, QImage] = OrderedDict()
        self._asked: set[str] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="previews")
        self._done.connect(self._take)

    def use(self, folder: Path, ignore: int) -> None:
        """Pictures of this run from now on; those of another are forgotten."""
        if folder != self._folder:
            self._kept.clear()
            self._asked.clear()
        self._folder, self._ignore = folder, ignore

    def get(self, name: str, *, labels: bool = False) -> QImage | None:
        """A picture, None where it was not read yet or not written yet; `labels` hides the ignored value."""
        found = self._kept.get(name)
        if found is not None:
            self._kept.move_to_end(name)
            return found
        folder, ignore = self._folder, self._ignore
        if folder is None or name in self._asked:
            return None
        self._asked.add(name)

        def tell(future: Future[QImage]) -> None:
            if not future.cancelled():
                with contextlib.suppress(RuntimeError):  # the tab may be gone before it was read
                    self._done.emit(folder, name, future.result())

        path = folder / "previews" / name
        self._thread.submit(_read, path, ignore if labels else None).add_done_callback(tell)
        return None

    def get_made(self, name: str) -> QImage | None:
        """A picture that `keep` got."""
        return self._kept.get(name)

    def keep(self, name: str, picture: QImage) -> None:
        """Remembers a picture made of others."""
        self._kept[name] = picture
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)

    def _take(self, folder: Path, name: str, picture: QImage) -> None:
        if folder != self._folder:
            return
        self._asked.discard(name)
        if not picture.isNull():  # else not written yet: asked again at the next paint
            self.keep(name, picture)
            self.loaded.emit()


def _read(path: Path, ignore: int | None) -> QImage:
    """A null picture where there is none. `ignore` is the value that becomes transparent."""
    picture = QImage(str(path))
    if ignore is not None and picture.format() == QImage.Format.Format_Indexed8:
        table = picture.colorTable()
        for index, value in enumerate(table):
            color = QColor(value)
            table[index] = qRgba(color.red(), color.green(), color.blue(), 0 if index == ignore else 255)
        picture.setColorTable(table)
    return picture
