"""Annotate with a real mouse and real keys: what is painted, what is kept, what undo brings back."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest

from segstudio.core.project import Project
from segstudio.ui.annotate.class_table import EYE, LOCK, NAME, PIXELS
from segstudio.ui.main_window import MainWindow
from tests.gui.conftest import labels_are_there, open_folder

LEFT = Qt.MouseButton.LeftButton
NONE = Qt.KeyboardModifier.NoModifier
CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


class Hand:
    """The person: clicks and drags in image pixels on the canvas of Annotate."""

    def __init__(self, window: MainWindow, qtbot) -> None:
        self.window = window
        self.room = window.rooms.current
        self.canvas = window.rooms.current.canvas
        self.session = window.session
        self.qtbot = qtbot
        self.canvas.setFocus()

    def at(self, x: float, y: float) -> QPoint:
        return self.canvas.to_view(QPointF(x, y)).toPoint()

    def click(self, x: float, y: float, modifiers: Qt.KeyboardModifier = NONE) -> None:
        QTest.mouseClick(self.canvas, LEFT, modifiers, self.at(x, y))

    def drag(self, *points: tuple[float, float], modifiers: Qt.KeyboardModifier = NONE) -> None:
        QTest.mousePress(self.canvas, LEFT, modifiers, self.at(*points[0]))
        for point in points[1:]:
            QTest.mouseMove(self.canvas, self.at(*point))
        QTest.mouseRelease(self.canvas, LEFT, modifiers, self.at(*points[-1]))

    def key(self, key: Qt.Key, modifiers: Qt.KeyboardModifier = NONE) -> None:
        QTest.keyClick(self.canvas, key, modifiers)

    def saved(self) -> None:
        self.qtbot.waitUntil(lambda: self.session.saving.saved)

    @property
    def labels(self):
        return self.session.label_map.array

    def choose(self, name: str) -> None:
        self.room.state.set_class(next(entry.id for entry in self.session.classes if entry.name == name))


@pytest.fixture
def hand(make_window, make_folder, qtbot) -> Hand:
    return Hand(make_window(make_folder()), qtbot)


def test_a_click_with_the_brush_paints_a_disc_of_the_chosen_size(hand):
    hand.choose("Road")
    hand.room.state.set_size(20)
    hand.click(100.5, 80.5)
    painted = hand.labels == 3
    rows, columns = np.nonzero(painted)
    assert abs(int(painted.sum()) - np.pi * 100) < 20
    assert (columns.min() + columns.max() + 1) / 2 == pytest.approx(100.5, abs=1)
    assert (rows.min() + rows.max() + 1) / 2 == pytest.approx(80.5, abs=1)


def test_a_stroke_is_one_step_and_is_in_the_database_when_it_says_saved(hand):
    hand.choose("Pole")
    hand.room.state.set_size(12)
    hand.drag((40, 60), (80, 60), (120, 100))
    hand.saved()
    project = hand.session.project
    stored = project.load_labels(hand.session.current.id).array
    assert np.array_equal(stored, hand.labels)
    assert [(row.tool, row.class_index) for row in project.history(hand.session.current.id)] == [("brush", 2)]


def test_a_stroke_between_far_points_has_no_gaps(hand):
    hand.choose("Sky")
    hand.room.state.set_size(1)
    hand.drag((20, 20), (200, 150))
    rows = np.nonzero((hand.labels == 0).any(axis=1))[0]
    assert np.array_equal(rows, np.arange(rows[0], rows[-1] + 1))


def test_control_held_erases_with_the_brush(hand):
    hand.choose("Road")
    hand.room.state.set_size(40)
    hand.click(100, 100)
    hand.room.state.set_size(10)
    hand.click(100, 100, CTRL)
    assert hand.labels[100, 100] == 255
    assert hand.labels[100, 115] == 3


def test_shift_click_draws_a_straight_line_from_the_last_stroke(hand):
    hand.choose("Pole")
    hand.room.state.set_size(6)
    hand.click(40, 120)
    hand.click(200, 120, SHIFT)
    assert (hand.labels[120, 40:200] == 2).all()


def test_preserve_other_labels_paints_only_on_unlabelled_pixels(hand):
    hand.choose("Sky")
    hand.room.state.set_size(30)
    hand.click(100, 100)
    hand.key(Qt.Key.Key_R, SHIFT)
    hand.choose("Road")
    hand.room.state.set_size(60)
    hand.click(100, 100)
    assert hand.labels[100, 100] == 0
    assert hand.labels[100, 125] == 3


def test_a_locked_class_keeps_its_pixels_and_refuses_the_brush(hand):
    hand.choose("Sky")
    hand.room.state.set_size(30)
    hand.click(100, 100)
    before = hand.labels.copy()
    hand.room.state.set_locked(frozenset({0}))
    hand.choose("Road")
    hand.room.state.set_size(60)
    hand.click(100, 100)
    assert ((before == 0) == (hand.labels == 0)).all()
    refused = []
    hand.room.state.refused.connect(refused.append)
    hand.choose("Sky")
    hand.click(200, 200)
    assert refused == [0]
    assert hand.labels[200, 200] == 255


def test_digits_choose_classes_and_x_swaps_the_last_two(hand):
    hand.key(Qt.Key.Key_3)
    assert hand.room.state.class_name() == "Pole"
    hand.key(Qt.Key.Key_1)
    hand.key(Qt.Key.Key_X)
    assert hand.room.state.class_name() == "Pole"


def test_brackets_change_the_size_and_the_option_bar_follows(hand):
    hand.room.state.set_size(40)
    hand.key(Qt.Key.Key_BracketRight)
    assert hand.room.state.size == 45
    assert hand.room.options.pixels.value() == 45
    hand.key(Qt.Key.Key_BracketLeft)
    assert hand.room.state.size == 40


def test_control_alt_drag_changes_the_size_and_paints_nothing(hand):
    hand.room.state.set_size(40)
    hand.drag((100, 100), (120, 100), modifiers=CTRL | Qt.KeyboardModifier.AltModifier)
    assert hand.room.state.size == pytest.approx(80, abs=3)
    assert (hand.labels == 255).all()


def test_escape_takes_the_stroke_under_way_back(hand):
    hand.choose("Road")
    hand.room.state.set_size(30)
    QTest.mousePress(hand.canvas, LEFT, NONE, hand.at(100, 100))
    assert (hand.labels == 3).any()
    hand.key(Qt.Key.Key_Escape)
    assert (hand.labels == 255).all()
    QTest.mouseRelease(hand.canvas, LEFT, NONE, hand.at(100, 100))
    assert hand.session.saving.saved


def test_fill_takes_the_connected_region_and_nothing_else(hand):
    hand.choose("Building")
    hand.room.state.set_size(8)
    hand.drag((60, 40), (140, 40), (140, 120), (60, 120), (60, 40))
    hand.choose("Road")
    hand.key(Qt.Key.Key_G)
    hand.click(100, 80)
    hand.qtbot.waitUntil(lambda: hand.labels[80, 100] == 3)
    assert hand.labels[40, 100] == 1
    assert hand.labels[200, 250] == 255


def test_polygon_is_filled_by_enter_and_backspace_takes_a_point_back(hand):
    hand.choose("Road")
    hand.key(Qt.Key.Key_P)
    for point in ((50, 50), (150, 50), (300, 200)):
        hand.click(*point)
    hand.key(Qt.Key.Key_Backspace)
    hand.click(150, 150)
    hand.key(Qt.Key.Key_Return)
    assert hand.labels[70, 130] == 3
    assert hand.labels[140, 60] == 255
    assert int((hand.labels == 3).sum()) == pytest.approx(100 * 100 / 2, rel=0.05)


def test_escape_drops_the_polygon_without_a_trace(hand):
    hand.key(Qt.Key.Key_P)
    for point in ((50, 50), (150, 50), (150, 150)):
        hand.click(*point)
    hand.key(Qt.Key.Key_Escape)
    assert hand.room.tools["polygon"].points == []
    assert (hand.labels == 255).all()


def test_picker_takes_the_class_under_the_pointer_and_gives_the_tool_back(hand):
    hand.choose("Road")
    hand.room.state.set_size(30)
    hand.click(100, 100)
    hand.choose("Sky")
    hand.room.use_tool("picker")
    hand.click(100, 100)
    assert hand.room.state.class_name() == "Road"
    hand.qtbot.waitUntil(lambda: hand.room.tool == "brush")


def test_undo_restores_the_exact_pixels_and_redo_brings_them_again(hand):
    hand.choose("Sky")
    hand.room.state.set_size(50)
    hand.click(100, 100)
    first = hand.labels.copy()
    hand.choose("Road")
    hand.click(120, 110)
    second = hand.labels.copy()
    with hand.qtbot.waitSignal(hand.session.undone) as told:
        hand.key(Qt.Key.Key_Z, CTRL)
    assert told.args[0] == "brush" and told.args[1] == 3
    assert np.array_equal(hand.labels, first)
    with hand.qtbot.waitSignal(hand.session.undone):
        hand.key(Qt.Key.Key_Z, CTRL | SHIFT)
    assert np.array_equal(hand.labels, second)


def test_undo_survives_a_restart(hand, make_window, qtbot):
    hand.choose("Sky")
    hand.room.state.set_size(50)
    hand.click(100, 100)
    first = hand.labels.copy()
    hand.click(200, 150)
    hand.saved()
    folder = hand.session.project.folder
    hand.window.close()
    again = Hand(make_window(folder), qtbot)
    with qtbot.waitSignal(again.session.undone):
        again.key(Qt.Key.Key_Z, CTRL)
    assert np.array_equal(again.labels, first)


def test_a_stroke_right_after_undo_starts_from_the_undone_labels(hand):
    hand.choose("Sky")
    hand.room.state.set_size(50)
    hand.click(100, 100)
    hand.session.edits.undo()
    hand.choose("Road")
    hand.click(250, 150)
    hand.saved()
    assert not (hand.labels == 0).any()
    stored = hand.session.project.load_labels(hand.session.current.id).array
    assert np.array_equal(stored, hand.labels)


def test_strokes_on_an_image_that_is_left_at_once_are_kept(hand):
    first = hand.session.current.id
    hand.choose("Road")
    hand.room.state.set_size(40)
    hand.click(100, 100)
    painted = hand.labels.copy()
    hand.key(Qt.Key.Key_D)
    hand.qtbot.waitUntil(lambda: labels_are_there(hand.window) and hand.session.current.id != first)
    assert (hand.labels == 255).all()
    hand.key(Qt.Key.Key_A)
    hand.qtbot.waitUntil(lambda: labels_are_there(hand.window) and hand.session.current.id == first)
    assert np.array_equal(hand.labels, painted)
    assert hand.session.current.status == "draft"


def test_a_stroke_changes_only_the_cells_of_the_table_whose_counts_changed(hand):
    rows = hand.room.classes.table.rows
    unlabelled = rows.rowCount() - 1
    changed = []
    rows.dataChanged.connect(lambda first, last: changed.append((first.row(), first.column(), last.row())))
    hand.choose("Road")
    hand.room.state.set_size(20)
    hand.click(100.5, 80.5)
    road = rows.row_of(3)
    hand.qtbot.waitUntil(lambda: len(changed) >= 2)
    assert sorted(changed) == [(road, PIXELS, road), (unlabelled, PIXELS, unlabelled)]
    assert rows.index(road, PIXELS).data() == str((hand.labels == 3).sum())


def test_pixel_counts_of_the_table_are_those_of_the_label_map(hand):
    hand.choose("Road")
    hand.room.state.set_size(40)
    hand.click(100, 100)
    hand.choose("Sky")
    hand.click(110, 100)
    session = hand.session

    def agrees() -> bool:
        true = {index: int((hand.labels == index).sum()) for index in (0, 1, 2, 3, 255)}
        return true == {index: session.class_counts.get(index, 0) for index in true}

    hand.qtbot.waitUntil(agrees)
    with hand.qtbot.waitSignal(session.undone):
        session.edits.undo()
    hand.qtbot.waitUntil(agrees)
    assert session.class_counts.get(0, 0) == 0


def test_new_class_gets_a_free_id_colour_and_key_and_its_name_is_edited_in_place(hand):
    hand.key(Qt.Key.Key_A, CTRL | SHIFT)
    entry = hand.session.classes[-1]
    assert entry.id == 4 and entry.key == "5"
    assert entry.color not in {other.color for other in hand.session.classes[:-1]}
    table = hand.room.classes.table
    editor = table.viewport().findChild(type(hand.room.classes._search))
    QTest.keyClicks(editor, "Kerb")
    QTest.keyClick(editor, Qt.Key.Key_Return)  # Qt takes the text over in a later event
    hand.qtbot.waitUntil(lambda: hand.session.classes[-1].name == "Kerb")
    hand.saved()
    assert [each.name for each in hand.session.project.classes][-1] == "Kerb"


def test_clicking_a_row_takes_the_class_and_clicking_its_eye_hides_it(hand):
    table = hand.room.classes.table

    def cell(row: int, column: int) -> QPoint:
        return table.visualRect(table.rows.index(row, column)).center()

    QTest.mouseClick(table.viewport(), LEFT, NONE, cell(2, NAME))
    assert hand.room.state.class_name() == "Pole"
    QTest.mouseClick(table.viewport(), LEFT, NONE, cell(1, EYE))
    assert hand.room.state.hidden == frozenset({1})
    QTest.mouseClick(table.viewport(), LEFT, NONE, cell(1, LOCK))
    assert hand.room.state.locked == frozenset({1})


def test_alt_click_on_an_eye_shows_that_class_alone_and_the_second_restores(hand):
    table = hand.room.classes.table
    eye = table.visualRect(table.rows.index(3, EYE)).center()
    hand.room.state.set_hidden(frozenset({1}))
    alt = Qt.KeyboardModifier.AltModifier
    QTest.mouseClick(table.viewport(), LEFT, alt, eye)
    assert hand.room.state.hidden == frozenset({-1, 0, 1, 2})
    QTest.mouseClick(table.viewport(), LEFT, alt, eye)
    assert hand.room.state.hidden == frozenset({1})


def test_q_tapped_toggles_the_overlay_and_held_shows_it_again_on_release(hand, monkeypatch):
    layer = hand.room.label_layer
    shown = layer.opacity
    clock = [0.0]
    monkeypatch.setattr("segstudio.ui.annotate.overlay.time.monotonic", lambda: clock[0])
    QTest.keyPress(hand.canvas, Qt.Key.Key_Q)
    assert layer.opacity == 0
    clock[0] = 1.0
    QTest.keyRelease(hand.canvas, Qt.Key.Key_Q)
    assert layer.opacity == shown
    QTest.keyPress(hand.canvas, Qt.Key.Key_Q)
    clock[0] = 1.1
    QTest.keyRelease(hand.canvas, Qt.Key.Key_Q)
    assert layer.opacity == 0


def test_comma_and_period_change_the_opacity_of_the_overlay(hand):
    hand.room.overlay.set_percent(48)
    hand.key(Qt.Key.Key_Period)
    assert hand.room.label_layer.opacity == pytest.approx(0.56)
    hand.key(Qt.Key.Key_Comma)
    hand.key(Qt.Key.Key_Comma)
    assert hand.room.label_layer.opacity == pytest.approx(0.40)


def test_a_read_only_project_refuses_strokes_with_one_sentence(make_window, make_folder, qtbot):
    folder = make_folder()
    held = Project.open(folder)
    held.scan()
    try:
        window = make_window()
        window.open(folder)
        qtbot.waitUntil(lambda: bool(window.session.read_only_reason))
        qtbot.waitUntil(lambda: labels_are_there(window))
        hand = Hand(window, qtbot)
        hand.click(100, 100)
        assert (hand.labels == 255).all()
        assert len(window.notices.cards) >= 1
    finally:
        held.close()


def test_pictures_appear_in_a_project_without_classes_and_painting_needs_one(make_window, make_folder, qtbot):
    window = make_window()
    open_folder(qtbot, window, make_folder(classes=False))
    hand = Hand(window, qtbot)
    hand.click(100, 100)
    assert (hand.labels == 255).all()
    hand.room.classes.add_class()
    hand.canvas.setFocus()
    hand.click(100, 100)
    assert hand.labels[100, 100] == 0


def test_a_broken_file_says_what_is_wrong_in_its_own_place_and_the_next_one_opens(
    make_window, make_folder, qtbot
):
    folder = make_folder(2)
    (folder / "aaa.jpg").write_bytes(b"no picture")
    window = make_window()
    window.open(folder)
    qtbot.waitUntil(lambda: window.rooms.current is not None and window.session.current is not None)
    qtbot.waitUntil(lambda: window.session.current.status == "check")
    room = window.rooms.current
    qtbot.waitUntil(lambda: room._stack.currentWidget() is room._broken)
    assert window.notices.cards == []
    QTest.keyClick(window, Qt.Key.Key_D)
    qtbot.waitUntil(lambda: labels_are_there(window))
    assert room._stack.currentWidget() is room.canvas


@pytest.fixture
def long_change(hand):
    """A change of the labels that is at work until it is told to end."""
    may_end = threading.Event()

    def work(recorder) -> None:
        may_end.wait(60)
        recorder.touch(200, 200, 220, 220)
        recorder.label_map.array[200:220, 200:220] = 1

    hand.session.edits.change("fill", 1, work)
    yield may_end
    may_end.set()


def test_strokes_begun_while_a_change_is_at_work_are_drawn_after_it(hand, long_change):
    hand.choose("Road")
    hand.room.state.set_size(20)
    hand.drag((60, 60), (100, 60))
    hand.drag((60, 120), (100, 120))
    assert (hand.labels == 255).all(), "nobody waited, and nothing is written into labels that are not free"
    long_change.set()
    hand.qtbot.waitUntil(lambda: hand.labels[120, 80] == 3 and hand.labels[60, 80] == 3)
    assert hand.labels[210, 210] == 1
    hand.saved()
    assert [row.tool for row in hand.session.edits.history()] == ["brush", "brush", "fill"]


def test_steps_and_changes_asked_for_while_one_is_at_work_follow_in_their_order(hand, long_change):
    hand.choose("Road")
    hand.room.state.set_size(20)
    hand.drag((60, 60), (100, 60))
    hand.session.edits.undo()  # takes back the stroke, not the change before it
    hand.session.edits.change("polygon", 2, lambda recorder: _write(recorder, 2))
    long_change.set()
    hand.qtbot.waitUntil(lambda: hand.labels[10, 10] == 2)
    hand.saved()
    assert hand.labels[210, 210] == 1 and hand.labels[60, 80] == 255
    rows = [(row.tool, row.undone) for row in hand.session.edits.history() if not row.undone]
    assert rows == [("polygon", False), ("fill", False)]


def test_escape_drops_a_stroke_that_waits(hand, long_change):
    hand.choose("Road")
    hand.room.state.set_size(20)
    QTest.mousePress(hand.canvas, LEFT, NONE, hand.at(60, 60))
    hand.key(Qt.Key.Key_Escape)
    QTest.mouseRelease(hand.canvas, LEFT, NONE, hand.at(60, 60))
    long_change.set()
    hand.qtbot.waitUntil(lambda: hand.labels[210, 210] == 1)
    hand.saved()
    assert not (hand.labels == 3).any()


def _write(recorder, value: int) -> None:
    recorder.touch(0, 0, 20, 20)
    recorder.label_map.array[:20, :20] = value
