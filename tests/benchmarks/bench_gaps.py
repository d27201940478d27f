"""Does the window ever pause? A tour through the real window with the demo, and every gap over a frame.

Open the demo, enter the four rooms, walk through the images, paint, fill, undo, click in the Attention room,
open a folder of 5,000 small pictures, scroll its strip, and compare where all are scored in 40 classes. For
each step: the longest gap by the clock, the longest without the wait for a core (`own`), and the lines of the
project in which the gaps of more than 16 ms (own) were.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PySide6.QtCore import QPointF

from segstudio.runtime.mask_result import prediction_key
from tests.benchmarks.window_driver import Driver
from tests.benchmarks.window_watch import FRAME, Gap, WindowWatch, settle, summary, wait

_PICTURES = 5000
_ROOMS = ("Annotate", "Compare", "Attention", "Train")


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        os.environ["SEGSTUDIO_HOME"] = home
        folder = Path(home, "Many")
        _draw(folder)
        driver = Driver()
        watch = WindowWatch()
        try:
            watch.start()
            _tour(driver, watch, folder)
            watch.stop()
        finally:
            driver.close()
    return {"steps": _steps(watch), "all": summary(watch.ticks)}


def _draw(folder: Path) -> None:
    folder.mkdir()
    draw = np.random.default_rng(3)
    for number in range(_PICTURES):
        picture = np.empty((96, 128, 3), np.uint8)
        picture[:] = draw.integers(0, 256, 3, dtype=np.uint8)
        cv2.imwrite(str(folder / f"picture_{number:05}.jpg"), picture)


def _tour(driver: Driver, watch: WindowWatch, folder: Path) -> None:
    def step(name: str) -> None:
        settle(0.3)
        watch.step = name
        print(f"  {name}", file=sys.stderr, flush=True)

    step("at rest after the start")
    settle(3.0)
    step("open the demo")
    driver.open_demo()
    shelf = driver.services.shelf
    wait(lambda: any(each.origin == "demo" for each in shelf.runnable), what="the demo's networks")
    settle(1.0)
    for turn in ("first", "second"):
        for room in _ROOMS:
            step(f"enter {room} ({turn} time)")
            driver.enter(room)
            settle(1.5)
    driver.enter("Annotate")
    step("walk through the images")
    for record in driver.session.images[:8]:
        driver.session.go(record.id)
        wait(driver.shown, what="the next image")
        settle(0.1)
    step("paint")
    _paint(driver)
    step("fill")
    _fill(driver)
    step("undo four times")
    for _ in range(4):
        driver.session.edits.undo()
    wait(lambda: driver.session.saving.saved, what="saving")
    step("click in Attention")
    _click(driver)
    driver.enter("Annotate")
    step(f"open {_PICTURES} pictures")
    driver.open(folder)
    wait(lambda: len(driver.session.images) == _PICTURES, what="the list of pictures")
    settle(2.0)
    step(f"walk through {_PICTURES} pictures")
    for place in range(0, _PICTURES, _PICTURES // 12):
        driver.session.go(driver.session.images[place].id)
        wait(driver.shown, what="the next image")
        settle(0.15)
    step(f"enter Compare with {_PICTURES} scored pictures")
    _compare_scored(driver)
    step("worst first")
    driver.room._toggle_worst()
    wait(lambda: len(driver.window.filmstrip.shown) == _PICTURES, what="the ranking")
    settle(1.0)
    step("end")


def _compare_scored(driver: Driver) -> None:
    """One network in a pane, whose matrices the project kept for every picture."""
    model = next(each for each in driver.services.shelf.runnable if each.origin == "demo")
    project, draw = driver.session.project, np.random.default_rng(4)
    matrix = draw.integers(1, 900, (40, 41))
    kept = driver.session.write(
        lambda: [
            project.put_confusion(record.id, prediction_key(model), matrix) for record in project.images()
        ]
    )
    wait(kept.done, what="matrices")
    settle(0.5)
    driver.enter("Compare")
    driver.room.bar.add_wanted.emit("model", model)
    driver.room.dock.scope.set_current(1)
    pane = driver.room.comparison.models[0]
    wait(lambda: driver.room.dock.matrix_of(pane)[1] == _PICTURES, what="all scores")
    settle(1.0)


def _paint(driver: Driver) -> None:
    room = driver.room
    room.use_tool("brush")
    for size in (20, 120):
        room.state.set_size(size)
        driver.press(room.canvas, _at(driver, 0.3, 0.3))
        for number in range(30):
            driver.move(room.canvas, _at(driver, 0.3 + 0.01 * number, 0.3 + 0.008 * number))
            settle(0.01)
        driver.release(room.canvas, _at(driver, 0.6, 0.54))
    wait(lambda: driver.session.saving.saved, what="saving")


def _fill(driver: Driver) -> None:
    driver.room.use_tool("fill")
    at = _at(driver, 0.5, 0.1)
    driver.press(driver.room.canvas, at)
    driver.release(driver.room.canvas, at)
    wait(lambda: driver.session.saving.saved, what="saving")
    driver.room.use_tool("brush")


def _at(driver: Driver, x: float, y: float) -> QPointF:
    image = driver.session.image
    return QPointF(driver.room.canvas.to_view(QPointF(x * image.width, y * image.height)))


def _click(driver: Driver) -> None:
    driver.enter("Attention")
    inspection = driver.room.inspection
    wait(lambda: inspection.result(inspection.front_slot, inspection.active_pin), what="the first map")
    canvas, image = driver.room.view.canvas, driver.session.image
    for number in range(8):
        at = canvas.to_view(QPointF((0.1 + 0.1 * number) * image.width, 0.6 * image.height))
        driver.press(canvas, at)
        driver.release(canvas, at)
        settle(0.3)


def _steps(watch: WindowWatch) -> dict[str, Any]:
    """Per step its longest gaps, and where the window itself was at work or blocked for over a frame."""
    steps: dict[str, Any] = {}
    for name in dict.fromkeys(gap.step for gap in watch.gaps):
        gaps = [gap for gap in watch.gaps if gap.step == name]
        ours = sorted((gap for gap in gaps if gap.spent.own > FRAME), key=lambda gap: -gap.spent.own)
        steps[name] = {
            "longest_ms": round(1e3 * max(gap.spent.wall for gap in gaps), 1),
            "longest_own_ms": round(1e3 * max(gap.spent.own for gap in gaps), 1),
            "longest_processor_ms": round(1e3 * max(gap.spent.processor for gap in gaps), 1),
            "own_over_a_frame": len(ours),
            "where": [_words(gap) for gap in ours[:6]],
            "most_often": Counter(gap.where[0] for gap in ours if gap.where).most_common(3),
        }
    return steps


def _words(gap: Gap) -> str:
    return (
        f"{1e3 * gap.spent.own:.0f} ms (processor {1e3 * gap.spent.processor:.0f}): {' < '.join(gap.where)}"
    )
