"""Comparing folders: pairs of prediction and label pictures, summed into one confusion matrix."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segstudio.core import metrics
from segstudio.core.errors import UserError
from segstudio.core.folder_scan import natural_key
from segstudio.core.label_map import LabelArray
from segstudio.core.label_pictures import SUFFIXES
from segstudio.core.records import printable
from segstudio.plugin_api import Taxonomy


@dataclass
class Evaluation:
    """A running evaluation. `taxonomy` names the classes; without one they are the values that occur.

    `ignore` are label values that count in no pixel; 255 is always one of them.
    """

    taxonomy: Taxonomy | None = None
    ignore: frozenset[int] = frozenset({255})
    images: int = 0
    problems: list[UserError] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ignore = self.ignore | {255}
        size = len(self.taxonomy.classes) if self.taxonomy else 0
        self._matrix = np.zeros((size, size + 1), np.int64)

    def add(self, name: str, labels: LabelArray, prediction: LabelArray) -> None:
        """Counts one picture. Raises UserError where the two do not fit each other or the classes."""
        size = len(self._matrix)
        if self.taxonomy is None:
            size = max(size, _largest(labels, self.ignore) + 1, _largest(prediction, {255}) + 1)
        ignored = set(self.ignore)
        if labels.dtype == np.uint16:
            ignored.add(65535)
        try:
            own = metrics.confusion(labels, prediction, size, ignored, other=True)
        except ValueError as error:
            raise UserError(str(error)[:1].upper() + str(error)[1:], where=f"in {printable(name)}") from error
        self._matrix = metrics.padded(self._matrix, size) + own
        self.images += 1

    def result(self) -> dict[str, Any]:
        """The document of `metrics.summary`."""
        names = dict(enumerate(self.taxonomy.names)) if self.taxonomy else self.names
        return metrics.summary(
            self._matrix, names, ignore=self.ignore, images=self.images, failed=len(self.problems)
        )


def _largest(array: LabelArray, ignore: Collection[int]) -> int:
    """The largest value that is not one of `ignore` (65535 never counts); -1 where there is none."""
    counts = np.bincount(array.ravel(), minlength=1)
    counts[[index for index in (*ignore, 65535) if index < len(counts)]] = 0
    return int(np.flatnonzero(counts).max(initial=-1))


def pair_by_stem(
    labels: Path, others: Path, suffixes: Iterable[str]
) -> tuple[list[tuple[str, Path, Path]], list[UserError]]:
    """(stem, label file, other file) of two folders, matched by relative path without suffix.

    Of a stem that one folder has twice, and of a label without partner, a UserError tells.
    """
    problems: list[UserError] = []
    first = _by_stem(labels, SUFFIXES, problems)
    second = _by_stem(others, suffixes, problems)
    pairs = []
    for stem in sorted(first, key=natural_key):
        if stem in second:
            pairs.append((stem, first[stem], second[stem]))
        else:
            problems.append(
                UserError(f"There is nothing for {printable(stem)}", where=f"in {printable(str(others))}")
            )
    return pairs, problems


def _by_stem(folder: Path, suffixes: Iterable[str], problems: list[UserError]) -> dict[str, Path]:
    if not folder.is_dir():
        raise UserError("There is no folder", where=f"at {printable(str(folder))}")
    wanted = frozenset(suffixes)
    found: dict[str, Path] = {}
    doubled: set[str] = set()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or path.suffix.lower() not in wanted or not path.is_file():
            continue
        stem = inside.with_suffix("").as_posix()
        if stem in found:
            doubled.add(stem)
        found[stem] = path
    for stem in sorted(doubled):
        del found[stem]
        problems.append(UserError(f"{printable(stem)} is there twice", where=f"in {printable(str(folder))}"))
    return found


def table_text(result: dict[str, Any], columns: Sequence[str] = ("iou", "accuracy", "pixels")) -> str:
    """The evaluation as a table of text for a terminal."""
    lines = [f"{'class':<28}" + "".join(f"{column:>14}" for column in columns)]
    for entry in result["classes"]:
        cells = [_cell(entry[column]) for column in columns]
        lines.append(f"{entry['id']:>4}  {entry['name']:<22.22}" + "".join(f"{cell:>14}" for cell in cells))
    for key in ("miou", "pixel_accuracy", "mean_accuracy"):
        lines.append(f"{key.replace('_', ' '):<28}{_cell(result[key]):>14}")
    lines.append(f"{result['images']} images, {result['failed']} failed")
    return "\n".join(lines)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value}" if isinstance(value, int) else f"{100 * value:.2f} %"
