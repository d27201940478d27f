"""Writing labels of a project for another program: first into a folder aside, then in one go to their place.

So a person learns what a format cannot hold before anything is written, and an export that fails or is
cancelled half-way leaves nothing behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from segstudio.core.errors import UserError
from segstudio.core.folder_scan import would_be_found
from segstudio.core.formats import Format, load_format
from segstudio.core.formats.exchange import Labels, Note
from segstudio.core.images import read_header
from segstudio.core.label_exchange import ExchangeReport, Progress
from segstudio.core.label_map import LabelMap
from segstudio.core.project import Project
from segstudio.core.records import ImageRecord, printable
from segstudio.core.staging import drop_staging, make_staging, staging_path


@dataclass(frozen=True, slots=True)
class Delivery:
    """What goes to the target: files with their bytes together, and names of those that lie there already."""

    files: int
    bytes: int
    replaced: tuple[str, ...]


def export_labels(
    project: Project,
    target: Path,
    entry: Format,
    *,
    images: Collection[int] | None = None,
    unlabelled: bool = False,
    progress: Progress | None = None,
) -> ExchangeReport:
    """Writes the labels of all `images` (None: all of the project) below `target`.

    Images without labels are left out, or written as wholly unlabelled with `unlabelled`. Files of the same
    name are replaced, pictures of the project never. Raises UserError, also where the disk refuses.
    """
    aside = staging_path(target)
    try:
        make_staging(aside)
        report = stage_labels(project, aside, entry, images=images, unlabelled=unlabelled, progress=progress)
        look_at_delivery(project, aside, target)
        deliver(aside, target)
        return report
    finally:
        drop_staging(aside)


def stage_labels(
    project: Project,
    staging: Path,
    entry: Format,
    *,
    images: Collection[int] | None = None,
    unlabelled: bool = False,
    progress: Progress | None = None,
) -> ExchangeReport:
    """As `export_labels`, into the empty folder `staging`; its notes tell what the format cannot hold."""
    report = ExchangeReport()
    options = {"kind": entry.kind} if entry.kind else {}

    def items() -> Iterator[Labels]:
        for record in project.images():
            if images is not None and record.id not in images:
                continue
            try:
                labels = _labels_of(project, record, unlabelled)
            except UserError as error:
                report.notes.append(Note(record.path, str(error)))
                continue
            if labels is None:
                continue
            yield Labels(record.path, labels.array)
            report.done += 1
            if progress is not None:
                progress(report.done, record.display_name)

    try:
        report.notes.extend(load_format(entry).write(staging, project.classes, items(), **options))
    except OSError as error:
        raise _not_written(staging.parent, error) from error
    return report


def _labels_of(project: Project, record: ImageRecord, unlabelled: bool) -> LabelMap | None:
    """None where the image has no labels and is left out."""
    if record.status != "none" and record.width is not None:
        return project.load_labels(record.id)
    if not unlabelled:
        return None
    if record.width is not None and record.height is not None:
        return LabelMap.unlabelled(record.width, record.height)
    header = read_header(project.image_path(record.id))
    return LabelMap.unlabelled(header.width, header.height)


def look_at_delivery(project: Project, staging: Path, target: Path) -> Delivery:
    """What `deliver` would do. Raises UserError where a picture of the project would be replaced, or where
    label pictures would lie where the project looks for pictures to label.
    """
    home = Path(os.path.realpath(project.folder))
    pictures = {_place(project.folder / record.path) for record in project.images()}
    files, total, replaced = 0, 0, []
    for path in _files(staging):
        name = path.relative_to(staging).as_posix()
        files, total = files + 1, total + path.stat().st_size
        goal = target / name
        if _place(goal) in pictures:
            raise UserError(
                f"The labels would replace the picture {printable(name)}",
                where=f"in {printable(str(target))}",
                action="Choose another folder.",
            )
        if would_be_found(home, Path(os.path.realpath(goal))):
            raise UserError(
                "Label pictures would be taken for pictures to label",
                where=f"in {printable(str(target))}",
                action="Choose a folder outside of the project.",
            )
        if goal.exists():
            replaced.append(name)
    return Delivery(files, total, tuple(replaced))


def deliver(staging: Path, target: Path, told: Callable[[int], None] | None = None) -> int:
    """Moves everything from `staging` into `target`, each file in one step; the number of files.

    `told` hears how many have been moved. Raises UserError.
    """
    moved = 0
    try:
        for path in list(_files(staging)):
            goal = target / path.relative_to(staging)
            goal.parent.mkdir(parents=True, exist_ok=True)
            path.replace(goal)
            moved += 1
            if told is not None:
                told(moved)
    except OSError as error:
        raise _not_written(target, error) from error
    return moved


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(parent, name)


def _place(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def _not_written(target: Path, error: OSError) -> UserError:
    return UserError(
        "The labels could not be written",
        where=f"to {printable(str(target))}",
        action="Choose another folder, or free some space.",
        details=str(error),
    )
