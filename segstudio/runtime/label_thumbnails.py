"""Small label maps for the strip: read on the loading thread as their images come into view."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from segstudio.core.label_map import LabelMap
from segstudio.core.project import Project
from segstudio.runtime.hand_over import HandOver


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


def small_labels(labels: LabelMap, side: int = 160) -> QImage:
    """Labels without a colour table, at most `side` px; classes above 254 count as unlabelled."""
    step = max(1, -(-max(labels.width, labels.height) // side))
    small = labels.array[step // 2 :: step, step // 2 :: step]
    if small.size == 0:
        small = labels.array[:1, :1]
    narrow = np.ascontiguousarray(np.where(small > 254, 255, small).astype(np.uint8))
    height, width = narrow.shape
    return QImage(narrow.data, width, height, width, QImage.Format.Format_Indexed8).copy()
