"""An edit of a label map: the tiles it touched, before and after; and the recorder that makes one.

An edit holds plain pixels. Packing them is the writer thread's work, so that lifting the pen costs the
window only a comparison of the touched tiles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from segstudio.core.label_map import (
    LabelArray,
    LabelMap,
    Rect,
    converted,
    ignore_value,
    kept_tile,
    tiles_in,
    uniform_value,
)


@dataclass(frozen=True, slots=True)
class TileChange:
    """One tile before and after an edit, each (h, w) with h, w <= 256, for reading only; None = all
    unlabelled."""

    tx: int
    ty: int
    before: LabelArray | None
    after: LabelArray | None


@dataclass(frozen=True, slots=True)
class Edit:
    """One finished stroke, fill, import...: what undo takes back as a whole.

    `tool` names the verb ("brush", "import"), `class_index` the class painted (-1 = several),
    `pixels` how many changed, `rect` the tiles' extent in pixels, `width` and `height` the map's size.
    """

    tool: str
    class_index: int
    tiles: tuple[TileChange, ...]
    pixels: int
    rect: Rect
    width: int
    height: int

    def inverted(self) -> Edit:
        """The edit that takes this one back."""
        swapped = tuple(TileChange(tile.tx, tile.ty, tile.after, tile.before) for tile in self.tiles)
        return replace(self, tiles=swapped)

    def apply(self, label_map: LabelMap) -> Rect:
        """Writes the tiles after the edit into `label_map` and gives the rectangle that changed.

        Raises ValueError where the map has another size.
        """
        if (label_map.width, label_map.height) != (self.width, self.height):
            raise ValueError(
                f"the edit belongs to a map of {self.width}x{self.height}, "
                f"not {label_map.width}x{label_map.height}"
            )
        for change in self.tiles:
            target = label_map.tile(change.tx, change.ty)
            if change.after is None:
                target[...] = label_map.ignore
            else:
                target[...] = converted(change.after, label_map.array.dtype)
        return self.rect


class StrokeRecorder:
    """Remembers the tiles of a label map before a tool changes them.

    A tool calls `touch` with the rectangle it is about to change, any number of times; only tiles seen
    for the first time are copied.
    """

    def __init__(self, label_map: LabelMap) -> None:
        self.label_map = label_map
        self._before: dict[tuple[int, int], LabelArray] = {}

    def touch(self, x0: int, y0: int, x1: int, y1: int) -> Rect | None:
        """Must come before changing pixels x0 <= x < x1, y0 <= y < y1. Gives the part inside the map."""
        rect = self.label_map.clipped(x0, y0, x1, y1)
        if rect is None:
            return None
        for key in tiles_in(rect.x0, rect.y0, rect.x1, rect.y1):
            if key not in self._before:
                self._before[key] = kept_tile(self.label_map.tile(*key))
        return rect

    @property
    def tiles(self) -> int:
        """How many tiles were touched so far: what `finish` and `cancel` go through."""
        return len(self._before)

    @property
    def extent(self) -> Rect | None:
        """The smallest rectangle that holds all touched tiles."""
        extent: Rect | None = None
        for key in self._before:
            rect = self.label_map.tile_rect(*key)
            extent = rect if extent is None else extent.united(rect)
        return extent

    def before(self, tx: int, ty: int) -> LabelArray:
        """A tile as it was when the stroke began."""
        kept = self._before.get((tx, ty))
        return self.label_map.tile(tx, ty) if kept is None else kept

    def cancel(self) -> Rect | None:
        """Puts all touched tiles back and gives the rectangle that changed, or None."""
        changed: Rect | None = None
        for (tx, ty), pixels in self._before.items():
            self.label_map.tile(tx, ty)[...] = pixels
            rect = self.label_map.tile_rect(tx, ty)
            changed = rect if changed is None else changed.united(rect)
        self._before.clear()
        return changed

    def finish(self, tool: str, class_index: int = -1) -> Edit | None:
        """The edit since the start or the last `finish`, or None where no pixel changed."""
        edit = edit_between(self._before, self.label_map, tool=tool, class_index=class_index)
        self._before = {}
        return edit


def edit_between(
    before: dict[tuple[int, int], LabelArray],
    label_map: LabelMap,
    *,
    tool: str,
    class_index: int = -1,
) -> Edit | None:
    """The edit that leads from the tiles `before` to the present ones, or None where nothing changed."""
    changes: list[TileChange] = []
    pixels = 0
    extent: Rect | None = None
    for (tx, ty), old in sorted(before.items(), key=lambda item: (item[0][1], item[0][0])):
        new = kept_tile(label_map.tile(tx, ty))
        count = _pixels_changed(old, new)
        if count:
            changes.append(TileChange(tx, ty, old, new))
            pixels += count
            rect = label_map.tile_rect(tx, ty)
            extent = rect if extent is None else extent.united(rect)
    if extent is None:
        return None
    return Edit(tool, class_index, tuple(changes), pixels, extent, label_map.width, label_map.height)


def _pixels_changed(old: LabelArray, new: LabelArray) -> int:
    values = uniform_value(old), uniform_value(new)
    if None in values:
        return int(np.count_nonzero(old != new))
    return 0 if values[0] == values[1] else int(new.size)


def edit_to(label_map: LabelMap, target: LabelArray, *, tool: str, class_index: int = -1) -> Edit | None:
    """The edit that makes `label_map` equal to `target`, without changing it; None where they are equal.

    `target` (H, W) has the dtype of the map.
    """
    if target.shape != label_map.array.shape or target.dtype != label_map.array.dtype:
        raise ValueError(
            f"expected {label_map.array.shape} {label_map.array.dtype}, not {target.shape} {target.dtype}"
        )
    wanted = LabelMap(target)
    before: dict[tuple[int, int], LabelArray] = {}
    unlabelled = ignore_value(target.dtype)
    for key in label_map.tiles():
        old = label_map.tile(*key)
        if not np.array_equal(old, wanted.tile(*key)):
            before[key] = kept_tile(old)
    edit = edit_between(before, wanted, tool=tool, class_index=class_index)
    if edit is None:
        return None
    slim = tuple(
        replace(change, before=None)
        if change.before is not None and uniform_value(change.before) == unlabelled
        else change
        for change in edit.tiles
    )
    return replace(edit, tiles=slim)
