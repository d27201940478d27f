"""A model's prediction as a proposal: regions a person accepts or rejects one by one.

Proposed are pixels on which the model is sure enough and that have no label yet (or, when asked, another
one). Nothing is written before somebody accepts; an accepted region is one step that can be undone.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QRect, Signal, Slot

from segstudio.core.errors import UserError
from segstudio.core.label_map import LabelMap, Rect
from segstudio.runtime.mask_result import MaskResult
from segstudio.runtime.opencv import prepare_opencv
from segstudio.runtime.painting import Ink, fill_mask
from segstudio.runtime.predictions import Predictions
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.session import ProjectSession

MOST_REGIONS = 500
_LEAST_PIXELS = 24
_LEAST_SHARE = 2e-5


@dataclass(frozen=True, slots=True)
class Region:
    """One connected piece of one class. `number` is its value in the proposal's map, from 1 on."""

    number: int
    class_index: int
    rect: Rect
    pixels: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """`numbers` (H, W) uint16: which region a pixel belongs to, 0 = none. Largest regions first."""

    numbers: NDArray[np.uint16]
    regions: tuple[Region, ...]


def find_regions(
    predicted: NDArray[Any],
    confidence: NDArray[np.uint8] | None,
    labels: LabelMap,
    classes: Iterable[int],
    *,
    threshold: float = 0.5,
    over_labels: bool = False,
) -> Proposal:
    """The regions of `predicted` (H, W) that `labels` lacks.

    `confidence` (H, W) uint8 stands for 0-1; `threshold` in 0-1. With `over_labels` also pixels that have
    another label are proposed. Regions under 24 pixels (or 2e-5 of the image) are left out.
    """
    prepare_opencv()
    import cv2  # here, because only fills and proposals need it

    wanted = predicted != labels.array if over_labels else labels.array == labels.ignore
    if confidence is not None:
        wanted &= confidence >= round(threshold * 255)
    least = max(_LEAST_PIXELS, round(_LEAST_SHARE * predicted.size))
    found: list[tuple[int, int, Rect, NDArray[np.bool_]]] = []
    for index in classes:
        mask = (wanted & (predicted == index)).astype(np.uint8)
        if not mask.any():
            continue
        _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for piece in range(1, len(stats)):
            left, top, width, height, pixels = (int(value) for value in stats[piece])
            if pixels >= least:
                inside = pieces[top : top + height, left : left + width] == piece
                found.append((pixels, index, Rect(left, top, left + width, top + height), inside))
    found.sort(key=lambda item: -item[0])
    numbers = np.zeros(predicted.shape, np.uint16)
    regions = []
    for number, (pixels, index, rect, inside) in enumerate(found[:MOST_REGIONS], start=1):
        part = numbers[rect.y0 : rect.y1, rect.x0 : rect.x1]
        part[inside] = number
        sure = 1.0
        if confidence is not None:
            sure = float(confidence[rect.y0 : rect.y1, rect.x0 : rect.x1][inside].mean()) / 255
        regions.append(Region(number, index, rect, pixels, sure))
    return Proposal(numbers, tuple(regions))


