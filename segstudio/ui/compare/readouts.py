"""What the panes say about the pixel under the pointer: class, confidence, right or wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray
from PySide6.QtGui import QColor

from segstudio.runtime.comparison import Comparison, Pane
from segstudio.runtime.mask_result import MaskResult
from segstudio.runtime.predictions import Predictions
from segstudio.ui.canvas.readout import Readout
from segstudio.ui.room import Services


class PaneReadouts:
    """Reads results and labels; `result_of` gives what is known of a pane on the image in front."""

    def __init__(
        self,
        services: Services,
        comparison: Comparison,
        predictions: Predictions,
        result_of: Callable[[Pane], MaskResult | None],
    ) -> None:
        self._services, self._session = services, services.session
        self._comparison, self._predictions = comparison, predictions
        self._result = result_of

    def reference_map(self, pane: Pane) -> tuple[NDArray[Any] | None, int]:
        """What this pane is held against: the ground truth or the model chosen as reference."""
        reference = self._comparison.reference
        shape = self._shape()
        if reference is not None:
            result = self._result(reference)
            if reference.number == pane.number or result is None:
                return None, -1
            return result.labels, -1
        labels = self._session.label_map
        if labels is None or not self.has_truth() or labels.array.shape != shape:
            return None, 255
        return labels.array, labels.ignore

    def _shape(self) -> tuple[int, int] | None:
        image = self._session.image
        return (image.height, image.width) if image is not None and image.width else None

    def has_truth(self) -> bool:
        """Whether the image in front has any label."""
        labels = self._session.label_map
        counts = self._session.class_counts
        return labels is not None and any(n > 0 for index, n in counts.items() if index != labels.ignore)

    def hovered(self, pixel: tuple[int, int] | None) -> None:
        """Tells the status bar what lies under the pointer."""
        status = self._services.status
        labels = self._session.label_map
        if pixel is None:
            status.leave()
            return
        index = -1
        if labels is not None and pixel[1] < labels.height and pixel[0] < labels.width:
            index = int(labels.array[pixel[1], pixel[0]])
        entry = self._session.class_of(index)
        status.pointed.emit(pixel, self._status_words(pixel, entry))

    def _status_words(self, pixel: tuple[int, int], entry: Any) -> tuple[str, Any] | None:
        """ "truth Pavement · 2 of 3 right" """
        if entry is None:
            return None
        seen = [self._class_at(pane, *pixel) for pane in self._comparison.models]
        known = [index for index in seen if index is not None]
        right = sum(index == entry.id for index in known)
        words = f"truth {entry.name}" + (f" · {right} of {len(known)} right" if known else "")
        return words, QColor(*entry.color)

    def _class_at(self, pane: Pane, x: int, y: int) -> int | None:
        result = self._result(pane)
        if result is None or y >= result.labels.shape[0] or x >= result.labels.shape[1]:
            return None
        return int(result.labels[y, x])

    def of(self, number: int) -> Callable[[int, int], Readout | None]:
        """The read-out of one pane, for its canvas."""

        def read(x: int, y: int) -> Readout | None:
            pane = self._comparison.pane(number)
            return None if pane is None else self.read(pane, x, y)

        return read

    def of_pair(self, first: int, second: int) -> Callable[[int, int], Readout | None]:
        """ "Car 0.71 | Road 0.55" """

        def read(x: int, y: int) -> Readout | None:
            panes = [self._comparison.pane(number) for number in (first, second)]
            found = [self.read(pane, x, y) for pane in panes if pane is not None]
            if len(found) < 2 or found[0] is None or found[1] is None:
                return None
            one, two = found
            return Readout(one.title, one.color, one.value, f"|  {two.title} {two.value}".rstrip())

        return read

    def read(self, pane: Pane, x: int, y: int) -> Readout | None:
        if pane.kind == "image":
            return Readout(f"{x}, {y}")
        if pane.kind == "truth":
            labels = self._session.label_map
            if labels is None or y >= labels.height or x >= labels.width:
                return None
            index = int(labels.array[y, x])
            entry = self._predictions.space.get(index)
            if entry is None:
                return Readout("Unlabelled", detail=f"{x}, {y}")
            return Readout(entry.name, entry.color, detail=f"{x}, {y}")
        index = self._class_at(pane, x, y)
        result = self._result(pane)
        if index is None or result is None:
            return None
        entry = self._predictions.space.get(index)
        if entry is None:
            return Readout("Unlabelled")
        value = "" if result.confidence is None else f"{result.confidence[y, x] / 255:.2f}"
        verdict, detail = self._verdict(pane, index, x, y)
        return Readout(entry.name, entry.color, value, detail, verdict)

    def _verdict(self, pane: Pane, index: int, x: int, y: int) -> tuple[bool | None, str]:
        """Right or wrong against the reference, and what the reference says where it is wrong."""
        truth, ignore = self.reference_map(pane)
        if truth is None or y >= truth.shape[0] or x >= truth.shape[1]:
            return None, ""
        expected = int(truth[y, x])
        if expected == ignore or expected in self._predictions.space.ignored:
            return None, ""
        if expected == index:
            return True, ""
        entry = self._predictions.space.get(expected)
        word = "truth" if self._comparison.reference is None else "reference"
        return False, f"{word} {entry.name}" if entry is not None else ""
