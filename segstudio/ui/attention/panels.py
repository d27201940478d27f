"""The two columns of figures of the Attention tab: pins below the map, mass and cost beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from segstudio.core.attention_measures import dependence, mass_by_class, mean_distance
from segstudio.core.class_space import ClassSpace
from segstudio.runtime.attention import ProbeResult, ProbeSlot
from segstudio.runtime.inspection import Inspection
from segstudio.ui.attention.multiples import short_name
from segstudio.ui.attention.tables import MassRow, MassTable, PinRow, PinTable
from segstudio.ui.widgets.labels import label, tag
from segstudio.ui.widgets.numbers import grouped, storage
from segstudio.ui.widgets.section import FoldSection

MOST_CLASSES = 6
_ROOMY = 560


class PinPanel(QWidget):
    """The pins' table and how much the maps depend on the query."""

    def __init__(self) -> None:
        super().__init__()
        self.table = PinTable()
        self._dependence = label("", size=12)
        self._dependence.setToolTip(
            "Mean distance between the maps of the pinned queries: 0 the same map, 1 nothing in common"
        )
        foot = QWidget()
        foot.setFixedHeight(32)
        row = QHBoxLayout(foot)
        row.setContentsMargins(12, 0, 12, 0)
        row.addWidget(self._dependence)
        row.addStretch(1)
        row.addWidget(label("Shift+click pins another", role="t3", size=12))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.table, 1)
        column.addWidget(foot)

    def refresh(self, inspection: Inspection, space: ClassSpace, labels: NDArray[Any] | None) -> None:
        """The figures of each pin on the map in front; `labels` as for the mass."""
        slot = inspection.front_slot
        rows = []
        for pin in inspection.pins:
            result = inspection.result(slot, pin)
            entry = None
            if labels is not None and pin.y < labels.shape[0] and pin.x < labels.shape[1]:
                entry = space.get(int(labels[pin.y, pin.x]))
            own = entropy = distance = math.nan
            if result is not None and result.kind == "map" and not result.signed:
                distance = mean_distance(result.values, result.stride, result.offset, pin.x, pin.y)
                if result.entropy is not None:
                    entropy = result.entropy
                if entry is not None and labels is not None:
                    own = float(_mass(result, labels, space)[entry.index])
            name = entry.name if entry is not None else "Unlabelled"
            color = entry.color if entry is not None else None
            rows.append(PinRow(pin.number, pin.name, name, color, pin.x, pin.y, own, entropy, distance))
        active = inspection.active_pin
        self.table.show_pins(rows, active.number if active is not None else 0)
        self._show_dependence(inspection, slot)

    def _show_dependence(self, inspection: Inspection, slot: ProbeSlot | None) -> None:
        results = [inspection.result(slot, pin) for pin in inspection.pins]
        maps = [each.values for each in results if each is not None and each.kind == "map"]
        if slot is None or len(maps) < 2:
            self._dependence.setText("")
            return
        self._dependence.setText(
            f"Query dependence  {short_name(slot.runnable.title)} {dependence(maps):.2f}"
        )


class CostTags(QFrame):
    """The head of the multiples: what attention costs at this size."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("PaneHeader")
        self.setFixedHeight(28)
        self._scores, self._full, self._time = tag(""), tag(""), tag("")
        self._scores.setToolTip(
            "Attention scores that the network computes at this size, and the memory of all at once"
        )
        self._full.setToolTip("What it would be if every cell attended to every other")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 0, 12, 0)
        row.setSpacing(8)
        row.addWidget(label("Small multiples", size=12, strong=600))
        self._own = label("own scale each", role="t2", size=12)
        self._result: ProbeResult | None = None
        row.addWidget(self._own)
        row.addStretch(1)
        for widget in (self._scores, self._full, self._time):
            row.addWidget(widget)

    def show_cost(self, result: ProbeResult | None) -> None:
        """Scores of the map's mechanism, of full attention on the same cells, and the time of one row."""
        self._result = result
        roomy = self.width() >= _ROOMY
        scores = None if result is None else attention_cost(result)
        self._scores.setVisible(scores is not None)
        self._own.setVisible(roomy)
        self._full.setVisible(roomy and scores is not None and bool(scores[1]))
        self._time.setVisible(result is not None and (roomy or scores is None))
        if result is None:
            return
        if scores is not None:
            self._scores.setText(f"scores {scores[0]}")
            self._full.setText(f"full {scores[1]}")
        self._time.setText(f"answer in {result.ms:.0f} ms" if result.ms >= 1 else "answer in < 1 ms")

    def resizeEvent(self, event: QResizeEvent) -> None:
        """In a narrow column one tag is left."""
        super().resizeEvent(event)
        if (event.size().width() >= _ROOMY) != (event.oldSize().width() >= _ROOMY):
            self.show_cost(self._result)


