"""Connects the page of reconstructions with the run in front, the image in front and the worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QStackedWidget

from segstudio.core.errors import UserError
from segstudio.core.project import Project
from segstudio.core.recipe import Recipe
from segstudio.plugin_api import Option
from segstudio.runtime.actions import ActionSpec
from segstudio.runtime.reconstructions import (
    PretrainedWeights,
    Question,
    RatioSweep,
    Reconstruction,
    Reconstructions,
)
from segstudio.runtime.run_view import RunView
from segstudio.ui.room import Services
from segstudio.ui.train.reconstruction_page import LEAST_RATIO, MOST_RATIO, ReconstructionPage

_HINT = "Click or drag over the picture hides cells and shows them again · [R] draws a mask · [Esc] goes back"
MASKINGS = ("random", "block", "grid")
_USUAL_RATIO = 0.75
_DRAW = ActionSpec(
    "train.draw",
    "Draw another mask",
    ("R",),
    "See",
    "While looking inside a pre-training run",
    "refresh",
    "train",
)


class LookingInside(QObject):
    """Makes the page when somebody first looks; `closed` when it is left."""

    closed = Signal()

    def __init__(self, services: Services, stack: QStackedWidget) -> None:
        super().__init__(stack)
        self._services = services
        self._session = services.session
        self._stack = stack
        self._made: ReconstructionPage | None = None
        self._asker: Reconstructions | None = None
        self._sweep: RatioSweep | None = None
        self._name = ""
        self._weights: PretrainedWeights | None = None
        self._question: Question | None = None
        self._seed = 0
        self._is_awake = False  # in view of somebody
        self._hides = True
        self._drags = QTimer(self, singleShot=True, interval=0)  # one question for all cells of one move
        self._drags.timeout.connect(self._ask_edited)

    @property
    def page(self) -> ReconstructionPage | None:
        return self._made

    @property
    def is_front(self) -> bool:
        return self._made is not None and self._stack.currentWidget() is self._made

    @property
    def hint(self) -> str:
        """What the status bar says while the page is in front."""
        return _HINT if self._hides else "[Esc] goes back to the curves"

    # -- the page ------------------------------------------------------------------------------------

    def show(self, view: RunView, recipe: Recipe) -> None:
        """Brings the page in front with the best weights of this run."""
        page = self._page()
        if self._name != view.name:
            page.stage.clear()
            page.chart.show_points([])
            self._name = view.name
            self._seed = 0
            options = self._options(view.model)
            masking = _known(recipe, options, "masking", MASKINGS[0])
            ratio = _known(recipe, options, "mask_ratio", _USUAL_RATIO)
            choices = options["masking"].choices if "masking" in options else MASKINGS
            share = float(ratio) if isinstance(ratio, float | int) else _USUAL_RATIO
            names = tuple(str(choice) for choice in choices)
            page.show_masking(names, str(masking), min(MOST_RATIO / 100, max(LEAST_RATIO / 100, share)))
            self._session.read(
                lambda project: _ids_by_split(view, project), lambda ids: page.show_images(*ids)
            )
        self._use(view, recipe)
        self._stack.setCurrentWidget(page)
        page.stage.setFocus()
        self._wake()
        self._ask_drawn()

    def resume(self) -> None:
        """The tab came in front again, perhaps with another image."""
        if not self.is_front:
            return
        self._wake()
        if self._question is None or self._question.path != self._path():
            self._image_changed()

    def follow(self, view: RunView, recipe: Recipe) -> None:
        """Another run may be in front, or this one may have better weights by now."""
        if not self._is_awake or not self.is_front:
            return
        if view.name != self._name:
            if view.is_pretraining and view.has_best:
                self.show(view, recipe)
            else:
                self.leave()
        elif self._weights is not None and _stamp(view) != self._weights.stamp:
            self._use(view, recipe)
            if self._question is not None:
                self._ask(self._question)

    def leave(self) -> None:
        self.rest()
        self.closed.emit()

    def _wake(self) -> None:
        self._is_awake = True
        self._tell_hides()

    def _tell_hides(self) -> None:
        """Where nothing can be hidden, nothing says that it could."""
        self._services.actions.enable("train.draw", self._hides, why_not="This network hides nothing")
        self._services.status.hint_changed.emit(self.hint)

    def rest(self) -> None:
        """Nobody looks: nothing is asked for any longer."""
        self._is_awake = False
        if self._asker is not None and self._sweep is not None:
            self._asker.forget()
            self._sweep.cancel()
            self._services.actions.enable("train.draw", False, why_not="Look inside a pre-training run first")

    def _page(self) -> ReconstructionPage:
        if self._made is not None:
            return self._made
        assert self._services.worker is not None  # a window that trains has one
        page = self._made = ReconstructionPage(self._session)
        self._stack.addWidget(page)
        asker = self._asker = Reconstructions(self._services.worker, self)
        sweep = self._sweep = RatioSweep(self._services.worker, self)
        asker.ready.connect(self._take)
        asker.failed.connect(self._fail)
        sweep.measured.connect(page.chart.add_point)
        sweep.ended.connect(lambda _whole: page.show_measuring(False))
        sweep.failed.connect(self._services.status.error)
        page.closed.connect(self.leave)
        page.mask_wanted.connect(self._ask_drawn)
        page.another_wanted.connect(self._draw_again)
        page.stage.edited.connect(self._drags.start)
        page.measure_wanted.connect(self._measure)
        page.cancel_wanted.connect(sweep.cancel)
        self._session.current_changed.connect(self._image_changed)
        actions = self._services.actions
        actions.add((_DRAW,))
        actions.bind("train.draw", self._draw_again)
        return page

    def _options(self, model: str) -> dict[str, Option]:
        shelf = self._services.shelf
        known = shelf.pretraining if shelf is not None else ()
        spec = next((spec for spec in known if spec.id == model), None)
        return {option.name: option for option in spec.options} if spec is not None else {}

    def _use(self, view: RunView, recipe: Recipe) -> None:
        """The best weights there are now."""
        width, height = recipe.crop
        self._weights = PretrainedWeights(
            view.model,
            str(view.folder.checkpoints / "best.safetensors"),
            {**recipe.options, "image_size": [height, width]},
            stamp=_stamp(view),
        )
        epoch = f" of epoch {view.best_epoch}" if view.best_epoch else ""
        self._page().show_words(f"Run {view.number} · {view.title} · best weights{epoch}")

    # -- questions -----------------------------------------------------------------------------------

    def _path(self) -> str | None:
        current = self._session.current
        return None if current is None else str(self._session.path(current.id))

    def _image_changed(self) -> None:
        if not self._is_awake or self._made is None or self._sweep is None:
            return
        self._sweep.cancel()
        self._made.chart.show_points([])
        self._made.stage.clear()
        self._ask_drawn()

    def _draw_again(self) -> None:
        if self._is_awake and self._hides:
            self._seed += 1
            self._ask_drawn()

    def _ask_drawn(self) -> None:
        """A mask by ratio, masking and seed."""
        path, page = self._path(), self._made
        if path is not None and page is not None:
            self._drags.stop()
            self._ask(Question(path, None, page.chosen_ratio, page.chosen_masking, self._seed))

    def _ask_edited(self) -> None:
        """The mask as the person made it."""
        path, page = self._path(), self._made
        if path is not None and page is not None and page.stage.hidden is not None:
            cells = tuple((row, column) for row, column in np.argwhere(page.stage.hidden).tolist())
            self._ask(Question(path, cells, None, None, self._seed))

    def _ask(self, question: Question) -> None:
        if self._asker is None or self._weights is None or self._made is None:
            return
        self._question = question
        if not self._made.stage.views:
            self._made.stage.show_message("The network looks at the picture…")
        self._asker.ask(self._weights, question)

    def _take(self, answer: Reconstruction) -> None:
        page = self._made
        if page is None or self._question is None or answer.question.path != self._question.path:
            return
        # A person who changed cells after this was asked sees the own mask until that is answered.
        edited = self._question.hidden is not None or self._drags.isActive()
        page.stage.show_answer(answer, take_mask=not edited)
        hides = answer.hidden is not None
        page.show_hides(hides)
        if hides != self._hides:
            self._hides = hides
            if self._is_awake:
                self._tell_hides()
        page.show_notes(answer.notes)
        page.show_count(answer.ms, answer.mean_error)

    def _fail(self, error: UserError) -> None:
        if self._made is not None:
            self._made.show_problem(error.what)
            self._services.status.error.emit(error)

    def _measure(self) -> None:
        path, page = self._path(), self._made
        if path is None or page is None or self._sweep is None or self._weights is None:
            return
        page.chart.show_points([])
        page.show_measuring(True)
        self._sweep.start(self._weights, Question(path, None, None, page.chosen_masking, self._seed))


def _known(recipe: Recipe, options: dict[str, Option], name: str, usual: object) -> object:
    """The value of an option in a run: as chosen, else its default, else what is usual."""
    default = options[name].default if name in options else usual
    found = recipe.options.get(name, default)
    return usual if found is None else found


def _stamp(view: RunView) -> float:
    return float(view.best_epoch or 0)


def _ids_by_split(view: RunView, project: Project) -> tuple[list[int], list[int]]:
    """The project's images that the run validates on, and the others. Reads files: called on a thread."""
    try:
        samples = view.folder.samples()
    except UserError:
        samples = ()  # without the list every image may have been learned from
    held_out = {view.folder.resolve(sample.image) for sample in samples if sample.split == "val"}
    validation: list[int] = []
    others: list[int] = []
    for record in project.images():
        place: Path = project.image_path(record.id)
        (validation if place in held_out else others).append(record.id)
    return validation, others
