"""The Compare tab: pictures on the left, figures on the right, and the verbs that act on them."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtWidgets import QSplitter, QWidget

from segstudio.core.metrics import mean_iou
from segstudio.core.project import Project
from segstudio.runtime.actions import ActionSpec
from segstudio.runtime.comparison import Comparison
from segstudio.runtime.image_runs import ImageRuns
from segstudio.runtime.mask_result import key_of_any_precision
from segstudio.runtime.predictions import Predictions
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.scores import Scores
from segstudio.ui.compare.dock import WIDTH, CompareDock
from segstudio.ui.compare.held_keys import HeldKeys
from segstudio.ui.compare.option_bar import CompareBar
from segstudio.ui.compare.pane_card import PaneCard
from segstudio.ui.compare.stage import CompareStage
from segstudio.ui.room import Services
from segstudio.ui.widgets.numbers import counted

ACTIONS = (
    ActionSpec(
        "compare.run", "Run all panes on this image", ("R", "F9"), "Models", scope="compare", icon="play"
    ),
    ActionSpec("compare.run_all", "Run all panes on all labelled images", (), "Models", scope="compare"),
    ActionSpec("compare.curtain", "Curtain", ("K",), "See", scope="compare", icon="curtain"),
    ActionSpec("compare.blink", "Blink while held", ("F",), "See", scope="compare", held=True),
    ActionSpec("compare.overlay", "Overlay off while held", ("Q",), "See", scope="compare", held=True),
    ActionSpec("compare.fainter", "Overlay fainter", (",",), "See", scope="compare"),
    ActionSpec("compare.stronger", "Overlay stronger", (".",), "See", scope="compare"),
    ActionSpec("compare.view_mask", "View: mask", ("F2",), "See", scope="compare"),
    ActionSpec("compare.view_outline", "View: outline", ("F3",), "See", scope="compare"),
    ActionSpec("compare.view_confidence", "View: confidence", ("F4",), "See", scope="compare"),
    ActionSpec("compare.view_error", "View: error", ("F5",), "See", scope="compare"),
    ActionSpec("compare.worst", "Worst images first", ("Ctrl+PgDown",), "Move", scope="compare", icon="sort"),
    ActionSpec("compare.add", "Add a pane…", (), "Models", scope="compare", icon="plus"),
)


class CompareRoom(QObject):
    """One of the four tabs (see `ui.room.Room`)."""

    title = "Compare"
    icon = "compare"
    key = "Alt+2"

    def __init__(self, services: Services) -> None:
        super().__init__(services.session)
        predictions, shelf = services.predictions, services.shelf
        if predictions is None or shelf is None:
            raise RuntimeError("Compare needs the worker and the model shelf")
        self._services = services
        self._session = services.session
        self._shelf = shelf
        self._predictions: Predictions = predictions
        self.comparison = Comparison(services.session, shelf, self)
        self.scores = Scores(services.session, predictions, self)
        self.runs = ImageRuns(services.session, predictions, self.scores.changed, services.jobs, self)
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._split.setHandleWidth(1)
        self._split.setChildrenCollapsible(False)
        self._soon = QTimer(self, singleShot=True, interval=0)  # after the tab was shown as it is
        self._soon.timeout.connect(self._run_live)
        self._is_front = False
        self._worst_first = False
        self._rankings = 0
        self._live: set[str] = set()

    # ------------------------------------------------------------------ Room

    def widget(self) -> QWidget:
        return self._split

    def option_bar(self) -> QWidget:
        return self.bar

    def parts(self) -> Iterator[None]:
        self.stage = CompareStage(self._services, self.comparison, self._predictions)
        self._split.addWidget(self.stage)
        self._split.setStretchFactor(0, 1)
        yield
        yield from self.stage.catch_up()
        self.dock = CompareDock(
            self._services, self.comparison, self._predictions, self.scores, self.stage.result
        )
        self._split.addWidget(self.dock)
        self._split.setSizes([4000, WIDTH])
        yield from self.dock.parts()
        yield
        self.bar = CompareBar()
        yield
        self._connect()
        self._bind()
        stage = self.stage
        self.held = HeldKeys(
            {
                Qt.Key.Key_F: (lambda: stage.blinking, stage.set_blinking),
                Qt.Key.Key_Q: (lambda: not stage.overlay, lambda bare: stage.set_overlay(not bare)),
            },
            self,
        )

    def activated(self) -> None:
        self._is_front = True
        self.held.start(self._split)
        self._refresh_bar()
        self._soon.start()
        self._show_ranking()

    def deactivated(self) -> None:
        self._is_front = False
        self.held.stop()
        self.stage.set_blinking(False)
        self.card.close()
        if self._services.filmstrip is not None:
            self._services.filmstrip.set_order("", None)

    def status_hint(self) -> str:
        pair = self.comparison.pair
        if len(pair) < 2:
            return "[R] runs the models · click a class to isolate it"
        letters = [self.comparison.letter(pane.number) for pane in pair]
        return f"Hold [F] blinks {letters[0]} and {letters[1]} · [K] curtain · click a class to isolate it"

    def shut_down(self) -> None:
        self.runs.stop()
        self.scores.close()
        self.stage.bands.close()

    # ------------------------------------------------------------------ wiring

    def _connect(self) -> None:
        comparison, bar = self.comparison, self.bar
        bar.add_wanted.connect(self._add)
        bar.layout_wanted.connect(comparison.set_layout)
        bar.view_wanted.connect(self._set_view)
        bar.reference_wanted.connect(comparison.set_reference)
        bar.band_wanted.connect(comparison.set_band)
        bar.run_wanted.connect(self.run)
        bar.run_all_wanted.connect(self.run_all)
        bar.more_wanted.connect(self._services.actions.action("window.networks").trigger)
        self.card = PaneCard(self._services, self.comparison, self.stage, self.scores)
        self.card.changed.connect(self._follow_card)
        self.stage.add_wanted.connect(self.bar.add.click)
        self.dock.scores_changed.connect(self.stage.set_scores)
        self.dock.label_wanted.connect(lambda: self._services.status.room_wanted.emit("Annotate"))
        for signal in (
            comparison.panes_changed,
            comparison.active_changed,
            comparison.layout_changed,
            comparison.reference_changed,
            comparison.band_changed,
        ):
            signal.connect(self._refresh_bar)
        comparison.panes_changed.connect(self._run_live)
        comparison.pane_changed.connect(self._refresh_bar)
        comparison.pane_changed.connect(self._run_live)
        self._shelf.changed.connect(self._refresh_bar)
        self._session.image_ready.connect(self._run_live)
        self._session.labels_loaded.connect(self._refresh_bar)
        self._predictions.ready.connect(self._refresh_bar)
        self._predictions.failed.connect(self._failed)
        self.scores.changed.connect(self._scored)

    def _bind(self) -> None:
        table = self._services.actions
        table.add(ACTIONS)
        table.bind("compare.run", self.run)
        table.bind("compare.run_all", self.run_all)
        table.bind("compare.curtain", self._toggle_curtain)
        table.bind("compare.fainter", lambda: self.stage.set_opacity(self.stage.opacity - 0.08))
        table.bind("compare.stronger", lambda: self.stage.set_opacity(self.stage.opacity + 0.08))
        for view in ("mask", "outline", "confidence", "error"):
            table.bind(f"compare.view_{view}", lambda view=view: self._set_view(view))
        table.bind("compare.worst", self._toggle_worst)
        table.bind("compare.add", self.bar.add.click)
        table.list_held("compare.blink")
        table.list_held("compare.overlay")

    def _refresh_bar(self) -> None:
        if not self._is_front:
            return  # seen by nobody: entering the tab catches up
        comparison = self.comparison
        self.bar.set_models(self._shelf.runnable)
        self.bar.set_layout(comparison.layout, pairs=len(comparison.pair) == 2)
        active = comparison.active
        views = self.stage.views_for(active) if active is not None else ()
        chosen = active.view if active is not None and active.view in views else "mask"
        self.bar.set_views(views, chosen)
        seen = comparison.layout if len(comparison.pair) == 2 and comparison.layout != "grid" else chosen
        applies = seen == "difference" or (comparison.layout == "grid" and chosen == "error")
        self.bar.set_band(comparison.band, applies=applies)
        entries = [(0, "Ground truth")]
        entries += [
            (pane.number, f"{comparison.letter(pane.number)} · {pane.title}") for pane in comparison.models
        ]
        reference = comparison.reference
        self.bar.set_references(entries, reference.number if reference is not None else 0)
        self.bar.set_can_run(bool(comparison.models))
        self._services.status.hint_changed.emit(self.status_hint())

    # ------------------------------------------------------------------ verbs

    def run(self) -> None:
        """Runs every pane's model on the image in front, and from now on on every image shown."""
        self._live |= {key_of_any_precision(pane.key) for pane in self.comparison.models}
        self._run_live()

    def run_all(self) -> None:
        """Runs the panes' models on all labelled images that are not scored yet."""
        panes = [(pane.runnable, dict(pane.switches)) for pane in self.comparison.models if pane.runnable]
        tasks = self.scores.want_missing(panes, self.dock.images_counted())
        images = len({image_id for _runnable, _switches, image_id in tasks})
        self.runs.start(f"Scores of {counted(images, 'image')}", tasks)

    def _run_live(self) -> None:
        """Demo models, and models that were run once, follow the image by themselves."""
        current, image = self._session.current, self._session.image
        if not self._is_front or current is None or image is None or not image.complete:
            return
        for pane in self.comparison.models:
            runnable = pane.runnable
            live = key_of_any_precision(pane.key) in self._live
            if runnable is not None and (runnable.origin == "demo" or live):
                self._predictions.request(runnable, current.id, switches=pane.switches)
                baseline = pane.baseline
                if baseline is not None and baseline.runnable is not None:
                    self._predictions.request(baseline.runnable, current.id)
        self.scores.count_current()

    def show_model(self, runnable: RunnableModel) -> None:
        """Another room asks for this model: its pane comes in front, made where there is none."""
        shown = [
            pane
            for pane in self.comparison.models
            if pane.runnable is not None and pane.runnable.key == runnable.key
        ]
        if not shown:
            self._add("model", runnable)
            return
        final = next((pane for pane in shown if pane.name == pane.title == runnable.title), shown[0])
        self.comparison.set_active(final.number)

    def _add(self, kind: str, runnable: object) -> None:
        pane = self.comparison.add(kind, runnable)  # type: ignore[arg-type]
        if pane is None:
            self._services.status.notice.emit("Nine panes are the most that fit", "", None)
        elif pane.kind == "model":
            self._live.add(key_of_any_precision(pane.key))
            self._run_live()

    def _set_view(self, view: str) -> None:
        active = self.comparison.active
        if active is not None and view in self.stage.views_for(active):
            self.comparison.set_view(active.number, view)  # type: ignore[arg-type]

    def _toggle_curtain(self) -> None:
        if len(self.comparison.pair) == 2:
            self.comparison.set_layout("grid" if self.comparison.layout == "curtain" else "curtain")

    def _follow_card(self, keys: set[str]) -> None:
        """Panes were changed or made on a card: their models follow the image from now on."""
        self._live |= {key_of_any_precision(key) for key in keys}
        self._run_live()

    def _failed(self, _key: str, _image_id: int, error: object) -> None:
        if self._is_front:
            self._services.status.error.emit(error)

    # ------------------------------------------------------------------ ranking

    def _toggle_worst(self) -> None:
        self._worst_first = not self._worst_first
        self._show_ranking()

    def _scored(self, _key: str, _image_id: int) -> None:
        self.card.show_loss()
        if self._worst_first:
            self._show_ranking()

    def _show_ranking(self) -> None:
        """The strip in the order of the first model's mean IoU, worst first."""
        strip, pair = self._services.filmstrip, self.comparison.pair
        if strip is None or not self._is_front:
            return
        if not self._worst_first or not pair:
            strip.set_order("", None)
            return
        pane = self.dock.confusion_pane() or pair[0]
        own = [
            entry.index for entry in self._predictions.space.classes if entry.in_project and not entry.ignore
        ]
        matrices = self.scores.at_hand(pane.key)
        letter = self.comparison.letter(pane.number)
        self._rankings += 1
        number = self._rankings

        def rank(_project: Project) -> list[tuple[float, int]]:
            scored = ((matrix, image_id) for image_id, matrix in matrices.items() if matrix.any())
            return sorted((mean_iou(matrix, own), image_id) for matrix, image_id in scored)

        def show(ranked: list[tuple[float, int]]) -> None:
            if number == self._rankings and self._worst_first and self._is_front:
                here = [entry for entry in ranked if self._session.images.find(entry[1]) is not None]
                words = {image_id: f"{100 * value:.1f}" for value, image_id in here}
                strip.set_order(f"Worst first · IoU of {letter}", list(words), words)

        self._session.read(rank, show)
