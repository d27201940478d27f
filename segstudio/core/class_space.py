"""One numbering of classes for a project and models that were trained on other classes.

A model's class is the project's class of the same name (case, spaces, "-" and "_" do not count, aliases
do), or what a person chose for it; a class that only models know is appended, so that it is shown under
its own name and counts as wrong against every label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudio.core.label_map import ignore_value, label_dtype
from segstudio.core.records import LabelClass

Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SharedClass:
    """One class of the common numbering. `ignore` classes count in no score."""

    index: int
    name: str
    color: Color
    in_project: bool
    ignore: bool = False


class ClassSpace:
    """The project's classes by their ids, then the classes that only models know, in order of appearance.

    `chosen` maps a model's class name to the id of a project class, or to -1 for "unlabelled".
    """

    def __init__(self, classes: Sequence[LabelClass], chosen: Mapping[str, int] | None = None) -> None:
        self._chosen = {plain(name): index for name, index in (chosen or {}).items()}
        self._classes: dict[int, SharedClass] = {}
        self._by_name: dict[str, int] = {}
        for entry in classes:
            self._classes[entry.id] = SharedClass(entry.id, entry.name, entry.color, True, entry.ignore)
            for name in (entry.name, *entry.aliases):
                self._by_name.setdefault(plain(name), entry.id)

    @property
    def classes(self) -> tuple[SharedClass, ...]:
        """All classes, in the order of their indices."""
        return tuple(self._classes[index] for index in sorted(self._classes))

    @property
    def size(self) -> int:
        """One more than the largest index."""
        return max(self._classes, default=-1) + 1

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        return label_dtype(max(self.size - 1, 0))

    @property
    def ignore(self) -> int:
        """The value of unlabelled pixels in maps of `dtype`."""
        return ignore_value(self.dtype)

    @property
    def ignored(self) -> tuple[int, ...]:
        """Indices of classes that count in no score."""
        return tuple(entry.index for entry in self.classes if entry.ignore)

    def get(self, index: int) -> SharedClass | None:
        return self._classes.get(index)

    def index_of(self, name: str) -> int | None:
        """Where a model's class of this name belongs: None where it is unknown or chosen to be unlabelled."""
        key = plain(name)
        index = self._chosen.get(key, self._by_name.get(key))
        return None if index is None or index < 0 else index

    def colors(self) -> list[Color]:
        """The colour of index 0, 1, ...; grey where an index has no class."""
        return [self._classes[i].color if i in self._classes else (128, 128, 128) for i in range(self.size)]

    def add_model(self, names: Sequence[str], colors: Sequence[Color]) -> NDArray[np.int64]:
        """Where each class of a model belongs: (len(names),) indices, -1 for unlabelled."""
        found = np.empty(len(names), np.int64)
        for position, name in enumerate(names):
            key = plain(name)
            index = self._chosen.get(key, self._by_name.get(key))
            if index is None:
                index = self.size
                color = colors[position] if position < len(colors) else (128, 128, 128)
                self._classes[index] = SharedClass(index, name, color, False)
                self._by_name[key] = index
            found[position] = index
        return found

    def translated(self, labels: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
        """A model's label map (H, W) in this numbering. The same array where nothing changes.

        `places` is what `add_model` gave; values beyond it become unlabelled.
        """
        same = np.array_equal(places, np.arange(len(places)))
        if same and labels.dtype == self.dtype and len(places) <= self.ignore:
            return labels
        table = np.full(int(np.iinfo(labels.dtype).max) + 1, self.ignore, self.dtype)
        table[: len(places)] = np.where(places < 0, self.ignore, places).astype(self.dtype)
        translated: NDArray[Any] = table[labels]
        return translated


def plain(name: str) -> str:
    """A class name as it is compared."""
    return re.sub(r"[\s_\-]+", "", name).casefold()
