"""The Attention tab: what a network attended to at the pixel under the query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray
from PySide6.QtCore import QObject, QPoint, QSize, Qt, QTimer
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QSplitter, QStackedWidget, QVBoxLayout, QWidget

from segstudio.core.errors import UserError
from segstudio.runtime.actions import ActionSpec
from segstudio.runtime.attention import ProbeSlot
from segstudio.runtime.inspection import Inspection
from segstudio.runtime.mask_result import prediction_key
from segstudio.runtime.predictions import Predictions
from segstudio.ui.attention.bar_names import BarNames
from segstudio.ui.attention.export import MapExport
from segstudio.ui.attention.figures import GREY_BRIGHTNESS, Look
from segstudio.ui.attention.heat_view import HeatView
from segstudio.ui.attention.multiples import Multiples, short_name
from segstudio.ui.attention.option_bar import AttentionBar
from segstudio.ui.attention.panels import CostTags, MassPanel, PinPanel
from segstudio.ui.attention.scale_bar import ScaleBar
from segstudio.ui.canvas.layers import ImageLayer
from segstudio.ui.compare.switches import SwitchesCard
from segstudio.ui.room import Services
from segstudio.ui.widgets.empty_state import EmptyState

FIGURES_AFTER_MS = 40

ACTIONS = (
    ActionSpec("attention.pin", "Pin a query", ("Shift+Click",), "Models", scope="attention", held=True),
    ActionSpec(
        "attention.png", "Export the map as a picture…", (), "Models", scope="attention", icon="export"
    ),
    ActionSpec("attention.npy", "Export the map's values…", (), "Models", scope="attention", icon="export"),
)


class AttentionRoom(QObject):
    """One of the four tabs (see `ui.room.Room`)."""

    title = "Attention"
    icon = "attention"
    key = "Alt+3"
    folds_filmstrip = True  # the small multiples need the height

    def __init__(self, services: Services) -> None:
        super().__init__(services.session)
        predictions, shelf, worker = services.predictions, services.shelf, services.worker
        if predictions is None or shelf is None or worker is None:
            raise RuntimeError("Attention needs the worker and the model shelf")
        self._services, self._session = services, services.session
        self._predictions: Predictions = predictions
        self.inspection = Inspection(services.session, shelf, predictions, worker, self)
        self._picture = ImageLayer(self)
        self._picture.set_grey(True, GREY_BRIGHTNESS)
        self._names = BarNames(services.session, predictions)
        self._errors: dict[ProbeSlot, UserError] = {}
        self._card: SwitchesCard | None = None
        self._is_front = False
        self._stale = False
        self._figures = QTimer(self, singleShot=True, interval=FIGURES_AFTER_MS)
        self._figures.timeout.connect(self._show_figures)
        self._pages = QStackedWidget()

    # ------------------------------------------------------------------ Room

    def widget(self) -> QWidget:
        return self._pages

    def option_bar(self) -> QWidget:
        return self.bar

    def activated(self) -> None:
        self._is_front = True
        if self._stale:
            self._stale = False
            self._show_picture()
            self.multiples.refresh()
        self.inspection.set_on(True)
        self._start_query()
        self._show_shown()

    def deactivated(self) -> None:
        self._is_front = False
        self.inspection.set_on(False)
        self._close_card()

    def status_hint(self) -> str:
        return "Drag moves the query · [Shift] click pins another · click a map to enlarge it"

    # ------------------------------------------------------------------ parts

    def parts(self) -> Iterator[None]:
        split = _splitter(Qt.Orientation.Horizontal)
        self._pages.addWidget(split)
        left = _splitter(Qt.Orientation.Vertical)
        split.addWidget(left)
        self.view = HeatView(
            self._services.viewport, self.inspection, self._picture, self._class_at, self._names.chart_of
        )
        left.addWidget(self.view)
        left.setStretchFactor(0, 1)
        yield
        below = QWidget()
        left.addWidget(below)
        column = QVBoxLayout(below)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.scale = ScaleBar()
        column.addWidget(self.scale)
        yield
        self.pins = PinPanel()
        column.addWidget(self.pins, 1)
        left.setSizes([3000, 190])
        yield
        right = QWidget()
        split.addWidget(right)
        split.setStretchFactor(0, 55)
        split.setStretchFactor(1, 45)
        beside = QVBoxLayout(right)
        beside.setContentsMargins(0, 0, 0, 0)
        beside.setSpacing(0)
        self.cost = CostTags()
        beside.addWidget(self.cost)
        yield
        self.multiples = Multiples(self.inspection, self._picture, self._names.chart_of)
        beside.addWidget(self.multiples, 1)
        yield
        self.mass = MassPanel()
        beside.addWidget(self.mass)
        split.setSizes([848, 688])
        yield
        self._build_empty()
        yield
        self.bar = AttentionBar(self.inspection)
        self.maps = MapExport(
            self._services,
            self.inspection,
            self._picture,
            lambda: self.scale.look,
            self._names.chart_of,
            self._pages,
        )
        yield
        self._connect()
        yield
        self._stale = True
        self._show_models()

    def _build_empty(self) -> None:
        self._empty = EmptyState(
            "attention",
            "No model to look into yet",
            "Attention maps of trained networks appear here. Train one, fetch one, or open weights you have.",
            button="More networks…",
            keys="Ctrl+M",
        )
        self._empty.clicked.connect(self._services.actions.action("window.networks").trigger)
        self._pages.addWidget(self._empty)

    def _connect(self) -> None:
        inspection, session, bar = self.inspection, self._session, self.bar
        inspection.shown_changed.connect(self._show_shown)
        inspection.pins_changed.connect(self._pins_changed)
        inspection.answered.connect(self._answered)
        inspection.problem.connect(self._failed)
        session.image_ready.connect(self._show_picture)
        session.current_changed.connect(self._image_changed)
        session.labels_loaded.connect(self._figures_later)
        session.labels_changed.connect(self._figures_later)
        session.counts_changed.connect(self._figures_later)
        self._predictions.ready.connect(self._figures_later)
        self.scale.changed.connect(self._look_changed)
        self.multiples.chosen.connect(self._enlarge)
        self.pins.table.chosen.connect(inspection.set_active_pin)
        self.pins.table.removed.connect(inspection.remove_pin)
        self.view.value_under_cursor.connect(self._mark_value)
        self.view.canvas.hovered.connect(self._hovered)
        bar.front_wanted.connect(inspection.set_front)
        bar.option_wanted.connect(inspection.set_option)
        bar.models_wanted.connect(inspection.set_models)
        bar.switches_wanted.connect(self._open_switches)
        bar.export_wanted.connect(self.maps.export)
        table = self._services.actions
        table.add(ACTIONS)
        table.list_held("attention.pin")
        table.bind("attention.png", lambda: self.maps.export("png"))
        table.bind("attention.npy", lambda: self.maps.export("npy"))

    # ------------------------------------------------------------------ showing

    def _is_behind(self) -> bool:
        """Whether nobody sees the room: it catches up when somebody enters it."""
        self._stale = self._stale or not self._is_front
        return not self._is_front

    def _image_size(self) -> QSize:
        image = self._session.image
        return QSize(image.width, image.height) if image is not None and image.width else QSize()

    def _show_picture(self) -> None:
        if self._is_behind():
            return
        image = self._session.image
        self._picture.set_levels(image.levels if image is not None else [])
        if image is not None and image.width:
            self._services.viewport.set_image_size(image.width, image.height, keep=True)
        self.multiples.show_picture(self._image_size(), self.scale.look)
        self._start_query()

    def _image_changed(self) -> None:
        self._errors.clear()
        if self._is_behind():
            return
        self._show_picture()
        self._show_front()
        self.multiples.refresh()
        self._figures_later()

    def _start_query(self) -> None:
        """The first query of a picture is its middle: something is seen before anybody clicks."""
        size = self._image_size()
        if self._is_front and not size.isEmpty() and not self.inspection.pins:
            self.inspection.add_pin(size.width() // 2, size.height() // 2)

    def _show_shown(self) -> None:
        """Models, maps or options changed."""
        if self._is_behind():
            return
        self._show_models()
        self._show_front()
        self._figures_later()

    def _show_models(self) -> None:
        has_models = bool(self.inspection.candidates)
        self._pages.setCurrentIndex(0 if has_models else 1)
        self.bar.refresh()
        wanted = {slot for model in self.inspection.models for slot in self.inspection.slots_of(model)}
        if wanted != set(self.multiples.tiles):
            self.multiples.rebuild()
        front = self.inspection.front_slot
        for slot, tile in self.multiples.tiles.items():
            tile.set_chosen(slot == front)

    def _pins_changed(self) -> None:
        if self._is_behind():
            return
        self.view.canvas.update()
        self._show_front()
        self._figures_later()

    def _answered(self, slot: ProbeSlot, number: int) -> None:
        active = self.inspection.active_pin
        self._errors.pop(slot, None)
        if self._is_behind():
            return
        if number in (0, active.number if active is not None else 0):
            self.multiples.show_answer(slot)
            if slot == self.inspection.front_slot:
                self._show_front()
        self._figures_later()

    def _show_front(self) -> None:
        slot, pin = self.inspection.front_slot, self.inspection.active_pin
        result = self.inspection.result(slot, pin)
        self.view.show_answer(slot, pin, result, self.scale.look, self._sentence(slot))
        shares = bool(result is not None and result.rows_sum_to_one)
        self.scale.show_range(self.view.heat, shares=shares)
        self.scale.show_bar(result is None or result.kind != "vector")
        self.cost.show_cost(result)

    def _sentence(self, slot: ProbeSlot | None) -> str:
        """What is written at the foot of the canvas: what is missing, or what the answer notes."""
        current = self._session.current
        if slot is None or current is None:
            return ""
        error = self._errors.get(slot)
        if error is not None:
            return error.what
        result = self.inspection.result(slot, self.inspection.active_pin)
        if result is None:
            return f"Running {short_name(slot.runnable.title)}…"
        if result.tile is not None:
            return "Ran in tiles: this is the tile nearest to the query"
        if result.extras.get("corners"):
            return "Two corner cells carry each link"
        return result.notes[0] if result.notes else ""

    def _figures_later(self) -> None:
        """The tables follow in a moment."""
        if self._is_front and not self._figures.isActive():
            self._figures.start()

    def _show_figures(self) -> None:
        """Tables: they follow a moment after the maps."""
        labels, source = self._labels()
        space = self._predictions.space
        self.pins.refresh(self.inspection, space, labels)
        self.mass.refresh(self.inspection, space, labels, source)
        self.multiples.read_labels()
        self.view.read_labels()

    def _labels(self) -> tuple[NDArray[Any] | None, str]:
        """What tells classes apart: the ground truth, else the mask of the model in front."""
        labels, current = self._session.label_map, self._session.current
        counts = self._session.class_counts
        if labels is not None and any(n > 0 for index, n in counts.items() if index != labels.ignore):
            return labels.array, "ground truth"
        front = self.inspection.front
        if current is None or front is None:
            return None, ""
        for switches in (dict(self.inspection.switches), {}):
            result = self._predictions.get(prediction_key(front, switches), current.id)
            if result is not None:
                return result.labels, "its own mask"
        return None, ""

    def _class_at(self, x: int, y: int) -> tuple[str, tuple[int, int, int]] | None:
        labels, _ = self._labels()
        if labels is None or y >= labels.shape[0] or x >= labels.shape[1]:
            return None
        entry = self._predictions.space.get(int(labels[y, x]))
        return None if entry is None else (entry.name, entry.color)

    def _hovered(self, pixel: tuple[int, int] | None) -> None:
        if pixel is None:
            self._services.status.leave()
            return
        found = self._class_at(*pixel)
        self._services.status.pointed.emit(pixel, None if found is None else (found[0], QColor(*found[1])))

    def _mark_value(self, value: float | None) -> None:
        self.scale.set_mark(self.view.heat, value)

    def _look_changed(self, look: Look) -> None:
        self._picture.set_grey(look.grey, GREY_BRIGHTNESS if look.grey else 1.0)
        self.multiples.show_picture(self._image_size(), look)
        self._show_front()

    def _enlarge(self, slot: ProbeSlot) -> None:
        self.inspection.set_front(slot.runnable, slot.spec.id)

    def _failed(self, slot: ProbeSlot, error: UserError) -> None:
        self._errors[slot] = error
        if self._is_behind():
            return
        self.multiples.show_error(slot, error)
        if slot == self.inspection.front_slot:
            self._show_front()

    # ------------------------------------------------------------------ verbs

    def _open_switches(self) -> None:
        if self._close_card():
            return
        front = self.inspection.front
        spec = self.inspection.spec_of(front) if front is not None else None
        if spec is None or not spec.switches:
            return
        card = SwitchesCard(spec.switches, self.inspection.switches, self.view, class_names=front.class_names)
        card.move(self.view.canvas.mapTo(self.view, QPoint(self.view.canvas.width() - card.width() - 8, 8)))
        card.changed.connect(self._switch)
        card.show()
        card.raise_()
        self._card = card

    def _close_card(self) -> bool:
        card, self._card = self._card, None
        if card is not None:
            card.close()
        return card is not None

    def _switch(self, values: Mapping[str, Any]) -> None:
        self.inspection.set_switches(values)
        if self._card is not None:
            self._card.show_loss("Not as trained" if values else "As trained", "", worse=True)


def _splitter(orientation: Qt.Orientation) -> QSplitter:
    split = QSplitter(orientation)
    split.setHandleWidth(1)
    split.setChildrenCollapsible(False)
    return split