class Proposals(QObject):
    """The proposal for the image in front. `changed` when regions came, went, or another is in hand."""

    changed = Signal()
    failed = Signal(object)  # UserError
    _found = Signal(object)

    def __init__(
        self, session: ProjectSession, predictions: Predictions, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._predictions = predictions
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="proposals")
        self._asked: tuple[str, int] | None = None
        self._result: MaskResult | None = None
        self._ticket = 0
        self._place = 0
        self.numbers: NDArray[np.uint16] | None = None
        self.regions: list[Region] = []
        self.threshold = 0.5
        self.over_labels = False
        self.milliseconds: float | None = None
        self._found.connect(self._take)
        predictions.ready.connect(self._ready)
        predictions.failed.connect(self._fail)
        predictions.cancelled.connect(self._cancelled)
        session.current_changed.connect(self.clear)
        session.closed.connect(self.clear)

    @property
    def is_running(self) -> bool:
        return self._asked is not None

    @property
    def current(self) -> Region | None:
        """The region in hand."""
        return self.regions[self._place] if self._place < len(self.regions) else None

    @property
    def place(self) -> int:
        """Which of the regions is in hand, from 0 on."""
        return self._place

    def run(self, model: RunnableModel) -> None:
        """Ask a model about the image in front."""
        record = self._session.current
        if record is None or self._session.label_map is None:
            return
        self.clear()
        key = self._predictions.request(model, record.id)
        self._asked = (key, record.id)
        self.changed.emit()
        if self._predictions.get(key, record.id) is not None:
            self._ready(key, record.id)

    def set_threshold(self, threshold: float) -> None:
        """Propose only pixels at least this sure, 0-1."""
        self.threshold = threshold
        self._look()

    def set_over_labels(self, over: bool) -> None:
        """Whether pixels that have another label are proposed as well."""
        self.over_labels = over
        self._look()

    def clear(self) -> None:
        """Drop the proposal."""
        self._ticket += 1
        self._asked, self._result, self.numbers, self.regions, self._place = None, None, None, [], 0
        self.milliseconds = None
        self.changed.emit()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def step(self, by: int) -> None:
        """Take the next (1) or the last (-1) region into the hand."""
        if self.regions:
            self._place = (self._place + by) % len(self.regions)
            self.changed.emit()

    def accept(self, locked: frozenset[int] = frozenset()) -> None:
        """Write the region in hand and go on to the next."""
        if self.current is not None:
            self._write([self.current], locked)

    def accept_class(self, locked: frozenset[int] = frozenset()) -> None:
        """Write every region of the class in hand."""
        if self.current is not None:
            index = self.current.class_index
            self._write([region for region in self.regions if region.class_index == index], locked)

    def accept_all(self, locked: frozenset[int] = frozenset()) -> None:
        """Write every region."""
        self._write(list(self.regions), locked)

    def reject(self) -> None:
        """Drop the region in hand and go on to the next."""
        if self.current is not None:
            self._drop([self.current])

    def _write(self, regions: list[Region], locked: frozenset[int]) -> None:
        regions = [region for region in regions if region.class_index not in locked]
        recorder = self._session.edits.begin_stroke() if regions and self.numbers is not None else None
        if recorder is None or self.numbers is None:
            return
        changed: Rect | None = None
        for region in regions:
            rect = region.rect
            mask = self.numbers[rect.y0 : rect.y1, rect.x0 : rect.x1] == region.number
            written = fill_mask(recorder, Ink(region.class_index, locked), rect, mask)
            if written is not None:
                changed = written if changed is None else changed.united(written)
        classes = {region.class_index for region in regions}
        self._session.edits.finish_stroke("proposal", classes.pop() if len(classes) == 1 else -1)
        if changed is not None:
            self._session.labels_changed.emit(QRect(changed.x0, changed.y0, changed.width, changed.height))
        self._drop(regions)

    def _drop(self, regions: list[Region]) -> None:
        gone = {region.number for region in regions}
        if self.numbers is not None:
            for region in regions:
                rect = region.rect
                part = self.numbers[rect.y0 : rect.y1, rect.x0 : rect.x1]
                part[part == region.number] = 0
        before = sum(region.number in gone for region in self.regions[: self._place])
        self.regions = [region for region in self.regions if region.number not in gone]
        self._place = min(self._place - before, max(0, len(self.regions) - 1))
        self.changed.emit()

    def _ready(self, key: str, image_id: int) -> None:
        if self._asked != (key, image_id):
            return
        self._asked = None
        self._result = self._predictions.get(key, image_id)
        if self._result is not None:
            spent = self._result.info.get("ms")
            self.milliseconds = float(spent) if spent is not None else None
        self._look()

    def _fail(self, key: str, image_id: int, error: UserError) -> None:
        if self._asked == (key, image_id):
            self._asked = None
            self.failed.emit(error)
            self.changed.emit()

    def _cancelled(self, key: str, image_id: int) -> None:
        if self._asked == (key, image_id):
            self._asked = None
            self.changed.emit()

    def _look(self) -> None:
        """Find the regions again, on a thread."""
        result, labels = self._result, self._session.label_map
        if result is None or labels is None:
            self.changed.emit()
            return
        self._ticket += 1
        ticket = self._ticket
        classes = [entry.id for entry in self._session.classes]
        confidence, threshold, over = result.confidence, self.threshold, self.over_labels

        def look() -> Proposal:
            return find_regions(
                result.labels, confidence, labels, classes, threshold=threshold, over_labels=over
            )

        future = self._thread.submit(look)
        future.add_done_callback(lambda done: self._found.emit((ticket, done)))

    @Slot(object)
    def _take(self, found: tuple[int, Any]) -> None:
        ticket, future = found
        if ticket != self._ticket or future.cancelled():
            return
        proposal: Proposal = future.result()
        self.numbers, self.regions, self._place = proposal.numbers, list(proposal.regions), 0
        self.changed.emit()
