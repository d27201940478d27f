"""What the bars of a vector are called: a network's classes, and which of them the picture's labels have."""

from __future__ import annotations

from collections.abc import Sequence

from segstudio.runtime.attention import ProbeResult, ProbeSlot
from segstudio.runtime.mask_result import prediction_key
from segstudio.runtime.predictions import Predictions
from segstudio.runtime.session import ProjectSession
from segstudio.ui.attention.bars import BarChart, chart_of


class BarNames:
    """Makes the charts of vectors for the picture in front."""

    def __init__(self, session: ProjectSession, predictions: Predictions) -> None:
        self._session, self._predictions = session, predictions

    def chart_of(self, slot: ProbeSlot, result: ProbeResult) -> BarChart:
        """The bars of a vector that `slot` answered with."""
        names, colors = self._classes_of(slot)
        return chart_of(
            result,
            title=slot.spec.title,
            class_names=names,
            class_colors=colors,
            present=self._present(names),
        )

    def _classes_of(self, slot: ProbeSlot) -> tuple[Sequence[str], Sequence[tuple[int, int, int]]]:
        """A network's classes: what its weights say, else what it told with its mask."""
        model, current = slot.runnable, self._session.current
        if model.class_names or current is None:
            return model.class_names, model.class_colors
        mask = self._predictions.get(prediction_key(model, dict(slot.switches)), current.id)
        told = (mask.info.get("classes") or ()) if mask is not None else ()
        colors = [(int(r), int(g), int(b)) for r, g, b in (entry["color"] for entry in told)]
        return [str(entry["name"]) for entry in told], colors

    def _present(self, names: Sequence[str]) -> frozenset[int] | None:
        """Which of a network's classes are labelled in the picture; None without labels."""
        labels, counts, space = self._session.label_map, self._session.class_counts, self._predictions.space
        if labels is None or not any(n > 0 for index, n in counts.items() if index != labels.ignore):
            return None
        places = (space.index_of(name) for name in names)
        return frozenset(
            own for own, place in enumerate(places) if place is not None and counts.get(place, 0) > 0
        )
