"""From a press of the mouse in the Attention room to the painted map: the real window, worker and demo.

The press goes to the canvas; the clock stops when the canvas has painted the answer to exactly that pixel.
`own` leaves out the time in which the window's thread waited, for the worker or for a core.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

import numpy as np
from PySide6.QtCore import QPointF

from tests.benchmarks.timing import percentiles
from tests.benchmarks.window_driver import Driver
from tests.benchmarks.window_watch import settle, wait

_CLICKS = 60
_FAMILIES = ("ccnet", "danet", "psanet")


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        os.environ["SEGSTUDIO_HOME"] = home
        driver = Driver()
        try:
            return _measure(driver)
        finally:
            driver.close()


def _measure(driver: Driver) -> dict[str, Any]:
    shelf = driver.services.shelf
    driver.open_demo()
    wait(lambda: any(each.origin == "demo" for each in shelf.runnable), what="the demo's networks")
    driver.enter("Attention")
    inspection = driver.room.inspection
    results: dict[str, Any] = {"bar_p95_ms": 30.0}
    for family in _FAMILIES:
        model = next((each for each in inspection.candidates if family in each.key.lower()), None)
        if model is not None:
            inspection.set_models([model])
            inspection.set_front(model)
            results[family] = _clicks(driver, inspection)
    return results


def _clicks(driver: Driver, inspection: Any) -> dict[str, Any]:
    canvas = driver.room.view.canvas
    image = driver.session.image
    wait(lambda: _answer(inspection) is not None, what="the first map")
    settle(1.0)
    painted: list[float] = []
    at_work: list[float] = []

    def note() -> None:
        pin, answer = inspection.active_pin, _answer(inspection)
        if pin is not None and answer is not None and (answer.query.x, answer.query.y) == (pin.x, pin.y):
            painted.append(time.perf_counter())

    canvas.painted.connect(note)
    samples: list[float] = []
    draw = np.random.default_rng(11)
    for x, y in draw.uniform((0.05, 0.05), (0.95, 0.95), (_CLICKS, 2)).tolist():
        at = canvas.to_view(QPointF(x * image.width, y * image.height))
        painted.clear()
        begun, worked = time.perf_counter(), time.thread_time()
        driver.press(canvas, at)
        wait(lambda: bool(painted), seconds=30, what="the map")
        samples.append(painted[0] - begun)
        at_work.append(time.thread_time() - worked)
        driver.release(canvas, at)
        settle(0.1)  # the tables and the small maps follow
    canvas.painted.disconnect(note)
    return {"click_to_painted": percentiles(samples), "window_at_work": percentiles(at_work)}


def _answer(inspection: Any) -> Any:
    return inspection.result(inspection.front_slot, inspection.active_pin)
