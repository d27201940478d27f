"""Labels of other programs into a project: which image a name in a file means, and what a person is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from segstudio.core.archives import is_archive, unpacked
from segstudio.core.errors import UserError
from segstudio.core.formats import Format, load_format
from segstudio.core.formats.exchange import Note
from segstudio.core.images import read_header
from segstudio.core.project import Project
from segstudio.core.records import ImageRecord, LabelClass

Progress = Callable[[int, str], None]
"""(images done, name of the image)."""


@dataclass
class ExchangeReport:
    """What an import or export did: `done` and `unchanged` images, classes added, and notes."""

    done: int = 0
    unchanged: int = 0
    added: tuple[LabelClass, ...] = ()
    notes: list[Note] = field(default_factory=list)


class ImageMatcher:
    """Finds the image that a name means: by its path, by the end of it, by the file's name alone.

    With or without suffix; a name that fits two images fits none.
    """

    def __init__(self, images: Sequence[ImageRecord]) -> None:
        self._by_key: dict[str, list[ImageRecord]] = {}
        for record in images:
            path = PurePosixPath(record.path)
            for start in range(len(path.parts)):
                tail = PurePosixPath(*path.parts[start:])
                for key in {str(tail), str(tail.with_suffix(""))}:
                    self._by_key.setdefault(key.casefold(), []).append(record)

    def find(self, name: str) -> ImageRecord | None:
        """The image, or None where none or several fit."""
        path = PurePosixPath(name.casefold())
        for start in range(len(path.parts)):
            tail = PurePosixPath(*path.parts[start:])
            keys = [str(tail)]
            if tail.suffix:
                keys.append(str(tail.with_suffix("")))
            for key in keys:
                found = self._by_key.get(key, [])
                if len(found) == 1:
                    return found[0]
        return None


def import_labels(
    project: Project,
    source: Path,
    entry: Format,
    *,
    values: Mapping[int, int] | None = None,
    progress: Progress | None = None,
) -> ExchangeReport:
    """Reads labels of one format into the project, each image as one edit that can be undone.

    `source` is a file, a folder, or a zip or tar of one. `values` maps stored values to class numbers or -1
    (unlabelled), for formats that store numbers. New classes are added to the project. Raises UserError
    where nothing can be read at all.
    """
    if is_archive(source):
        with unpacked(source) as folder:
            return import_labels(project, folder, entry, values=values, progress=progress)
    report = ExchangeReport()
    project.scan()
    matcher = ImageMatcher(project.images())

    def size_of(name: str) -> tuple[int, int] | None:
        record = matcher.find(name)
        return None if record is None else known_size(project, record)

    options: dict[str, Any] = {}
    if values:
        if not entry.kind:
            raise UserError(f"{entry.title} stores no plain class numbers to map")
        options["values"] = values
    found = load_format(entry).read(source, classes=project.classes, size_of=size_of, **options)
    report.notes = found.notes
    for item in found.items:
        record = matcher.find(item.image)
        if record is None:
            report.notes.append(Note(item.image, "the project has no image of this name, or several"))
            continue
        try:
            known_size(project, record)
            _keep_classes(project, found.classes.classes)
            stored = project.import_labels(record.id, item.array, f"import {entry.title}")
        except UserError as error:
            report.notes.append(Note(record.path, str(error)))
            continue
        report.done += stored is not None
        report.unchanged += stored is None
        if progress is not None:
            progress(report.done + report.unchanged, record.display_name)
    report.added = tuple(found.classes.added)
    return report


def _keep_classes(project: Project, classes: tuple[LabelClass, ...]) -> None:
    if classes != project.classes:
        project.set_classes(classes)


def known_size(project: Project, record: ImageRecord) -> tuple[int, int]:
    """(width, height) of an image, from its header where nobody read it yet. Raises UserError."""
    if record.width is not None and record.height is not None:
        return record.width, record.height
    header = read_header(project.image_path(record.id))
    project.set_size(record.id, header.width, header.height)
    return header.width, header.height
