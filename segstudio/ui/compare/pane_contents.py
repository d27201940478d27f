"""What each pane of the Compare tab shows now: its masks, its views, and a sentence where it has none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segstudio.core.errors import UserError
from segstudio.core.label_map import ignore_value
from segstudio.runtime.boundary_bands import BoundaryBands
from segstudio.runtime.comparison import Comparison, Pane, View
from segstudio.runtime.mask_result import MaskResult
from segstudio.runtime.predictions import Predictions
from segstudio.ui.compare.pane_layers import PaneContent
from segstudio.ui.compare.readouts import PaneReadouts
from segstudio.ui.room import Services


class PaneContents:
    """Of the image in front; `errors` are by prediction key and image id."""

    def __init__(self, services: Services, comparison: Comparison, predictions: Predictions) -> None:
        self._session = services.session
        self._comparison = comparison
        self._predictions = predictions
        self.errors: dict[tuple[str, int], UserError] = {}
        self.bands = BoundaryBands(services.session)
        self._session.labels_changed.connect(self.bands.forget)
        self._session.labels_loaded.connect(self.bands.forget)
        self.readouts = PaneReadouts(services, comparison, predictions, self.result)

    def result(self, pane: Pane) -> MaskResult | None:
        current = self._session.current
        if current is None or pane.kind != "model":
            return None
        return self._predictions.get(pane.key, current.id)

    def views_for(self, pane: Pane) -> tuple[View, ...]:
        """What a pane can show now."""
        if pane.kind == "image":
            return ()
        if pane.kind == "truth":
            return ("mask", "outline")
        views: list[View] = ["mask", "outline", "confidence", "entropy"]
        if self.readouts.has_truth() or self._comparison.reference not in (None, pane):
            views.append("error")
        if len(self._comparison.models) > 1:
            views += ["agreement", "difference"]
        return tuple(views)

    def content(self, pane: Pane) -> PaneContent:
        """The arrays its layers are made of."""
        labels = self._session.label_map
        content = PaneContent()
        if pane.kind == "truth" and labels is not None:
            content.labels, content.ignore = labels.array, labels.ignore
        result = self.result(pane)
        if result is None:
            return content
        content.labels, content.ignore = result.labels, ignore_value(result.labels.dtype)
        content.confidence, content.entropy = result.confidence, result.entropy
        content.reference, content.reference_ignore = self.readouts.reference_map(pane)
        others = [self.result(each) for each in self._comparison.models if each.number != pane.number]
        known = [
            each.labels for each in others if each is not None and each.labels.shape == result.labels.shape
        ]
        content.models = [result.labels, *known]
        partner = self._partner(pane)
        other = self.result(partner) if partner is not None else None
        if other is not None and other.labels.shape == result.labels.shape:
            content.other = other.labels
        content.band = self._band(pane, result)
        return content

    def _band(self, pane: Pane, result: MaskResult) -> NDArray[np.bool_] | None:
        """Around the borders of the labels, or of the first model's mask where there are none."""
        width, labels, current = self._comparison.band, self._session.label_map, self._session.current
        if not width or current is None:
            return None
        if self.readouts.has_truth() and labels is not None and labels.array.shape == result.labels.shape:
            return self.bands.of(("labels", current.id), labels.array, width, ignore=labels.ignore)
        first = self._comparison.pair[0] if self._comparison.pair else pane
        found = self.result(first) or result
        return self.bands.of((found.key, current.id), found.labels, width)

    def band_words(self, pane: Pane, view: str) -> tuple[str, str]:
        """How much of the band differs from the reference or the partner, and the boundary IoU, in words.

        Nothing where no band is shown, or `view` shows neither.
        """
        current, width = self._session.current, self._comparison.band
        if current is None or not width or view not in ("error", "difference"):
            return "", ""
        content = self.content(pane)
        partner = self._partner(pane) if view == "difference" else self._comparison.reference
        other = content.other if view == "difference" else content.reference
        if content.band is None or content.labels is None or other is None:
            return "", ""
        ignore = content.reference_ignore if view == "error" else -1
        name = (pane.key, partner.key if partner is not None else "labels", current.id)
        found = self.bands.measured(name, content.labels, other, content.band, width, ignore=ignore)
        if found is None:
            return "", ""
        share, iou = found
        return f"{100 * share:.1f} % of band", f"Mean boundary IoU {100 * iou:.1f} within {width} px"

    def _partner(self, pane: Pane) -> Pane | None:
        """The model a pane is compared with: the other one of the pair."""
        others = [each for each in self._comparison.pair if each.number != pane.number]
        return others[0] if others else None

    def sentence(self, pane: Pane) -> str:
        """What is written in the middle of a pane that has no mask to show."""
        current = self._session.current
        if current is None or pane.kind == "image":
            return ""
        if pane.kind == "truth":
            loaded = self._session.label_map is not None
            return "No labels on this image" if loaded and not self.readouts.has_truth() else ""
        if self.result(pane) is not None:
            return ""
        error = self.errors.get((pane.key, current.id))
        if error is not None:
            return error.what
        if self._predictions.is_pending(pane.key, current.id):
            return "Running…"
        return "Not run on this image: press R"
