"""A large JPEG, asked for by the window: first pixels and full pyramid, and how long the window was away.

The bare operation is OpenCV's decoding of the same bytes to the same reduced size (a quarter, an eighth) in
this process, one after the other.
The pictures are drawn: smooth shapes with noise, quality 90, 24 and 100 megapixels.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PySide6.QtWidgets import QApplication

from segstudio.runtime.image_cache import ImageCache
from segstudio.runtime.worker_client import WorkerClient
from tests.benchmarks.timing import seconds
from tests.benchmarks.window_watch import Spent, WindowWatch, settle, summary, wait

_SIZES = {"24_megapixels": (6000, 4000), "100_megapixels": (12000, 8400)}
_REPEATS = 7


def measure() -> dict[str, Any]:
    application = QApplication.instance() or QApplication([])
    assert application is not None
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("SEGSTUDIO_HOME", folder)
        for name, size in _SIZES.items():
            path = Path(folder, f"{name}.jpg")
            _draw(path, size)
            results[name] = _measure(path)
    return results


def _draw(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    draw = np.random.default_rng(7)
    small = draw.integers(0, 256, (height // 100, width // 100, 3), dtype=np.uint8)
    picture = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    noise = draw.integers(0, 24, (512, 512, 3), dtype=np.uint8)
    for top in range(0, height, 512):
        for left in range(0, width, 512):
            part = picture[top : top + 512, left : left + 512]
            cv2.add(part, noise[: part.shape[0], : part.shape[1]], dst=part)
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])


def _measure(path: Path) -> dict[str, Any]:
    client = WorkerClient(reader=True)
    client.start()
    wait(lambda: client.state == "ready")
    first: list[float] = []
    full: list[float] = []
    bare: list[float] = []
    ratios: list[float] = []
    flag = cv2.IMREAD_REDUCED_COLOR_8 if "100" in path.name else cv2.IMREAD_REDUCED_COLOR_4
    gaps: list[Spent] = []
    for turn in range(_REPEATS + 1):
        cache = ImageCache(client)
        watch = WindowWatch()
        watch.start()
        begun = time.perf_counter()
        image = cache.show(path)
        wait(lambda image=image: bool(image.levels))
        shown = time.perf_counter() - begun
        wait(lambda image=image: image.complete)
        whole = time.perf_counter() - begun
        watch.stop()
        cache.clear()
        del image
        settle(0.3)  # the bare operation is not to share the memory with what is given back

        def reduced() -> None:
            data = np.fromfile(path, np.uint8)
            cv2.imdecode(data, flag)

        plain = seconds(reduced)
        if turn:  # the first turn warms caches
            first.append(shown)
            full.append(whole)
            bare.append(plain)
            ratios.append(shown / plain)
            gaps += watch.ticks
    client.close()
    return {
        "first_pixels_ms": round(statistics.median(first) * 1e3, 1),
        "all_levels_ms": round(statistics.median(full) * 1e3, 1),
        "bare_reduced_decode_ms": round(statistics.median(bare) * 1e3, 1),
        "first_pixels_over_bare": round(statistics.median(ratios), 3),
        "window_gap": summary(gaps),
        "repeats": _REPEATS,
    }
