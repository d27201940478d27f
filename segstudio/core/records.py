"""The plain records a project hands out: images, classes, edits, reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from segstudio.core.edits import Edit
from segstudio.core.label_map import Rect

Status = Literal["none", "draft", "done", "check"]
Split = Literal["train", "val", ""]

STATUSES: tuple[Status, ...] = ("none", "draft", "done", "check")
SPLITS: tuple[Split, ...] = ("train", "val", "")
UNLABELLED = -1
"""As the target of a merge: the class's pixels become unlabelled."""


@dataclass(frozen=True, slots=True)
class LabelClass:
    """One class of a project. `id` is the value of its pixels and never changes.

    `color` is (red, green, blue) in 0-255, `key` its shortcut, `ignore` leaves it out of metrics and loss.
    """

    id: int
    name: str
    color: tuple[int, int, int]
    key: str = ""
    ignore: bool = False
    aliases: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LabelClass:
        """The class whose fields (`dataclasses.asdict`) went through JSON. Raises KeyError, ValueError."""
        red, green, blue = document["color"]
        return cls(
            int(document["id"]),
            str(document["name"]),
            (int(red), int(green), int(blue)),
            str(document["key"]),
            bool(document["ignore"]),
            tuple(document["aliases"]),
        )


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a project. `path` is relative to the project's folder, with "/" between parts.

    `width` and `height` in pixels after orientation, None until somebody read the header. `problem` is a
    sentence, empty when there is none.
    """

    id: int
    path: str
    status: Status
    width: int | None
    height: int | None
    problem: str
    split: Split

    @property
    def display_name(self) -> str:
        """The path with bytes that are no text replaced, so that it can be shown and printed."""
        return printable(self.path)


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan of the folder found. `skipped` holds (path, why), so that nothing is left out silently."""

    added: tuple[str, ...]
    missing: tuple[str, ...]
    total: int
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StoredEdit:
    """A durable edit. `time` is seconds since 1970."""

    id: int
    image_id: int
    edit: Edit
    time: float


@dataclass(frozen=True, slots=True)
class AppliedEdit:
    """What undo or redo changed: `edit.apply(label_map)` brings a loaded map up to date."""

    edit: Edit
    rect: Rect
    label: str


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One line of an image's history, newest first. `time` is seconds since 1970."""

    id: int
    tool: str
    class_index: int
    pixels: int
    time: float
    undone: bool


@dataclass(frozen=True, slots=True)
class Merge:
    """A class merged into another: pixels of `removed` count as `target` (-1 = unlabelled)."""

    id: int
    removed: LabelClass
    target: int
    time: float
    undone: bool


def printable(text: str) -> str:
    """A file name with bytes that are no text replaced by U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
