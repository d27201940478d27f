"""Pre-training in the real window: from the form through the training process to a segmentation run on it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from segstudio.core.project import Project
from segstudio.core.records import LabelClass
from segstudio.ui.main_window import MainWindow
from tests.gui.conftest import enter

SMALLEST = "segstudio_zoo/mae-pretraining-tiny"
LEFT = Qt.MouseButton.LeftButton
SLOW = 90_000  # ms: processes that import torch on a busy machine


@pytest.fixture
def pictures(tmp_path):
    """Ten pictures of a disc and a box; only six of them are labelled."""
    folder = tmp_path / "shapes"
    folder.mkdir()
    maps = []
    for index in range(10):
        rng = np.random.default_rng(index)
        labels = np.zeros((72, 96), np.uint8)
        cv2.circle(labels, (int(rng.integers(20, 76)), int(rng.integers(20, 52))), 14, 1, -1)
        labels[50:70, 8:40] = 2
        image = np.array([[60, 60, 60], [40, 60, 220], [220, 90, 40]], np.uint8)[labels]
        cv2.imwrite(str(folder / f"{index}.png"), image)
        maps.append(labels)
    project = Project.open(folder)
    project.scan()
    project.set_classes(
        [
            LabelClass(0, "Ground", (60, 60, 60)),
            LabelClass(1, "Disc", (220, 60, 40)),
            LabelClass(2, "Box", (40, 90, 220)),
        ]
    )
    for index, record in enumerate(project.images()):
        project.set_size(record.id, 96, 72)
        project.set_split(record.id, "val" if index % 3 == 2 else "train")
        if index < 6:
            project.import_labels(record.id, maps[index])
            project.set_status(record.id, "done")
    project.close()
    return folder


@pytest.fixture
def window(qtbot, pictures):
    made = MainWindow(engines=False)
    qtbot.addWidget(made)
    made.resize(1280, 800)
    made.show()
    made.complete()
    made.services.shelf.refresh()
    made.open(pictures)
    qtbot.waitUntil(lambda: made.session.project is not None)
    enter(qtbot, made, "Train")
    yield made
    made.close()
    made.shut_down()


def press(widget) -> None:
    QTest.mouseClick(widget, LEFT)


def fill(form, **values: int) -> None:
    for name, value in values.items():
        getattr(form.fields, name).setValue(value)


def start_pretraining(window, qtbot, *, epochs: int = 3):
    """A run of the smallest way of pre-training, made in the form."""
    room, shelf = window.rooms.named("Train"), window.services.shelf
    qtbot.waitUntil(lambda: any(spec.id == SMALLEST for spec in shelf.pretraining), timeout=SLOW)
    qtbot.waitUntil(lambda: room.check.report is not None)
    press(room._empty.button)
    form = room.form
    qtbot.waitUntil(form.task.isVisible)
    QTest.mouseClick(form.task, LEFT, pos=form.task.rect_of(1).center())
    form.choose(SMALLEST)
    assert form.spec.id == SMALLEST
    assert form._summary.text().startswith("7 training and 3 validation images · labelled or not")
    fill(form, epochs=epochs, batch=4, crop_width=64, crop_height=64, threads=1)
    press(form.start)
    runs = window.services.runs
    qtbot.waitUntil(lambda: bool(runs.views), timeout=SLOW)
    assert runs.recipe("run-0001").task == "pretraining"
    return room, runs


def looked_inside(window, qtbot, room):
    """The page of reconstructions, once the network has answered."""
    press(room.detail.inside)
    page = room.inside.page
    qtbot.waitUntil(lambda: page.stage.hidden is not None, timeout=SLOW)
    return page


def answered(page, room) -> bool:
    """Whether the mask in view is the one of the pictures, and nothing is asked for."""
    answer = page.stage._answer
    asker = room.inside._asker
    return (
        answer is not None
        and not asker.is_busy
        and not room.inside._drags.isActive()
        and np.array_equal(answer.hidden, page.stage.hidden)
    )


def test_a_network_learns_from_pictures_and_a_segmentation_begins_with_it(window, qtbot):
    room, runs = start_pretraining(window, qtbot)
    qtbot.waitUntil(lambda: runs.views[0].state == "done", timeout=SLOW)
    view = runs.views[0]
    assert view.is_pretraining and view.best_loss is not None and view.best is None

    # Curves and pictures of every epoch, and nothing that only masks have.
    charts, panel = room.progress.charts, room.progress.panel
    qtbot.waitUntil(lambda: [line.name for line in charts.loss.lines] == ["train", "validation"])
    qtbot.waitUntil(lambda: [list(line.x) for line in charts.miou.lines] == [[1.0, 2.0, 3.0]])
    assert charts.miou.lines[0].name == "run 1"
    assert panel.views.isVisible() and not panel.grid.isVisible()
    assert panel.views.rows == ("masked", "reconstruction", "original")
    assert not room.progress._strip_section.isVisible() and not room.bar.compare.isVisible()
    assert not room.detail.compare.isVisible()
    qtbot.waitUntil(lambda: panel.views._picture(0, "reconstruction") is not None)
    QTest.keyClick(panel.scrubber.slider, Qt.Key.Key_Home)
    assert room.progress.epoch == 1
    press(panel.scrubber.best)
    assert room.progress.epoch == view.best_epoch

    # Inside: cells are hidden and shown, masks drawn, ratios measured.
    page = looked_inside(window, qtbot, room)
    stage = page.stage
    assert stage.views == ("original", "masked", "reconstruction")
    qtbot.waitUntil(lambda: answered(page, room))
    before, count = stage.pictures, int(stage.hidden.sum())
    assert count == 12 and page.counted.text() == "12 of 16 hidden"
    cell = tuple(np.argwhere(~stage.hidden)[0].tolist())
    QTest.mouseClick(stage, LEFT, pos=stage.cell_rect(1, cell).center().toPoint())
    assert stage.hidden[cell] and page.counted.text() == "13 of 16 hidden"
    qtbot.waitUntil(lambda: answered(page, room), timeout=SLOW)
    assert stage.pictures[1] != before[1] and stage.pictures[2] != before[2]
    assert "error" in stage.cell_words(cell) and page.told.text().startswith("error ")

    page.ratio.setFocus()
    for _ in range(25):
        QTest.keyClick(page.ratio, Qt.Key.Key_Left)
    qtbot.waitUntil(lambda: answered(page, room) and int(stage.hidden.sum()) == 8, timeout=SLOW)
    mask = stage.hidden.copy()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    QTest.keyClick(window, Qt.Key.Key_R)
    qtbot.waitUntil(lambda: answered(page, room) and not np.array_equal(stage.hidden, mask), timeout=SLOW)
    assert int(stage.hidden.sum()) == 8
    QTest.mouseClick(page.masking, LEFT, pos=page.masking.rect_of(2).center())
    qtbot.waitUntil(lambda: answered(page, room) and stage._answer.question.masking == "grid", timeout=SLOW)
    assert int(stage.hidden.sum()) == 8

    press(page.measure)
    assert page.cancel.isVisible() and not page.measure.isVisible()
    qtbot.waitUntil(lambda: len(page.chart.points) >= 2, timeout=SLOW)
    press(page.cancel)
    assert page.measure.isVisible() and 2 <= len(page.chart.points) < 18
    press(page.measure)
    qtbot.waitUntil(lambda: len(page.chart.points) == 18 and page.measure.isVisible(), timeout=SLOW)
    assert all(ms > 0 and error > 0 for _, error, ms in page.chart.points)

    # Another picture of the strip: other pictures on the stage, and the measurements are gone.
    strip = page.images
    QTest.mouseClick(strip.viewport(), LEFT, pos=strip.rect_of(1).center())
    assert page.chart.points == []
    qtbot.waitUntil(lambda: answered(page, room), timeout=SLOW)
    QTest.keyClick(stage, Qt.Key.Key_Escape)
    assert room.progress.isVisible()

    # A segmentation begins with what was learned.
    press(room.detail.segmentation)
    form = room.form
    spec = next(spec for spec in window.services.shelf.pretraining if spec.id == SMALLEST)
    assert form.isVisible() and form.fields.task == "segmentation"
    assert form.weights.text() == str(view.folder.checkpoints / "best.safetensors")
    assert form.spec.backbone in spec.backbones
    fill(form, epochs=1, batch=2, crop_width=64, crop_height=64, threads=1)
    press(form.start)
    qtbot.waitUntil(lambda: len(runs.views) == 2 and runs.views[0].state == "done", timeout=SLOW)
    second = runs.views[0]
    assert not second.is_pretraining and second.best is not None
    assert "loaded" in second.folder.log.read_text("utf-8")
    assert room.progress.panel.grid.isVisible() and room.progress._strip_section.isVisible()


def test_a_drag_over_many_cells_is_answered_for_the_last_of_them(window, qtbot):
    room, runs = start_pretraining(window, qtbot, epochs=1)
    qtbot.waitUntil(lambda: runs.views[0].has_best, timeout=SLOW)
    qtbot.waitUntil(room.detail.inside.isVisible)
    page = looked_inside(window, qtbot, room)
    stage = page.stage
    qtbot.waitUntil(lambda: answered(page, room), timeout=SLOW)
    cells = [tuple(cell) for cell in np.argwhere(stage.hidden).tolist()]
    path = [stage.cell_rect(0, cell).center().toPoint() for cell in cells[:6]]
    QTest.mousePress(stage, LEFT, pos=path[0])
    for place in path[1:]:
        QTest.mouseMove(stage, place)
    QTest.mouseRelease(stage, LEFT, pos=path[-1])
    left = int(stage.hidden.sum())
    assert left <= len(cells) - 6
    qtbot.waitUntil(lambda: answered(page, room), timeout=SLOW)
    assert int(stage._answer.hidden.sum()) == left
    QTest.keyClick(stage, Qt.Key.Key_Down)
    QTest.keyClick(stage, Qt.Key.Key_Space)
    assert abs(int(stage.hidden.sum()) - left) == 1
