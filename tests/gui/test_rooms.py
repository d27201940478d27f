"""Rooms are made part by part, ahead or for whoever enters; while nobody sees them they rest."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from segstudio.ui import room_making
from segstudio.ui.compare.dock import CompareDock
from segstudio.ui.compare.stage import CompareStage
from segstudio.ui.train.progress_page import ProgressPage
from tests.gui.conftest import enter, is_in_front

TRAIN = "segstudio.ui.train.room"


@pytest.fixture
def held_code(monkeypatch) -> threading.Event:
    """The code of the Train tab is read when this is set."""
    free = threading.Event()
    read = importlib.import_module

    def slow(name: str, *arguments: Any) -> Any:
        if name == TRAIN and threading.current_thread() is not threading.main_thread():
            assert free.wait(20)
        return read(name, *arguments)

    monkeypatch.setattr(room_making.importlib, "import_module", slow)
    yield free
    free.set()


def test_train_entered_before_its_code_was_read_comes_when_it_was(make_window, make_folder, qtbot, held_code):
    window = make_window(make_folder())
    window.enter("Train")
    QApplication.processEvents()
    assert window.rooms.current is None and window.rooms.wanted == "Train"
    held_code.set()
    qtbot.waitUntil(lambda: is_in_front(window, "Train"))
    assert window.rooms.current.bar.isVisible() and window.rooms.current._empty.isVisible()


def test_the_room_that_was_entered_last_comes_in_front_and_no_other(
    make_window, make_folder, qtbot, held_code
):
    window = make_window(make_folder())
    told: list[str] = []
    window.enter("Train", lambda room: told.append(room.title))
    window.enter("Annotate", lambda room: told.append(room.title))
    held_code.set()
    qtbot.waitUntil(lambda: window.rooms.named("Train") is not None)
    assert told == ["Annotate"] and window.rooms.current.title == "Annotate"
    assert not window.rooms.named("Train").widget().isVisible()


def test_a_room_that_is_made_behind_a_page_stays_there_until_it_is_entered(
    make_window, make_folder, qtbot, held_code
):
    window = make_window(make_folder())
    told: list[str] = []
    window.rooms.entered.connect(lambda room: told.append(room.title))
    window.enter("Train")
    window.rooms.step_back()  # as when the page of networks comes in front
    held_code.set()
    qtbot.waitUntil(lambda: window.rooms.named("Train") is not None)
    assert told == [] and window.rooms.current is None
    assert window.rooms.wanted == "Train"
    window.enter(window.rooms.wanted)
    qtbot.waitUntil(lambda: told == ["Train"])
    assert window.rooms.current.title == "Train"


def test_a_room_is_made_over_several_turns_of_the_event_loop(make_window, make_folder, qtbot, monkeypatch):
    window = make_window(make_folder())
    turns: list[int] = []
    make = room_making.RoomMaker._make_part

    def counted(self, entry) -> bool:
        turns[-1] += 1
        return make(self, entry)

    turn = room_making.RoomMaker._turn
    monkeypatch.setattr(room_making.RoomMaker, "_make_part", counted)
    monkeypatch.setattr(room_making, "SLICE_SECONDS", 0.0005)
    maker = window.rooms._maker
    maker._timer.timeout.disconnect()
    maker._timer.timeout.connect(lambda: (turns.append(0), turn(maker)))
    enter(qtbot, window, "Train")
    assert len([parts for parts in turns if parts]) > 3


def test_while_a_hand_is_at_work_nothing_is_made_ahead(
    make_window, make_folder, qtbot, monkeypatch, held_code
):
    window = make_window(make_folder())
    rooms = window.rooms
    maker, turns, begun = rooms._maker, [], []
    maker._timer.timeout.connect(lambda: turns.append(1))
    maker.begun.connect(begun.append)
    monkeypatch.setattr(room_making, "QUIET_MS", 60_000)
    rooms.make_ahead(rooms.entry("Train"), window.services)
    QTest.mouseMove(window.windowHandle(), QPoint(300, 300))
    QTest.mouseMove(window.windowHandle(), QPoint(310, 300))
    held_code.set()
    qtbot.waitUntil(lambda: bool(turns))
    assert not begun and maker._timer.isActive()
    # Whoever enters the room waits for no pause.
    enter(qtbot, window, "Train")
    assert len(begun) == 1


def test_compare_does_no_work_while_nobody_sees_it(make_bench_window, qtbot, monkeypatch):
    window = make_bench_window
    compare = enter(qtbot, window, "Compare")
    enter(qtbot, window, "Annotate")
    QApplication.processEvents()
    worked: list[str] = []
    for kind in (CompareStage, CompareDock):
        refresh = kind._refresh
        monkeypatch.setattr(
            kind,
            "_refresh",
            lambda self, refresh=refresh: (worked.append(type(self).__name__), refresh(self)),
        )
    session = window.session
    session.labels_changed.emit(QRect(0, 0, 8, 8))
    session.classes_changed.emit()
    compare.comparison.set_layout("curtain")
    session.go(session.images[1].id)
    qtbot.waitUntil(lambda: session.image is not None and session.image.complete)
    qtbot.waitUntil(lambda: session.label_map is not None)
    assert worked == []
    enter(qtbot, window, "Compare")
    qtbot.waitUntil(lambda: "CompareStage" in worked and "CompareDock" in worked)
    layers = compare.stage.canvases[0].layers
    assert layers[0].levels[0].size() == session.image.levels[0].size()


@pytest.fixture
def make_bench_window(make_window, make_folder):
    """A window with a project, without a process for networks."""
    return make_window(make_folder())


def test_train_draws_nothing_while_nobody_sees_it(make_window, make_folder, qtbot, monkeypatch):
    window = make_window(make_folder())
    train = enter(qtbot, window, "Train")
    enter(qtbot, window, "Annotate")
    drawn: list[object] = []
    monkeypatch.setattr(ProgressPage, "show_nothing", lambda self: drawn.append(self))
    window.services.runs.changed.emit()
    window.services.runs.history_changed.emit("")
    assert drawn == []
    enter(qtbot, window, "Train")
    qtbot.waitUntil(lambda: drawn == [train.progress])


def test_the_space_bar_after_entering_reaches_the_room_in_front(make_window, make_folder, qtbot):
    """A room that came in front gets its keys, also where another one was made behind it."""
    window = make_window(make_folder())
    enter(qtbot, window, "Train")
    annotate = enter(qtbot, window, "Annotate")
    QTest.keyClick(window, Qt.Key.Key_E)
    assert annotate.tool == "eraser"
