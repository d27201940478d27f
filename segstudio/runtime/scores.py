"""How well predictions fit the labels: a confusion matrix for each model and image, and sums of them.

The reader process counts; the project keeps the matrices, so the mean IoU of any set of images and every
ranking is a sum of what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QTimer, Signal

from segstudio.core import metrics
from segstudio.core.label_map import converted, ignore_value
from segstudio.core.project import Project
from segstudio.ipc import MappedArray
from segstudio.runtime.image_runs import Task
from segstudio.runtime.mask_result import MaskResult, prediction_key
from segstudio.runtime.predictions import Predictions
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.score_totals import Confusion, ScoreTotals, added_up
from segstudio.runtime.session import ProjectSession

_SETTLE_MS = 250


class Scores(QObject):
    """Matrices (K, K + 1) at hand. Rows are the labels, columns the prediction, both in `Predictions.space`;
    the last column is what a model saw as none of the classes.

    `changed(key, image id)` comes with every new matrix and with every one that is no longer true.
    """

    changed = Signal(str, int)
    _arrived = Signal(object)  # callable to run in the window's thread

    def __init__(
        self, session: ProjectSession, predictions: Predictions, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._predictions = predictions
        self._matrices: dict[tuple[str, int], Confusion | None] = {}  # None: the project has none either
        self._totals = ScoreTotals()
        self._read: set[str] = set()  # models whose kept matrices are all at hand
        self._adding: dict[str, frozenset[int]] = {}  # models and images that are being added up
        self._repainted: set[int] = set()  # images whose kept matrices may have changed since
        self._counting: set[tuple[str, int]] = set()
        self._truth: tuple[int, MappedArray] | None = None
        self._wanted: set[tuple[str, int]] = set()
        # Images painted on since they came to the front: what the project keeps may be of older labels
        # until the stroke's commit has returned.
        self._painted: set[int] = set()
        # Counted while something was still being written: stored when the project has caught up.
        self._to_store: dict[tuple[str, int], Confusion] = {}
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="labels to score")
        self._arrived.connect(lambda work: work())
        self._settle = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        self._settle.timeout.connect(self.count_current)
        predictions.ready.connect(self._count)
        predictions.space_changed.connect(self.forget)
        session.labels_loaded.connect(self.count_current)
        session.labels_changed.connect(self._labels_changed)
        session.current_changed.connect(self._image_changed)
        session.closed.connect(self.forget)
        session.saved_changed.connect(self._store_later)

    def forget(self) -> None:
        self._matrices.clear()
        self._totals.clear()
        self._read.clear()
        self._adding.clear()
        self._repainted.clear()
        self._counting.clear()
        self._wanted.clear()
        self._painted.clear()
        self._to_store.clear()
        self._forget_truth()

    def close(self) -> None:
        """No answer is taken any more."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def get(self, key: str, image_id: int) -> Confusion | None:
        """The matrix (K, K + 1) of one model on one image; None where it is not counted (yet)."""
        slot = (key, image_id)
        if image_id in self._painted:
            return self._matrices.get(slot)
        if slot not in self._matrices:
            project = self._session.project
            kept = None if project is None else project.confusion(image_id, key)
            self._keep(slot, _usable(kept, self._size()))
        return self._matrices[slot]

    def total(self, key: str, image_ids: Iterable[int]) -> tuple[Confusion, int]:
        """The sum over images that are scored and labelled, and how many those are.

        It is added up on a thread: of a new model or selection `changed` follows, until then it is 0.
        """
        self._totals.select(frozenset(image_ids))
        size, found = self._size(), self._totals.get(key)
        if found is None:
            self._add_up(key)
            return np.zeros((size, size + 1), np.int64), 0
        total, count = found
        return (total if len(total) >= size else metrics.padded(total, size)), count

    def at_hand(self, key: str) -> dict[int, Confusion]:
        """The matrices of a model by image id; `changed` follows when the project's were read, too."""
        if key not in self._read:
            self._add_up(key)
        found = ((slot[1], matrix) for slot, matrix in self._matrices.items() if slot[0] == key)
        return {image_id: matrix for image_id, matrix in found if matrix is not None}

    def _add_up(self, key: str) -> None:
        """Reads, once, what the project keeps of a model, and adds the selected images up."""
        project, selected, size = self._session.project, self._totals.selected, self._size()
        if project is None or self._adding.get(key) == selected:
            return
        self._adding[key] = selected
        at_hand = {slot[1]: matrix for slot, matrix in self._matrices.items() if slot[0] == key}
        must_read = key not in self._read

        def work(project: Project) -> tuple[dict[int, Confusion | None], Confusion, int]:
            kept = project.confusions(key) if must_read else {}
            fresh = {each: _usable(kept[each], size) for each in kept if each not in at_hand}
            every = {**fresh, **at_hand}
            return fresh, *added_up((every.get(each) for each in selected), size)

        def take(found: tuple[dict[int, Confusion | None], Confusion, int]) -> None:
            if self._closed or self._session.project is not project or self._adding.get(key) != selected:
                return
            del self._adding[key]
            self._read.add(key)
            fresh, total, count = found
            before = {**fresh, **at_hand}
            for image_id, matrix in fresh.items():
                if image_id not in self._repainted:
                    self._matrices.setdefault((key, image_id), matrix)
            if selected == self._totals.selected:
                self._totals.put(key, total, count)
                for image_id in selected:  # what changed while it was added up
                    now = self._matrices.get((key, image_id))
                    if now is not before.get(image_id):
                        self._totals.replace((key, image_id), before.get(image_id), now)
            current = self._session.current
            self.changed.emit(key, current.id if current is not None else -1)

        self._session.read(work, take)

    def _keep(self, slot: tuple[str, int], matrix: Confusion | None) -> None:
        self._totals.replace(slot, self._matrices.get(slot), matrix)
        self._matrices[slot] = matrix

    def want(self, key: str, image_id: int) -> None:
        """Counts this one as soon as its prediction is there, also when the image is not in front."""
        self._wanted.add((key, image_id))
        self._count(key, image_id)

    def want_missing(
        self, models: Sequence[tuple[RunnableModel, dict[str, Any]]], image_ids: Iterable[int]
    ) -> list[Task]:
        """The predictions that labelled images still lack for a score, which counts them when they come."""
        tasks: list[Task] = []
        for image_id in image_ids:
            record = self._session.images.find(image_id)
            if record is None or record.status == "none" or record.problem:
                continue
            for runnable, switches in models:
                key = prediction_key(runnable, switches)
                if self.get(key, image_id) is None:
                    self.want(key, image_id)
                    tasks.append((runnable, switches, image_id))
        return tasks

    # ------------------------------------------------------------------------------------------------

    def _size(self) -> int:
        return max(self._predictions.space.size, 1)

    def _labels_changed(self, _rect: object) -> None:
        current = self._session.current
        if current is None:
            return
        self._forget_truth()
        self._painted.add(current.id)
        self._repainted.add(current.id)
        for slot in [slot for slot in self._matrices if slot[1] == current.id]:
            self._totals.replace(slot, self._matrices.pop(slot), None)
        self._settle.start()

    def _image_changed(self) -> None:
        self._painted.clear()
        self._forget_truth()

    def _forget_truth(self) -> None:
        self._truth = None

    def count_current(self) -> None:
        """Counts every prediction there is for the image in front, such as those made before we listened."""
        current = self._session.current
        if current is not None:
            for key in self._predictions.keys_of(current.id):
                self._count(key, current.id)

    def _count(self, key: str, image_id: int) -> None:
        """A prediction is there: count it against the labels."""
        slot = (key, image_id)
        result = self._predictions.get(key, image_id)
        if result is None or slot in self._counting:
            return
        news = slot not in self._matrices or slot in self._wanted
        if self.get(key, image_id) is not None:
            self._wanted.discard(slot)
            if news:
                self.changed.emit(key, image_id)
            return
        current = self._session.current
        if current is not None and current.id == image_id:
            truth = self._truth_in_front(image_id, result)
            if truth is not None:
                self._counting.add(slot)
                self._count_against(slot, truth, result)
        elif slot in self._wanted:
            self._counting.add(slot)
            self._load_truth(slot, result)

    def _count_against(self, slot: tuple[str, int], truth: MappedArray, result: MaskResult) -> None:
        project = self._session.project
        in_front = self._truth is not None and self._truth[1] is truth

        def keep(matrix: Confusion) -> None:
            self._counting.discard(slot)
            if self._session.project is not project:
                return
            if in_front and (self._truth is None or self._truth[1] is not truth):
                self._settle.start()  # labels changed while it was counted
                return
            self._wanted.discard(slot)
            self._keep(slot, matrix)
            if project is not None and not project.read_only:
                self._to_store[slot] = matrix
                self._store_later(self._session.saving.saved)
            self.changed.emit(*slot)

        self._ask(truth, result, keep, failed=lambda: self._counting.discard(slot))

    def _store_later(self, saved: bool) -> None:
        """Keeps in the project what was counted, once the labels it was counted against are stored."""
        project = self._session.project
        if not saved or project is None or not self._to_store:
            return
        waiting, self._to_store = self._to_store, {}
        for slot, matrix in waiting.items():
            if self._matrices.get(slot) is matrix:  # else the labels changed meanwhile
                self._session.write(project.put_confusion, slot[1], slot[0], matrix)

    def _load_truth(self, slot: tuple[str, int], result: MaskResult) -> None:
        """The labels of an image that is not in front, read in a thread."""
        project = self._session.project
        if project is None:
            self._counting.discard(slot)
            return

        def load() -> MappedArray | None:
            labels = project.load_labels(slot[1])
            return self._shared(labels.array) if labels.array.shape == result.labels.shape else None

        def take(done: Future[MappedArray | None]) -> None:
            truth = None if done.exception() is not None else done.result()
            if truth is None:
                self._counting.discard(slot)
                self._wanted.discard(slot)
                self._keep(slot, None)
                self.changed.emit(*slot)
                return
            self._count_against(slot, truth, result)

        self._thread.submit(load).add_done_callback(
            lambda done: None if done.cancelled() else self._arrived.emit(lambda: take(done))
        )

    def _truth_in_front(self, image_id: int, result: MaskResult) -> MappedArray | None:
        """The labels of the image in front as the reader can see them."""
        labels = self._session.label_map
        if labels is None or labels.array.shape != result.labels.shape:
            return None
        if self._truth is None or self._truth[0] != image_id:
            self._truth = (image_id, self._shared(labels.array))
        return self._truth[1]

    def _shared(self, array: NDArray[Any]) -> MappedArray:
        """A copy for the reader in the common numbering; classes that do not count are unlabelled in it."""
        wide = np.promote_types(self._predictions.space.dtype, array.dtype)
        array = array if array.dtype == wide else converted(array, wide)
        memory = MappedArray.create(array.shape, array.dtype)
        memory.array[...] = array
        for index in self._predictions.space.ignored:
            memory.array[array == index] = ignore_value(array.dtype)
        return memory

    def _ask(
        self,
        truth: MappedArray,
        result: MaskResult,
        then: Callable[[Confusion], None],
        failed: Callable[[], object] | None = None,
    ) -> None:
        call = self._session.reader.request(
            "confusion",
            truth=truth.descriptor(),
            prediction=result.shared.descriptor(),
            num_classes=self._size(),
            ignore=ignore_value(truth.array.dtype),
        )

        def take(values: dict[str, Any]) -> None:
            # `truth` and `result` are named so that their memory outlives the request.
            assert truth is not None and result is not None
            if self._closed:
                return  # the reader outlives a room that is taken apart
            then(np.asarray(values["confusion"], np.int64))

        call.finished.connect(take)
        if failed is not None:
            call.failed.connect(lambda _error: failed())
            call.cancelled.connect(lambda: failed())


def _usable(kept: Confusion | None, size: int) -> Confusion | None:
    """A kept matrix, unless it is of fewer classes than there are now."""
    if kept is None or len(kept) < size:
        return None
    return metrics.padded(kept, len(kept))
