"""The demo: one click, labelled pictures, and a person's changes to it stay."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from segstudio.core.resources import resource
from segstudio.runtime.demo import demo_folder
from tests.gui.conftest import labels_are_there


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))


def open_demo(window, qtbot) -> None:
    QTest.mouseClick(window.start_page.demo_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: labels_are_there(window), timeout=60_000)


def test_one_click_opens_labelled_pictures(own_home, make_window, qtbot):
    window = make_window()
    open_demo(window, qtbot)
    session = window.session
    pictures = sorted(path.name for path in resource("demo", "images").iterdir())
    assert [record.path for record in session.images] == pictures
    assert all(record.status == "done" for record in session.images)
    assert [entry.key for entry in session.classes][:3] == ["1", "2", "3"]
    values = set(np.unique(session.label_map.array).tolist()) - {255}
    assert values and values <= {entry.id for entry in session.classes}
    assert window.rooms.current.title == "Annotate"


def test_return_on_the_first_page_opens_the_demo(own_home, make_window, qtbot):
    window = make_window()
    QTest.keyClick(window.focusWidget() or window.start_page, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: labels_are_there(window), timeout=60_000)


def test_changes_to_the_demo_stay(own_home, make_window, qtbot):
    window = make_window()
    open_demo(window, qtbot)
    session = window.session
    recorder = session.edits.begin_stroke()
    recorder.touch(0, 0, 40, 40)
    session.label_map.array[:40, :40] = 2
    session.edits.finish_stroke("brush", 2)
    session.close()
    qtbot.waitUntil(lambda: window.pages.currentWidget() is window.start_page)
    open_demo(window, qtbot)
    assert (session.label_map.array[:40, :40] == 2).all()


def test_the_demo_is_copied_once_and_never_written_in_the_application(own_home):
    first = demo_folder()
    (first / "mine.txt").write_text("kept")
    assert demo_folder() == first
    assert (first / "mine.txt").read_text() == "kept"
    assert not (resource("demo") / ".segstudio").exists()
    assert not (resource("demo", "images") / ".segstudio").exists()
