"""Labels of other programs on their way into the project: read by the reader, looked at, then written.

Nothing of the project changes before `write`; what was found and what could not be kept is told first.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from segstudio.core import palette_png
from segstudio.core.errors import UserError
from segstudio.core.formats import FORMATS, Format
from segstudio.core.project import Project
from segstudio.core.records import LabelClass
from segstudio.runtime.jobs import JobQueue
from segstudio.runtime.label_transfer import LabelTransfer
from segstudio.runtime.session import ProjectSession


@dataclass(frozen=True, slots=True)
class FoundLabels:
    """What the files hold: (image id, NPY file) pairs, the classes afterwards, new ones, and notes."""

    items: tuple[tuple[int, Path], ...]
    classes: tuple[LabelClass, ...]
    added: tuple[LabelClass, ...]
    notes: tuple[tuple[str, str], ...]


def formats() -> tuple[Format, ...]:
    """The formats that can be read."""
    return FORMATS


class LabelImport(LabelTransfer):
    """One import. `found` or `failed` after `read`, `finished(images)` or `failed` after `write`."""

    found = Signal(object)  # FoundLabels

    def __init__(self, session: ProjectSession, jobs: JobQueue | None, parent: QObject | None = None) -> None:
        super().__init__(session, jobs, None, parent)
        self._folder: Path | None = None
        self._entry: Format | None = None
        self.result: FoundLabels | None = None

    def read(self, entry: Format, source: Path) -> None:
        """Let the reader look into `source` (a file or a folder)."""
        project = self._session.project
        if project is None:
            return
        self.close()
        self._entry, self._folder = entry, Path(tempfile.mkdtemp(prefix="segstudio-import-"))
        call = self._request(
            f"Read {entry.title}",
            "import_labels",
            format=entry.id,
            source=str(source),
            folder=str(project.folder),
            images=[[image.id, image.path, image.width, image.height] for image in self._session.images],
            classes=[dataclasses.asdict(each) for each in self._session.classes],
            out=str(self._folder),
        )
        call.finished.connect(self._take)

    def _fail(self, error: UserError) -> None:
        self.close()
        super()._fail(error)

    def _take(self, values: dict[str, Any]) -> None:
        classes = tuple(LabelClass.from_json(fields) for fields in values["classes"])
        added = set(values["added"])
        self.result = FoundLabels(
            tuple((int(number), Path(file)) for number, file in values["items"]),
            classes,
            tuple(entry for entry in classes if entry.id in added),
            tuple((str(file), str(what)) for file, what in values["notes"]),
        )
        self.found.emit(self.result)

    def write(self) -> None:
        """Put what was found into the project, each image as one step that can be undone."""
        result, project = self.result, self._session.project
        if result is None or project is None or self._entry is None:
            return
        tool = f"import {self._entry.title}"

        def done(changed: int) -> None:
            self.close()
            self._session.reload()
            self.finished.emit(changed)

        self._session.write(write_labels, project, result.classes, result.items, tool, then=done)

    def close(self) -> None:
        """Remove the files the reader wrote."""
        self._cancel()
        folder, self._folder = self._folder, None
        if folder is not None:
            # Perhaps a hundred thousand files: nothing to wait for.
            threading.Thread(target=shutil.rmtree, args=(folder, True), name="drop import").start()


def write_labels(
    project: Project,
    classes: Sequence[LabelClass],
    items: Sequence[tuple[int, Path]],
    tool: str,
) -> int:
    """Take the labels into the project; how many images changed. Raises UserError."""
    if tuple(classes) != project.classes:
        project.set_classes(classes)
    changed = 0
    for image_id, file in items:
        stored = project.import_labels(image_id, np.load(file, allow_pickle=False), tool)
        changed += stored is not None
    return changed


def take_copies(session: ProjectSession, changed: Sequence[tuple[int, Path]]) -> None:
    """Make label pictures that another program changed the labels of their images, as undoable steps."""
    project = session.project
    if project is None:
        return

    def take() -> None:
        for image_id, path in changed:
            project.import_labels(image_id, palette_png.read(path)[0], "import changed picture")
            project.export_copy(image_id, overwrite=True)

    session.write(take, then=lambda _done: session.reload())
