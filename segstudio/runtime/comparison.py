"""What the Compare tab compares: its panes, the pair in front, the view of each, what is isolated.

The panes of a project are kept with it. Nothing here knows how a pane is drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from segstudio.runtime.mask_result import prediction_key
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.session import ProjectSession

PaneKind = Literal["image", "truth", "model"]
View = Literal["mask", "outline", "confidence", "entropy", "error", "agreement", "difference"]
Layout = Literal["grid", "curtain", "blink", "difference"]

VIEWS: tuple[tuple[View, str], ...] = (
    ("mask", "Mask"),
    ("outline", "Outline"),
    ("confidence", "Confidence"),
    ("entropy", "Entropy"),
    ("error", "Error"),
    ("agreement", "Agreement"),
    ("difference", "A ≠ B"),
)
MOST_PANES = 9
_SETTING = "compare.panes"


@dataclass(frozen=True)
class Pane:
    """One pane. `runnable` says at which output the model is seen; `switches` are the parts changed against
    the trained model, by id.
    """

    number: int
    kind: PaneKind
    runnable: RunnableModel | None = None
    switches: Mapping[str, Any] = field(default_factory=dict, hash=False)
    view: View = "mask"

    @property
    def title(self) -> str:
        if self.runnable is not None:
            return self.runnable.full_title
        return "Image" if self.kind == "image" else "Ground truth"

    @property
    def name(self) -> str:
        """The title where the input size stands beside it."""
        return self.title if self.runnable is None else self.runnable.output_title

    @property
    def scale(self) -> float:
        """How large the model sees the picture; 1 is the picture's own size."""
        return 1.0 if self.runnable is None else self.runnable.scale

    @property
    def key(self) -> str:
        """The key of this pane's predictions; empty where it shows none."""
        return "" if self.runnable is None else prediction_key(self.runnable, self.switches)

    @property
    def baseline(self) -> Pane | None:
        """What a changed pane is held against: as trained, at the picture's own size, at the final output, in
        this order; None for that.
        """
        if self.switches:
            return replace(self, switches={})
        if self.runnable is not None and self.runnable.scale != 1.0:
            return replace(self, runnable=self.runnable.with_scale(1.0))
        if self.runnable is not None and self.runnable.output:
            return replace(self, runnable=self.runnable.with_output(""))
        return None


