"""The Train tab in the real window: from the form to a model on the shelf, and what it shows meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from segstudio.core.project import Project
from segstudio.core.records import LabelClass
from segstudio.runtime.run_history import RunHistory, smoothed
from segstudio.ui.main_window import MainWindow
from segstudio.ui.train.chart_data import Line
from segstudio.ui.train.curve_chart import CurveChart
from segstudio.ui.train.iou_strip import strip_color
from tests.gui.conftest import enter

TINY = Path(__file__).resolve().parents[1] / "training" / "tiny_plugin.py"


@pytest.fixture
def shapes_project(tmp_path):
    """Six labelled pictures of a disc and a box, the last one a copy of the first in the other split."""
    import cv2

    folder = tmp_path / "shapes"
    folder.mkdir()
    maps = []
    for index in range(6):
        rng = np.random.default_rng(0 if index == 5 else index)
        labels = np.zeros((40, 48), np.uint8)
        cv2.circle(labels, (int(rng.integers(10, 38)), int(rng.integers(10, 30))), 7, 1, -1)
        labels[25:37, 5:19] = 2
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
        project.set_size(record.id, 48, 40)
        project.import_labels(record.id, maps[index])
        project.set_status(record.id, "done")
        project.set_split(record.id, "val" if index >= 4 else "train")
    project.close()
    return folder


@pytest.fixture
def window(qtbot, shapes_project):
    made = MainWindow(plugin_files=[TINY], engines=False)
    qtbot.addWidget(made)
    made.resize(1400, 900)
    made.show()
    made.complete()
    made.services.shelf.refresh()
    made.open(shapes_project)
    qtbot.waitUntil(lambda: made.session.project is not None)
    enter(qtbot, made, "Train")
    yield made
    made.close()


def room_of(window):
    return window.rooms.named("Train")


def test_an_empty_tab_says_what_will_appear_and_offers_one_button(window, qtbot):
    room = room_of(window)
    assert room._table_stack.currentWidget() is room._empty
    assert room.making.made is None, "entering the tab does not wait for the form"
    QTest.mouseClick(room._empty.button, Qt.MouseButton.LeftButton)
    assert room.form.isVisible()
    qtbot.waitUntil(lambda: room.form.model.count() > 0, timeout=60_000)
    QTest.keyClick(room.form, Qt.Key.Key_Escape)
    assert not room.form.isVisible()


def test_the_check_finds_a_picture_in_both_splits_and_puts_it_right(window, qtbot):
    room = room_of(window)
    qtbot.waitUntil(lambda: room.check.report is not None)
    assert (room.check.report.train, room.check.report.val) == (4, 2)
    leak = next(f for f in room.check.report.findings if f.fix == "keep_in_validation")
    assert leak.title == "1 image in both splits" and len(leak.images) == 1
    room.check.panel.fix_wanted.emit(leak)
    qtbot.waitUntil(lambda: room.check.report.val == 3)
    assert not any(finding.fix == "keep_in_validation" for finding in room.check.report.findings)


def test_a_run_goes_from_the_form_to_the_shelf(window, qtbot):
    room = room_of(window)
    shelf = window.services.shelf
    qtbot.waitUntil(lambda: shelf.find("tiny_plugin/tinynet") is not None, timeout=60000)
    qtbot.waitUntil(lambda: room.check.report is not None)
    # A shortcut belongs to the active window, and a window of an earlier test may still be that.
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    QTest.keyClick(window, Qt.Key.Key_N, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(room.form.isVisible)
    form = room.form
    form.model.setCurrentIndex(form.model.findData("tiny_plugin/tinynet"))
    assert [option for option in form._options] == ["width", "norm", "dropout"]
    fields = form.fields
    for field, value in (
        (fields.epochs, 3),
        (fields.batch, 2),
        (fields.crop_width, 32),
        (fields.crop_height, 32),
    ):
        field.setValue(value)
    form._options["width"][1].setValue(6)
    form.title.setText("First try")
    QTest.mouseClick(form.start, Qt.MouseButton.LeftButton)
    runs = window.services.runs
    qtbot.waitUntil(lambda: bool(runs.views))
    assert runs.recipe("run-0001").options == {"width": 6}
    qtbot.waitUntil(lambda: runs.views[0].state == "done", timeout=120000)
    view = runs.views[0]
    assert (view.epoch, view.title, view.number) == (3, "First try", "1")
    qtbot.waitUntil(lambda: room.progress.epoch == 3)
    charts = room.progress.charts
    qtbot.waitUntil(lambda: [line.name for line in charts.loss.lines] == ["train", "validation"])
    qtbot.waitUntil(lambda: any(model.key == "run:run-0001/best" for model in shelf.runnable))
    jobs = [job for job in window.services.jobs.jobs if job.title == "Train run 1"]
    assert [job.state for job in jobs] == ["done"]
    strip = room.progress.strip
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(140, strip.height() // 2))
    assert room.progress.epoch == 1
    QTest.mouseClick(room.progress.panel.scrubber.latest, Qt.MouseButton.LeftButton)
    assert room.progress.epoch == 3
    assert room.detail.clone.isVisible() and not room.detail.pause.isVisible()


def test_a_run_that_was_killed_shows_as_paused_and_resumes(window, qtbot):
    room = room_of(window)
    shelf = window.services.shelf
    qtbot.waitUntil(lambda: shelf.find("tiny_plugin/tinynet") is not None, timeout=60000)
    qtbot.waitUntil(lambda: room.check.report is not None)
    room.new_run()
    form = room.form
    form.model.setCurrentIndex(form.model.findData("tiny_plugin/tinynet"))
    fields = form.fields
    for field, value in (
        (fields.epochs, 400),
        (fields.batch, 1),
        (fields.crop_width, 32),
        (fields.crop_height, 32),
    ):
        field.setValue(value)
    QTest.mouseClick(form.start, Qt.MouseButton.LeftButton)
    runs = window.services.runs
    qtbot.waitUntil(lambda: bool(runs.views) and runs.views[0].epoch >= 2, timeout=120000)
    assert room.detail.pause.isVisible() and room.detail.stop_now.isVisible()
    # Closing the window asks, and Enter lets the run go on.
    QTimer.singleShot(300, lambda: QTest.keyClick(QApplication.activeModalWidget(), Qt.Key.Key_Return))
    assert room.may_close()
    assert runs.views[0].is_active
    runs.force_stop("run-0001")
    qtbot.waitUntil(lambda: runs.views[0].state == "paused")
    assert "unexpectedly" in runs.views[0].reason
    before = runs.views[0].epoch
    QTest.mouseClick(room.detail.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: runs.views[0].epoch > before, timeout=120000)
    QTest.mouseClick(room.detail.stop_now, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: runs.views[0].state == "done", timeout=60000)
    assert runs.views[0].reason.startswith("stopped") and runs.views[0].can_resume


def test_a_resumed_run_takes_back_what_it_had_told_too_early():
    history = RunHistory()
    step = {"kind": "step", "losses": {"ce": 1.0}, "loss": 1.0, "lr": 0.1, "images_per_s": 2, "memory": 3}
    epoch = {"kind": "epoch", "epoch": 1, "step": 2, "train_loss": 1.0, "miou": 0.5, "iou": [0.5, None]}
    history.feed([{"kind": "start", "step": 0}, *({**step, "step": s} for s in (1, 2)), epoch])
    history.feed([{**step, "step": 3}, {**epoch, "epoch": 2, "step": 4}])
    assert list(history.loss.steps) == [1, 2, 3] and len(history.epochs) == 2
    history.feed([{"kind": "start", "step": 2}, {**step, "step": 3, "loss": 9.0, "losses": {"ce": 9.0}}])
    assert list(history.loss.values) == [1.0, 1.0, 9.0] and [e.number for e in history.epochs] == [1]
    assert history.feed([{"kind": "step", "step": "?"}, {"kind": "of another version"}]) is False


def test_smoothing_starts_at_the_first_value_and_keeps_a_constant():
    assert smoothed([3.0, 3.0, 3.0]) == pytest.approx([3.0, 3.0, 3.0])
    assert smoothed([1.0, 0.0])[0] == pytest.approx(1.0)


def test_a_press_on_a_chart_moves_the_cursor_to_that_epoch(qtbot):
    chart = CurveChart("Loss")
    qtbot.addWidget(chart)
    chart.resize(460, 200)
    chart.show_lines([Line("train", [0, 10], [1.0, 0.1])], x_max=10)
    chart.show()
    with qtbot.waitSignal(chart.cursor_moved) as told:
        QTest.mouseClick(chart, Qt.MouseButton.LeftButton, pos=QPoint(44 + 200, 100))
    assert told.args[0] == pytest.approx(5.0, abs=0.05)


def test_the_strip_gets_brighter_with_the_iou():
    shades = [strip_color(value / 10).lightness() for value in range(11)]
    assert shades == sorted(shades) and shades[0] < shades[-1]


def test_a_crop_that_a_person_chose_stays_when_the_data_are_looked_at_again(window, qtbot):
    room = room_of(window)
    qtbot.waitUntil(lambda: room.check.report is not None)
    fields = room.form.fields
    room.making.show_data()
    assert (fields.crop_width.value(), fields.crop_height.value()) == (32, 32)
    fields.crop_width.setFocus()
    QTest.keyClick(fields.crop_width, Qt.Key.Key_Up)
    assert fields.crop_width.value() == 33
    room.making.show_data()
    assert fields.crop_width.value() == 33
