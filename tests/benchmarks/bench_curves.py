"""Redrawing the Train tab's curves: every new step of a run whose curves have 10,000 points.

The tab's own charts at the size they have in a window of 1600x1000. `whole` is everything from the new event
to the end of painting: history, average, paths, axes, legends; the charts take turns at that, and `turn` is
the longest of them.
"""

from __future__ import annotations

import os
from dataclasses import astuple
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

if "DISPLAY" not in os.environ:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication, QVBoxLayout, QWidget

from segstudio.runtime.run_history import Epoch, RunHistory
from segstudio.runtime.run_view import RunView
from segstudio.ui import theme
from segstudio.ui.train.charts import Charts
from tests.benchmarks.window_watch import Spent, ThreadClock, summary, wait

_POINTS, _FRAMES, _PER_EPOCH = 10_000, 200, 100
_BAR = 16.0
_TURNS = 12  # two charts a set, each with its drawing, its painting and a turn between; two sets at most


def measure() -> dict[str, Any]:
    application = QApplication.instance() or QApplication([])
    theme.apply(cast(QApplication, application), "dark")
    results: dict[str, Any] = {"bar_p99_ms": _BAR}
    for name, quantities, smooth in (
        ("loss and mean IoU", ("losses",), True),
        ("three losses and mean IoU", ("parts",), True),
        ("three losses and mean IoU, not smoothed", ("parts",), False),
        ("loss, three losses and mean IoU at once", ("losses", "parts"), True),
    ):
        results[name] = _measure(quantities, smooth)
    return results


def _measure(quantities: tuple[str, ...], smooth: bool) -> dict[str, Any]:
    window = QWidget()
    column = QVBoxLayout(window)
    charts = [Charts() for _ in quantities]
    for each, quantity in zip(charts, quantities, strict=True):
        each.set_quantity(quantity)
        each.set_smooth(smooth)
        column.addWidget(each)
    window.resize(1160, 640)
    window.show()
    draw = np.random.default_rng(5)
    history = RunHistory()
    for step in range(1, _POINTS + 1):
        _feed(history, step, draw)
    view = cast(RunView, SimpleNamespace(name="run-1", number="1", epochs=110, steps=11_000))
    for each in charts:
        each.show_run(view, history)
    wait(lambda: all(each.loss.plot is not None for each in charts))
    QApplication.processEvents()
    clock = ThreadClock()
    whole, turns = [], []
    for step in range(_POINTS + 1, _POINTS + _FRAMES + 1):
        spent = []
        clock.start()
        _feed(history, step, draw)
        for each in charts:
            each.show_run(view, history)
        for _ in range(_TURNS):
            QApplication.processEvents()
            spent.append(clock.spent())
            clock.start()
        whole.append(Spent(*(sum(each) for each in zip(*map(astuple, spent), strict=True))))
        turns.append(max(spent, key=lambda each: each.own))
    window.close()
    window.deleteLater()
    return {"whole": summary(whole), "turn": summary(turns)}


def _feed(history: RunHistory, step: int, draw: np.random.Generator) -> None:
    level = float(np.exp(-step / 3000) + 0.1)
    losses = {
        name: level * share * float(draw.uniform(0.7, 1.4))
        for name, share in (("decode.loss_ce", 1.0), ("aux.loss_ce", 0.4), ("decode.loss_dice", 0.7))
    }
    event = {"kind": "step", "step": step, "loss": sum(losses.values()), "losses": losses}
    history.feed([{**event, "lr": 0.01, "images_per_s": 12.0, "memory": 2**30}])
    if step % _PER_EPOCH == 0:
        number = step // _PER_EPOCH
        history.epochs.append(
            Epoch(number, step, level, level * 1.1, 0.7 - 0.5 / number, (0.5,) * 8, 10.0, {})
        )
