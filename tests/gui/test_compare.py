"""The Compare tab with the real worker and reader: panes, scores, layouts, keys."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PySide6.QtCore import QDeadlineTimer, QPoint, QRect, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QVBoxLayout, QWidget

from segstudio.core.boundaries import boundary_band, boundary_iou
from segstudio.core.class_space import ClassSpace
from segstudio.core.metrics import class_iou, mean_iou
from segstudio.core.records import LabelClass
from segstudio.ipc import MappedArray
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.ui.compare.class_table import ClassRow, ClassTable
from segstudio.ui.compare.held_keys import TAP_MS
from segstudio.ui.compare.pane_layers import agreement_of_first
from segstudio.ui.compare.room import CompareRoom
from segstudio.ui.filmstrip import Filmstrip
from tests.gui.conftest import turns_taken, whole
from tests.gui.street_project import Bench, make_project, street

WAIT = 180_000


@pytest.fixture(scope="module")
def bench(qapp, tmp_path_factory):
    """One project with one worker and one reader for all tests of this file."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGSTUDIO_HOME", str(folder / "home"))
        made = Bench(make_project(folder, [street(seed=seed) for seed in range(3)]))
        made.shelf.refresh()
        made.session.open(folder / "Streets")
        yield made
        made.close()


@pytest.fixture
def room(qtbot, bench):
    session = bench.session
    wanted = {"answers/rough", "answers/fine"}
    qtbot.waitUntil(lambda: wanted <= {each.key for each in bench.shelf.runnable}, timeout=WAIT)
    qtbot.waitUntil(lambda: bool(session.images), timeout=WAIT)
    session.remember("compare.panes", [{"kind": "truth"}])
    session.saving.flush()
    session.go(session.images[0].id)
    qtbot.waitUntil(lambda: session.image is not None and session.image.complete, timeout=WAIT)
    qtbot.waitUntil(lambda: session.label_map is not None, timeout=WAIT)
    made = whole(CompareRoom(bench.services))
    window = QWidget()
    column = QVBoxLayout(window)
    column.addWidget(made.option_bar())
    column.addWidget(made.widget(), 1)
    window.resize(1500, 900)
    qtbot.addWidget(window)
    window.show()
    qtbot.waitExposed(window)
    made.activated()
    bench.services.actions.set_scope("compare")
    window.addActions(bench.services.actions.all_actions())
    made.window = window
    yield made
    made.deactivated()
    made.runs.stop()
    made.scores.close()
    made.setParent(None)
    made.deleteLater()


def add(bench, room, *names: str) -> None:
    models = {each.key: each for each in bench.shelf.runnable}
    for name in names:
        room.bar.add_wanted.emit("model", models[f"answers/{name}"])


def wait_scored(qtbot, bench, room) -> None:
    current = bench.session.current.id
    qtbot.waitUntil(
        lambda: all(
            room.scores.get(pane.key, current) is not None and room.stage.result(pane) is not None
            for pane in room.comparison.models
        ),
        timeout=WAIT,
    )
    turns_taken(qtbot)


def test_models_run_beside_the_ground_truth_and_are_scored(qtbot, bench, room):
    add(bench, room, "rough", "fine")
    wait_scored(qtbot, bench, room)
    rough, fine = room.comparison.models
    labels = bench.session.label_map.array
    for pane in (rough, fine):
        seen = room.stage.result(pane).labels
        counted = labels != 255
        expected = np.zeros((11, 11), np.int64)
        np.add.at(expected, (labels[counted], seen[counted]), 1)
        matrix = room.scores.get(pane.key, bench.session.current.id)
        assert (matrix[:, :-1] == expected).all() and not matrix[:, -1].any()
        words = room.stage.view_of(pane.number).header.score_text
        assert words == f"mIoU {100 * mean_iou(expected, range(11)):.1f}"
    rows = room.dock.table.table_model.rows
    assert {row.name for row in rows} >= {"Sky", "Road", "Car"}
    assert rows[0].gain == max(row.gain for row in rows if row.gain == row.gain)
    project = bench.session.project
    qtbot.waitUntil(lambda: project.confusion(bench.session.current.id, fine.key) is not None, timeout=WAIT)


