"""The pictures of the Compare tab: panes with their layers and read-outs, in the layout that was chosen."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import QRect, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from segstudio.core.errors import UserError
from segstudio.runtime.comparison import Comparison, Pane, View
from segstudio.runtime.mask_result import MaskResult
from segstudio.runtime.predictions import Predictions
from segstudio.runtime.turns import Turns
from segstudio.ui.canvas.layers import OVERLAY_OPACITY, ImageLayer
from segstudio.ui.compare.pane_contents import PaneContents
from segstudio.ui.compare.pane_grid import PaneGrid
from segstudio.ui.compare.pane_layers import GREY_BRIGHTNESS, PaneLayers
from segstudio.ui.compare.pane_view import PairView, PaneCanvas, PaneView
from segstudio.ui.room import Services
from segstudio.ui.widgets.empty_state import EmptyState


class CompareStage(QWidget):
    """Panes of one comparison. It asks for nothing to be computed; `wants_switches` opens a pane's card.

    While nobody sees it, it remembers what became stale and does no work; `catch_up` brings it up to date.
    """

    wants_switches = Signal(int)
    add_wanted = Signal()

    def __init__(self, services: Services, comparison: Comparison, predictions: Predictions) -> None:
        super().__init__()
        self._services = services
        self._session = services.session
        self._comparison = comparison
        self._predictions = predictions
        self._picture = ImageLayer(self)
        self._greyed = ImageLayer(self)
        self._greyed.set_grey(True, GREY_BRIGHTNESS)
        self._views: dict[int, PaneView] = {}
        self._turns = Turns(self)
        self._parts: Iterator[None] | None = None
        self._opacity = OVERLAY_OPACITY
        self._overlay = True
        self._blinking = False
        self._scores: dict[int, str] = {}
        self._stale_panes = self._stale_picture = self._stale = True
        self._contents = PaneContents(services, comparison, predictions)
        self.readouts, self.bands = self._contents.readouts, self._contents.bands
        self.grid = PaneGrid()
        self.pair = PairView(services.viewport)
        self._follow_canvas(self.pair.canvas)
        self._empty = EmptyState(
            "compare",
            "No model beside it yet",
            "Masks of trained networks appear here, on the same pixels.",
            button="Add pane",
        )
        self._empty.clicked.connect(self.add_wanted)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.grid)
        self._stack.addWidget(self.pair)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._stack)
        self._connect()

    def _connect(self) -> None:
        session, comparison, predictions = self._session, self._comparison, self._predictions
        session.image_ready.connect(self.show_picture)
        session.current_changed.connect(self._image_changed)
        session.labels_loaded.connect(self.refresh)
        session.labels_changed.connect(self._labels_changed)
        session.classes_changed.connect(self.refresh)
        comparison.panes_changed.connect(self.rebuild)
        comparison.pane_changed.connect(self.refresh)
        comparison.active_changed.connect(self.refresh)
        comparison.layout_changed.connect(self.refresh)
        comparison.reference_changed.connect(self.refresh)
        comparison.band_changed.connect(self.refresh)
        self.bands.changed.connect(self.refresh)
        comparison.isolated_changed.connect(self._show_isolated)
        predictions.ready.connect(self._forget_error)
        predictions.asked.connect(self._asked)
        predictions.failed.connect(self._failed)
        predictions.cancelled.connect(self.refresh)
        predictions.space_changed.connect(self.refresh)

    # ------------------------------------------------------------------ what others ask

    @property
    def canvases(self) -> list[PaneCanvas]:
        """The canvases on screen."""
        if self._stack.currentWidget() is self.pair:
            return [self.pair.canvas]
        return [view.canvas for view in self._views.values() if not view.isHidden()]

    def view_of(self, number: int) -> PaneView | None:
        return self._views.get(number)

    def views_for(self, pane: Pane) -> tuple[View, ...]:
        """What a pane can show now."""
        return self._contents.views_for(pane)

    def result(self, pane: Pane) -> MaskResult | None:
        return self._contents.result(pane)

    def set_scores(self, scores: dict[int, str]) -> None:
        """Words for each header, by pane number."""
        self._scores = scores
        if self.isVisible():
            self._show_headers()
        else:
            self._stale = True

    def set_opacity(self, opacity: float) -> None:
        self._opacity = min(max(opacity, 0.0), 1.0)
        for view in self._views.values():
            view.layers.set_opacity(self._opacity)

    @property
    def opacity(self) -> float:
        return self._opacity

    def set_overlay(self, shown: bool) -> None:
        """All overlays on or off (Q)."""
        self._overlay = shown
        for view in self._views.values():
            view.layers.set_overlay(shown)

    @property
    def overlay(self) -> bool:
        return self._overlay

    def set_blinking(self, blinking: bool) -> None:
        """While on, the other model of the pair is seen in place of the one in front (F)."""
        if blinking != self._blinking:
            self._blinking = blinking
            if self.isVisible():
                self._show_layers()
                self._show_headers()
            else:
                self._stale = True

    @property
    def blinking(self) -> bool:
        return self._blinking

    # ------------------------------------------------------------------ panes

    def rebuild(self) -> None:
        """Makes and drops panes to fit the comparison."""
        self._stale_panes = True
        if self.isVisible():
            self._follow()

    def catch_up(self) -> Iterator[None]:
        """Brings panes, picture and masks up to date, from yield to yield a part of it."""
        if self._stale_panes:
            for pane in self._comparison.panes:
                if pane.number not in self._views:
                    self._views[pane.number] = self._make(pane)
                    yield
            yield from self._arrange()
        if self._stale_picture:
            self._show_picture()
        if self._stale:
            self._refresh()

    def _follow(self) -> None:
        """At once; what was begun in turns is finished first, its panes are half arranged."""
        self._turns.clear()
        begun, self._parts = self._parts, None
        for parts in (begun, self.catch_up()):
            for _ in parts or ():
                pass

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._parts is None:
            self._parts = self.catch_up()
            self._turns.add(self._part)

    def _part(self) -> None:
        """Of what is brought up to date in turns of the event loop: the room comes in at once."""
        parts, self._parts = self._parts, None  # who asks for all of it meanwhile does not run this one again
        for _ in parts or ():
            self._parts = parts
            self._turns.add(self._part)
            return

    def _arrange(self) -> Iterator[None]:
        self._stale_panes = False
        numbers = [pane.number for pane in self._comparison.panes]
        for number in [number for number in self._views if number not in numbers]:
            view = self._views.pop(number)
            view.canvas.set_layers([])
            view.hide()
            view.setParent(None)
            view.deleteLater()
        shown: list[QWidget] = [self._views[number] for number in numbers]
        if not self._comparison.models:
            shown.append(self._empty)
        self._stale = True
        yield from self.grid.set_panes(shown)

    def _make(self, pane: Pane) -> PaneView:
        layers = PaneLayers(self._picture, self._greyed, self)
        layers.set_opacity(self._opacity)
        view = PaneView(pane.number, self._services.viewport, layers)
        number, comparison = pane.number, self._comparison
        header = view.header
        header.view_chosen.connect(lambda chosen: comparison.set_view(number, chosen))
        header.close_clicked.connect(lambda: comparison.remove(number))
        header.maximise_clicked.connect(lambda: self.maximise(number))
        header.name_clicked.connect(lambda: self.wants_switches.emit(number))
        header.pressed.connect(lambda: comparison.set_active(number))
        view.canvas.pressed.connect(lambda: comparison.set_active(number))
        view.canvas.set_readout(self.readouts.of(number))
        self._follow_canvas(view.canvas)
        return view

    def _follow_canvas(self, canvas: PaneCanvas) -> None:
        canvas.hovered.connect(self.readouts.hovered)
        canvas.opacity_wheel.connect(lambda steps: self.set_opacity(self._opacity + 0.05 * steps))

    def maximise(self, number: int) -> None:
        self.grid.maximise(self._views[number])
        for view in self._views.values():
            view.header.set_maximised(self.grid.maximised is view)

    # ------------------------------------------------------------------ showing

    def show_picture(self) -> None:
        """Another level of the picture is there, or another picture."""
        self._stale_picture = True
        if self.isVisible():
            self._follow()

    def _show_picture(self) -> None:
        self._stale_picture = False
        image = self._session.image
        if image is None:
            self._picture.set_levels([])
            self._greyed.set_levels([])
            return
        if image.width:
            self._services.viewport.set_image_size(image.width, image.height, keep=True)
        self._picture.set_levels(image.levels)
        self._greyed.set_levels(image.levels)

    def _image_changed(self) -> None:
        self._stale_picture = True
        self.refresh()

    def refresh(self) -> None:
        """Masks, colours, layers, headers and sentences of all panes."""
        self._stale = True
        if self.isVisible():
            self._follow()

    def _refresh(self) -> None:
        self._stale = False
        colors = self._predictions.space.colors()
        for pane in self._comparison.panes:
            view = self._views.get(pane.number)
            if view is None:
                continue
            view.layers.set_colors(colors)
            views = self.views_for(pane)
            chosen = pane.view if pane.view in views else "mask"
            view.layers.set_content(self._contents.content(pane), chosen)
            view.layers.set_isolated(self._comparison.isolated, self._comparison.confused)
            view.header.set_views(views, chosen)
            view.canvas.say(self._contents.sentence(pane))
        self._show_layers()
        self._show_headers()

    def _show_layers(self) -> None:
        layout, pair = self._comparison.layout, self._comparison.pair
        views = [self._views[pane.number] for pane in pair if pane.number in self._views]
        if layout == "grid" or len(views) < 2:
            self._stack.setCurrentWidget(self.grid)
            self.pair.canvas.set_layers([])
            for number, view in self._views.items():
                source = view
                if (
                    self._blinking
                    and len(views) == 2
                    and view in views
                    and number == self._front(pair).number
                ):
                    source = views[0] if view is views[1] else views[1]
                view.canvas.set_layers(source.layers.layers)
                view.canvas.set_readout(self.readouts.of(source.number))
            return
        first, second = views
        self._stack.setCurrentWidget(self.pair)
        canvas = self.pair.canvas
        if layout == "curtain":
            self.pair.show_curtain(first.layers, second.layers)
            canvas.set_readout(self.readouts.of_pair(pair[0].number, pair[1].number))
        elif layout == "blink":
            shown = second if self._blinking else first
            self.pair.show_one(shown.layers)
            canvas.set_readout(self.readouts.of(shown.number))
        else:
            first.layers.set_content(self._contents.content(pair[0]), "difference")
            self.pair.show_one(first.layers)
            canvas.set_readout(self.readouts.of_pair(pair[0].number, pair[1].number))
        canvas.say(next((s for s in map(self._contents.sentence, pair) if s), ""))

    def _front(self, pair: tuple[Pane, ...]) -> Pane:
        active = self._comparison.active
        return active if active in pair and active is not None else pair[0]

    def _show_headers(self) -> None:
        comparison = self._comparison
        active, pair = comparison.active, comparison.pair
        for pane in comparison.panes:
            view = self._views.get(pane.number)
            if view is None:
                continue
            shown, letter = pane, comparison.letter(pane.number)
            if (
                self._blinking
                and comparison.layout == "grid"
                and len(pair) == 2
                and pane == self._front(pair)
            ):
                shown = pair[0] if pane == pair[1] else pair[1]
                letter = comparison.letter(shown.number)
            view.header.set_name(
                letter,
                shown.name,
                opens=pane.kind == "model",
                changed=bool(pane.switches),
            )
            view.header.set_scale(shown.scale)
            view.header.set_state(*self._contents.band_words(pane, pane.view))
            result = self.result(pane)
            told = result.info if result is not None else {}
            view.header.set_precision(str(told.get("precision", "")), told.get("agreement"))
            view.header.set_score(self._scores.get(pane.number, ""))
            view.header.set_active(pane is active and len(comparison.panes) > 1)
        if len(pair) == 2:
            letters = [comparison.letter(pane.number) for pane in pair]
            titles = [pane.title for pane in pair]
            if comparison.layout == "blink":
                shown = 1 if self._blinking else 0
                self.pair.header.set_name(letters[shown], titles[shown], opens=False, changed=False)
            else:
                between = " | " if comparison.layout == "curtain" else " ≠ "
                words = f"{titles[0]}{between}{titles[1]}"
                self.pair.header.set_name(between.strip().join(letters), words, opens=False, changed=False)
            self.pair.header.set_state(*self._contents.band_words(pair[0], comparison.layout))

    def _show_isolated(self) -> None:
        if not self.isVisible():
            self._stale = True
            return
        for view in self._views.values():
            view.layers.set_isolated(self._comparison.isolated, self._comparison.confused)
        self._show_layers()

    def _labels_changed(self, rect: QRect) -> None:
        if not self.isVisible():
            self._stale = True
            return
        for pane in self._comparison.panes:
            view = self._views.get(pane.number)
            if view is not None and (pane.kind == "truth" or pane.view == "error"):
                view.layers.update_labels(rect)

    def _asked(self, key: str, image_id: int) -> None:
        """A model begins: only what is written in its pane changes."""
        self._contents.errors.pop((key, image_id), None)
        if not self.isVisible():
            self._stale = True
            return
        for pane in self._comparison.models:
            view = self._views.get(pane.number)
            if view is not None and pane.key == key:
                view.canvas.say(self._contents.sentence(pane))

    def _forget_error(self, key: str, image_id: int) -> None:
        self._contents.errors.pop((key, image_id), None)
        self.refresh()

    def _failed(self, key: str, image_id: int, error: UserError) -> None:
        self._contents.errors[(key, image_id)] = error
        self.refresh()
