"""Process start to painted window: SegStudio, a bare Qt window, and labelme where it is installed.

All in turn on the same (virtual) screen. labelme comes from an environment of its own, named by
SEGSTUDIO_BENCH_LABELME=/path/to/its/python; without it that figure is not measured.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from segstudio.core.program import program_command
from tests.benchmarks.timing import REPEATS, NotMeasured, seconds

_BARE_WINDOW = """
import sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMainWindow
class Window(QMainWindow):
    def paintEvent(self, event):
        super().paintEvent(event)
        QTimer.singleShot(0, QApplication.quit)
app = QApplication(sys.argv)
window = Window()
window.resize(1600, 1000)
window.show()
app.exec()
"""

# labelme's own entry point, ended once its main window was painted.
_LABELME = """
import sys
sys.argv = ["labelme"]
from PyQt5 import QtCore, QtWidgets
class Watcher(QtCore.QObject):
    def eventFilter(self, watched, event):
        if event.type() == QtCore.QEvent.Paint and isinstance(watched, QtWidgets.QMainWindow):
            QtCore.QTimer.singleShot(0, lambda: __import__("os")._exit(0))
        return False
original = QtWidgets.QApplication.__init__
def patched(self, *arguments):
    original(self, *arguments)
    self._watcher = Watcher()
    self.installEventFilter(self._watcher)
QtWidgets.QApplication.__init__ = patched
from labelme.__main__ import main
main()
"""


def measure() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "SEGSTUDIO_HOME": home}
        commands = {
            "segstudio": program_command("gui", "--smoke", "paint"),
            "bare_qt_window": [sys.executable, "-c", _BARE_WINDOW],
        }
        labelme = os.environ.get("SEGSTUDIO_BENCH_LABELME", "")
        if labelme and Path(labelme).exists():
            commands["labelme"] = [labelme, "-c", _LABELME]
        for name, command in commands.items():
            run = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
            if run.returncode != 0:
                raise NotMeasured(f"{name} ended with {run.returncode}: {run.stderr.decode()[-300:]}")
        samples: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(REPEATS):
            for name, command in commands.items():

                def start(command: list[str] = command) -> None:
                    subprocess.run(command, env=environment, capture_output=True, timeout=120, check=True)

                samples[name].append(seconds(start))
    result: dict[str, object] = {
        f"{name}_s": round(statistics.median(times), 3) for name, times in samples.items()
    }
    ours = samples["segstudio"]
    for peer in ("bare_qt_window", "labelme"):
        if peer in samples:
            ratios = [a / b for a, b in zip(ours, samples[peer], strict=True)]
            result[f"segstudio_over_{peer}"] = round(statistics.median(ratios), 3)
        else:
            result[peer] = "not measured: SEGSTUDIO_BENCH_LABELME names no python"
    result["repeats"] = REPEATS
    return result