def test_scores_counted_while_the_project_is_writing_are_kept_too(qtbot, bench, room):
    written = threading.Event()
    bench.session.write(written.wait)
    assert not bench.session.saving.saved
    add(bench, room, "rough")
    wait_scored(qtbot, bench, room)
    written.set()
    project, key = bench.session.project, room.comparison.models[0].key
    qtbot.waitUntil(lambda: project.confusion(bench.session.current.id, key) is not None, timeout=WAIT)


def test_all_panes_read_out_the_same_pixel(qtbot, bench, room):
    add(bench, room, "rough", "fine")
    wait_scored(qtbot, bench, room)
    pane = room.comparison.models[1]
    canvas = room.stage.view_of(room.comparison.panes[0].number).canvas
    qtbot.mouseMove(canvas, QPoint(canvas.width() // 2, canvas.height() // 2))
    qtbot.waitUntil(lambda: bench.services.viewport.cursor_pixel is not None)
    x, y = bench.services.viewport.cursor_pixel
    expected = int(bench.session.label_map.array[y, x])
    readout = room.stage.readouts.read(pane, x, y)
    seen = int(room.stage.result(pane).labels[y, x])
    assert readout.title == bench.services.predictions.space.get(seen).name
    assert readout.verdict == (seen == expected)
    assert 0 < float(readout.value) <= 1


def test_a_click_on_a_class_isolates_it_in_every_pane(qtbot, bench, room):
    add(bench, room, "rough", "fine")
    wait_scored(qtbot, bench, room)
    table = room.dock.table
    row = next(place for place, each in enumerate(table.table_model.rows) if each.name == "Road")
    rect = table.visualRect(table.table_model.index(row, 0))
    before = [grab(view) for view in room.stage.canvases]
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=rect.center())
    assert room.comparison.isolated == 3
    for canvas, old in zip(room.stage.canvases, before, strict=True):
        assert (grab(canvas) != old).any()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=rect.center())
    assert room.comparison.isolated is None
    for canvas, old in zip(room.stage.canvases, before, strict=True):
        assert (grab(canvas) == old).all()


def grab(canvas) -> np.ndarray:
    """The pixels of a canvas, when it has painted what it shows now."""
    deadline = QDeadlineTimer(WAIT)
    while not canvas.has_picture():
        assert not deadline.hasExpired()
        QApplication.processEvents()
    image = canvas.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def test_the_curtain_shows_one_model_on_each_side_and_can_be_dragged(qtbot, bench, room):
    add(bench, room, "rough", "fine")
    wait_scored(qtbot, bench, room)
    qtbot.keyClick(room.window, Qt.Key.Key_K)
    assert room.comparison.layout == "curtain"
    canvas = room.stage.pair.canvas
    qtbot.waitUntil(canvas.isVisible)
    middle = QPoint(canvas.width() // 2, 40)
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
    qtbot.mouseMove(canvas, QPoint(canvas.width(), 40))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=QPoint(canvas.width(), 40))
    assert room.stage.pair.curtain == pytest.approx(1.0, abs=0.01)
    left_only = grab(canvas)
    room.comparison.set_layout("blink")
    one = grab(canvas)
    inside = slice(20, canvas.height() - 60), slice(20, canvas.width() - 60)
    assert (left_only[inside] == one[inside]).all(), "an open curtain is the first model alone"


def test_blink_shows_the_other_model_while_f_is_held(qtbot, bench, room):
    add(bench, room, "rough", "fine")
    wait_scored(qtbot, bench, room)
    rough, fine = room.comparison.models
    room.comparison.add("image")  # four panes are of one size
    room.comparison.set_active(rough.number)
    canvas = room.stage.view_of(rough.number).canvas
    other = room.stage.view_of(fine.number).canvas
    canvas.setFocus()
    before, expected = grab(canvas), grab(other)
    qtbot.keyPress(canvas, Qt.Key.Key_F)
    assert room.stage.blinking
    during = grab(canvas)
    height, width = min(during.shape[0], expected.shape[0]), min(during.shape[1], expected.shape[1])
    assert (during[:height, :width] == expected[:height, :width]).mean() > 0.99
    qtbot.waitUntil(lambda: room.held.held_for > TAP_MS)
    qtbot.keyRelease(canvas, Qt.Key.Key_F)
    assert not room.stage.blinking
    assert (grab(canvas) == before).all()


