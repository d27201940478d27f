"""Changes that would take longer than a frame: they happen on a thread, in order, and lose nothing."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from segstudio.core.edits import StrokeRecorder
from segstudio.runtime import label_edits
from tests.gui.conftest import labels_are_there
from tests.gui.test_annotate import Hand


@pytest.fixture
def hand(make_window, make_folder, qtbot, monkeypatch) -> Hand:
    """Every change of labels counts as a long one."""
    monkeypatch.setattr(label_edits, "_FEW_TILES", -1)
    return Hand(make_window(make_folder()), qtbot)


def stored(hand: Hand) -> np.ndarray:
    return hand.session.project.load_labels(hand.session.current.id).array


def test_strokes_fills_and_polygons_are_compared_on_a_thread_and_saved_in_order(hand, monkeypatch):
    compared_in: list[threading.Thread] = []
    finish = StrokeRecorder.finish

    def watched(recorder, *arguments):
        compared_in.append(threading.current_thread())
        return finish(recorder, *arguments)

    monkeypatch.setattr(StrokeRecorder, "finish", watched)
    hand.choose("Road")
    hand.room.state.set_size(30)
    hand.drag((40, 60), (200, 60))
    hand.room.use_tool("fill")
    hand.choose("Sky")
    hand.click(300, 200)
    hand.room.use_tool("polygon")
    hand.choose("Pole")
    for x, y in ((150, 100), (250, 100), (250, 180)):
        hand.click(x, y)
    hand.key(Qt.Key.Key_Return)
    hand.saved()
    assert len(compared_in) == 3 and threading.main_thread() not in compared_in
    assert (hand.labels[60, 100], hand.labels[200, 300], hand.labels[110, 240]) == (3, 0, 2)
    assert np.array_equal(stored(hand), hand.labels)
    assert [row.tool for row in hand.session.edits.history()] == ["polygon", "fill", "brush"]


def test_steps_wished_for_at_once_come_one_after_the_other(hand, qtbot):
    hand.choose("Road")
    hand.room.state.set_size(30)
    states = [hand.labels.copy()]
    for y in (60, 120, 180):
        hand.drag((40, y), (200, y))
        states.append(hand.labels.copy())
    hand.saved()
    edits = hand.session.edits
    for step in (edits.undo, edits.undo, edits.undo, edits.redo):
        step()
    qtbot.waitUntil(lambda: [row.undone for row in edits.history()] == [True, True, False])
    qtbot.waitUntil(lambda: np.array_equal(hand.labels, states[1]))
    hand.saved()
    assert np.array_equal(stored(hand), states[1])


def test_a_stroke_after_a_fill_starts_from_its_result(hand):
    hand.room.use_tool("fill")
    hand.choose("Sky")
    hand.click(300, 200)
    hand.room.use_tool("brush")
    hand.choose("Road")
    hand.room.state.set_size(20)
    hand.click(100, 100)
    hand.saved()
    assert hand.labels[100, 100] == 3 and hand.labels[10, 10] == 0
    assert np.array_equal(stored(hand), hand.labels)


def test_another_image_during_a_fill_keeps_the_fill(hand, qtbot):
    first = hand.session.current.id
    hand.room.use_tool("fill")
    hand.choose("Sky")
    hand.click(300, 200)
    hand.session.go(hand.session.images[1].id)
    qtbot.waitUntil(lambda: labels_are_there(hand.window))
    assert (hand.labels == 255).all()
    hand.saved()
    assert (hand.session.project.load_labels(first).array == 0).all()


def test_a_change_that_fails_says_so_and_the_labels_are_as_they_were(hand, qtbot):
    problems: list[object] = []
    hand.session.problem.connect(problems.append)

    def fail(recorder: StrokeRecorder) -> None:
        recorder.touch(0, 0, 50, 50)
        recorder.label_map.array[:50, :50] = 1
        raise MemoryError("no room")

    assert hand.session.edits.change("fill", 1, fail)
    qtbot.waitUntil(lambda: bool(problems))
    qtbot.waitUntil(lambda: labels_are_there(hand.window))
    assert (hand.labels == 255).all()


def test_a_huge_stroke_is_put_back_before_the_step_that_was_wished_for(hand, qtbot):
    hand.choose("Road")
    hand.room.state.set_size(30)
    hand.drag((40, 60), (200, 60))
    hand.saved()
    QTest.mousePress(hand.canvas, Qt.MouseButton.LeftButton, pos=hand.at(40, 160))
    QTest.mouseMove(hand.canvas, hand.at(200, 160))
    hand.session.edits.undo()
    qtbot.waitUntil(lambda: bool((hand.labels == 255).all()))
    hand.saved()
    QTest.mouseRelease(hand.canvas, Qt.MouseButton.LeftButton, pos=hand.at(200, 160))
    assert [row.undone for row in hand.session.edits.history()] == [True]
    assert (stored(hand) == 255).all()
