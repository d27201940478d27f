"""What the application adds to a network: a run through the worker process against the bare forward, and a
click on a pixel until its attention map lies in the window's memory.

CCNet, DANet and PSANet on MobileNetV2 of half width with drawn weights; a picture of 640x416.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from typing import Any

import numpy as np
from PySide6.QtCore import QEventLoop
from PySide6.QtWidgets import QApplication

from segstudio.ipc import MappedArray
from segstudio.runtime.worker_client import WorkerClient
from tests.benchmarks.timing import percentiles

_WIDTH, _HEIGHT = 640, 416
_RUNS = 9
_CLICKS = 100
_PROBES = {"ccnet": "composed", "danet": "position_row", "psanet": "collect"}


def measure() -> dict[str, Any]:
    application = QApplication.instance() or QApplication([])
    with tempfile.TemporaryDirectory() as home:
        os.environ.setdefault("SEGSTUDIO_HOME", home)
        client = WorkerClient()
        client.start()
        try:
            return {name: _measure(application, client, name, probe) for name, probe in _PROBES.items()}
        finally:
            client.close()


def _measure(application: Any, client: WorkerClient, family: str, probe: str) -> dict[str, Any]:
    model = {
        "model": f"segstudio_zoo/{family}_r50-d8",
        "num_classes": 8,
        "options": {"backbone": "mobilenet-v2-d8", "width": 0.5, "channels": 64},
        "untrained": True,
    }
    draw = np.random.default_rng(3)
    image = MappedArray.create((_HEIGHT, _WIDTH, 3), np.uint8)
    image.array[:] = draw.integers(0, 256, image.array.shape, dtype=np.uint8)
    labels = MappedArray.create((_HEIGHT, _WIDTH), np.uint8)
    confidence = MappedArray.create((_HEIGHT, _WIDTH), np.uint8)
    out = MappedArray.create((1 << 20,), np.float32)
    whole: list[float] = []
    forward: list[float] = []
    for turn in range(_RUNS + 1):
        begun = time.perf_counter()
        answer = _ask(
            application,
            client,
            "predict",
            model=model,
            image=image.descriptor(),
            labels=labels.descriptor(),
            confidence=confidence.descriptor(),
            entropy=None,
            keep=turn == _RUNS,
            key="picture",
        )
        if turn:  # the first run builds the network
            whole.append(time.perf_counter() - begun)
            forward.append(answer["forward_ms"] / 1e3)
    clicks: list[float] = []
    for y, x in draw.uniform((0, 0), (_HEIGHT, _WIDTH), (_CLICKS, 2)).tolist():
        begun = time.perf_counter()
        _ask(
            application,
            client,
            "probe",
            model=model,
            key="picture",
            probe=probe,
            query={"kind": "pixel", "x": x, "y": y, "index": 0},
            options={},
            out=out.descriptor(),
        )
        clicks.append(time.perf_counter() - begun)
    added = [a - b for a, b in zip(whole, forward, strict=True)]
    for memory in (image, labels, confidence, out):
        memory.close()
    return {
        "run_ms": round(statistics.median(whole) * 1e3, 1),
        "forward_ms": round(statistics.median(forward) * 1e3, 1),
        "added_ms": round(statistics.median(added) * 1e3, 1),
        "run_over_forward": round(statistics.median(a / b for a, b in zip(whole, forward, strict=True)), 3),
        "click_to_map": percentiles(clicks[1:]),
    }


def _ask(application: Any, client: WorkerClient, op: str, **arguments: Any) -> dict[str, Any]:
    answers: list[dict[str, Any]] = []
    problems: list[Exception] = []
    call = client.request(op, **arguments)
    call.finished.connect(answers.append)
    call.failed.connect(problems.append)
    end = time.monotonic() + 120
    while not answers and not problems:
        if time.monotonic() > end:
            raise TimeoutError(f"{op}: no answer in 120 s")
        application.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents, 20)
    if problems:
        raise problems[0]
    return answers[0]
