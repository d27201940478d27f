"""The open project as the window sees it: which image is in front, its pixels and labels, what is saved.

The session is the only place of the window that changes a project. Everything that touches the disk runs on
the project's writer thread or on a loading thread; answers come back as signals. `edits` are the strokes and
steps on the labels of the image in front.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from PySide6.QtCore import QObject, QRect, Signal

from segstudio.core.errors import UserError
from segstudio.core.label_map import LabelMap
from segstudio.core.project import Project
from segstudio.core.records import ImageRecord, LabelClass, Split, Status
from segstudio.runtime.hand_over import HandOver
from segstudio.runtime.image_cache import LevelImage
from segstudio.runtime.image_records import ImageRecords
from segstudio.runtime.label_edits import LabelEdits
from segstudio.runtime.label_thumbnails import LabelThumbnails
from segstudio.runtime.picture_in_front import PictureInFront
from segstudio.runtime.project_opening import OpenedProject, ProjectOpening
from segstudio.runtime.saving import Saving
from segstudio.runtime.thumbnails import Thumbnails
from segstudio.runtime.turns import Turns
from segstudio.runtime.worker_client import WorkerClient

Result = TypeVar("Result")

_KEPT_IMAGE = "view.image"


class ProjectSession(QObject):
    """One window's project. All signals come in the window's thread."""

    opened = Signal()
    closed = Signal()
    opening_failed = Signal()  # `problem` said why; no project is open
    images_changed = Signal()
    status_changed = Signal(int)  # image id
    current_changed = Signal()
    image_ready = Signal()  # another level of the picture in front is there
    labels_loaded = Signal()  # label_map is the one of the image in front
    labels_changed = Signal(QRect)  # image pixels
    history_changed = Signal()
    counts_changed = Signal()  # class_counts were brought up to date
    undone = Signal(str, int, QRect, bool)  # tool, class index, where, True for redo
    classes_changed = Signal()
    saved_changed = Signal(bool)
    thumbnail_ready = Signal(int)
    problem = Signal(object)  # UserError
    scanned = Signal(object)  # ScanReport

    def __init__(self, reader: WorkerClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.reader = reader
        self.project: Project | None = None
        self.images = ImageRecords()
        self._threads = HandOver("project loader", self)
        self._threads.failed.connect(self.problem)
        self.saving = Saving(self._threads, self)
        self.saving.saved_changed.connect(self.saved_changed)
        self.saving.problem.connect(self.problem)
        self.edits = LabelEdits(self.saving, self._threads, self)
        self.edits.loaded.connect(self._labels_loaded)
        self.edits.labels_changed.connect(self.labels_changed)
        self.edits.history_changed.connect(self.history_changed)
        self.edits.counts_changed.connect(self.counts_changed)
        self.edits.drawn.connect(self._drawn)
        self.edits.undone.connect(self._undone)
        self._classes: tuple[LabelClass, ...] = ()
        self._current: int | None = None
        self._opening = ProjectOpening(self._threads)
        self.is_opening = False
        """Another project is on its way; the `closed` of the one before it came already."""
        self._turns = Turns(self)
        self._picture = PictureInFront(reader, self._neighbours, self)
        self._picture.changed.connect(self._picture_changed)
        self._picture.failed.connect(self._picture_failed)
        self.thumbnails = Thumbnails(reader, self._path_or_none)
        self.thumbnails.ready.connect(self.thumbnail_ready)
        self.thumbnails.failed.connect(self._thumbnail_failed)
        self.label_thumbnails = LabelThumbnails(self._threads, self)
        self.label_thumbnails.ready.connect(self.thumbnail_ready)

    # -- opening and closing -------------------------------------------------------------------------

    def open(self, folder: Path, *, show: str = "", prepare: Callable[[Project], None] | None = None) -> None:
        """Open the project of `folder`; `opened` or `problem` follows.

        `show` names an image to begin with; `prepare` runs on the fresh project before anybody sees it.
        """
        self.is_opening = True
        self._close()
        self._opening.begin(
            Path(folder), prepare, lambda opened: self._take_project(opened, show), self._could_not_open
        )

    def _could_not_open(self, error: UserError) -> None:
        self.is_opening = False
        self.problem.emit(error)
        self.opening_failed.emit()

    def close(self) -> None:
        """Finish writing and leave the project; `closed` follows where one was open.

        Its database is closed on the loading thread: before anything that is opened later, and not while a
        reading is under way.
        """
        self.is_opening = False
        self._close()

    def _close(self) -> None:
        finish = self._leave()
        if finish is not None:
            self._threads.surely(finish)
            self.closed.emit()

    def _leave(self) -> Callable[[], None] | None:
        """Gives what finishes the writing and closes the project, None where none is open."""
        self._opening.drop()
        self._turns.clear()
        project = self.project
        if project is None:
            return None
        self.edits.leave()
        if self.current is not None:
            self.remember(_KEPT_IMAGE, self.current.path)
        finish_writing = self.saving.let_go()
        self.project = None
        self._picture.clear()
        self.thumbnails.clear()
        self.label_thumbnails.clear()
        self.images.take([])
        self._classes, self._current = (), None

        def finish() -> None:
            finish_writing()
            project.close()

        return finish

    def shut_down(self) -> None:
        """Close and end the loading thread; the session is of no use afterwards."""
        finish = self._leave()
        self._threads.close()
        if finish is not None:
            finish()
            self.closed.emit()

    @property
    def read_only_reason(self) -> str:
        """One sentence where nothing can be changed, else empty."""
        return self.project.read_only_reason if self.project is not None else ""

    def _take_project(self, opened: OpenedProject, show: str) -> None:
        self.is_opening = False
        self.project = opened.project
        self.saving.open(opened.project)
        self._classes = opened.classes
        self.images.take(opened.records)
        self._turns.add(
            self.opened.emit,
            self.classes_changed.emit,
            self.images_changed.emit,
            lambda: self._go_first(show),
            lambda: self.rescan(show),
        )

    def rescan(self, show: str = "") -> None:
        """Look for new and lost images in the folder; `scanned` and `images_changed` follow."""
        project = self.project
        if project is None:
            return

        def scan() -> Any:
            return project.scan(), project.images()

        def done(found: Any) -> None:
            if self.project is project:
                report, records = found
                self.images.take(records)
                self.images_changed.emit()
                if self._current is None:
                    self._go_first(show)
                self.scanned.emit(report)

        self._threads.load(scan, done)

    def _go_first(self, show: str) -> None:
        if self.project is None or not self.images:
            return
        wanted = show or self.project.settings.get(_KEPT_IMAGE, "")
        self.go(next((record.id for record in self.images if record.path == wanted), self.images[0].id))

    # -- images ----------------------------------------------------------------------------------------

    @property
    def current(self) -> ImageRecord | None:
        """The image in front."""
        return None if self._current is None else self.images.find(self._current)

    def path(self, image_id: int) -> Path:
        """Where an image's file lies. Raises KeyError for an unknown id."""
        found = self._path_or_none(image_id)
        if found is None:
            raise KeyError(image_id)
        return found

    def _path_or_none(self, image_id: int) -> Path | None:
        record = self.images.find(image_id)
        return None if record is None or self.project is None else self.project.folder / record.path

    def go(self, image_id: int) -> None:
        """Bring an image to the front; its pixels and labels follow by signals."""
        if image_id == self._current or self.project is None or self.images.find(image_id) is None:
            return
        self.edits.show(self.project, image_id)
        self._current = image_id
        self._picture.show(self.path(image_id))
        self.current_changed.emit()
        if self.image is not None and self.image.width:
            self._picture_changed()
        self._picture.prefetch()

    @property
    def image(self) -> LevelImage | None:
        """The pixels of the image in front: empty at first, `image_ready` follows."""
        return self._picture.image

    def _neighbours(self) -> list[tuple[ImageRecord, Path]]:
        if self._current is None:
            return []
        return [(record, self.path(record.id)) for record in self.images.neighbours(self._current)]

    def _picture_changed(self) -> None:
        image = self.image
        if image is None or self._current is None:
            return
        if self.label_map is None and image.width:
            self.edits.load(image.width, image.height)
        if image.levels:
            self.image_ready.emit()

    def _picture_failed(self, path: Path, error: UserError) -> None:
        if self._picture.is_in_front(path) and self._current is not None:
            self._mark_problem(self._current, error)
            self.image_ready.emit()
            self.problem.emit(error)
            return
        for record in self.images:
            if self.project is not None and self.project.folder / record.path == path:
                self._mark_problem(record.id, error)
                return

    def _thumbnail_failed(self, image_id: int, error: UserError) -> None:
        self._mark_problem(image_id, error)
        self.thumbnail_ready.emit(image_id)

    def _mark_problem(self, image_id: int, error: UserError) -> None:
        record = self.images.find(image_id)
        if record is None or record.problem or self.project is None:
            return
        self._replace(image_id, problem=str(error), status="check")
        if not self.project.read_only:
            self.saving.submit(self.project.set_problem, image_id, str(error))
            self.saving.submit(self.project.set_status, image_id, "check")

    # -- status ----------------------------------------------------------------------------------------

    def set_status(self, image_id: int, status: Status) -> None:
        """Mark an image done, draft, to check, or as having no labels."""
        if self.saving.allowed() and self.project is not None:
            self._replace(image_id, status=status)
            self.saving.submit(self.project.set_status, image_id, status)

    def set_split(self, image_id: int, split: Split) -> None:
        """Put an image into the training or validation part."""
        if self.saving.allowed() and self.project is not None:
            self._replace(image_id, split=split)
            self.saving.submit(self.project.set_split, image_id, split)

    def _replace(self, image_id: int, **changes: Any) -> None:
        if self.images.change(image_id, **changes):
            self.status_changed.emit(image_id)

    # -- thumbnails ------------------------------------------------------------------------------------

    def want_thumbnails(self, image_ids: Sequence[int]) -> None:
        """These images are in view in the strip."""
        self.thumbnails.want([number for number in image_ids if self.images.find(number) is not None])
        for number in image_ids:
            record = self.images.find(number)
            if record is not None and record.status != "none" and record.width is not None and self.project:
                self.label_thumbnails.want(self.project, number)

    # -- labels ----------------------------------------------------------------------------------------

    @property
    def label_map(self) -> LabelMap | None:
        """The labels of the image in front, None until `labels_loaded`. Only a stroke may write to them."""
        return self.edits.label_map

    @property
    def class_counts(self) -> dict[int, int]:
        """Pixels of the image in front by value, the unlabelled one included."""
        return self.edits.class_counts

    def _labels_loaded(self, image_id: int, width: int, height: int) -> None:
        self._replace(image_id, width=width, height=height)
        self.labels_loaded.emit()

    def _drawn(self, image_id: int) -> None:
        record = self.images.find(image_id)
        if record is not None and record.status == "none":
            self._replace(image_id, status="draft")
        self.label_thumbnails.forget(image_id)

    def _undone(self, tool: str, class_index: int, where: QRect, redo: bool) -> None:
        if self._current is not None:
            self.label_thumbnails.forget(self._current)
        self.undone.emit(tool, class_index, where, redo)

    def read(self, work: Callable[[Project], Result], then: Callable[[Result], None]) -> None:
        """Look something up in the project on the loading thread; `then` gets it in the window's thread."""
        project = self.project
        if project is not None:
            self._threads.load(lambda: work(project), then)

    # -- classes ---------------------------------------------------------------------------------------

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The project's classes in the order of their table."""
        return self._classes

    def class_of(self, index: int) -> LabelClass | None:
        """The class whose pixels have this value."""
        return next((entry for entry in self._classes if entry.id == index), None)

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Replace the class table; where the project refuses, `problem` says why and nothing changes."""
        if not self.saving.allowed() or self.project is None:
            return
        project, before = self.project, self._classes
        self._classes = tuple(classes)
        self.classes_changed.emit()

        def settle(done: Future[Any]) -> None:
            if self.project is not project:
                return
            if done.exception() is not None:
                self._classes = before
                self.classes_changed.emit()
            elif self.label_map is not None and self.label_map.ignore != project.ignore_value:
                self._reload_labels()  # the new ids need wider label maps

        future = self.saving.submit(project.set_classes, tuple(classes))
        self._threads.after(future, settle)

    def write(
        self, work: Callable[..., Any], *arguments: Any, then: Callable[[Any], None] | None = None
    ) -> Future[Any] | None:
        """Run a change of the project on its writer thread; `then(result)` in the window's thread.

        An import ends with `then=lambda _: session.reload()`. None where nothing may be changed.
        """
        if not self.saving.allowed():
            return None
        future = self.saving.submit(work, *arguments)
        if then is not None:
            take = then

            def settle(done: Future[Any]) -> None:
                if done.exception() is None:
                    take(done.result())

            self._threads.after(future, settle)
        return future

    def reload(self) -> None:
        """Classes, images and labels were changed behind the session's back: read them again."""
        project = self.project
        if project is None:
            return

        def done(found: tuple[tuple[LabelClass, ...], list[ImageRecord]]) -> None:
            if self.project is not project:
                return
            self._classes, records = found
            self.images.take(records)
            self.label_thumbnails.clear()
            self.classes_changed.emit()
            self.images_changed.emit()
            if self._current is None:
                self._go_first("")
            else:
                self._reload_labels()

        self._threads.load(lambda: (project.classes, project.images()), done)

    def _reload_labels(self) -> None:
        """Read the labels of the image in front again."""
        self.edits.forget()
        if self._current is not None and self.image is not None and self.image.width:
            self.edits.load(self.image.width, self.image.height)

    # -- saving ----------------------------------------------------------------------------------------

    def remember(self, name: str, value: Any) -> None:
        """Keep a JSON value with the project (which image was in front, for instance)."""
        if self.project is not None and not self.project.read_only:
            self.saving.submit(self.project.settings.set, name, value)
