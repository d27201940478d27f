"""The window: what it may load, what it shows first, how it closes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from PySide6.QtCore import QMimeData, QObject, QPoint, QPointF, Qt, QUrl, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel

from segstudio.ui.dialogs.key_sheet import KeySheet
from segstudio.ui.dialogs.palette import CommandPalette
from tests.gui.conftest import enter, labels_are_there, open_folder

_LOADED = """
import json, sys
from PySide6.QtWidgets import QApplication
from segstudio.ui.application import make_application
from segstudio.ui.main_window import MainWindow
application = make_application()
window = MainWindow(engines=False)
window.show()
at_paint = []
window.painted.connect(lambda: at_paint.extend(sys.modules))
while not at_paint:
    application.processEvents()
window.complete()
for entry in window.rooms.entries:
    __import__(entry.module)
application.processEvents()
after = list(sys.modules)
window.close()
print(json.dumps({"paint": at_paint, "after": after}))
"""


def _loaded() -> dict[str, set[str]]:
    run = subprocess.run(
        [sys.executable, "-c", _LOADED], capture_output=True, text=True, timeout=120, check=True
    )
    return {key: set(names) for key, names in json.loads(run.stdout.splitlines()[-1]).items()}


def test_window_loads_neither_torch_nor_a_plugin_and_paints_before_anything_heavy():
    loaded = _loaded()
    never = {
        "torch",
        "torchvision",
        "lightning",
        "segstudio_zoo",
        "segstudio_example",
        "segstudio_torchvision",
    }
    assert not never & loaded["after"]
    late = {
        "numpy",
        "cv2",
        "PIL",
        "sqlite3",
        "pyqtgraph",
        "segstudio.runtime.session",
        "segstudio.core.project",
    }
    assert not late & loaded["paint"]
    assert "segstudio.runtime.session" in loaded["after"]


class _Sender(QObject):
    told = Signal(bool)


def test_thousand_bool_signals_keep_the_references_of_true_and_false(qapp):
    sender = _Sender()
    heard = []
    sender.told.connect(lambda on: heard.append(on))
    before = sys.getrefcount(True), sys.getrefcount(False)
    for number in range(1000):
        sender.told.emit(number % 2 == 0)
    heard.clear()
    after = sys.getrefcount(True), sys.getrefcount(False)
    assert all(new >= old - 50 for new, old in zip(after, before, strict=True)), (before, after)


def test_title_ends_in_segstudio_and_names_image_and_project(make_window, make_folder, qtbot):
    window = make_window()
    assert window.windowTitle() == "SegStudio"
    folder = make_folder()
    window.open(folder)
    qtbot.waitUntil(lambda: "image_00.png" in window.windowTitle())
    assert window.windowTitle() == "image_00.png – Pictures – SegStudio"


def test_first_page_has_no_room_in_front_and_says_what_to_do_when_one_is_clicked(make_window, qtbot):
    window = make_window()
    assert window.pages.currentWidget() is window.start_page
    QTest.mouseClick(window.rail.button("Annotate"), Qt.MouseButton.LeftButton)
    assert window.rooms.current is None
    assert not window.rail.button("Annotate").isChecked()


def test_dropping_a_folder_opens_it(make_window, make_folder, qtbot):
    window = make_window()
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(make_folder()))])
    buttons, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(300, 300), Qt.DropAction.CopyAction, data, buttons, none)
    window.dragEnterEvent(enter)
    assert enter.isAccepted()
    window.dropEvent(QDropEvent(QPointF(300, 300), Qt.DropAction.CopyAction, data, buttons, none))
    qtbot.waitUntil(lambda: labels_are_there(window))
    assert window.rooms.current is not None and window.rooms.current.title == "Annotate"


def test_keys_walk_the_images_in_the_order_of_the_strip(make_window, make_folder, qtbot):
    window = make_window(make_folder(3))
    QTest.keyClick(window, Qt.Key.Key_D)
    assert window.session.current.path == "image_01.png"
    QTest.keyClick(window, Qt.Key.Key_D)
    QTest.keyClick(window, Qt.Key.Key_D)
    assert window.session.current.path == "image_02.png"
    QTest.keyClick(window, Qt.Key.Key_A)
    assert window.session.current.path == "image_01.png"


def test_palette_finds_a_command_by_words_and_runs_it(make_window, make_folder, qtbot):
    window = make_window(make_folder())
    QTest.keyClick(window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    palette = window.findChild(CommandPalette)
    assert palette is not None and palette.isVisible()
    QTest.keyClicks(palette.field, "next image")
    assert palette.rows.entry(0).title == "Next image"
    QTest.keyClick(palette.field, Qt.Key.Key_Return)
    assert window.session.current.path == "image_01.png"


def test_palette_says_why_a_command_is_off(make_window):
    window = make_window()
    window.actions_table.action("window.palette").trigger()
    palette = window.findChild(CommandPalette)
    QTest.keyClicks(palette.field, "fit the image")
    entry = palette.rows.entry(0)
    assert entry.reason == "Open a folder of images first"
    palette.run(0)
    assert palette.isVisible()


def test_key_sheet_lists_every_key_that_does_something(make_window, make_folder):
    window = make_window(make_folder())
    QTest.keyClick(window, Qt.Key.Key_F1)
    sheet = window.findChild(KeySheet)
    shown = {child.text() for child in sheet.panel.findChildren(QLabel)}
    for title in ("Brush", "Eraser", "Fill", "Polygon", "Undo", "Next image", "Overlay off while held"):
        assert title in shown
    QTest.keyClick(sheet, Qt.Key.Key_Escape)
    assert not sheet.isVisible()


def test_a_second_project_replaces_the_first(make_window, make_folder, qtbot, tmp_path):
    window = make_window(make_folder(2))
    other = tmp_path / "Other"
    other.mkdir()
    (tmp_path / "Pictures" / "image_00.png").rename(other / "alone.png")
    window.open(other)
    qtbot.waitUntil(lambda: "alone.png" in window.windowTitle() and labels_are_there(window))
    assert [record.path for record in window.session.images] == ["alone.png"]


def test_closing_ends_reader_and_threads(make_window, make_folder, qtbot):
    window = make_window()
    open_folder(qtbot, window, make_folder())
    reader = window.session.reader
    window.close()
    assert reader.state == "stopped"
    assert window.services is None


def test_no_two_verbs_share_a_key_where_both_are_alive(make_window, make_folder, qtbot):
    window = make_window(make_folder())
    for entry in window.rooms.entries:
        enter(qtbot, window, entry.title)
    specs = [spec for spec in window.actions_table.available() if not spec.held]
    for entry in window.rooms.entries:
        scope = entry.title.lower()
        taken: dict[str, str] = {}
        for spec in specs:
            if spec.scope in ("", scope):
                for key in spec.keys:
                    assert key not in taken, f"{key}: {spec.id} and {taken.get(key)} in {entry.title}"
                    taken[key] = spec.id


def test_every_room_says_a_hint_and_keeps_the_viewport(make_window, make_folder, qtbot):
    window = make_window(make_folder())
    viewport = window.services.viewport
    viewport.set_scale(2.0)
    center = viewport.center
    for entry in (*window.rooms.entries, window.rooms.entries[0]):
        assert enter(qtbot, window, entry.title).status_hint()
    assert viewport.scale == 2.0 and viewport.center == center


def test_the_image_in_front_is_there_again_after_a_restart(make_window, make_folder):
    folder = make_folder(3)
    window = make_window(folder)
    window.session.go(window.session.images[2].id)
    window.close()
    assert make_window(folder).session.current.path == "image_02.png"


def test_smoke_start_paints_and_leaves_with_zero():
    command = [sys.executable, "-m", "segstudio", "--smoke", "paint"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("width, pushes", [(1600, True), (1280, False)])
def test_the_job_drawer_pushes_the_room_where_there_is_space_and_lies_over_it_elsewhere(
    make_window, make_folder, qtbot, width, pushes
):
    window = make_window(make_folder(1), size=(width, 800))
    before = window.pages.width()
    QTest.keyClick(window, Qt.Key.Key_J, Qt.KeyboardModifier.ControlModifier)
    drawer = window.job_drawer
    assert drawer.isVisible() and window.actions_table.action("window.jobs").isChecked()
    assert drawer.geometry().right() == drawer.parentWidget().rect().right()
    expected = before - drawer.width() if pushes else before
    qtbot.waitUntil(lambda: window.pages.width() == expected)
    QTest.keyClick(window, Qt.Key.Key_J, Qt.KeyboardModifier.ControlModifier)
    assert not drawer.isVisible()
    qtbot.waitUntil(lambda: window.pages.width() == before)
