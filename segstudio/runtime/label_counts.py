"""Numbers and small pictures of a label map: pixels by class, what an edit changed, thumbnails."""

from __future__ import annotations

import numpy as np
from PySide6.QtGui import QImage

from segstudio.core.edits import Edit
from segstudio.core.label_map import LabelMap


def count_classes(labels: LabelMap) -> dict[int, int]:
    """Pixels of every value that occurs, the unlabelled one included."""
    values: dict[int, int] = {}
    for start in range(0, labels.height, 512):
        counts = np.bincount(labels.array[start : start + 512].ravel())
        for index in np.flatnonzero(counts).tolist():
            values[index] = values.get(index, 0) + int(counts[index])
    return values


def count_changes(edit: Edit, ignore: int) -> dict[int, int]:
    """By how much an edit changes the pixel count of every value, the unlabelled one included."""
    delta: dict[int, int] = {}
    for change in edit.tiles:
        tile = change.after if change.after is not None else change.before
        for pixels, sign in ((change.before, -1), (change.after, 1)):
            if pixels is None:
                size = 0 if tile is None else int(tile.size)
                delta[ignore] = delta.get(ignore, 0) + sign * size
                continue
            counts = np.bincount(pixels.ravel())
            for index in np.flatnonzero(counts).tolist():
                delta[index] = delta.get(index, 0) + sign * int(counts[index])
    return delta


def small_labels(labels: LabelMap, side: int = 160) -> QImage:
    """Labels without a colour table, at most `side` px; classes above 254 count as unlabelled."""
    step = max(1, -(-max(labels.width, labels.height) // side))
    small = labels.array[step // 2 :: step, step // 2 :: step]
    if small.size == 0:
        small = labels.array[:1, :1]
    narrow = np.ascontiguousarray(np.where(small > 254, 255, small).astype(np.uint8))
    height, width = narrow.shape
    return QImage(narrow.data, width, height, width, QImage.Format.Format_Indexed8).copy()