def test_maximising_and_closing_a_pane(qtbot, bench, room):
    add(bench, room, "rough", "fine")
    view = room.stage.view_of(room.comparison.models[0].number)
    qtbot.mouseDClick(view.header, Qt.MouseButton.LeftButton, pos=QPoint(view.header.width() // 2, 14))
    assert room.stage.canvases == [view.canvas]
    qtbot.mouseDClick(view.header, Qt.MouseButton.LeftButton, pos=QPoint(view.header.width() // 2, 14))
    assert len(room.stage.canvases) == 3
    room.comparison.remove(view.number)
    assert len(room.stage.canvases) == 2


def test_an_unlabelled_image_says_why_there_are_no_scores(qtbot, bench, room):
    add(bench, room, "rough", "fine")
    last = bench.session.images[-1]
    bench.session.go(last.id)
    qtbot.waitUntil(
        lambda: all(room.stage.result(pane) is not None for pane in room.comparison.models), timeout=WAIT
    )
    qtbot.waitUntil(lambda: bench.session.label_map is not None, timeout=WAIT)
    qtbot.waitUntil(lambda: not room.dock.table.isVisible())
    truth = room.stage.view_of(room.comparison.panes[0].number)
    qtbot.waitUntil(lambda: truth.canvas.sentence == "No labels on this image", timeout=WAIT)
    assert "error" not in room.stage.views_for(room.comparison.models[0])


def test_running_on_all_images_gives_the_mean_and_a_ranking(qtbot, bench, room):
    add(bench, room, "rough", "fine")
    wait_scored(qtbot, bench, room)
    room.run_all()
    qtbot.waitUntil(lambda: not room.runs.is_running, timeout=WAIT)
    labelled = [record for record in bench.session.images if record.status != "none"]
    assert len(labelled) == 2
    room.dock.scope.set_current(1)
    qtbot.waitUntil(lambda: room.dock.matrix_of(room.comparison.models[0])[1] == 2, timeout=WAIT)
    matrix, _count = room.dock.matrix_of(room.comparison.models[0])
    assert matrix.sum() == sum(
        int((bench.session.project.load_labels(record.id).array != 255).sum()) for record in labelled
    )
    assert all(job.state == "done" for job in bench.services.jobs.jobs)


def test_painting_in_the_labels_changes_the_score(qtbot, bench, room):
    add(bench, room, "fine")
    wait_scored(qtbot, bench, room)
    pane, current = room.comparison.models[0], bench.session.current.id
    before = room.scores.get(pane.key, current).sum()
    recorder = bench.session.edits.begin_stroke()
    recorder.touch(0, 0, 40, 40)
    bench.session.label_map.array[:40, :40] = 255
    bench.session.edits.finish_stroke("eraser", 255)
    bench.session.labels_changed.emit(QRect(0, 0, 40, 40))
    qtbot.waitUntil(
        lambda: (m := room.scores.get(pane.key, current)) is not None and m.sum() == before - 1600,
        timeout=WAIT,
    )


def test_classes_of_another_set_are_matched_by_name():
    space = ClassSpace(
        [LabelClass(0, "Sign symbol", (1, 2, 3)), LabelClass(4, "Road", (4, 5, 6), aliases=("street",))]
    )
    places = space.add_model(["STREET", "rider", "sign_symbol"], [(0, 0, 0), (9, 9, 9), (0, 0, 0)])
    assert places.tolist() == [4, 5, 0]
    assert space.get(5).name == "rider" and not space.get(5).in_project
    labels = np.array([[0, 1, 2, 7]], np.uint8)
    assert space.translated(labels, places).tolist() == [[4, 5, 0, 255]]
    assert space.add_model(["rider"], [(9, 9, 9)]).tolist() == [5], "the same name is the same class again"


def test_errors_near_borders_only_are_shown_and_counted(qtbot, bench, room):
    add(bench, room, "rough", "fine")
    wait_scored(qtbot, bench, room)
    pane = room.comparison.models[0]
    room.comparison.set_active(pane.number)
    assert not room.bar.band.isVisible(), "a mask has no errors to choose among"
    room.comparison.set_view(pane.number, "error")
    qtbot.waitUntil(room.bar.band.isVisible)
    room.bar.band.setFocus()
    for _ in range(2):
        qtbot.keyClick(room.bar.band, Qt.Key.Key_Down)
    assert room.comparison.band == 2
    header = room.stage.view_of(pane.number).header
    qtbot.waitUntil(lambda: header._state.text().endswith("% of band"), timeout=WAIT)
    labels, seen = bench.session.label_map, room.stage.result(pane).labels
    band = boundary_band(labels.array, 2, ignore=labels.ignore)
    share = (seen != labels.array)[band].mean()
    assert header._state.text() == f"{100 * share:.1f} % of band"
    ious = boundary_iou(labels.array, seen, range(11), 2, ignore=labels.ignore)
    assert f"boundary IoU {100 * np.mean(list(ious.values())):.1f} within 2 px" in header._state.toolTip()
    errors = room.stage.view_of(pane.number).layers._errors
    np.testing.assert_array_equal(errors._band, band)
    room.comparison.set_view(pane.number, "mask")
    qtbot.waitUntil(lambda: not room.bar.band.isVisible())
    assert header._state.text() == ""
    room.comparison.set_band(0)


def test_scores_that_are_closed_take_no_answer_that_comes_later(qtbot, bench, room):
    truth = MappedArray.create((4, 4), "u1")
    heard: list[object] = []
    room.scores._ask(truth, SimpleNamespace(shared=truth), heard.append)
    room.scores.close()
    after = bench.session.reader.request("header", path="nothing there")
    with qtbot.waitSignal(after.failed, timeout=WAIT):
        pass
    qtbot.waitUntil(lambda: bench.session.reader.state == "ready", timeout=WAIT)
    assert heard == []


def test_iou_of_a_matrix_by_hand():
    matrix = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    ious = class_iou(matrix)
    assert ious[0] == pytest.approx(8 / 11) and ious[1] == pytest.approx(9 / 12)
    assert np.isnan(ious[2])
    assert mean_iou(matrix, [0, 1, 2]) == pytest.approx((8 / 11 + 9 / 12) / 2)


def test_agreement_counts_the_largest_party():
    maps = np.array([[[1, 1, 1]], [[1, 2, 2]], [[1, 1, 3]]], np.uint8)
    assert agreement_of_first(maps).tolist() == [[0, 127, 255]]


def test_the_class_table_sorts_by_a_press_on_its_head(qtbot):
    table = ClassTable()
    qtbot.addWidget(table)
    rows = [
        ClassRow(0, "Sky", (1, 1, 1), 0.9, 0.8, 0.5),
        ClassRow(1, "Car", (2, 2, 2), 0.5, 0.7, 0.1),
        ClassRow(2, "Bus", (3, 3, 3), float("nan"), float("nan"), 0.0),
    ]
    table.table_model.show(rows, ("A", "B"), (0.7, 0.75))
    table.resize(420, 200)
    table.show()
    assert [row.name for row in table.table_model.rows] == ["Car", "Sky", "Bus"]
    head = table.horizontalHeader()
    qtbot.mouseClick(head.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(head.sectionPosition(0) + 10, 10))
    assert [row.name for row in table.table_model.rows] == ["Bus", "Car", "Sky"]


def test_kept_panes_come_when_the_models_are_listed_even_after_a_pane_was_changed(qtbot, bench, monkeypatch):
    session = bench.session
    qtbot.waitUntil(lambda: bool(session.images), timeout=WAIT)
    kept = [{"kind": "truth"}, *({"kind": "model", "key": f"answers/{name}"} for name in ("rough", "fine"))]
    session.remember("compare.panes", kept)
    session.saving.flush()
    session.go(session.images[0].id)
    qtbot.waitUntil(lambda: session.image is not None and session.image.complete, timeout=WAIT)
    shelf = ModelShelf(plugin_files=bench.shelf.plugin_files)
    monkeypatch.setattr(bench.services, "shelf", shelf)
    room = whole(CompareRoom(bench.services))
    qtbot.addWidget(room.widget())
    room.widget().resize(1200, 700)
    room.widget().show()
    room.activated()
    (truth,) = room.comparison.panes
    room.comparison.set_view(truth.number, "outline")
    shelf.refresh()
    qtbot.waitUntil(lambda: len(room.comparison.models) == 2, timeout=WAIT)
    assert [pane.title for pane in room.comparison.panes] == ["Ground truth", "Rough net", "Fine net"]
    assert room.comparison.panes[0].view == "outline", "what the person changed stays"
    room.run()
    qtbot.waitUntil(
        lambda: all(room.stage.result(pane) is not None for pane in room.comparison.models), timeout=WAIT
    )
    session.saving.flush()
    assert [entry["key"] for entry in session.project.settings.get("compare.panes", [])][1:] == [
        "answers/rough",
        "answers/fine",
    ]
    room.deactivated()
    room.runs.stop()
    room.scores.close()
    shelf.close()
    room.setParent(None)
    room.deleteLater()


def test_views_without_room_wait_in_a_menu_and_none_is_cut_off(qtbot, bench, room):
    add(bench, room, "rough", "fine")
    wait_scored(qtbot, bench, room)
    bar = room.bar
    assert not bar.more_views.isVisible()
    everything = len(room.stage.views_for(room.comparison.active))
    room.window.resize(960, 700)
    qtbot.waitUntil(bar.more_views.isVisible)
    segments = bar._segments
    assert 1 < len(bar._shown) < everything
    assert segments.width() >= segments.sizeHint().width()
    assert bar.reference.geometry().left() > bar.views.geometry().right()
    room.comparison.set_view(room.comparison.active.number, "difference")
    qtbot.waitUntil(lambda: bar._shown[-1] == "difference")
    assert segments is not bar._segments
    room.comparison.set_view(room.comparison.active.number, "mask")


def test_sums_and_rankings_of_many_images_are_read_at_once_and_not_in_the_windows_thread(
    qtbot, bench, room, monkeypatch
):
    add(bench, room, "rough")
    wait_scored(qtbot, bench, room)
    room.run_all()
    qtbot.waitUntil(lambda: not room.runs.is_running, timeout=WAIT)
    bench.session.saving.flush()
    asked: list[int] = []
    project, key = bench.session.project, room.comparison.models[0].key
    one = project.confusion
    monkeypatch.setattr(
        project, "confusion", lambda image_id, key: (asked.append(image_id), one(image_id, key))[1]
    )
    threads: list[int] = []
    every = project.confusions
    monkeypatch.setattr(
        project, "confusions", lambda key: (threads.append(threading.get_ident()), every(key))[1]
    )
    room.scores.forget()
    room.dock.scope.set_current(1)
    labelled = [record.id for record in bench.session.images if record.status != "none"]
    pane = room.comparison.models[0]
    qtbot.waitUntil(lambda: room.dock.matrix_of(pane)[1] == 2, timeout=WAIT)
    at_hand = room.scores.at_hand(key)
    assert {image_id for image_id, matrix in at_hand.items() if matrix.any()} == set(labelled)
    strip = Filmstrip(bench.session)
    qtbot.addWidget(strip)
    monkeypatch.setattr(bench.services, "filmstrip", strip)
    worst = sorted(labelled, key=lambda image_id: mean_iou(at_hand[image_id], range(11)))
    bench.services.actions.action("compare.worst").trigger()
    qtbot.waitUntil(lambda: strip.shown == worst)
    bench.services.actions.action("compare.worst").trigger()
    qtbot.waitUntil(lambda: len(strip.shown) == len(bench.session.images))
    assert len(threads) == 1 and threads[0] != threading.get_ident()
    assert set(asked) <= {bench.session.current.id}
