"""Opening a project on the loading thread: only the last one that was asked for arrives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segstudio.core.errors import UserError
from segstudio.core.project import Project
from segstudio.core.records import ImageRecord, LabelClass
from segstudio.runtime.hand_over import HandOver


@dataclass(frozen=True, slots=True)
class OpenedProject:
    """A project with what its first look needs, so that nothing of it is read in the window's thread."""

    project: Project
    classes: tuple[LabelClass, ...]
    records: list[ImageRecord]


class ProjectOpening:
    """Used in the window's thread; `threads` is where the disk is touched."""

    def __init__(self, threads: HandOver) -> None:
        self._threads = threads
        self._asked = 0

    def begin(
        self,
        folder: Path,
        prepare: Callable[[Project], None] | None,
        done: Callable[[OpenedProject], None],
        failed: Callable[[UserError], None],
    ) -> None:
        """`done` or `failed` follows, unless another is begun or all are dropped before."""
        self._asked += 1
        number = self._asked

        def load() -> OpenedProject:
            project = Project.open(folder)
            try:
                if prepare is not None:
                    prepare(project)
                return OpenedProject(project, project.classes, project.images())
            except BaseException:
                project.close()
                raise

        def arrived(opened: OpenedProject) -> None:
            if number == self._asked:
                done(opened)
            else:
                opened.project.close()

        def broke(error: UserError) -> None:
            if number == self._asked:
                failed(error)

        self._threads.load(load, arrived, broke)

    def drop(self) -> None:
        """What is under way is closed again when it arrives."""
        self._asked += 1
