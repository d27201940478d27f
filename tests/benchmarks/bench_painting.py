"""Painting in the real window on a label map of 100 megapixels: dabs by the mouse, and changes of all of it.

Dabs: events of a held button on Annotate's canvas until everything is painted, label map, undo, ring and
minimap included; at 100 % and at twice fit. Changes of the whole map (fill, polygon, undo, redo): the longest
time in which the window answered nothing, and how long until the change is seen and until it is durable.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QImage

from segstudio.core.project import Project
from segstudio.core.records import LabelClass
from segstudio.core.taxonomies import default_palette
from tests.benchmarks.window_driver import Driver
from tests.benchmarks.window_watch import Spent, ThreadClock, WindowWatch, settle, summary, wait

_WIDTH, _HEIGHT = 11547, 8660
_STROKES, _DABS = 8, 20


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        os.environ["SEGSTUDIO_HOME"] = home
        folder = Path(home, "Big")
        _make(folder)
        driver = Driver(engines=False)
        try:
            driver.open(folder)
            settle(1.0)
            results: dict[str, Any] = {"bar_dab_p99_ms": 8.0, "bar_pause_ms": 16.0}
            for diameter in (32, 400, 1000):
                results[f"dab of diameter {diameter}"] = _dabs(driver, diameter)
            results |= _whole(driver)
        finally:
            driver.close()
    return results


def _make(folder: Path) -> None:
    folder.mkdir()
    small = np.random.default_rng(0).integers(0, 256, (86, 115, 4), dtype=np.uint8)
    # Not with OpenCV: the window's first fill brings it in, and that counts.
    picture = QImage(small.data, 115, 86, 4 * 115, QImage.Format.Format_RGB32)
    smooth = Qt.TransformationMode.SmoothTransformation
    picture.scaled(_WIDTH, _HEIGHT, Qt.AspectRatioMode.IgnoreAspectRatio, smooth).save(
        str(folder / "big.jpg"), quality=80
    )
    project = Project.open(folder)
    colors = default_palette(9)
    project.set_classes([LabelClass(n, f"Class {n}", color, str(n + 1)) for n, color in enumerate(colors)])
    project.close()


def _at(driver: Driver, x: float, y: float) -> QPointF:
    return QPointF(driver.room.canvas.to_view(QPointF(x, y)))


def _dabs(driver: Driver, diameter: int) -> dict[str, Any]:
    room, viewport = driver.room, driver.services.viewport
    room.use_tool("brush")
    room.state.set_size(diameter)
    clock = ThreadClock()
    samples: list[Spent] = []
    for stroke in range(_STROKES):
        viewport.set_scale(1.0 if stroke % 2 else 2.2 * viewport.min_scale)
        viewport.set_center(QPointF(_WIDTH / 2, _HEIGHT / 2))
        room.state.set_class(stroke % 9)
        settle(1.0)  # until the chip with the class has gone
        for dab in range(_DABS):
            at = _at(driver, _WIDTH / 2 - 200 + 20 * dab, _HEIGHT / 2 + 3 * dab)
            clock.start()
            (driver.move if dab else driver.press)(room.canvas, at)
            driver.application.processEvents()
            samples.append(clock.spent())
        driver.release(room.canvas, at)
        wait(lambda: driver.session.saving.saved, what="saving")
    return summary(samples)


def _whole(driver: Driver) -> dict[str, Any]:
    room, edits, saving = driver.room, driver.session.edits, driver.session.saving
    driver.services.viewport.fit()
    settle(0.5)

    def fill() -> None:
        room.use_tool("fill")
        room.state.set_class(2)
        driver.press(room.canvas, _at(driver, 50, 50))
        driver.release(room.canvas, _at(driver, 50, 50))

    def polygon() -> None:
        room.use_tool("polygon")
        room.state.set_class(3)
        corners = ((20, 20), (_WIDTH - 30, 60), (_WIDTH - 40, _HEIGHT - 50), (5000, 5000), (60, _HEIGHT - 30))
        for corner in corners:
            driver.press(room.canvas, _at(driver, *corner))
            driver.release(room.canvas, _at(driver, *corner))
        room.tools["polygon"].close()

    results = {}
    for name, act in (
        ("fill", fill),
        ("undo of the fill", edits.undo),
        ("redo of the fill", edits.redo),
        ("polygon", polygon),
        ("undo of the polygon", edits.undo),
    ):
        results[name] = _change(driver, act, lambda: saving.saved)
    return results


def _change(driver: Driver, act: Callable[[], None], durable: Callable[[], bool]) -> dict[str, Any]:
    seen: list[float] = []

    def note(*_: object) -> None:
        seen.append(time.perf_counter())

    driver.session.labels_changed.connect(note)
    watch = WindowWatch()
    watch.start()
    begun = time.perf_counter()
    act()
    wait(lambda: bool(seen), what="the change")
    settle(0.3)
    wait(durable, what="saving")
    saved = time.perf_counter()
    watch.stop()
    driver.session.labels_changed.disconnect(note)
    longest = max(watch.ticks, key=lambda spent: spent.own)
    return {
        "longest_pause_ms": round(1e3 * max(spent.wall for spent in watch.ticks), 1),
        "longest_pause_own_ms": round(1e3 * longest.own, 1),
        "longest_pause_processor_ms": round(1e3 * max(spent.processor for spent in watch.ticks), 1),
        "seen_after_ms": round(1e3 * (seen[0] - begun), 1),
        "durable_after_ms": round(1e3 * (saved - begun), 1),
    }
