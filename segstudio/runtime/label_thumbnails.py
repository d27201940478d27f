"""Small label maps for the strip: read on the loading thread as their images come into view."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from segstudio.core.project import Project
from segstudio.runtime.hand_over import HandOver
from segstudio.runtime.label_counts import small_labels


class LabelThumbnails(QObject):
    """`get(id)` gives what is there; `want(project, id)` reads it once until it is forgotten."""

    ready = Signal(int)

    def __init__(self, threads: HandOver, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._threads = threads
        self._kept: dict[int, QImage | None] = {}
        self._wishes: dict[int, object] = {}

    def get(self, image_id: int) -> QImage | None:
        """Indexed8 without a colour table, at most 160 px on its longer side; None until it is ready."""
        return self._kept.get(image_id)

    def want(self, project: Project, image_id: int) -> None:
        """This one is in view."""
        if image_id in self._kept:
            return
        self._kept[image_id] = None
        wish = self._wishes[image_id] = object()

        def done(picture: QImage) -> None:
            if self._wishes.get(image_id) is wish:  # else the labels changed while they were read
                self._kept[image_id] = picture
                self.ready.emit(image_id)

        self._threads.load(lambda: small_labels(project.load_labels(image_id)), done)

    def forget(self, image_id: int) -> None:
        """The labels changed: read them again when the image is in view."""
        self._kept.pop(image_id, None)
        self._wishes.pop(image_id, None)

    def clear(self) -> None:
        """All labels may have changed."""
        self._kept.clear()
        self._wishes.clear()
