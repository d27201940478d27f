"""The window paints alone: it never waits for painting threads of Qt to get a core."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PAINT = """
import os
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from PySide6.QtCore import QPoint
from PySide6.QtGui import QImage, QPainter

from segstudio.ui.application import make_application

application = make_application()
source = QImage(2000, 1700, QImage.Format.Format_RGB32)
source.fill(0xFF336699)
target = QImage(1200, 900, QImage.Format.Format_RGB32)
painter = QPainter(target)
painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
painter.scale(0.55, 0.5)
painter.drawImage(QPoint(0, 0), source)
painter.end()
assert target.pixel(500, 400) == 0xFF336699
names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
print(sum("pool" in name for name in names))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the names of threads are read from /proc")
def test_scaled_painting_starts_no_threads(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path))
    monkeypatch.delenv("QT_NO_GUI_THREADPOOL", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", _PAINT], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "0"
