"""bfloat16 in the window: chosen in the settings, computed by the real worker, marked over the pane."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QVBoxLayout, QWidget
from shiboken6 import delete

from segstudio.ui.compare.room import CompareRoom
from segstudio.ui.dialogs.settings_dialog import SettingsDialog
from segstudio.ui.engines import offered_precisions
from segstudio.ui.remembered import settings
from segstudio.worker.devices import has_bfloat16
from tests.gui.conftest import whole
from tests.gui.street_project import Bench, make_project, street
from tests.worker.plugins_for_tests import TINY, write_plugin

WAIT = 120_000
CPU = {"id": "cpu", "title": "CPU", "bfloat16": True, "bfloat16_speed": 1.94}

needs_bfloat16 = pytest.mark.skipif(
    not has_bfloat16(torch.device("cpu")), reason="this processor does not multiply bfloat16"
)


class Window(QWidget):
    """As much of a window as the settings ask for."""

    def __init__(self, bench: Bench, devices: list[dict]) -> None:
        super().__init__()
        self.read_outs = SimpleNamespace(devices=devices)
        self.services = bench.services


@pytest.fixture
def bench(qapp, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    make_project(tmp_path, [street(), street(seed=1)])
    made = Bench(write_plugin(tmp_path, "tiny", TINY))
    made.shelf.refresh()
    made.session.open(tmp_path / "Streets")
    yield made
    made.close()
    settings.cache_clear()


def press(qtbot, switch, index):
    """A press on one segment of a segmented control."""
    width = switch.width() / 2
    qtbot.mouseClick(
        switch, Qt.MouseButton.LeftButton, pos=QPoint(int(width * (index + 0.5)), switch.height() // 2)
    )


def test_only_a_device_that_has_bfloat16_offers_it(qtbot, bench):
    assert offered_precisions([]) == ("float32",)
    assert offered_precisions([{**CPU, "bfloat16": False}]) == ("float32",)
    assert offered_precisions([CPU]) == ("float32", "bfloat16")
    window = Window(bench, [{**CPU, "bfloat16": False}])
    qtbot.addWidget(window)
    assert SettingsDialog(window).precision_switch is None


@needs_bfloat16
def test_a_model_runs_again_in_bfloat16_and_its_pane_says_how_exact_that_is(qtbot, bench):
    session, shelf = bench.session, bench.shelf
    qtbot.waitUntil(lambda: "tiny/plain" in {each.key for each in shelf.runnable}, timeout=WAIT)
    qtbot.waitUntil(lambda: bool(session.images), timeout=WAIT)
    session.go(session.images[0].id)
    qtbot.waitUntil(lambda: session.image is not None and session.image.complete, timeout=WAIT)
    room = whole(CompareRoom(bench.services))
    host = QWidget()
    column = QVBoxLayout(host)
    column.addWidget(room.option_bar())
    column.addWidget(room.widget(), 1)
    host.resize(1280, 800)
    qtbot.addWidget(host)
    host.show()
    room.activated()
    tiny = next(each for each in shelf.runnable if each.key == "tiny/plain")
    room.bar.add_wanted.emit("model", tiny)
    pane = room.comparison.models[-1]
    room.comparison.set_active(pane.number)
    header = room.stage.view_of(pane.number).header
    qtbot.waitUntil(lambda: room.stage.result(room.comparison.models[-1]) is not None, timeout=WAIT)
    assert header.precision_text == ""

    window = Window(bench, [CPU])
    qtbot.addWidget(window)
    dialog = SettingsDialog(window)
    dialog.show()
    qtbot.waitExposed(dialog)
    press(qtbot, dialog.precision_switch, 1)
    assert settings().get("networks.precision", "") == "bfloat16" and shelf.precision == "bfloat16"
    qtbot.waitUntil(lambda: header.precision_text != "", timeout=WAIT)
    assert "bfloat16" in header.precision_text and "as in float32" in header.precision_text
    assert room.comparison.models[-1].key.endswith("@bfloat16")
    if folder := os.environ.get("SEGSTUDIO_PICTURES"):
        dialog.grab().save(f"{folder}/precision_dialog.png")
        host.grab().save(f"{folder}/precision_pane.png")
    press(qtbot, dialog.precision_switch, 0)
    qtbot.waitUntil(lambda: header.precision_text == "", timeout=WAIT)
    dialog.close()
    room.deactivated()
    room.runs.stop()
    room.scores.close()
    delete(room)
