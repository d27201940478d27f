"""Frame times of the canvas: pan and zoom with four linked panes, and a brush dab, at 24 and 100 megapixels.

A frame is everything from the change of the viewport (or of the label map) to the end of painting and
flushing all panes. The baseline paints the same panes with a bare QPainter loop: picture and Indexed8
overlay by `drawImage` with a clipped transform, no outlines, no read-outs. Rounds of both alternate.

A dab is the window's own pen with what it remembers for undo: every twentieth is the press of a new stroke
with the whole tip, the others move it by 5 pixels. Its baseline writes the tip through a mask, unpainted.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

if "DISPLAY" not in os.environ:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QGridLayout, QWidget

from segstudio.core.edits import StrokeRecorder
from segstudio.core.label_map import LabelMap
from segstudio.runtime.painting import Ink, Pen
from segstudio.ui.application import make_application
from segstudio.ui.canvas.layers import ImageLayer, LabelLayer
from segstudio.ui.canvas.readout import Readout
from segstudio.ui.canvas.view import CanvasView
from segstudio.ui.canvas.viewport import Viewport
from tests.benchmarks.window_watch import Spent, ThreadClock, summary

ROUNDS, FRAMES = 7, 80
STROKE = 20  # dabs
SIZES = {"24 MP": (6000, 4000), "100 MP": (11547, 8660)}
PALETTE = [(37 * i % 256, 91 * i % 256, 53 * i % 256) for i in range(19)]


def picture(width: int, height: int) -> tuple[list[QImage], list[np.ndarray]]:
    """A pyramid of RGB32 levels of structured noise, with the arrays that hold their pixels."""
    rng = np.random.default_rng(0)
    tile = rng.integers(0, 2**24, (512, 512), dtype=np.uint32) | np.uint32(0xFF000000)
    arrays = [np.tile(tile, (-(-height // 512), -(-width // 512)))[:height, :width].copy()]
    while max(arrays[-1].shape) > 512:
        arrays.append(arrays[-1][::2, ::2].copy())
    levels = [
        QImage(a.data, a.shape[1], a.shape[0], 4 * a.shape[1], QImage.Format.Format_RGB32) for a in arrays
    ]
    return levels, arrays


def label_map(width: int, height: int, seed: int) -> np.ndarray:
    """Blobs of 19 classes about 90 pixels wide."""
    small = np.random.default_rng(seed).integers(0, 19, (height // 90 + 1, width // 90 + 1), dtype=np.uint8)
    return np.repeat(np.repeat(small, 90, axis=0), 90, axis=1)[:height, :width].copy()


class BarePane(QWidget):
    """What a minimal program would do: one transform, one picture, one indexed overlay."""

    def __init__(self, viewport: Viewport, levels: list[QImage], overlay: QImage) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._viewport, self._levels, self._overlay = viewport, levels, overlay
        viewport.changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        view = self._viewport
        painter = QPainter(self)
        painter.fillRect(event.rect(), QColor("#202020"))
        size, scale, center = view.image_size, view.scale, view.center
        seen = QRectF(
            center.x() - self.width() / 2 / scale,
            center.y() - self.height() / 2 / scale,
            self.width() / scale,
            self.height() / scale,
        ) & QRectF(0, 0, size.width(), size.height())
        left, top = self.width() / 2 - center.x() * scale, self.height() / 2 - center.y() * scale
        target = QRectF(
            left + seen.x() * scale, top + seen.y() * scale, seen.width() * scale, seen.height() * scale
        )
        level = next(
            (each for each in reversed(self._levels) if each.width() >= size.width() * scale), self._levels[0]
        )
        share = level.width() / size.width()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, scale < 2)
        painter.drawImage(
            target,
            level,
            QRectF(seen.x() * share, seen.y() * share, seen.width() * share, seen.height() * share),
        )
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        painter.drawImage(target, self._overlay, seen)


def _window(panes: list[QWidget]) -> QWidget:
    window = QWidget()
    grid = QGridLayout(window)
    grid.setContentsMargins(0, 0, 0, 0)
    for index, pane in enumerate(panes):
        grid.addWidget(pane, index // 2, index % 2)
    window.resize(1600, 1000)
    window.show()
    QApplication.processEvents()
    return window


def _frames(viewport: Viewport, moves: str, times: list[float]) -> None:
    """One round of `FRAMES` frames, panning or zooming."""
    viewport.fit()
    QApplication.processEvents()
    if moves != "zoom":
        viewport.set_scale(1.0 if moves == "pan at 100 %" else viewport.scale * 2)
    size = viewport.image_size
    for index in range(FRAMES):
        x, y = size.width() * (0.3 + 0.4 * index / FRAMES), size.height() * (0.3 + 0.3 * index / FRAMES)
        start = time.perf_counter()
        viewport.set_cursor(QPointF(x, y))
        if moves == "zoom":
            viewport.zoom(0.4 if index < FRAMES // 2 else -0.4)
        else:
            viewport.set_center(QPointF(x, y))
        QApplication.processEvents()
        times.append(time.perf_counter() - start)


def _row(name: str, size: str, product: list[float], baseline: list[float], bar: float) -> dict[str, Any]:
    p50, p99 = np.percentile(product, [50, 99]) * 1e3
    base50, base99 = np.percentile(baseline, [50, 99]) * 1e3
    return {
        "name": name,
        "size": size,
        "unit": "ms",
        "frames": len(product),
        "p50": round(float(p50), 2),
        "p99": round(float(p99), 2),
        "baseline_p50": round(float(base50), 2),
        "baseline_p99": round(float(base99), 2),
        "ratio": round(float(p50 / base50), 2),
        "bar_p99": bar,
        "met": bool(p99 <= bar or p99 <= 1.25 * base99),
    }


def measure() -> list[dict[str, Any]]:
    _application = make_application()
    rows: list[dict[str, Any]] = []
    for size, (width, height) in SIZES.items():
        levels, arrays = picture(width, height)
        maps = [label_map(width, height, seed) for seed in range(4)]
        rows += _pan_and_zoom(size, width, height, levels, maps)
        rows += _dabs(size, width, height, levels, maps[0])
        del levels, arrays, maps
    return rows


def _pan_and_zoom(
    size: str, width: int, height: int, levels: list[QImage], maps: list[np.ndarray]
) -> list[dict[str, Any]]:
    shared, bare_shared = Viewport(), Viewport()
    image = ImageLayer()
    image.set_levels(levels)
    panes: list[QWidget] = []
    bare: list[QWidget] = []
    for labels in maps:
        overlay = LabelLayer()
        overlay.set_colors(PALETTE)
        overlay.set_labels(labels)
        view = CanvasView(shared)
        view.set_layers([image, overlay])
        view.set_cross(True)
        view.set_readout(lambda x, y, labels=labels: _readout(labels, x, y))
        panes.append(view)
        indexed = QImage(labels.data, width, height, width, QImage.Format.Format_Indexed8)
        indexed.setColorTable([QColor(*color, 122).rgba() for color in PALETTE])
        bare.append(BarePane(bare_shared, levels, indexed))
    shared.set_image_size(width, height)
    bare_shared.set_image_size(width, height)
    windows = [_window(panes), _window(bare)]
    bare_shared.set_view_size(windows[1], panes[0].size())
    rows = []
    for moves in ("pan at twice fit", "pan at 100 %", "zoom"):
        product: list[float] = []
        baseline: list[float] = []
        for _ in range(ROUNDS):
            _frames(bare_shared, moves, baseline)
            _frames(shared, moves, product)
        rows.append(_row(f"four linked panes, {moves}", size, product, baseline, 16.7))
    for window in windows:
        window.close()
    return rows


def _readout(labels: np.ndarray, x: int, y: int) -> Readout:
    index = int(labels[y, x])
    return Readout(f"Class {index}", PALETTE[index], "0.95", verdict=True)


def _dabs(
    size: str, width: int, height: int, levels: list[QImage], labels: np.ndarray
) -> list[dict[str, Any]]:
    viewport = Viewport()
    image, overlay = ImageLayer(), LabelLayer()
    image.set_levels(levels)
    overlay.set_colors(PALETTE)
    overlay.set_labels(labels)
    view = CanvasView(viewport)
    view.set_layers([image, overlay])
    viewport.set_image_size(width, height)
    window = _window([view])
    rows = []
    clock = ThreadClock()
    labelled = LabelMap(labels)
    for radius in (16, 200, 1000):
        disc = np.hypot(*np.ogrid[-radius : radius + 1, -radius : radius + 1]) <= radius
        product: list[Spent] = []
        baseline: list[float] = []
        for part in range(ROUNDS):
            viewport.set_scale(1.0 if part % 2 else 0.25)
            QApplication.processEvents()
            for index in range(FRAMES):
                x, y = width // 2 - 200 + 5 * index, height // 2
                area = labels[y - radius : y + radius + 1, x - radius : x + radius + 1]
                start = time.perf_counter()
                np.copyto(area, np.uint8(index % 19), where=disc)
                baseline.append(time.perf_counter() - start)
                if index % STROKE == 0:
                    pen = Pen(StrokeRecorder(labelled), Ink((index // STROKE + part) % 19), 2 * radius)
                    last = (float(x), float(y))
                clock.start()
                for rect in pen.line(last, (float(x), float(y))):
                    overlay.update_labels(QRect(rect.x0, rect.y0, rect.width, rect.height))
                QApplication.processEvents()
                product.append(clock.spent())
                last = (float(x), float(y))
        name = f"brush dab to screen, radius {radius}"
        row = _row(name, size, [each.wall for each in product], baseline, 8.0)
        rows.append(row | summary(product))
    window.close()
    return rows
