"""Pixels by value of label maps and of edits.

Counted tile by tile: a histogram keeps the interpreter for itself while it counts, 180 ms for a map of 100
megapixels at once, 0.2 ms for a tile, and every other thread of the window waits that long. Most tiles of a
label map have one value, which a short look tells.
"""

from __future__ import annotations

import numpy as np

from segstudio.core.edits import Edit
from segstudio.core.label_map import TILE, LabelArray, ignore_value, uniform_value

Counts = dict[int, int]
"""Pixels by value."""


def count_values(pixels: LabelArray) -> Counts:
    """Pixels of every value that occurs in (H, W) uint8 or uint16, the unlabelled one included."""
    counts: Counts = {}
    height, width = pixels.shape
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            tile = pixels[top : top + TILE, left : left + TILE]
            only = uniform_value(tile)
            if only is not None:
                counts[only] = counts.get(only, 0) + int(tile.size)
                continue
            found = np.bincount(tile.ravel())
            for value in np.flatnonzero(found).tolist():
                counts[value] = counts.get(value, 0) + int(found[value])
    return counts


def count_classes(pixels: LabelArray) -> Counts:
    """Pixels of every class index that occurs, without the unlabelled ones."""
    counts = count_values(pixels)
    counts.pop(ignore_value(pixels.dtype), None)
    return counts


def count_changes(edit: Edit, ignore: int) -> Counts:
    """By how much an edit changes the pixel count of every value, the unlabelled one (`ignore`) included."""
    delta: Counts = {}
    for change in edit.tiles:
        shown = change.after if change.after is not None else change.before
        for pixels, sign in ((change.before, -1), (change.after, 1)):
            if pixels is not None:
                found = count_values(pixels)
            else:
                found = {ignore: 0 if shown is None else int(shown.size)}
            for value, count in found.items():
                delta[value] = delta.get(value, 0) + sign * count
    return delta
