"""The labels of the image in front and their changes: strokes, undo and redo, pixels by class.

A stroke is painted into `label_map` at once and is handed to the writer when it is finished. What may take
longer than a frame (a fill, a big polygon, comparing what a huge stroke changed, a step back) happens on a
thread. There is one such change at a time; the next one starts from the result of the one before.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from PySide6.QtCore import QObject, QRect, Signal

from segstudio.core.class_counts import count_changes, count_values
from segstudio.core.edits import Edit, StrokeRecorder
from segstudio.core.label_map import TILE, LabelMap, Rect
from segstudio.core.project import Project
from segstudio.core.records import AppliedEdit, HistoryRow
from segstudio.runtime.hand_over import HandOver
from segstudio.runtime.saving import Saving

_READY_SECONDS = 5.0
_FEW_TILES = 48  # compared in 2 ms; more are compared on the thread


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
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="label changes")
        self._changing: tuple[Future[Any], Callable[[], None]] | None = None
        self._waiting: deque[Callable[[], object]] = deque()  # wished for while a change is under way
        self._recorder: StrokeRecorder | None = None
        self.label_map: LabelMap | None = None
        self.class_counts: dict[int, int] = {}

    # -- which image -----------------------------------------------------------------------------------

    def show(self, project: Project, image_id: int) -> None:
        """Another image is in front; its labels come with `load`."""
        self.leave()
        self._project, self._image = project, image_id

    def leave(self) -> None:
        """No image is in front: a stroke under way is dropped, what the thread changes is finished."""
        self._recorder = None
        self._finish_change()
        self._waiting.clear()
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
            return labels, count_values(labels.array)

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
        if not self._finish_change():
            return None
        if self._recorder is None:
            self._recorder = StrokeRecorder(self.label_map)
        return self._recorder

    def finish_stroke(self, tool: str, class_index: int) -> None:
        """Hand the recorded change to the writer; `saved_changed(True)` when it is durable."""
        recorder, self._recorder = self._recorder, None
        image_id, project = self._image, self._project
        if recorder is None or image_id is None or project is None:
            return
        if recorder.tiles > _FEW_TILES:
            self._change(recorder, project, image_id, lambda: recorder.finish(tool, class_index), None)
            return
        edit = recorder.finish(tool, class_index)
        if edit is None:
            return
        self._count(edit, recorder.label_map)
        future = self._saving.submit(project.commit, image_id, edit)
        self._threads.after(future, lambda done: self._committed(image_id, done))
        self.drawn.emit(image_id)

    def change(
        self, tool: str, class_index: int, work: Callable[[StrokeRecorder], object], *, pixels: int = -1
    ) -> bool:
        """Let `work(recorder)` change labels as one edit; False where nothing may be changed.

        It runs on a thread, and `labels_changed` follows, unless `pixels` (how many it looks at, -1 unknown)
        says that it is done within a frame. While another change is under way it waits for that one.
        """
        if not self.is_free:
            self.when_free(lambda: self.change(tool, class_index, work, pixels=pixels))
            return self._saving.allowed()
        recorder = self.begin_stroke()
        image_id, project = self._image, self._project
        if recorder is None or image_id is None or project is None:
            return False
        if 0 <= pixels <= _FEW_TILES * TILE * TILE:
            work(recorder)
            touched = recorder.extent
            self.finish_stroke(tool, class_index)
            if touched is not None:
                self.labels_changed.emit(_where(touched))
            return True
        self._recorder = None

        def act() -> Edit | None:
            work(recorder)
            return recorder.finish(tool, class_index)

        self._change(recorder, project, image_id, act, self.labels_changed.emit)
        return True

    def _change(
        self,
        recorder: StrokeRecorder,
        project: Project,
        image_id: int,
        act: Callable[[], Edit | None],
        show: Callable[[QRect], None] | None,
    ) -> None:
        """Run `act` on the thread, commit the edit it gives, and `show` where it changed something."""
        changing = self._thread.submit(act)

        def commit() -> None:
            edit = changing.result()
            if edit is not None:
                project.commit(image_id, edit)

        def end() -> None:
            edit = changing.result() if changing.exception() is None else None
            if edit is None:
                return
            if self.label_map is recorder.label_map:
                self._count(edit, recorder.label_map)
                if show is not None:
                    show(_where(edit.rect))
            self.drawn.emit(image_id)

        committed = self._saving.submit(commit)
        self._threads.after(committed, lambda done: self._committed(image_id, done))
        self._wait_for(changing, end)

    def cancel_stroke(self) -> None:
        """Put back what the stroke under way has changed."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        if recorder.tiles <= _FEW_TILES:
            self._put_back(recorder.cancel())
            return
        future = self._thread.submit(recorder.cancel)
        self._wait_for(future, lambda: self._put_back(future.result()))

    def _put_back(self, changed: Rect | None) -> None:
        if changed is not None:
            self.labels_changed.emit(_where(changed))

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
        project, image_id, labels = self._project, self._image, self.label_map
        if not self._saving.allowed() or project is None or image_id is None or labels is None:
            return
        self.cancel_stroke()
        if not self.is_free:
            self.when_free(lambda: self._start_step(redo=redo))
            return
        take = project.redo if redo else project.undo

        def step() -> AppliedEdit | None:
            applied = take(image_id)
            if applied is not None:
                applied.edit.apply(labels)
            return applied

        future = self._saving.submit(step)

        def end() -> None:
            applied = future.result() if future.exception() is None else None
            if applied is None or self.label_map is not labels:
                return
            self._count(applied.edit, labels)
            self.labels_changed.emit(_where(applied.edit.rect))
            self.history_changed.emit()
            self.undone.emit(applied.edit.tool, applied.edit.class_index, _where(applied.edit.rect), redo)

        self._wait_for(future, end)

    # -- what is under way on a thread -----------------------------------------------------------------

    @property
    def is_free(self) -> bool:
        """Whether the labels are in nobody's hands: what is begun now need not wait."""
        return self._changing is None

    def when_free(self, work: Callable[[], object]) -> None:
        """Run `work` at once, or in its turn after what is under way and what waits for that already."""
        if self.is_free and not self._waiting:
            work()
        else:
            self._waiting.append(work)

    def _wait_for(self, future: Future[Any], end: Callable[[], None]) -> None:
        """The labels are in the hands of another thread until `future` is done; then `end` runs here."""
        self._changing = (future, end)
        self._threads.after(future, lambda _done: self._end_change(future))

    def _finish_change(self) -> bool:
        """Wait for what is under way: the next change must start from its result. False where it takes
        too long."""
        end = time.monotonic() + _READY_SECONDS
        while self._changing is not None:
            future = self._changing[0]
            wait([future], max(0.0, end - time.monotonic()))
            if not future.done():
                return False
            self._end_change(future)
        return True

    def _end_change(self, future: Future[Any]) -> None:
        if self._changing is None or self._changing[0] is not future:
            return
        (_future, end), self._changing = self._changing, None
        end()
        while self._waiting and self.is_free:
            self._waiting.popleft()()

    def _count(self, edit: Edit, labels: LabelMap) -> None:
        """Keep the pixel counts of the classes up to date; counting a big stroke is not the window's work."""

        def done(delta: dict[int, int]) -> None:
            if self.label_map is labels:
                for index, change in delta.items():
                    self.class_counts[index] = self.class_counts.get(index, 0) + change
                self.counts_changed.emit()

        self._threads.load(lambda: count_changes(edit, labels.ignore), done)


def _where(rect: Rect) -> QRect:
    return QRect(rect.x0, rect.y0, rect.width, rect.height)