def attention_cost(result: ProbeResult) -> tuple[str, str] | None:
    """Attention scores and their bytes at this size, and those of full attention where they are others.

    None where the answer does not tell: it is no attention.
    """
    extras = result.extras
    scores = extras.get("scores")
    if not isinstance(scores, int | float):
        return None
    own = " ".join(filter(None, (grouped(scores), str(extras.get("scores_of") or ""))))
    full = extras.get("full_scores")
    others = grouped(full) if isinstance(full, int | float) else ""
    words = []
    for count, size in ((own, extras.get("score_bytes")), (others, extras.get("full_bytes"))):
        words.append(f"{count} · {storage(size)}" if count and isinstance(size, int | float) else count)
    return words[0], words[1]


class MassPanel(FoldSection):
    """Where the attention of the query in front goes, by class."""

    def __init__(self) -> None:
        super().__init__("Where it goes", key="attention.mass")
        self.table = MassTable()
        self.set_body(self.table)

    def refresh(
        self,
        inspection: Inspection,
        space: ClassSpace,
        labels: NDArray[Any] | None,
        source: str,
    ) -> None:
        """`labels` (H, W) in the numbering of `space`; `source` says whose they are."""
        shown = columns_of(inspection)
        if self.width() < _ROOMY:
            shown = shown[:1]
        self.setVisible(labels is not None and bool(shown))
        if labels is None or not shown:
            return
        masses = [_mass(result, labels, space) for _, result in shown]
        order = np.argsort(-masses[0])
        rows = []
        for index in order.tolist():
            if max(mass[index] for mass in masses) < 0.005 or len(rows) >= MOST_CLASSES:
                continue
            entry = space.get(index)
            name = entry.name if entry is not None else "Unlabelled"
            color = entry.color if entry is not None else None
            rows.append(MassRow(name, color, tuple(float(mass[index]) for mass in masses)))
        heads = [_mass_head(slot, result) for slot, result in shown]
        self.table.show_mass(rows, heads)
        pin = inspection.active_pin
        front = shown[0][1]
        words = f"of mass (|w|) by {source}" if front.signed else f"of mass by {source}"
        if rows and pin is not None:
            words = f"{100 * rows[0].shares[0]:.0f} % of {pin.name} goes to {rows[0].name} · % {words}"
        self.set_count(words)


def _mass_head(slot: ProbeSlot, result: ProbeResult) -> str:
    """A map's name; weights of both signs are measured by magnitude, which its head says."""
    name = f"{short_name(slot.runnable.title)} {slot.spec.title.lower()}"
    return f"{name} (|w|)" if result.signed else name


def columns_of(inspection: Inspection) -> list[tuple[ProbeSlot, ProbeResult]]:
    """The map in front and one of each other model, those that are answered maps of the query."""
    pin, front = inspection.active_pin, inspection.front_slot
    shown: list[tuple[ProbeSlot, ProbeResult]] = []
    for model in sorted(inspection.models, key=lambda model: model != inspection.front):
        slots: Sequence[ProbeSlot] = inspection.slots_of(model)
        if front is not None and model == front.runnable:
            slots = [front]
        found = [(slot, inspection.result(slot, pin)) for slot in slots]
        maps = [(slot, each) for slot, each in found if each is not None and _is_row(each)]
        best = [entry for entry in maps if "compos" in entry[0].spec.id] or maps
        shown += best[:1]
    return shown


def _is_row(result: ProbeResult) -> bool:
    return result.kind == "map" and "window" not in result.extras


def _mass(result: ProbeResult, labels: NDArray[Any], space: ClassSpace) -> NDArray[np.float64]:
    """Mass by class index; the last entry is for unlabelled pixels, whose value lies past all classes."""
    return mass_by_class(result.values, result.stride, result.offset, labels, space.size)