class Comparison(QObject):
    """The panes in order; the first is A."""

    panes_changed = Signal()
    pane_changed = Signal(int)
    active_changed = Signal()
    layout_changed = Signal()
    isolated_changed = Signal()
    reference_changed = Signal()
    band_changed = Signal()

    def __init__(self, session: ProjectSession, shelf: ModelShelf, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._shelf = shelf
        self._numbers = itertools.count(1)
        self._panes: list[Pane] = []
        self._active = 0
        self._layout: Layout = "grid"
        self._isolated: int | None = None
        self._confused: tuple[int, int] | None = None
        self._reference = 0
        self._band = 0
        self._touched = False
        self._awaited: list[tuple[int, Mapping[str, Any]]] = []
        self._awaits_demo = False
        session.opened.connect(self._load)
        session.closed.connect(self._clear)
        shelf.changed.connect(self._models_changed)
        self._load()

    # ------------------------------------------------------------------ panes

    @property
    def panes(self) -> tuple[Pane, ...]:
        return tuple(self._panes)

    @property
    def models(self) -> tuple[Pane, ...]:
        """The panes that show a model."""
        return tuple(pane for pane in self._panes if pane.kind == "model")

    def pane(self, number: int) -> Pane | None:
        return next((pane for pane in self._panes if pane.number == number), None)

    def letter(self, number: int) -> str:
        """A, B, C, ... by place."""
        place = next((i for i, pane in enumerate(self._panes) if pane.number == number), 0)
        return "ABCDEFGHI"[place]

    def add(self, kind: PaneKind, runnable: RunnableModel | None = None, **changes: Any) -> Pane | None:
        """A new pane at the end; None where nine are there already."""
        if len(self._panes) >= MOST_PANES:
            return None
        pane = Pane(next(self._numbers), kind, runnable, **changes)
        self._panes.append(pane)
        self._active = pane.number
        self._touched = True
        self._after_panes()
        return pane

    def remove(self, number: int) -> None:
        self._panes = [pane for pane in self._panes if pane.number != number]
        self._touched = True
        self._after_panes()

    def set_view(self, number: int, view: View) -> None:
        self._replace(number, view=view)

    def set_switches(self, number: int, switches: Mapping[str, Any]) -> None:
        """Parts of the pane's model that are not as trained; an empty mapping is the trained model."""
        self._replace(number, switches=dict(switches))

    def set_output(self, number: int, output: str) -> None:
        """The side output that the pane's model is seen at; "" is the final one."""
        pane = self.pane(number)
        if pane is not None and pane.runnable is not None:
            self._replace(number, runnable=pane.runnable.with_output(output))

    def sweep(self, number: int, scales: Sequence[float]) -> tuple[Pane, ...]:
        """Panes of the same model, output and switches at all of `scales`, as far as there is room.

        Gives the new ones, which stand at the end.
        """
        pane = self.pane(number)
        if pane is None or pane.runnable is None:
            return ()
        wanted = [replace(pane, runnable=pane.runnable.with_scale(scale)) for scale in scales]
        shown = {each.key for each in self.models}
        missing = [each for each in wanted if each.key not in shown][: MOST_PANES - len(self._panes)]
        made = tuple(replace(each, number=next(self._numbers)) for each in missing)
        if made:
            self._panes += made
            self._touched = True
            self._after_panes()
        return made

    def set_scale(self, number: int, scale: float) -> None:
        """How large the pane's model sees the picture; 1 is the picture's own size."""
        pane = self.pane(number)
        if pane is not None and pane.runnable is not None:
            self._replace(number, runnable=pane.runnable.with_scale(scale))

    def _replace(self, number: int, **changes: Any) -> None:
        for place, pane in enumerate(self._panes):
            if pane.number == number:
                changed = replace(pane, **changes)
                if changed != pane:
                    self._panes[place] = changed
                    self._touched = True
                    self._save()
                    self.pane_changed.emit(number)

    # ------------------------------------------------------------------ in front

    @property
    def active(self) -> Pane | None:
        return self.pane(self._active)

    def set_active(self, number: int) -> None:
        if number != self._active and self.pane(number) is not None:
            self._active = number
            self.active_changed.emit()

    @property
    def pair(self) -> tuple[Pane, ...]:
        """The models that table, curtain, blink and difference compare: none, one or two of them.

        The first model, and the active one, or else the next.
        """
        models = self.models
        if len(models) < 2:
            return models
        active = self.active
        second = active if active in models[1:] else models[1]
        assert second is not None
        return (models[0], second)

    @property
    def layout(self) -> Layout:
        return self._layout

    def set_layout(self, layout: Layout) -> None:
        if layout != self._layout:
            self._layout = layout
            self.layout_changed.emit()

    @property
    def reference(self) -> Pane | None:
        """The model everything is held against; None is the ground truth."""
        pane = self.pane(self._reference)
        return pane if pane is not None and pane.kind == "model" else None

    def set_reference(self, number: int) -> None:
        """The pane held to be right; 0 is the ground truth."""
        if number != self._reference:
            self._reference = number
            self.reference_changed.emit()

    @property
    def band(self) -> int:
        """Errors and differences are shown within so many pixels of borders only; 0 shows all."""
        return self._band

    def set_band(self, width: int) -> None:
        if width != self._band:
            self._band = width
            self.band_changed.emit()

    @property
    def isolated(self) -> int | None:
        """The class shown alone in all panes."""
        return self._isolated

    @property
    def confused(self) -> tuple[int, int] | None:
        """(label, prediction) whose pixels are shown alone."""
        return self._confused

    def isolate(self, class_index: int | None) -> None:
        """Shows one class alone; the same class again shows all."""
        self._isolated = None if class_index == self._isolated else class_index
        self._confused = None
        self.isolated_changed.emit()

    def show_confused(self, cell: tuple[int, int] | None) -> None:
        """Shows the pixels of one cell of the confusion matrix; the same cell again shows all."""
        self._confused = None if cell == self._confused else cell
        self._isolated = None
        self.isolated_changed.emit()

    # ------------------------------------------------------------------ keeping

    def _after_panes(self) -> None:
        if self.pane(self._active) is None:
            models = self.models
            self._active = models[0].number if models else (self._panes[0].number if self._panes else 0)
        if self.pane(self._reference) is None:
            self._reference = 0
        self._save()
        self.panes_changed.emit()

    def _save(self) -> None:
        if not self._touched or self._awaits_demo:
            return
        kept: list[Mapping[str, Any]] = [
            {
                "kind": pane.kind,
                "key": pane.runnable.key if pane.runnable is not None else "",
                "output": pane.runnable.output if pane.runnable is not None else "",
                "scale": pane.runnable.scale if pane.runnable is not None else 1.0,
                "switches": dict(pane.switches),
                "view": pane.view,
            }
            for pane in self._panes
        ]
        for place, entry in self._awaited:
            kept.insert(place, entry)
        self._session.remember(_SETTING, kept[:MOST_PANES])

    def _clear(self) -> None:
        self._panes, self._touched, self._isolated, self._confused = [], False, None, None
        self._awaited, self._awaits_demo = [], False
        self.panes_changed.emit()

    def _load(self) -> None:
        """The panes kept with the project, or ground truth and the demo's models."""
        self._touched = False
        project = self._session.project
        kept = project.settings.get(_SETTING, None) if project is not None else None
        self._awaited, self._awaits_demo = [], False
        wanted: list[Pane] = []
        if kept:
            for place, entry in enumerate(kept):
                pane = self._kept_pane(entry)
                if pane is not None:
                    wanted.append(pane)
                else:
                    self._awaited.append((place, entry))
        elif project is not None:
            wanted.append(Pane(next(self._numbers), "truth"))
            demos = self._demos()
            self._awaits_demo = not demos
            wanted += [Pane(next(self._numbers), "model", runnable) for runnable in demos]
        if [_content(pane) for pane in wanted] != [_content(pane) for pane in self._panes]:
            self._panes = wanted
            self._after_panes()

    def _kept_pane(self, entry: Mapping[str, Any]) -> Pane | None:
        """None while its model is not listed, or its weights are gone."""
        key = str(entry.get("key", ""))
        runnable = next((each for each in self._shelf.runnable if each.key == key), None)
        if entry.get("kind") == "model" and runnable is None:
            return None
        if runnable is not None:
            runnable = runnable.with_output(str(entry.get("output", "")))
            runnable = runnable.with_scale(float(entry.get("scale") or 1.0))
        switches, view = dict(entry.get("switches", {})), entry.get("view", "mask")
        return Pane(next(self._numbers), entry["kind"], runnable, switches, view)

    def _demos(self) -> list[RunnableModel]:
        return [each for each in self._shelf.runnable if each.origin == "demo"][:3]

    def _models_changed(self) -> None:
        """Weights appeared or went: panes nobody touched follow, others keep what still exists, and those
        whose models were not listed yet come to their places.
        """
        if not self._touched:
            self._load()
            return
        known = {runnable.key: runnable for runnable in self._shelf.runnable}
        gone = [pane for pane in self.models if pane.runnable and pane.runnable.key not in known]
        if self._shelf.is_listing:
            gone = []
        panes = [
            replace(pane, runnable=known.get(pane.runnable.key, pane.runnable).seen_as(pane.runnable))
            if pane.runnable
            else pane
            for pane in self._panes
            if pane not in gone
        ]
        still: list[tuple[int, Mapping[str, Any]]] = []
        for place, entry in self._awaited:
            pane = self._kept_pane(entry) if len(panes) < MOST_PANES else None
            if pane is not None:
                panes.insert(place, pane)
            else:
                still.append((place, entry))
        self._awaited = still
        if self._awaits_demo and self._demos():
            self._awaits_demo = False
            shown = {pane.runnable.key for pane in panes if pane.runnable is not None}
            fresh = [each for each in self._demos() if each.key not in shown][: MOST_PANES - len(panes)]
            panes += [Pane(next(self._numbers), "model", runnable) for runnable in fresh]
        if panes != self._panes:
            self._panes = panes
            self._after_panes()


def _content(pane: Pane) -> tuple[Any, ...]:
    """What makes two panes the same but for their numbers."""
    model = (pane.runnable.key, pane.runnable.output, pane.runnable.scale) if pane.runnable else ()
    return (pane.kind, model, dict(pane.switches), pane.view)
