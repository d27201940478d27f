"""What the Attention tab looks at: the models and the map in front, the pinned queries, the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PySide6.QtCore import QObject, Signal

from segstudio.core.errors import UserError
from segstudio.plugin_api import ModelSpec, ProbeSpec
from segstudio.runtime.attention import PixelQuery, ProbeQueries, ProbeResult, ProbeSlot
from segstudio.runtime.mask_result import prediction_key
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.predictions import Predictions
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.session import ProjectSession
from segstudio.runtime.worker_client import WorkerClient

_FRONT, _BESIDE = 200, 80
MOST_MODELS = 3


@dataclass(frozen=True)
class Pin:
    """A query that stays: its number (q1, q2, ...) and its pixel."""

    number: int
    x: int
    y: int

    @property
    def name(self) -> str:
        return f"q{self.number}"


class Inspection(QObject):
    """The main map, the small multiples of the chosen models, and the pins, the active one first asked.

    `answered(slot, pin number)` comes with each answer; `shown_changed` when maps were added or went.
    """

    shown_changed = Signal()
    pins_changed = Signal()
    answered = Signal(object, int)
    problem = Signal(object, object)  # slot, UserError

    def __init__(
        self,
        session: ProjectSession,
        shelf: ModelShelf,
        predictions: Predictions,
        worker: WorkerClient,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._shelf, self._predictions = session, shelf, predictions
        self._queries = ProbeQueries(worker, self)
        self._chosen: list[RunnableModel] = []
        self._touched = False
        self._front: RunnableModel | None = None
        self._switches: dict[str, Any] = {}
        self._probe = ""
        self._options: dict[str, dict[str, Any]] = {}
        self._pins: list[Pin] = []
        self._active = 1
        self._results: dict[tuple[ProbeSlot, int], ProbeResult] = {}
        self._is_on = False
        self._queries.ready.connect(self._take)
        self._queries.failed.connect(self._fail)
        shelf.changed.connect(self._models_changed)
        session.current_changed.connect(self._image_changed)
        session.image_ready.connect(self.ask_all)
        session.closed.connect(self._image_changed)
        predictions.ready.connect(self._ran)
        predictions.failed.connect(self._run_failed)
        self._models_changed()

    # ------------------------------------------------------------------ models and maps

    @property
    def candidates(self) -> tuple[RunnableModel, ...]:
        """Models on this computer that can be looked into."""
        return tuple(each for each in self._shelf.runnable if self.probes_of(each))

    def spec_of(self, runnable: RunnableModel) -> ModelSpec | None:
        return self._shelf.find(str(runnable.ref["model"]))

    def probes_of(self, runnable: RunnableModel) -> tuple[ProbeSpec, ...]:
        spec = self.spec_of(runnable)
        return () if spec is None else spec.probes

    @property
    def models(self) -> tuple[RunnableModel, ...]:
        """The models beside each other, the one in front among them."""
        return tuple(self._chosen)

    @property
    def front(self) -> RunnableModel | None:
        return self._front

    @property
    def switches(self) -> Mapping[str, Any]:
        """Parts of the model in front that are not as trained."""
        return dict(self._switches)

    @property
    def front_slot(self) -> ProbeSlot | None:
        """The map shown large."""
        if self._front is None:
            return None
        for spec in self.probes_of(self._front):
            if spec.id == self._probe:
                return self._slot(self._front, spec)
        return None

    def slots_of(self, runnable: RunnableModel) -> tuple[ProbeSlot, ...]:
        """One map for each probe of a model."""
        return tuple(self._slot(runnable, spec) for spec in self.probes_of(runnable))

    def _slot(self, runnable: RunnableModel, spec: ProbeSpec) -> ProbeSlot:
        switches = self._switches if runnable == self._front else {}
        options = self._options.get(f"{runnable.key}/{spec.id}", {})
        return ProbeSlot(runnable, spec, tuple(sorted(switches.items())), tuple(sorted(options.items())))

    def set_models(self, models: Sequence[RunnableModel]) -> None:
        """The models whose maps are shown beside each other."""
        self._touched = True
        self._chosen = list(models)[: max(MOST_MODELS, 1)]
        if self._front not in self._chosen:
            self._choose_front(self._chosen[0] if self._chosen else None)
        self._changed()

    def set_front(self, runnable: RunnableModel, probe: str = "") -> None:
        """Shows a model's map large."""
        if runnable not in self._chosen:
            self._chosen = [runnable, *self._chosen[: MOST_MODELS - 1]]
        if runnable != self._front:
            self._choose_front(runnable)
        if probe:
            self._probe = probe
        self._touched = True
        self._changed()

    def _choose_front(self, runnable: RunnableModel | None) -> None:
        self._front, self._switches = runnable, {}
        probes = self.probes_of(runnable) if runnable is not None else ()
        maps = [spec for spec in probes if spec.query == "pixel" and spec.kind == "map"] or list(probes)
        if self._probe not in {spec.id for spec in probes}:
            composed = [spec for spec in maps if "compos" in spec.id]
            self._probe = (composed or maps)[0].id if maps else ""

    def set_switches(self, switches: Mapping[str, Any]) -> None:
        self._switches = dict(switches)
        self._changed()

    def set_option(self, slot: ProbeSlot, name: str, value: Any) -> None:
        """One option of one map, such as its layer or head."""
        key = f"{slot.runnable.key}/{slot.spec.id}"
        self._options.setdefault(key, {})[name] = value
        self._changed()

    def _models_changed(self) -> None:
        candidates = self.candidates
        known = {each.key: each for each in candidates}
        if self._touched:
            self._chosen = [known[each.key] for each in self._chosen if each.key in known]
        else:
            demo = [each for each in candidates if each.origin == "demo"]
            self._chosen = list((demo or list(candidates))[:MOST_MODELS])
        if self._front is not None:
            self._front = known.get(self._front.key, self._front)
        if self._front not in self._chosen:
            self._choose_front(self._chosen[0] if self._chosen else None)
        self._changed()

    def _changed(self) -> None:
        wanted = {slot for model in self._chosen for slot in self.slots_of(model)}
        self._results = {at: result for at, result in self._results.items() if at[0] in wanted}
        self.shown_changed.emit()
        self.ask_all()

    # ------------------------------------------------------------------ pins

    @property
    def pins(self) -> tuple[Pin, ...]:
        return tuple(self._pins)

    @property
    def active_pin(self) -> Pin | None:
        return next((pin for pin in self._pins if pin.number == self._active), None)

    def move_query(self, x: int, y: int) -> None:
        """Moves the active query; makes the first where there is none."""
        current = self._session.image
        if current is None or not current.width:
            return
        x, y = min(max(x, 0), current.width - 1), min(max(y, 0), current.height - 1)
        active = self.active_pin
        if active is None:
            self.add_pin(x, y)
            return
        if (active.x, active.y) == (x, y):
            return
        place = self._pins.index(active)
        self._pins[place] = replace(active, x=x, y=y)
        self.pins_changed.emit()
        self._ask_active()

    def add_pin(self, x: int, y: int) -> Pin:
        """Pins another query and makes it the active one."""
        number = max((pin.number for pin in self._pins), default=0) + 1
        pin = Pin(number, x, y)
        self._pins.append(pin)
        self._active = number
        self.pins_changed.emit()
        self.ask_all()
        return pin

    def remove_pin(self, number: int) -> None:
        self._pins = [pin for pin in self._pins if pin.number != number]
        if self.active_pin is None and self._pins:
            self._active = self._pins[0].number
        self.pins_changed.emit()
        self.ask_all()

    def set_active_pin(self, number: int) -> None:
        if number != self._active:
            self._active = number
            self.pins_changed.emit()
            self._ask_active()

    # ------------------------------------------------------------------ answers

    def result(self, slot: ProbeSlot | None, pin: Pin | None) -> ProbeResult | None:
        """The newest answer for a map and a query (perhaps of the pixel before, while it is dragged)."""
        if slot is None:
            return None
        number = pin.number if pin is not None and slot.spec.query == "pixel" else 0
        return self._results.get((slot, number))

    def set_on(self, on: bool) -> None:
        """Whether somebody looks: nothing is asked while the tab is not in front."""
        self._is_on = on
        if on:
            self.ask_all()
        else:
            self._queries.forget()

    def ask_all(self) -> None:
        """Asks for every map that is shown and not answered; runs models that have not seen the image."""
        image, current = self._session.image, self._session.current
        if not self._is_on or image is None or current is None or not image.complete:
            return
        self._queries.set_image(image.descriptor())
        for model in self._ordered():
            switches = self._switches if model == self._front else {}
            key = self._predictions.request(model, current.id, switches=switches)
            if self._predictions.get(key, current.id) is not None:
                self._ask_model(model, all_pins=True)

    def _ordered(self) -> list[RunnableModel]:
        """The model in front first."""
        return sorted(self._chosen, key=lambda model: model != self._front)

    def _ask_active(self) -> None:
        """The query moved: the large map first, then the multiples."""
        current = self._session.current
        if current is None:
            return
        for model in self._ordered():
            switches = self._switches if model == self._front else {}
            if self._predictions.get(prediction_key(model, switches), current.id) is not None:
                self._ask_model(model, all_pins=False)

    def _ask_model(self, model: RunnableModel, *, all_pins: bool) -> None:
        current, active, front = self._session.current, self.active_pin, self.front_slot
        if current is None or not self._is_on:
            return
        slots = sorted(self.slots_of(model), key=lambda slot: slot != front)
        for slot in slots:
            priority = _FRONT if slot == front else _BESIDE
            if slot.spec.query != "pixel":
                index = 0 if slot.spec.query == "global" else self._class_under(model, active)
                query = PixelQuery(current.id, 0, 0, index)
                self._ask(slot, 0, query, priority)
            elif active is not None:
                query = PixelQuery(current.id, active.x, active.y)
                self._ask(slot, active.number, query, priority)
        if all_pins and front is not None and front.runnable == model and front.spec.query == "pixel":
            for pin in self._pins:
                self._ask(front, pin.number, PixelQuery(current.id, pin.x, pin.y), _BESIDE)

    def _class_under(self, model: RunnableModel, pin: Pin | None) -> int:
        """What a probe of classes is asked for: the class that the model itself sees at the query."""
        current = self._session.current
        if pin is None or current is None:
            return 0
        switches = self._switches if model == self._front else {}
        result = self._predictions.get(prediction_key(model, switches), current.id)
        return 0 if result is None else int(result.raw.array[pin.y, pin.x])

    def class_at(self, pin: Pin) -> int:
        """The label under a pin, 0 where there is none."""
        labels = self._session.label_map
        if labels is None or pin.y >= labels.height or pin.x >= labels.width:
            return 0
        index = int(labels.array[pin.y, pin.x])
        return 0 if index == labels.ignore else index

    def _ask(self, slot: ProbeSlot, number: int, query: PixelQuery, priority: int) -> None:
        known = self._results.get((slot, number))
        if known is None or known.query != query:
            self._queries.ask((slot, number), slot, query, priority=priority)

    def _take(self, token: tuple[ProbeSlot, int], result: ProbeResult) -> None:
        current = self._session.current
        if current is None or result.query.image_id != current.id:
            return
        self._results[token] = result
        self.answered.emit(*token)

    def _fail(self, token: tuple[ProbeSlot, int], error: UserError) -> None:
        self.problem.emit(token[0], error)

    def _ran(self, key: str, image_id: int) -> None:
        current = self._session.current
        if current is None or current.id != image_id or not self._is_on:
            return
        for model in self._chosen:
            switches = self._switches if model == self._front else {}
            if prediction_key(model, switches) == key:
                self._ask_model(model, all_pins=True)

    def _run_failed(self, key: str, _image_id: int, error: UserError) -> None:
        for model in self._chosen:
            if prediction_key(model, self._switches if model == self._front else {}) == key:
                for slot in self.slots_of(model):
                    self.problem.emit(slot, error)

    def _image_changed(self) -> None:
        """Another picture: the queries stay where they are, the answers go."""
        self._results.clear()
        self._queries.forget()
        image = self._session.image
        if image is not None and image.width:
            inside = [pin for pin in self._pins if pin.x < image.width and pin.y < image.height]
            if inside != self._pins:
                self._pins = inside
        self.pins_changed.emit()
        self.ask_all()
