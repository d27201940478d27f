"""What models said about images: asks the worker, keeps the answers in the project's class numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from segstudio.core.class_space import ClassSpace
from segstudio.core.errors import UserError
from segstudio.core.project import Project
from segstudio.ipc import MappedArray
from segstudio.runtime.jobs import JobQueue, job_of_call
from segstudio.runtime.mask_result import MaskResult, Switches, image_key, prediction_key
from segstudio.runtime.run_costs import RunCost, RunCosts
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.session import ProjectSession
from segstudio.runtime.true_labels import labels_for
from segstudio.runtime.worker_client import Call, WorkerClient

BUDGET_BYTES = 768 * 2**20
_IN_FRONT = 50


@dataclass(slots=True)
class _Request:
    runnable: RunnableModel
    switches: dict[str, Any]
    call: Call | None = None
    cancelled: bool = False
    truth: MappedArray | Literal[False] | None = None  # False: looked up, and there are no labels


class Predictions(QObject):
    """Predictions at hand, least recently used dropped first.

    `ready` comes when a result can be had by `get`; `space_changed` when classes were added or the
    numbering changed (every result is renumbered by then).
    """

    ready = Signal(str, int)
    failed = Signal(str, int, object)
    cancelled = Signal(str, int)
    asked = Signal(str, int)
    space_changed = Signal()
    _translated = Signal(object)

    def __init__(
        self,
        session: ProjectSession,
        worker: WorkerClient,
        reader: WorkerClient,
        jobs: JobQueue | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._worker = worker
        self._reader = reader
        self._jobs = jobs
        self._results: OrderedDict[tuple[str, int], MaskResult] = OrderedDict()
        self._models: dict[str, RunnableModel] = {}
        self._requests: dict[tuple[str, int], _Request] = {}
        self.costs = RunCosts(worker, self)
        self._space = ClassSpace(())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="class-numbers")
        self._translated.connect(self._take_translated)
        session.opened.connect(self._project_changed)
        session.closed.connect(self._project_changed)
        session.classes_changed.connect(self._renumber)
        session.edits.drawn.connect(self._forget_made_from_labels)
        session.undone.connect(lambda *_: self._forget_made_from_labels())
        self._project_changed()

    @property
    def space(self) -> ClassSpace:
        return self._space

    def get(self, key: str, image_id: int) -> MaskResult | None:
        result = self._results.get((key, image_id))
        if result is not None:
            self._results.move_to_end((key, image_id))
        return result

    def keys_of(self, image_id: int) -> list[str]:
        """The keys of all results there are for an image."""
        return [key for key, found in self._results if found == image_id]

    def is_pending(self, key: str, image_id: int) -> bool:
        return (key, image_id) in self._requests

    def request(
        self,
        runnable: RunnableModel,
        image_id: int,
        *,
        switches: Switches | None = None,
        priority: int = _IN_FRONT,
        job: bool = True,
    ) -> str:
        """Asks for a prediction unless it is here or under way; gives its key."""
        key = prediction_key(runnable, switches)
        slot = (key, image_id)
        self._models[key] = runnable
        if slot in self._results or slot in self._requests:
            return key
        request = _Request(runnable, dict(switches or {}))
        self._requests[slot] = request
        record = self._session.current
        image = self._session.image
        pixels = None
        if record is not None and record.id == image_id and image is not None:
            pixels = image.descriptor()
        if pixels is not None:
            self._predict(slot, request, pixels, image, priority, job)
        else:
            self._read_first(slot, request, priority, job)
        self.asked.emit(key, image_id)
        return key

    def cost(self, result: MaskResult) -> RunCost:
        """What the run behind a result takes, as far as it is known; `costs.changed` follows."""
        return self.costs.of(result, self._models.get(result.key))

    def cancel(self, key: str, image_id: int) -> None:
        request = self._requests.get((key, image_id))
        if request is not None:
            request.cancelled = True
            if request.call is not None:
                request.call.cancel()

    def forget(self, image_id: int | None = None) -> None:
        """Drops results, of one image or of all."""
        for slot in [slot for slot in self._results if image_id in (None, slot[1])]:
            del self._results[slot]

    def _forget_made_from_labels(self, image_id: int | None = None) -> None:
        """The labels of this image are others now; None: of the image in front."""
        if image_id is None and self._session.current is not None:
            image_id = self._session.current.id
        for slot, result in list(self._results.items()):
            if slot[1] == image_id and result.info.get("from_labels"):
                del self._results[slot]

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    # -- asking --------------------------------------------------------------------------------------

    def _read_first(self, slot: tuple[str, int], request: _Request, priority: int, job: bool) -> None:
        """The picture is not at hand: let the reader decode it."""
        path = str(self._session.path(slot[1]))
        call = self._reader.request("header", path=path, page=0, priority=priority)
        request.call = call

        def decode(values: dict[str, Any]) -> None:
            try:
                memory = MappedArray.create((int(values["height"]), int(values["width"]), 3), "u1")
            except OSError as error:
                self._fail(slot, _no_memory(error))
                return
            second = self._reader.request(
                "rgb", path=path, page=0, out=memory.descriptor(), view=None, priority=priority
            )
            request.call = second
            second.finished.connect(
                lambda _values: self._predict(slot, request, memory.descriptor(), memory, priority, job)
            )
            self._follow_end(slot, second)

        call.finished.connect(decode)
        self._follow_end(slot, call)

    def _predict(
        self,
        slot: tuple[str, int],
        request: _Request,
        pixels: dict[str, Any],
        keep: object,
        priority: int,
        job: bool,
    ) -> None:
        """`keep` owns the memory of `pixels` and must live as long as the request."""
        if request.switches and request.truth is None and self._session.project is not None:
            # A switched part may work from the picture's labels (GT-OCR).
            classes_of = _classes_of({}, request.runnable)

            def look(project: Project) -> MappedArray | UserError | None:
                try:
                    return labels_for(project, slot[1], *classes_of)
                except UserError as error:
                    return error
                except OSError as error:
                    return _no_memory(error)

            def take_truth(truth: MappedArray | UserError | None) -> None:
                if isinstance(truth, UserError):
                    self._fail(slot, truth)
                    return
                request.truth = truth if truth is not None else False
                if slot in self._requests and not request.cancelled:
                    self._predict(slot, request, pixels, keep, priority, job)
                else:
                    self._cancelled(slot)

            self._session.read(look, take_truth)
            return
        height, width = int(pixels["shape"][0]), int(pixels["shape"][1])
        classes = max(len(request.runnable.class_names), int(request.runnable.ref.get("num_classes") or 0))
        try:
            labels = MappedArray.create((height, width), "u2" if classes > 254 else "u1")
            confidence = MappedArray.create((height, width), "u1")
            entropy = MappedArray.create((height, width), "u1")
        except OSError as error:
            self._fail(slot, _no_memory(error))
            return
        call = self._worker.request(
            "predict",
            priority=priority,
            model={**request.runnable.ref, "switches": request.switches},
            image=pixels,
            labels=labels.descriptor(),
            confidence=confidence.descriptor(),
            entropy=entropy.descriptor(),
            truth=request.truth.descriptor() if isinstance(request.truth, MappedArray) else None,
            keep=True,
            key=image_key(slot[1]),
        )
        request.call = call
        kept = (confidence, entropy)

        def take(info: dict[str, Any]) -> None:
            assert keep is not None
            self._take(slot, request, labels, kept, info)

        call.finished.connect(take)
        self._follow_end(slot, call)
        if job and self._jobs is not None:
            self._jobs.add(job_of_call(f"{request.runnable.full_title} on this image", call))
        if request.cancelled:
            call.cancel()

    def _follow_end(self, slot: tuple[str, int], call: Call) -> None:
        call.failed.connect(lambda error: self._fail(slot, error))
        call.cancelled.connect(lambda: self._cancelled(slot))

    def _fail(self, slot: tuple[str, int], error: UserError) -> None:
        if self._requests.pop(slot, None) is not None:
            self.failed.emit(*slot, error)

    def _cancelled(self, slot: tuple[str, int]) -> None:
        if self._requests.pop(slot, None) is not None:
            self.cancelled.emit(*slot)

    # -- answers -------------------------------------------------------------------------------------

    def _take(
        self,
        slot: tuple[str, int],
        request: _Request,
        labels: MappedArray,
        kept: tuple[MappedArray, ...],
        info: dict[str, Any],
    ) -> None:
        if slot not in self._requests:
            return
        self._add_model(info, request.runnable)
        self._translate(slot, labels, kept, info)

    def _add_model(self, info: Mapping[str, Any], runnable: RunnableModel) -> NDArray[np.int64]:
        """The model's classes in the common numbering; tells everybody where it grew."""
        names, colors = _classes_of(info, runnable)
        before = self._space.size
        places = self._space.add_model(names, colors)
        if self._space.size != before:
            self.space_changed.emit()
        return places

    def _translate(
        self,
        slot: tuple[str, int],
        labels: MappedArray,
        kept: tuple[MappedArray, ...],
        info: Mapping[str, Any],
    ) -> None:
        """Renumbers in a thread (a large map takes tens of milliseconds), then publishes."""
        runnable, space = self._models[slot[0]], self._space
        places = space.add_model(*_classes_of(info, runnable))

        def work() -> tuple[tuple[str, int], ClassSpace, MaskResult]:
            translated = space.translated(labels.array, places)
            shared = labels
            if translated is not labels.array:
                shared = MappedArray.create(translated.shape, translated.dtype)
                shared.array[...] = translated
            confidence, entropy = (array.array for array in kept)
            result = MaskResult(
                slot[0], slot[1], shared.array, confidence, entropy, info, shared, labels, kept
            )
            return slot, space, result

        def tell(future: Future[tuple[tuple[str, int], ClassSpace, MaskResult]]) -> None:
            if not future.cancelled():
                self._translated.emit(future)

        self._thread.submit(work).add_done_callback(tell)

    def _take_translated(self, future: Future[tuple[tuple[str, int], ClassSpace, MaskResult]]) -> None:
        slot, space, result = future.result()
        if space is not self._space:  # classes changed meanwhile
            self._translate(slot, result.raw, result.kept, result.info)
            return
        self._requests.pop(slot, None)
        self._results[slot] = result
        self._results.move_to_end(slot)
        self._trim(result.image_id)
        self.ready.emit(*slot)

    def _trim(self, in_use: int) -> None:
        total = sum(result.nbytes for result in self._results.values())
        for slot in list(self._results):
            if total <= BUDGET_BYTES:
                return
            if slot[1] != in_use:
                total -= self._results.pop(slot).nbytes

    # -- the project ---------------------------------------------------------------------------------

    def _project_changed(self) -> None:
        for key, image_id in list(self._requests):
            self.cancel(key, image_id)
        self._requests.clear()
        self._results.clear()
        self._renumber()

    def _renumber(self) -> None:
        project = self._session.project
        chosen = {} if project is None else dict(project.settings.get("predictions.class_names", {}))
        self._space = ClassSpace(self._session.classes, chosen)
        results, self._results = self._results, OrderedDict()
        for slot, result in results.items():
            self._translate(slot, result.raw, result.kept, result.info)
        self.space_changed.emit()


def _classes_of(
    info: Mapping[str, Any], runnable: RunnableModel
) -> tuple[list[str], list[tuple[int, int, int]]]:
    told = info.get("classes") or ()
    if told:
        names = [str(entry["name"]) for entry in told]
        return names, [(int(c[0]), int(c[1]), int(c[2])) for c in (entry["color"] for entry in told)]
    return list(runnable.class_names), list(runnable.class_colors)


def _no_memory(error: OSError) -> UserError:
    return UserError(
        "There is no room for the masks of this picture",
        action="Close other programs or free some disk space.",
        details=str(error),
    )
