"""An error in a handler that Qt calls reaches Python, whoever raised it, and never ends the process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAD = """
import sys
import shiboken6
from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QApplication, QWidget
import segstudio.ui

class Source(QObject):
    told = Signal()

application = QApplication([])
source = Source()
shiboken6.delete(source)
sys.excepthook = lambda kind, error, trace: print("told", kind.__name__)
"""
TAIL = """
box = Box()
box.show()
box.armed = True
QTimer.singleShot(0, lambda: box.resize(300, 200))
QTimer.singleShot(0, lambda: print("goes on"))
QTimer.singleShot(0, application.quit)
application.exec()
"""
FAULTS = {"source.told.emit()": "RuntimeError", "{}['nothing']": "KeyError", "int('z')": "ValueError"}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_of_compiled_code_in_a_handler_is_told_and_the_window_goes_on(fault):
    body = f"""
class Box(QWidget):
    __module__ = "segstudio.ui.box"
    armed = False
    def resizeEvent(self, event):
        if self.armed:
            {fault}
"""
    ended = subprocess.run(
        [sys.executable, "-c", HEAD + body + TAIL],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split("\n")[:2] == [f"told {FAULTS[fault]}", "goes on"]
