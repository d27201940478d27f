"""The labels of the image in front and their changes: strokes, undo and redo, pixels by class.

A stroke is painted into `label_map` at once and is handed to the writer when it is finished. There is one
stroke and one step back at a time; the next one starts from the result of the one before.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from PySide6.QtCore import QObject, QRect, Signal

from segstudio.core.edits import Edit, StrokeRecorder
from segstudio.core.label_map import LabelMap
from segstudio.core.project import Project
from segstudio.core.records import AppliedEdit, HistoryRow
from segstudio.runtime.hand_over import HandOver
from segstudio.runtime.label_counts import count_changes, count_classes
from segstudio.runtime.saving import Saving

_READY_SECONDS = 5.0


class LabelEdits(QObject):
    """`label_map` is None until `loaded`; `class_counts` are pixels by value, the unlabelled one included."""

    loaded = Signal(int, int, int)  # image id, width, height
    labels_changed = Signal(QRect)  # image pixels
    history_changed = Signal()
    counts_changed = Signal()
    drawn = Signal(int)  # image id: a new edit, not durable yet
    undone = Signal(str, int, QRect, bool)  # tool, class index, where, True for redo

    def __init__(self, saving: Saving, threads: HandOver, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._saving = saving
        self._threads = threads
        self._project: Project | None = None
        self._image: int | None = None
        self._step: Future[AppliedEdit | None] | None = None
        self._recorder: StrokeRecorder | None = None
        self.label_map: LabelMap | None = None
        self.class_counts: dict[int, int] = {}

    # -- which image -----------------------------------------------------------------------------------

    def show(self, project: Project, image_id: int) -> None:
        """Another image is in front; its labels come with `load`."""
        self.leave()
        self._project, self._image = project, image_id

    def leave(self) -> None:
        """No image is in front: a stroke under way is put back, a step under way is finished."""
        self.cancel_stroke()
        self._finish_step()
        self.forget()
        self._project = self._image = None

    def forget(self) -> None:
        """The labels at hand are out of date."""
        self.label_map, self.class_counts = None, {}

    def load(self, width: int, height: int) -> None:
        """Read the labels of the image in front, which has this size in pixels; `loaded` follows."""
        project, image_id, waiting_for = self._project, self._image, self._saving.newest
        if project is None or image_id is None:
            return

        def read() -> tuple[LabelMap, dict[int, int]]:
            if waiting_for is not None:
                waiting_for.exception()  # the labels must include every stroke drawn before
            record = project.image(image_id)
            if not project.read_only:
                project.set_size(image_id, width, height)
            if project.read_only and record.width is None:
                return LabelMap.unlabelled(width, height), {}
            labels = project.load_labels(image_id)
            return labels, count_classes(labels)

        def done(found: tuple[LabelMap, dict[int, int]]) -> None:
            if self._project is project and self._image == image_id and self.label_map is None:
                self.label_map, self.class_counts = found
                self.loaded.emit(image_id, width, height)
                self.history_changed.emit()

        self._threads.load(read, done)

    # -- strokes ---------------------------------------------------------------------------------------

    def begin_stroke(self) -> StrokeRecorder | None:
        """Start recording changes of `label_map`; None (with a `problem`) where nothing may be changed."""
        if not self._saving.allowed() or self.label_map is None:
            return None
        self._finish_step()
        if self._recorder is None:
            self._recorder = StrokeRecorder(self.label_map)
        return self._recorder

    def finish_stroke(self, tool: str, class_index: int) -> Edit | None:
        """Hand the recorded change to the writer; `saved_changed(True)` when it is durable."""
        recorder, self._recorder = self._recorder, None
        image_id, project = self._image, self._project
        if recorder is None or image_id is None or project is None:
            return None
        edit = recorder.finish(tool, class_index)
        if edit is None:
            return None
        self._count(edit, recorder.label_map)
        future = self._saving.submit(project.commit, image_id, edit)
        self._threads.after(future, lambda done: self._committed(image_id, done))
        self.drawn.emit(image_id)
        return edit

    def cancel_stroke(self) -> None:
        """Put back what the stroke under way has changed."""
        recorder, self._recorder = self._recorder, None
        changed = recorder.cancel() if recorder is not None else None
        if changed is not None:
            self.labels_changed.emit(QRect(changed.x0, changed.y0, changed.width, changed.height))

    def _committed(self, image_id: int, future: Future[Any]) -> None:
        labels = self.label_map
        if image_id != self._image:
            return
        if future.exception() is None:
            self.history_changed.emit()
        elif labels is not None:
            self.forget()  # the stroke is not in the project: show what is
            self.load(labels.width, labels.height)

    # -- steps -----------------------------------------------------------------------------------------

    def undo(self) -> None:
        """Take back the newest edit of the image in front; `undone` follows."""
        self._start_step(redo=False)

    def redo(self) -> None:
        """Bring back the edit undone last; `undone` follows."""
        self._start_step(redo=True)

    def history(self, limit: int = 100) -> list[HistoryRow]:
        """The last edits of the image in front, newest first."""
        if self._project is None or self._image is None:
            return []
        return self._project.history(self._image, limit)

    @property
    def can_step(self) -> tuple[bool, bool]:
        """Whether there is something to undo, and something to redo, on the image in front.

        While a change is on its way to the disk both are possible: a quick hand is never refused.
        """
        if not self._saving.saved:
            return True, True
        rows = self.history()
        return any(not row.undone for row in rows), any(row.undone for row in rows)

    def _start_step(self, *, redo: bool) -> None:
        project, image_id = self._project, self._image
        if not self._saving.allowed() or project is None or image_id is None or self.label_map is None:
            return
        self._finish_step()
        self.cancel_stroke()
        future = self._saving.submit(project.redo if redo else project.undo, image_id)
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
        self.labels_changed.emit(changed)
        self.history_changed.emit()
        self.undone.emit(applied.edit.tool, applied.edit.class_index, changed, bool(redo))

    def _count(self, edit: Edit, labels: LabelMap) -> None:
        """Keep the pixel counts of the classes up to date; counting a big stroke is not the window's work."""

        def done(delta: dict[int, int]) -> None:
            if self.label_map is labels:
                for index, change in delta.items():
                    self.class_counts[index] = self.class_counts.get(index, 0) + change
                self.counts_changed.emit()

        self._threads.load(lambda: count_changes(edit, labels.ignore), done)
