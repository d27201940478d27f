"""The open project as the window sees it: which image is in front, its pixels and labels, what is saved.

The session is the only place of the window that changes a project. Everything that touches the disk runs on
the project's writer thread or on a loading thread; answers come back as signals. A stroke is painted into
`label_map` at once and counts as saved when the writer's commit has returned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QRect, Signal
from PySide6.QtGui import QImage

from segstudio.core.edits import Edit, StrokeRecorder
from segstudio.core.errors import UserError
from segstudio.core.label_map import LabelMap
from segstudio.core.project import Project
from segstudio.core.records import AppliedEdit, HistoryRow, ImageRecord, LabelClass, Split, Status
from segstudio.core.writer import ProjectWriter
from segstudio.runtime.hand_over import HandOver, as_user_error
from segstudio.runtime.image_cache import ImageCache, LevelImage
from segstudio.runtime.label_counts import count_changes, count_classes, small_labels
from segstudio.runtime.thumbnails import Thumbnails
from segstudio.runtime.worker_client import WorkerClient

_READY_SECONDS = 5.0
_COPIES_SECONDS = 1.0  # closing waits no longer for copies; what is left is written at the next start
_KEPT_IMAGE = "view.image"
_LARGEST_AHEAD = 20_000_000  # pixels: bigger neighbours would push the image in front out of memory


class ProjectSession(QObject):
    """One window's project. All signals come in the window's thread."""

    opened = Signal()
    closed = Signal()
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
        self.label_map: LabelMap | None = None
        self.image: LevelImage | None = None
        self.class_counts: dict[int, int] = {}
        self._writer: ProjectWriter | None = None
        self._threads = HandOver("project loader", self)
        self._threads.failed.connect(self.problem)
        self._records: list[ImageRecord] = []
        self._positions: dict[int, int] = {}
        self._classes: tuple[LabelClass, ...] = ()
        self._current: int | None = None
        self._pending = 0
        self._step: Future[AppliedEdit | None] | None = None
        self._last_write: Future[Any] | None = None
        self._recorder: StrokeRecorder | None = None
        self._opening = 0
        self._images = ImageCache(reader)
        self._images.changed.connect(self._image_changed)
        self._images.failed.connect(self._image_failed)
        self._thumbnails = Thumbnails(reader, self._path_or_none)
        self._thumbnails.ready.connect(self.thumbnail_ready)
        self._thumbnails.failed.connect(self._thumbnail_failed)
        self._label_thumbnails: dict[int, QImage | None] = {}

    # -- opening and closing -------------------------------------------------------------------------

    def open(self, folder: Path, *, show: str = "", prepare: Callable[[Project], None] | None = None) -> None:
        """Open the project of `folder`; `opened` or `problem` follows.

        `show` names an image to begin with; `prepare` runs on the fresh project before anybody sees it.
        """
        self.close()
        self._opening += 1
        ticket = self._opening

        def load() -> Project:
            project = Project.open(Path(folder))
            try:
                if prepare is not None:
                    prepare(project)
            except BaseException:
                project.close()
                raise
            return project

        def done(project: Project) -> None:
            if ticket == self._opening:
                self._take_project(project, show)
            else:
                project.close()

        self._threads.load(load, done)

    def close(self) -> None:
        """Finish writing and close; `closed` follows where a project was open."""
        self._opening += 1
        project, self.project = self.project, None
        writer, self._writer = self._writer, None
        if project is None:
            return
        current = self.current
        self._finish_step()
        self._recorder = None
        self._images.clear()
        self._thumbnails.clear()
        self._label_thumbnails.clear()
        self._records, self._positions, self._classes = [], {}, ()
        self._current, self.image, self.label_map, self.class_counts = None, None, None, {}
        if writer is not None:
            if current is not None and not project.read_only:
                writer.submit(project.settings.set, _KEPT_IMAGE, current.path)
            writer.close(_COPIES_SECONDS)
        project.close()
        self._pending = 0
        self.closed.emit()

    def shut_down(self) -> None:
        """Close and end the loading thread; the session is of no use afterwards."""
        self.close()
        self._threads.close()

    @property
    def read_only_reason(self) -> str:
        """One sentence where nothing can be changed, else empty."""
        return self.project.read_only_reason if self.project is not None else ""

    def _take_project(self, project: Project, show: str) -> None:
        self.project = project
        self._writer = ProjectWriter(project, on_problem=self._problem_from_thread)
        self._classes = project.classes
        self._take_records(project.images())
        self.opened.emit()
        self.classes_changed.emit()
        self.images_changed.emit()
        self._go_first(show)
        self.rescan(show)

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
                self._take_records(records)
                self.images_changed.emit()
                if self._current is None:
                    self._go_first(show)
                self.scanned.emit(report)

        self._threads.load(scan, done)

    def _take_records(self, records: list[ImageRecord]) -> None:
        self._records = records
        self._positions = {record.id: position for position, record in enumerate(records)}

    def _go_first(self, show: str) -> None:
        if not self._records:
            return
        kept = self.project.settings.get(_KEPT_IMAGE, "") if self.project is not None else ""
        wanted = show or kept
        for record in self._records:
            if record.path == wanted:
                self.go(record.id)
                return
        self.go(self._records[0].id)

    # -- images ----------------------------------------------------------------------------------------

    @property
    def images(self) -> Sequence[ImageRecord]:
        """All images in natural order of their paths."""
        return self._records

    @property
    def current(self) -> ImageRecord | None:
        """The image in front."""
        return None if self._current is None else self.record(self._current)

    def record(self, image_id: int) -> ImageRecord | None:
        """The image with this id, None where there is none."""
        position = self._positions.get(image_id)
        return None if position is None else self._records[position]

    def position(self, image_id: int) -> int:
        """Place of an image in the list, counted from 0; -1 where it is not in it."""
        return self._positions.get(image_id, -1)

    def path(self, image_id: int) -> Path:
        """Where an image's file lies. Raises KeyError for an unknown id."""
        found = self._path_or_none(image_id)
        if found is None:
            raise KeyError(image_id)
        return found

    def _path_or_none(self, image_id: int) -> Path | None:
        record = self.record(image_id)
        return None if record is None or self.project is None else self.project.folder / record.path

    def go(self, image_id: int) -> None:
        """Bring an image to the front; its pixels and labels follow by signals."""
        if image_id == self._current or self._path_or_none(image_id) is None:
            return
        self.cancel_stroke()
        self._finish_step()
        self._current = image_id
        self.label_map, self.class_counts = None, {}
        self.image = self._images.show(self.path(image_id))
        self.current_changed.emit()
        if self.image.width:
            self._image_changed((self.image.path, 0))
        self._prefetch()

    def next(self, *, unlabelled: bool = False) -> bool:
        """One image on; with `unlabelled` to the next one without labels. False at the end."""
        return self._walk(1, unlabelled)

    def previous(self, *, unlabelled: bool = False) -> bool:
        """One image back; with `unlabelled` to the last one without labels. False at the start."""
        return self._walk(-1, unlabelled)

    def _walk(self, step: int, unlabelled: bool) -> bool:
        place = self.position(self._current) if self._current is not None else -1
        place += step
        while 0 <= place < len(self._records):
            if not unlabelled or self._records[place].status == "none":
                self.go(self._records[place].id)
                return True
            place += step
        return False

    def _prefetch(self) -> None:
        if self._current is None:
            return
        place = self.position(self._current)
        around = [self._records[at] for at in (place + 1, place - 1) if 0 <= at < len(self._records)]
        front = self.image.width * self.image.height if self.image is not None else 0
        paths = [
            self.path(record.id)
            for record in around
            if not record.problem and (record.width or 0) * (record.height or 0) <= _LARGEST_AHEAD
        ]
        if front > _LARGEST_AHEAD:
            return
        if self.image is not None and self.image.complete:
            self._images.prefetch(paths)

    def _image_changed(self, key: tuple[Path, int]) -> None:
        image = self.image
        if image is None or key != (image.path, image.page) or self._current is None:
            return
        if self.label_map is None and image.width:
            self._load_labels(self._current, image.width, image.height)
        if image.levels:
            self.image_ready.emit()
        if image.complete:
            self._prefetch()

    def _image_failed(self, key: tuple[Path, int], error: UserError) -> None:
        image = self.image
        if image is not None and key == (image.path, image.page) and self._current is not None:
            self._mark_problem(self._current, error)
            self.image_ready.emit()
            self.problem.emit(error)
            return
        for record in self._records:
            if self.project is not None and self.project.folder / record.path == key[0]:
                self._mark_problem(record.id, error)
                return

    def _thumbnail_failed(self, image_id: int, error: UserError) -> None:
        self._mark_problem(image_id, error)
        self.thumbnail_ready.emit(image_id)

    def _mark_problem(self, image_id: int, error: UserError) -> None:
        record = self.record(image_id)
        if record is None or record.problem or self.project is None:
            return
        self._replace(image_id, problem=str(error), status="check")
        if not self.project.read_only:
            self._submit(self.project.set_problem, image_id, str(error))
            self._submit(self.project.set_status, image_id, "check")

    # -- status ----------------------------------------------------------------------------------------

    def set_status(self, image_id: int, status: Status) -> None:
        """Mark an image done, draft, to check, or as having no labels."""
        if self._may_write() and self.project is not None:
            self._replace(image_id, status=status)
            self._submit(self.project.set_status, image_id, status)

    def set_split(self, image_id: int, split: Split) -> None:
        """Put an image into the training or validation part."""
        if self._may_write() and self.project is not None:
            self._replace(image_id, split=split)
            self._submit(self.project.set_split, image_id, split)

    def _replace(self, image_id: int, **changes: Any) -> None:
        position = self._positions.get(image_id)
        if position is not None:
            self._records[position] = replace(self._records[position], **changes)
            self.status_changed.emit(image_id)

    # -- thumbnails ------------------------------------------------------------------------------------

    def thumbnail(self, image_id: int) -> QImage | None:
        """The small picture of an image, None until `thumbnail_ready`."""
        return self._thumbnails.get(image_id)

    def label_thumbnail(self, image_id: int) -> QImage | None:
        """The labels of an image, Indexed8 and small; None where there are none or they are not ready."""
        return self._label_thumbnails.get(image_id)

    def want_thumbnails(self, image_ids: Sequence[int]) -> None:
        """These images are in view in the strip."""
        self._thumbnails.want([number for number in image_ids if self.record(number) is not None])
        for number in image_ids:
            record = self.record(number)
            labelled = record is not None and record.status != "none" and record.width is not None
            if labelled and number not in self._label_thumbnails:
                self._load_label_thumbnail(number)

    def _load_label_thumbnail(self, image_id: int) -> None:
        project = self.project
        if project is None:
            return
        self._label_thumbnails[image_id] = None

        def load() -> QImage:
            return small_labels(project.load_labels(image_id))

        def done(picture: QImage) -> None:
            if self.project is project:
                self._label_thumbnails[image_id] = picture
                self.thumbnail_ready.emit(image_id)

        self._threads.load(load, done)

    # -- labels ----------------------------------------------------------------------------------------

    def _load_labels(self, image_id: int, width: int, height: int) -> None:
        project, waiting_for = self.project, self._last_write
        if project is None:
            return

        def load() -> tuple[LabelMap, dict[int, int]]:
            if waiting_for is not None:
                waiting_for.exception()  # the labels must include every stroke drawn before
            record = project.image(image_id)
            if not project.read_only:
                project.set_size(image_id, width, height)
            if project.read_only and record.width is None:
                return LabelMap.unlabelled(width, height), {}
            labels = project.load_labels(image_id)
            return labels, count_classes(labels)

        def done(loaded: tuple[LabelMap, dict[int, int]]) -> None:
            if self.project is project and self._current == image_id and self.label_map is None:
                self.label_map, self.class_counts = loaded
                self._replace(image_id, width=width, height=height)
                self.labels_loaded.emit()
                self.history_changed.emit()

        self._threads.load(load, done)

    def begin_stroke(self) -> StrokeRecorder | None:
        """Start recording changes of `label_map`; None (with a `problem`) where nothing may be changed."""
        if not self._may_write() or self.label_map is None:
            return None
        self._finish_step()
        if self._recorder is None:
            self._recorder = StrokeRecorder(self.label_map)
        return self._recorder

    def finish_stroke(self, tool: str, class_index: int) -> Edit | None:
        """Hand the recorded change to the writer; `saved_changed(True)` when it is durable."""
        recorder, self._recorder = self._recorder, None
        if recorder is None or self._current is None or self.project is None:
            return None
        edit = recorder.finish(tool, class_index)
        if edit is None:
            return None
        self._count(edit, recorder.label_map)
        image_id, project = self._current, self.project
        if (
            self._positions.get(image_id) is not None
            and self._records[self._positions[image_id]].status == "none"
        ):
            self._replace(image_id, status="draft")
        future = self._submit(project.commit, image_id, edit)
        self._threads.after(future, lambda done: self._committed(image_id, done))
        self._label_thumbnails.pop(image_id, None)
        return edit

    def cancel_stroke(self) -> None:
        """Put back what the stroke under way has changed."""
        recorder, self._recorder = self._recorder, None
        changed = recorder.cancel() if recorder is not None else None
        if changed is not None:
            self.labels_changed.emit(QRect(changed.x0, changed.y0, changed.width, changed.height))

    def _committed(self, image_id: int, future: Future[Any]) -> None:
        if image_id != self._current:
            return
        if future.exception() is None:
            self.history_changed.emit()
        else:
            self._reload_labels()  # the stroke is not in the project: show what is

    def undo(self) -> None:
        """Take back the newest edit of the image in front; `undone` follows."""
        self._start_step(redo=False)

    def redo(self) -> None:
        """Bring back the edit undone last; `undone` follows."""
        self._start_step(redo=True)

    def _start_step(self, *, redo: bool) -> None:
        project, image_id = self.project, self._current
        if not self._may_write() or project is None or image_id is None or self.label_map is None:
            return
        self._finish_step()
        self.cancel_stroke()
        future = self._submit(project.redo if redo else project.undo, image_id)
        self._step = future
        self._threads.after(future, lambda done: self._apply_step(done, redo))

    def _finish_step(self) -> None:
        """Wait for an undo under way: the next stroke must start from its result."""
        future = self._step
        if future is not None:
            future.exception(timeout=_READY_SECONDS)
            self._apply_step(future, None)

    def _apply_step(self, future: Future[AppliedEdit | None], redo: bool | None) -> None:
        if self._step is not future:
            return
        self._step = None
        if future.exception() is not None or self.label_map is None:
            return
        applied = future.result()
        if applied is None:
            return
        rect = applied.edit.apply(self.label_map)
        self._count(applied.edit, self.label_map)
        changed = QRect(rect.x0, rect.y0, rect.width, rect.height)
        if self._current is not None:
            self._label_thumbnails.pop(self._current, None)
        self.labels_changed.emit(changed)
        self.history_changed.emit()
        self.undone.emit(applied.edit.tool, applied.edit.class_index, changed, bool(redo))

    def history(self, limit: int = 100) -> list[HistoryRow]:
        """The last edits of the image in front, newest first."""
        if self.project is None or self._current is None:
            return []
        return self.project.history(self._current, limit)

    @property
    def can_step(self) -> tuple[bool, bool]:
        """Whether there is something to undo, and something to redo, on the image in front.

        While a change is on its way to the disk both are possible: a quick hand is never refused.
        """
        if self._pending:
            return True, True
        rows = self.history()
        return any(not row.undone for row in rows), any(row.undone for row in rows)

    def images_with_class(self, index: int, then: Callable[[frozenset[int]], None]) -> None:
        """Tell the ids of all images on which a class has pixels."""
        project = self.project
        if project is None:
            return
        numbers = [record.id for record in self._records if record.status != "none"]

        def look() -> frozenset[int]:
            return frozenset(number for number in numbers if project.class_pixels(number).get(index))

        self._threads.load(look, then)

    def changed_copies(self, then: Callable[[list[tuple[int, Path]]], None]) -> None:
        """Tell which label pictures another program changed since they were written."""
        project = self.project
        if project is not None:
            self._threads.load(project.changed_copies, then)

    def _count(self, edit: Edit, labels: LabelMap) -> None:
        """Keep the pixel counts of the classes up to date; counting a big stroke is not the window's work."""

        def done(delta: dict[int, int]) -> None:
            if self.label_map is labels:
                for index, change in delta.items():
                    self.class_counts[index] = self.class_counts.get(index, 0) + change
                self.counts_changed.emit()

        self._threads.load(lambda: count_changes(edit, labels.ignore), done)

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
        if not self._may_write() or self.project is None:
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

        future = self._submit(project.set_classes, tuple(classes))
        self._threads.after(future, settle)

    def write(
        self, work: Callable[..., Any], *arguments: Any, then: Callable[[Any], None] | None = None
    ) -> Future[Any] | None:
        """Run a change of the project on its writer thread; `then(result)` in the window's thread.

        An import ends with `then=lambda _: session.reload()`. None where nothing may be changed.
        """
        if not self._may_write():
            return None
        future = self._submit(work, *arguments)
        if then is not None:
            take = then

            def settle(done: Future[Any]) -> None:
                if done.exception() is None:
                    take(done.result())

            self._threads.after(future, settle)
        return future

    def reload(self) -> None:
        """Classes, images and labels were changed behind the session's back: read them again."""
        if self.project is None:
            return
        self._classes = self.project.classes
        self._take_records(self.project.images())
        self._label_thumbnails.clear()
        self.label_map, self.class_counts = None, {}
        self.classes_changed.emit()
        self.images_changed.emit()
        if self._current is None:
            self._go_first("")
        else:
            self._reload_labels()

    def _reload_labels(self) -> None:
        """Read the labels of the image in front again."""
        self.label_map, self.class_counts = None, {}
        if self._current is not None and self.image is not None and self.image.width:
            self._load_labels(self._current, self.image.width, self.image.height)

    # -- saving ----------------------------------------------------------------------------------------

    @property
    def saved(self) -> bool:
        """Whether every change is durable."""
        return self._pending == 0

    def flush(self) -> None:
        """Wait until everything is durable and the copies for other programs are written."""
        if self._writer is not None:
            self._writer.flush()

    def remember(self, name: str, value: Any) -> None:
        """Keep a JSON value with the project (which image was in front, for instance)."""
        if self.project is not None and not self.project.read_only:
            self._submit(self.project.settings.set, name, value)

    def _may_write(self) -> bool:
        if self.project is None:
            return False
        if self.project.read_only:
            self.problem.emit(
                UserError(
                    "This project is open for reading only",
                    where=self.project.name,
                    action=self.project.read_only_reason,
                )
            )
            return False
        return True

    def _submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        assert self._writer is not None, "no project is open"
        future = self._writer.submit(work, *arguments)
        self._last_write = future
        self._pending += 1
        if self._pending == 1:
            self.saved_changed.emit(False)
        self._threads.after(future, self._written)
        return future

    def _written(self, future: Future[Any]) -> None:
        self._pending = max(0, self._pending - 1)
        error = future.exception()
        if error is not None:
            self.problem.emit(as_user_error(error, "The change could not be saved"))
        if self._pending == 0:
            self.saved_changed.emit(True)

    def _problem_from_thread(self, error: UserError) -> None:
        self._threads.tell(lambda: self.problem.emit(error))
