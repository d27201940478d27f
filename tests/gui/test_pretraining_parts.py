"""The parts of the Train tab that belong to pre-training, each on its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QObject, QPoint, Qt, Signal
from PySide6.QtTest import QTest

from segstudio.core.errors import UserError
from segstudio.core.recipe import Recipe, RunClass
from segstudio.core.run_folder import RunFolder, Sample
from segstudio.ipc import MappedArray
from segstudio.plugin_api import ModelSpec, Option, PretrainingSpec
from segstudio.runtime.opened_weights import Findings
from segstudio.runtime.reconstructions import (
    PretrainedWeights,
    Question,
    RatioSweep,
    Reconstruction,
    Reconstructions,
)
from segstudio.runtime.run_history import Preview, RunHistory
from segstudio.runtime.run_view import judge
from segstudio.ui.models.file_card import FileCard
from segstudio.ui.train.charts import Charts
from segstudio.ui.train.new_run_form import NewRunForm, RunData
from segstudio.ui.train.option_fields import PercentField
from segstudio.ui.train.patch_stage import PatchStage
from segstudio.ui.train.sweep_chart import SweepChart
from segstudio.ui.train.view_grid import ViewGrid
from segstudio.ui.train.weights_field import WeightsField
from tests.gui.conftest import picture

PLAIN = ModelSpec("plain/fcn", "FCN", "fcn", trainable=True, backbone="resnet18")
ON_GUESSER = ModelSpec("plain/upernet", "UPerNet", "upernet", trainable=True, backbone="guesser-small")
GUESSER = PretrainingSpec(
    "plain/guesser",
    "Guesser",
    options=(
        Option("image_size", "ints", (64, 96)),
        Option("mask_ratio", "float", 0.75, minimum=0.1, maximum=0.95),
        Option("masking", "choice", "random", choices=("random", "block")),
        Option("tokenizer", "weights", None, needed_for=("masking", "block")),
    ),
    size_divisor=16,
    rate=0.00015,
    backbones=("guesser-small",),
)
CLASSES = (RunClass("Road", (1, 2, 3)), RunClass("Sky", (4, 5, 6)))
DATA = RunData(CLASSES, (320, 240), labelled=(8, 2), pictures=(160, 40))


# -- the form ----------------------------------------------------------------------------------------


@pytest.fixture
def form(qtbot):
    made = NewRunForm()
    qtbot.addWidget(made)
    made.resize(760, 900)
    made.show()
    made.show_specs([PLAIN, ON_GUESSER], (), [GUESSER])
    made.show_data(DATA)
    return made


def choose(form: NewRunForm, index: int) -> None:
    QTest.mouseClick(form.task, Qt.MouseButton.LeftButton, pos=form.task.rect_of(index).center())


def test_without_a_way_of_pre_training_there_is_nothing_to_choose(qtbot):
    form = NewRunForm()
    qtbot.addWidget(form)
    form.show()
    form.show_specs([PLAIN], (), [])
    assert not form.task.isVisible()
    assert form.fields.task == "segmentation" and form.spec is PLAIN


def test_pre_training_shows_its_own_fields_and_counts_all_images(form, qtbot):
    assert form.fields.class_weights.isVisible()
    choose(form, 1)
    assert [form.model.itemData(row) for row in range(form.model.count())] == [GUESSER.id]
    assert not form.fields.class_weights.isVisible() and not form._more.isVisible()
    ratio, tokenizer = form._options["mask_ratio"][1], form._options["tokenizer"][1]
    assert isinstance(ratio, PercentField) and isinstance(tokenizer, WeightsField)
    qtbot.waitUntil(lambda: ratio.isVisible() and tokenizer.isVisible())
    assert "image_size" not in form._options and "masking" in form._options
    words = form._summary.text()
    assert words.startswith("160 training and 40 validation images · labelled or not · 1000 steps")
    QTest.keyClick(ratio.slider, Qt.Key.Key_Right)
    recipe = form.recipe()
    assert (recipe.task, recipe.model, recipe.classes, recipe.crop) == (
        "pretraining",
        GUESSER.id,
        (),
        (96, 64),
    )
    assert (recipe.optimizer, recipe.lr, recipe.warmup_steps) == ("adamw", 0.00015, 50)
    assert recipe.options == {"mask_ratio": 0.76} and recipe.scale == (0.2, 1.0)
    assert recipe.schedule == "cosine" and form.fields.schedule.currentText() == "Cosine"
    choose(form, 0)
    assert form.fields.class_weights.isVisible()
    recipe = form.recipe()
    assert recipe.schedule == "poly"
    assert (recipe.task, recipe.optimizer, recipe.crop, recipe.classes) == (
        "segmentation",
        "sgd",
        (320, 224),
        CLASSES,
    )


def test_a_crop_between_two_cells_is_refused_with_the_divisor(form):
    choose(form, 1)
    form.fields.crop_width.setValue(100)
    with pytest.raises(UserError, match=r"100 × 64.*divisible by 16"):
        form.recipe()
    QTest.mouseClick(form.start, Qt.MouseButton.LeftButton)
    assert "divisible by 16" in form._summary.text()


def test_a_file_that_a_choice_needs_is_asked_for_before_a_run_begins(form, qtbot):
    choose(form, 1)
    started = []
    form.start_wanted.connect(started.append)
    masking, tokenizer = form._options["masking"][1], form._options["tokenizer"][1]
    assert tokenizer.path.placeholderText() == "needed for masking = block"
    masking.setCurrentIndex(1)
    QTest.mouseClick(form.start, Qt.MouseButton.LeftButton)
    assert not started and form._summary.text().startswith("Guesser needs a tokenizer")
    assert "set masking to something other than block" in form._summary.text()
    tokenizer.setText("/weights/dvae.safetensors")
    QTest.mouseClick(form.start, Qt.MouseButton.LeftButton)
    assert [recipe.options["tokenizer"] for recipe in started] == ["/weights/dvae.safetensors"]


def test_a_cloned_pre_training_comes_back_as_it_was(form):
    recipe = Recipe(
        model=GUESSER.id,
        classes=(),
        task="pretraining",
        title="Mine",
        options={"mask_ratio": 0.4, "tokenizer": "/weights/dvae.safetensors"},
        crop=(32, 48),
        epochs=7,
        lr=0.003,
        optimizer="adamw",
        weight_decay=0.02,
        scale=(0.3, 0.9),
        color=0.0,
    )
    form.show_recipe(recipe)
    again = form.recipe()
    names = ("model", "task", "title", "options", "crop", "epochs", "lr", "weight_decay", "scale")
    assert [getattr(again, name) for name in names] == [getattr(recipe, name) for name in names]


def test_a_segmentation_from_weights_chooses_a_network_with_their_backbone(form):
    assert form.spec is PLAIN
    form.start_from("/runs/1/checkpoints/best.safetensors", GUESSER.backbones)
    assert form.spec is ON_GUESSER and form.recipe().weights == "/runs/1/checkpoints/best.safetensors"
    form.choose(PLAIN.id)
    assert "another backbone: guesser-small" in form._facts.text()


# -- what a run tells --------------------------------------------------------------------------------


def told_epochs() -> RunHistory:
    history = RunHistory()
    step = {"kind": "step", "losses": {"a": 0.5, "b": 0.1}, "loss": 0.6, "lr": 0.1, "images_per_s": 2}
    for number, loss in ((1, 0.9), (2, 0.5), (3, 0.7)):
        preview = {"index": 0, "error": loss / 2, "views": ["masked", "reconstruction"]}
        epoch = {"kind": "epoch", "epoch": number, "step": number, "train_loss": 1.0, "val_loss": loss}
        epoch |= {"val_losses": {"a": loss - 0.1, "b": 0.1}, "previews": [preview]}
        history.feed([{**step, "step": number, "memory": 0}, epoch])
    return history


def test_the_best_epoch_of_a_pre_training_is_that_of_the_lowest_loss(tmp_path):
    history = told_epochs()
    assert history.best is None and history.lowest is not None and history.lowest.number == 2
    assert history.lowest.views == {0: ("masked", "reconstruction")} and history.lowest.previews == {0: 0.25}
    recipe = Recipe(model=GUESSER.id, classes=(), task="pretraining", scale=(0.2, 1.0))
    folder = RunFolder.create(tmp_path / "run-0001", recipe, [Sample("a.png", "", "train")])
    folder.write_state(state="done", best={"loss": 0.5, "epoch": 2})
    view, _ = judge(folder, recipe, seconds=1.0, launched=0.0, starting=False)
    assert view.is_pretraining and view.best is None and view.best_words == "0.500"


def test_the_second_chart_shows_each_validation_loss_and_where_they_are_lowest(qtbot):
    charts = Charts()
    qtbot.addWidget(charts)
    charts.resize(900, 260)
    charts.show()
    view = SimpleNamespace(name="run-0001", number="1", epochs=4, steps=4, is_pretraining=True)
    charts.show_run(view, told_epochs())
    qtbot.waitUntil(lambda: [line.name for line in charts.miou.lines] == ["run 1", "a", "b"])
    assert list(charts.miou.lines[0].y) == [0.9, 0.5, 0.7]
    assert charts.miou._mark is not None and charts.miou._mark.text == "0.500 at 2"


def test_the_views_of_an_epoch_stand_over_the_original(qtbot, tmp_path):
    previews = tmp_path / "previews"
    (previews / "epoch-0002").mkdir(parents=True)
    colors = {"masked": (200, 10, 10), "reconstruction": (10, 200, 10)}
    for name, color in colors.items():
        Image.new("RGB", (64, 64), color).save(previews / "epoch-0002" / f"0-{name}.png")
    Image.new("RGB", (64, 64), (10, 10, 200)).save(previews / "image-0.png")
    grid = ViewGrid()
    qtbot.addWidget(grid)
    grid.resize(240, 640)
    grid.show()
    grid.show_run(tmp_path, [Preview(0, "street.png", (64, 64))])
    grid.show_epoch(told_epochs().lowest)
    assert grid.rows == ("masked", "reconstruction", "original")

    def colours() -> list[tuple[int, int, int]]:
        image = grid.grab().toImage()
        places = [grid.tile(0, row).center().toPoint() for row in range(3)]
        return [image.pixelColor(place).getRgb()[:3] for place in places]

    qtbot.waitUntil(lambda: colours() == [(200, 10, 10), (10, 200, 10), (10, 10, 200)])


# -- the stage of cells ------------------------------------------------------------------------------


def answer_of(hidden: np.ndarray | None, *, path: str = "a.png") -> Reconstruction:
    pixels = np.stack([picture(64, 48, seed) for seed in range(3)])
    error = None if hidden is None else np.arange(hidden.size).reshape(hidden.shape) / 10
    views = ("original", "masked", "reconstruction")
    return Reconstruction(Question(path), views, pixels, 16, hidden, error, 0.5, 3.0, ())


@pytest.fixture
def stage(qtbot):
    made = PatchStage()
    qtbot.addWidget(made)
    made.resize(720, 300)
    made.show()
    hidden = np.zeros((3, 4), bool)
    hidden[0, :2] = True
    made.show_answer(answer_of(hidden), take_mask=True)
    return made


def middle(stage: PatchStage, pane: int, cell: tuple[int, int]) -> QPoint:
    return stage.cell_rect(pane, cell).center().toPoint()


def test_a_click_in_any_picture_hides_a_cell_or_shows_it_again(stage, qtbot):
    for pane, wanted in ((0, True), (1, False), (2, True)):
        with qtbot.waitSignal(stage.edited):
            QTest.mouseClick(stage, Qt.MouseButton.LeftButton, pos=middle(stage, pane, (2, 3)))
        assert stage.hidden[2, 3] == wanted
    assert stage.hidden.sum() == 3


def test_a_drag_does_to_all_cells_what_it_did_to_the_first(stage):
    QTest.mousePress(stage, Qt.MouseButton.LeftButton, pos=middle(stage, 1, (1, 0)))
    for cell in ((1, 1), (0, 1), (1, 2)):
        QTest.mouseMove(stage, middle(stage, 1, cell))
    QTest.mouseRelease(stage, Qt.MouseButton.LeftButton, pos=middle(stage, 1, (1, 2)))
    assert np.argwhere(stage.hidden).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]


def test_a_cell_is_covered_like_the_others_before_the_network_answered(stage):
    def pixel() -> tuple[int, int, int]:
        return stage.grab().toImage().pixelColor(middle(stage, 1, (2, 0))).getRgb()[:3]

    cover = stage.pictures[1].pixelColor(0, 0).getRgb()[:3]
    before = pixel()
    assert before != cover
    QTest.mouseClick(stage, Qt.MouseButton.LeftButton, pos=middle(stage, 1, (2, 0)))
    assert pixel() == cover
    QTest.mouseClick(stage, Qt.MouseButton.LeftButton, pos=middle(stage, 1, (2, 0)))
    assert pixel() == before


def test_the_keys_reach_every_cell_and_tell_it(stage):
    stage.setFocus()
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Right, Qt.Key.Key_Space):
        QTest.keyClick(stage, key)
    assert stage.hidden[2, 1]
    assert stage.accessibleDescription() == "row 3, column 2 · hidden"
    QTest.keyClick(stage, Qt.Key.Key_Up)
    QTest.keyClick(stage, Qt.Key.Key_Up)
    assert stage.accessibleDescription() == "row 1, column 2 · hidden · error 0.100"


def test_something_stays_hidden_and_something_is_seen(stage):
    for column in range(2):
        QTest.mouseClick(stage, Qt.MouseButton.LeftButton, pos=middle(stage, 0, (0, column)))
    assert stage.hidden.sum() == 1
    stage.show_answer(answer_of(~np.eye(3, 4, dtype=bool)), take_mask=True)
    for cell in ((0, 0), (1, 1), (2, 2)):
        QTest.mouseClick(stage, Qt.MouseButton.LeftButton, pos=middle(stage, 0, cell))
    assert (~stage.hidden).sum() == 1


def test_an_answer_to_an_older_mask_does_not_take_back_what_was_changed_since(stage):
    QTest.mouseClick(stage, Qt.MouseButton.LeftButton, pos=middle(stage, 0, (2, 2)))
    older = np.zeros((3, 4), bool)
    older[0, 0] = True
    stage.show_answer(answer_of(older), take_mask=False)
    assert stage.hidden[2, 2]
    stage.show_answer(answer_of(older), take_mask=True)
    assert np.argwhere(stage.hidden).tolist() == [[0, 0]]


def test_a_network_that_hides_nothing_has_no_cells_to_press(stage):
    stage.show_answer(answer_of(None), take_mask=True)
    QTest.mouseClick(stage, Qt.MouseButton.LeftButton, pos=stage.pane(0).center().toPoint())
    assert stage.hidden is None and stage.accessibleDescription() == ""


# -- questions to the worker -------------------------------------------------------------------------


class _Call(QObject):
    """A request that ends when the test says so."""

    finished = Signal(dict)
    failed = Signal(object)
    cancelled = Signal()

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.arguments = arguments
        self.was_cancelled = False

    def cancel(self) -> None:
        self.was_cancelled = True

    def answer(self, **values: Any) -> None:
        """As the worker does: asks for room first, then fills it."""
        out = MappedArray.attach(self.arguments["out"])
        pixels = np.full((2, 1024, 1024, 3), 7, np.uint8)
        if out.array.size < pixels.size:
            self.finished.emit({"need": pixels.size})
            return
        out.array[: pixels.size] = pixels.ravel()
        told = {"views": ["original", "masked"], "shape": list(pixels.shape), "cell": 512, "ms": 4.0}
        told |= {"hidden": [[0, 1]], "error": [[0.0, 0.5], [0.0, 0.0]], "mean_error": 0.5, "notes": []}
        self.finished.emit(told | values)


class _Worker:
    def __init__(self) -> None:
        self.calls: list[_Call] = []

    def request(self, op: str, *, priority: int = 0, **arguments: Any) -> _Call:
        assert op == "reconstruct"
        self.calls.append(_Call(arguments))
        return self.calls[-1]


WEIGHTS = PretrainedWeights("plain/guesser", "/runs/1/best.safetensors", {"mask_ratio": 0.5}, 3)


def test_the_newest_question_takes_the_place_of_those_that_wait():
    worker = _Worker()
    asker = Reconstructions(worker)  # type: ignore[arg-type]
    answers: list[Reconstruction] = []
    asker.ready.connect(answers.append)
    for seed in range(4):
        asker.ask(WEIGHTS, Question("a.png", ratio=0.5, seed=seed))
    assert [call.arguments["seed"] for call in worker.calls] == [0]
    worker.calls[0].answer()  # it needs more room, and is asked again with it
    assert [call.arguments["seed"] for call in worker.calls] == [0, 0]
    worker.calls[1].answer()
    assert [call.arguments["seed"] for call in worker.calls] == [0, 0, 3]
    worker.calls[2].answer()
    assert [answer.question.seed for answer in answers] == [0, 3] and not asker.is_busy
    assert answers[0].hidden is not None and np.argwhere(answers[0].hidden).tolist() == [[0, 1]]
    assert (answers[1].pictures == 7).all() and answers[1].pictures.shape == (2, 1024, 1024, 3)


def test_a_question_about_another_picture_cancels_the_one_at_work():
    worker = _Worker()
    asker = Reconstructions(worker)  # type: ignore[arg-type]
    answers: list[Reconstruction] = []
    asker.ready.connect(answers.append)
    asker.ask(WEIGHTS, Question("a.png"))
    asker.ask(WEIGHTS, Question("a.png", seed=1))
    assert not worker.calls[0].was_cancelled
    asker.ask(WEIGHTS, Question("b.png"))
    assert worker.calls[0].was_cancelled
    worker.calls[0].cancelled.emit()
    assert worker.calls[1].arguments["image"] == "b.png" and answers == []
    asker.forget()
    worker.calls[1].cancelled.emit()
    assert len(worker.calls) == 2 and not asker.is_busy


def test_a_failure_is_told_unless_a_newer_question_waits():
    worker = _Worker()
    asker = Reconstructions(worker)  # type: ignore[arg-type]
    errors: list[UserError] = []
    asker.failed.connect(errors.append)
    asker.ask(WEIGHTS, Question("a.png"))
    asker.ask(WEIGHTS, Question("a.png", seed=1))
    worker.calls[0].failed.emit(UserError("The weights are gone"))
    assert errors == []
    worker.calls[1].failed.emit(UserError("The weights are gone"))
    assert [error.what for error in errors] == ["The weights are gone"]


def test_a_sweep_measures_every_ratio_once_and_does_not_count_the_first_pass():
    worker = _Worker()
    sweep = RatioSweep(worker)  # type: ignore[arg-type]
    points: list[tuple[float, float, float]] = []
    ends: list[bool] = []
    sweep.measured.connect(lambda *point: points.append(point))
    sweep.ended.connect(ends.append)
    sweep.start(WEIGHTS, Question("a.png", masking="grid", seed=5))
    while sweep.is_running:
        call = worker.calls[-1]
        assert (call.arguments["masking"], call.arguments["seed"]) == ("grid", 5)
        # The first pass is asked twice, for it needs room; of the others every third one is undisturbed.
        call.answer(ms=1.0 if len(worker.calls) <= 2 else 4.0 if len(worker.calls) % 3 == 0 else 50.0)
    assert len(worker.calls) == 2 + 3 * len(RatioSweep.RATIOS)
    assert [point[0] for point in points] == list(RatioSweep.RATIOS) and ends == [True]
    assert (points[0][0], points[-1][0]) == (0.10, 0.95) and {point[2] for point in points} == {4.0}


def test_a_cancelled_sweep_keeps_what_it_measured_and_asks_no_more():
    worker = _Worker()
    sweep = RatioSweep(worker)  # type: ignore[arg-type]
    points: list[float] = []
    ends: list[bool] = []
    sweep.measured.connect(lambda ratio, _error, _ms: points.append(ratio))
    sweep.ended.connect(ends.append)
    sweep.start(WEIGHTS, Question("a.png"))
    while len(points) < 3:
        worker.calls[-1].answer()
    sweep.cancel()
    asked = len(worker.calls)
    assert worker.calls[-1].was_cancelled and ends == [False]
    worker.calls[-1].answer()  # it was through before it heard of the end
    assert len(worker.calls) == asked and points == [0.10, 0.15, 0.20]


def test_a_press_on_the_sweep_chooses_the_ratio(qtbot):
    chart = SweepChart()
    qtbot.addWidget(chart)
    chart.resize(500, 140)
    chart.show()
    chart.add_point(0.5, 0.3, 8.0)
    chart.add_point(0.1, 0.2, 9.0)
    assert [point[0] for point in chart.points] == [0.1, 0.5]
    place = QPoint(round(chart.x_of(0.6)), 60)
    with qtbot.waitSignal(chart.ratio_chosen) as told:
        QTest.mouseClick(chart, Qt.MouseButton.LeftButton, pos=place)
    assert told.args[0] == pytest.approx(0.6, abs=0.01)


@pytest.mark.qt_log_ignore("This plugin does not support (raise|grabbing the keyboard)")  # of every menu
def test_weights_are_typed_or_chosen_from_what_runs_left(qtbot):
    field = WeightsField("Tokenizer")
    qtbot.addWidget(field)
    field.show()
    QTest.keyClicks(field.path, "/a/b.safetensors")
    assert field.text() == "/a/b.safetensors"
    field.offer([("Run 3 · dVAE, best weights", "/runs/3/checkpoints/best.safetensors")])
    QTest.mouseClick(field.browse, Qt.MouseButton.LeftButton)
    menu = field.menu
    qtbot.waitUntil(menu.isVisible)
    assert [action.text() for action in menu.actions() if action.text()] == [
        "Run 3 · dVAE, best weights",
        "A file…",
    ]
    QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(menu.actions()[0]).center())
    assert field.text() == "/runs/3/checkpoints/best.safetensors"


def test_a_file_of_pre_training_says_what_it_is_good_for_and_offers_no_comparison(qtbot):
    card = FileCard()
    qtbot.addWidget(card)
    card.show()
    findings = Findings(Path("best.safetensors"), (), ("mae-tiny",), 80, False, None, (), "MAE · tiny")
    card.show_findings(findings, "", 100)
    assert card.sentence.startswith("These are pre-training weights (MAE · tiny) to start a training from")
    assert not card.add.isVisible() and not card.network.isVisible()
