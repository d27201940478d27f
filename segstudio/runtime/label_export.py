"""Labels of the project on their way to another program: written aside, looked at, then put in their place.

A reader process of its own does the work, so that pictures go on being decoded meanwhile and Cancel can end
it. It opens the project for reading only, after everything drawn so far is durable.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from segstudio.core.formats import FORMATS, Format
from segstudio.core.staging import drop_staging, staging_path
from segstudio.runtime.jobs import JobQueue
from segstudio.runtime.label_transfer import LabelTransfer
from segstudio.runtime.session import ProjectSession
from segstudio.runtime.worker_client import WorkerClient


@dataclass(frozen=True, slots=True)
class StagedLabels:
    """What would be written: images and files with their bytes, names that lie in the target already, and
    notes (file or class, what cannot be kept)."""

    images: int
    files: int
    bytes: int
    replaced: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]

    @property
    def loses_nothing(self) -> bool:
        """Whether there is nothing to ask a person about."""
        return not self.notes and not self.replaced


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """A choice of images with the word for it; `unlabelled` writes images without labels, too."""

    title: str
    images: tuple[int, ...]
    unlabelled: bool = False


def formats() -> tuple[Format, ...]:
    """The formats that can be written."""
    return tuple(entry for entry in FORMATS if entry.exports)


def image_choices(session: ProjectSession, shown: Sequence[int]) -> list[ImageChoice]:
    """What can be chosen now: labelled, done, `shown` in the strip, in front, all; no empty ones."""
    labelled = [record.id for record in session.images if record.status != "none" and not record.problem]
    done = [record.id for record in session.images if record.status == "done"]
    known = set(labelled)
    strip = [number for number in shown if number in known]
    current = session.current
    choices = [ImageChoice("Images with labels", tuple(labelled))]
    if done and len(done) < len(labelled):
        choices.append(ImageChoice("Images marked done", tuple(done)))
    if strip and len(strip) < len(labelled):
        choices.append(ImageChoice("Images shown in the strip", tuple(strip)))
    if current is not None and current.id in known and len(labelled) > 1:
        choices.append(ImageChoice(f"Only {current.display_name}", (current.id,)))
    every = tuple(record.id for record in session.images if not record.problem)
    if len(every) > len(labelled):
        choices.append(ImageChoice("All images, also those without labels", every, unlabelled=True))
    return [choice for choice in choices if choice.images]


class LabelExport(LabelTransfer):
    """One export. `staged` or `failed` after `stage`, `finished(files)` or `failed` after `deliver`."""

    staged = Signal(object)  # StagedLabels

    def __init__(self, session: ProjectSession, jobs: JobQueue | None, parent: QObject | None = None) -> None:
        client = WorkerClient(reader=True)
        super().__init__(session, jobs, client, parent)
        client.setParent(self)
        self._staging: Path | None = None
        self._target = Path()
        self._files = 0

    def stage(self, entry: Format, target: Path, choice: ImageChoice) -> None:
        """Write the labels aside and look at what that loses."""
        self.discard()
        project, staging = self._session.project, staging_path(target)
        if project is None:
            return
        self._target, self._staging = target, staging

        def ask() -> None:
            if self._session.project is not project or self._staging != staging:
                return
            call = self._request(
                f"Prepare labels as {entry.title}",
                "stage_export",
                folder=str(project.folder),
                format=entry.id,
                images=list(choice.images),
                unlabelled=choice.unlabelled,
                target=str(target),
                staging=str(staging),
            )
            call.finished.connect(self._take)

        self._session.saving.when_durable(ask)

    def deliver(self) -> None:
        """Put the files into their place."""
        if self._staging is not None and self._files:
            call = self._request(
                "Write labels",
                "deliver_export",
                staging=str(self._staging),
                target=str(self._target),
                files=self._files,
            )
            call.finished.connect(lambda values: self.finished.emit(int(values["files"])))

    def discard(self) -> None:
        """Forget what lies aside, or end writing it; another `stage` may follow."""
        self._cancel()
        staging, self._staging, self._files = self._staging, None, 0
        if staging is not None and staging.exists():
            # Perhaps a hundred thousand files: nothing to wait for.
            threading.Thread(target=drop_staging, args=(staging,), name="drop export").start()

    def close(self) -> None:
        """The end, at any moment: nothing is left behind."""
        self._client.close()  # first, so that nothing is written any more
        self.discard()

    def _take(self, values: dict[str, Any]) -> None:
        self._files = int(values["files"])
        self.staged.emit(
            StagedLabels(
                int(values["images"]),
                self._files,
                int(values["bytes"]),
                tuple(str(name) for name in values["replaced"]),
                tuple((str(file), str(what)) for file, what in values["notes"]),
            )
        )
