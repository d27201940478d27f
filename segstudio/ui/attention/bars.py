"""Bars of a vector that a probe gave: each with its name and its value, and what they are under the pointer.

Few entries keep the order of the probe; of many the largest come first, and a strip below shows them all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QImage, QPainter, QPen

from segstudio.runtime.attention import ProbeResult
from segstudio.ui import theme

FEW = 12
"""Up to here the order of the probe is kept; it often means something (stages, branches)."""

_LEAST_PITCH, _MOST_PITCH = 15.0, 26.0
_COLUMN = 240.0
_FOOT = 18.0
_STRIP, _STRIP_FROM = 56.0, 260.0
_EDGE = 8.0
_GAP = 8.0
_MARK = 14.0


def figure(value: float, *, shares: bool) -> str:
    """A value in three figures, or as per cent."""
    if shares and 0 < value < 1e-5:
        return "< 0.001 %"
    text = f"{100 * value:.3g} %" if shares else f"{value:.3g}"
    return text.replace("-", "\u2212")


class Bar(NamedTuple):  # a tuple: thousands are made within a frame
    """One entry: its place in the vector, its name and value; `present` of a class that may be labelled."""

    place: int
    name: str
    value: float
    color: tuple[int, int, int] | None = None
    present: bool | None = None


@dataclass(frozen=True, slots=True)
class BarChart:
    """All bars in the order in which they are drawn."""

    bars: tuple[Bar, ...] = ()
    unit: str = ""
    shares: bool = False

    @property
    def has_truth(self) -> bool:
        return bool(self.bars) and self.bars[0].present is not None  # of all classes or of none

    def words(self, bar: Bar) -> str:
        """The value as it stands beside its bar."""
        return figure(bar.value, shares=self.shares) + (f" {self.unit}" if self.unit else "")

    def exact_words(self, bar: Bar) -> str:
        """The value in all its figures."""
        exact = f"{bar.value:.7g}".replace("-", "\u2212")
        if self.unit:
            return f"{exact} {self.unit}"
        return f"{exact} ({figure(bar.value, shares=True)})" if self.shares else exact


def chart_of(
    result: ProbeResult,
    *,
    title: str = "",
    class_names: Sequence[str] = (),
    class_colors: Sequence[tuple[int, int, int]] = (),
    present: frozenset[int] | None = None,
) -> BarChart:
    """The bars of a vector.

    Names are the probe's; where it gives none and the vector is as long as `class_names`, the network's
    classes; else the index. `present` are the classes that are labelled in the picture, None where nothing
    is known. The unit is `extras["unit"]`, or milliseconds where `title` says so.
    """
    values = result.values.astype(float).ravel()
    labels: Sequence[str] = result.labels if len(result.labels) == values.size else ()
    by_class = len(class_names) == values.size and (not labels or tuple(labels) == tuple(class_names))
    names = labels or (class_names if by_class else [str(index) for index in range(values.size)])
    order = np.arange(values.size)
    if values.size > FEW:
        order = np.argsort(-np.abs(np.nan_to_num(values)), kind="stable")
    unit = result.extras.get("unit") or ("ms" if "millisecond" in title.lower() else "")
    bars = tuple(
        Bar(
            index,
            names[index],
            float(values[index]),
            class_colors[index] if by_class and index < len(class_colors) else None,
            index in present if by_class and present is not None else None,
        )
        for index in order.tolist()
    )
    return BarChart(bars, str(unit), result.rows_sum_to_one)


@dataclass(frozen=True, slots=True)
class BarPlace:
    """Where one bar lies: its whole row, the name, the track of the bar and the value."""

    bar: Bar
    row: QRectF
    name: QRectF
    track: QRectF
    value: QRectF


@dataclass(frozen=True, slots=True)
class BarLayout:
    """What of a chart fits into a size. `strip` is empty where every bar has a row, or there is no room."""

    chart: BarChart
    places: tuple[BarPlace, ...]
    strip: QRectF
    foot: QRectF

    @property
    def foot_words(self) -> str:
        """How many of the bars have a row."""
        count = len(self.chart.bars)
        which = "largest" if count > FEW else "first"
        return f"{which} {len(self.places)} of {count}" if len(self.places) < count else ""

    def bar_at(self, point: QPointF) -> Bar | None:
        """The bar of the row, or of the line of the strip, under a point."""
        for place in self.places:
            if place.row.contains(point):
                return place.bar
        if self.strip.contains(point) and self.chart.bars:
            share = (point.x() - self.strip.x()) / self.strip.width()
            return self.chart.bars[min(int(share * len(self.chart.bars)), len(self.chart.bars) - 1)]
        return None


def lay_out(chart: BarChart, size: QSize) -> BarLayout:
    """Rows in columns, names as wide as they need, as many as `size` (logical pixels) holds."""
    count = len(chart.bars)
    inner = QRectF(_EDGE, _EDGE / 2, max(1.0, size.width() - 2 * _EDGE), max(1.0, size.height() - _EDGE))
    most_columns = max(1, int((inner.width() + _GAP) // (_COLUMN + _GAP)))
    foot = strip = QRectF()
    is_cut = count * _LEAST_PITCH > most_columns * (inner.height() - _LEAST_PITCH)
    if is_cut or chart.has_truth:
        foot = QRectF(inner.x(), inner.bottom() - _FOOT, inner.width(), _FOOT)
        inner.setBottom(foot.top())
    if is_cut and inner.height() >= _STRIP_FROM:
        strip = QRectF(inner.x(), inner.bottom() - _STRIP, inner.width(), _STRIP)
        inner.setBottom(strip.top() - _GAP)
    fitting = max(1, int(inner.height() // _LEAST_PITCH))
    columns = min(max(1, math.ceil(count / fitting)), most_columns)
    rows = max(1, min(fitting, math.ceil(count / columns)))
    pitch = min(inner.height() / rows, _MOST_PITCH)
    width = (inner.width() - _GAP * 2 * (columns - 1)) / columns
    shown = chart.bars[: rows * columns]
    metrics = QFontMetricsF(theme.font(11))
    words = max((metrics.horizontalAdvance(chart.words(bar)) for bar in shown), default=0.0) + 2
    marks = _MARK * (int(chart.has_truth) + int(any(bar.color is not None for bar in shown)))
    longest = max((metrics.horizontalAdvance(bar.name) for bar in shown), default=0.0) + 2
    name = min(longest, max(24.0, 0.45 * width - marks))
    places = []
    for number, bar in enumerate(shown):
        left = inner.x() + (number // rows) * (width + 2 * _GAP)
        row = QRectF(left, inner.y() + (number % rows) * pitch, width, pitch)
        start = left + marks + name + _GAP
        track = QRectF(start, row.y() + 2, max(4.0, row.right() - words - _GAP - start), pitch - 4)
        places.append(
            BarPlace(
                bar,
                row,
                QRectF(left + marks, row.y(), name, pitch),
                track,
                QRectF(row.right() - words, row.y(), words, pitch),
            )
        )
    if not is_cut:
        foot.moveTop(inner.y() + rows * pitch + 4)  # the legend right below the bars
    return BarLayout(chart, tuple(places), strip, foot)


def chart_size(chart: BarChart) -> QSize:
    """A size in which every bar of a chart has its row, for a picture of its own."""
    columns = max(1, math.ceil(len(chart.bars) / 64))
    rows = max(1, math.ceil(len(chart.bars) / columns))
    return QSize(max(480, 300 * columns), max(120, 20 * (rows + 1) + 32))


def paint_bars(painter: QPainter, layout: BarLayout) -> None:
    """Draws from (0, 0) in logical pixels; the background is the caller's."""
    values = [each.value for each in layout.chart.bars if math.isfinite(each.value)]
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    span = (high - low) or 1.0
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setFont(theme.font(11))
    metrics = painter.fontMetrics()
    middle = int(Qt.AlignmentFlag.AlignVCenter)
    for place in layout.places:
        bar, track = place.bar, place.track
        _paint_marks(painter, place, has_truth=layout.chart.has_truth)
        painter.setPen(theme.color("t1"))
        name = metrics.elidedText(bar.name, Qt.TextElideMode.ElideRight, math.ceil(place.name.width()))
        painter.drawText(place.name, middle, name)
        zero = track.x() + track.width() * -low / span
        painter.fillRect(QRectF(zero, track.y(), 1, track.height()), theme.color("line2"))
        if math.isfinite(bar.value) and bar.value:
            length = track.width() * bar.value / span
            at = QRectF(zero + min(length, 0.0), track.y(), max(abs(length), 1.0), track.height())
            painter.fillRect(at, theme.color("accent" if bar.value >= 0 else "warn"))
        painter.setPen(theme.color("t2"))
        painter.drawText(place.value, middle | int(Qt.AlignmentFlag.AlignRight), layout.chart.words(bar))
    _paint_strip(painter, layout, high, span)
    _paint_foot(painter, layout)
    painter.restore()


def _paint_marks(painter: QPainter, place: BarPlace, *, has_truth: bool) -> None:
    """The dot of a class that is labelled (a ring: it is not), and the class's swatch."""
    x, y = place.row.x(), place.row.center().y()
    if has_truth:
        if place.bar.present is not None:
            paint_presence(painter, QPointF(x + 5, y), present=place.bar.present)
        x += _MARK
    if place.bar.color is not None:
        painter.setPen(QPen(QColor(0, 0, 0, 90), 1))
        painter.setBrush(QColor(*place.bar.color))
        painter.drawRoundedRect(QRectF(x + 0.5, y - 4.5, 9, 9), 2, 2)


def paint_presence(painter: QPainter, at: QPointF, *, present: bool) -> None:
    """A dot for a class that is in the labels, a ring for one that is not."""
    color = theme.color("ok" if present else "t3")
    painter.setPen(QPen(color, 1.3))
    painter.setBrush(color if present else Qt.BrushStyle.NoBrush)
    painter.drawEllipse(at, 3.4, 3.4)


def _paint_strip(painter: QPainter, layout: BarLayout, high: float, span: float) -> None:
    """All values side by side in the order of the rows, made as one picture: there may be thousands."""
    strip, bars = layout.strip, layout.chart.bars
    if strip.isEmpty():
        return
    ratio = painter.deviceTransform().m11()
    width, height = round(strip.width() * ratio), round(strip.height() * ratio)
    values = np.nan_to_num(np.array([bar.value for bar in bars], np.float32))
    values = values[np.arange(width) * len(bars) // width]
    zero, y = height * high / span, np.arange(height)[:, None] + 0.5
    reach = zero - height * values / span
    colors = np.where(values >= 0, theme.color("accent").rgba(), theme.color("warn").rgba())
    filled = (y > np.minimum(zero, reach)) & (y < np.maximum(zero, reach))
    drawn = np.where(filled, colors, theme.color("base").rgba()).astype(np.uint32)
    image = QImage(drawn.data, width, height, 4 * width, QImage.Format.Format_RGB32)
    painter.drawImage(strip, image)
    painter.fillRect(QRectF(strip.x(), strip.y() + zero / ratio, strip.width(), 1), theme.color("line2"))


def _paint_foot(painter: QPainter, layout: BarLayout) -> None:
    """How many are shown, and what the dots mean."""
    foot = layout.foot
    if foot.isEmpty():
        return
    metrics, middle = painter.fontMetrics(), int(Qt.AlignmentFlag.AlignVCenter)
    painter.setPen(theme.color("t2"))
    words = layout.foot_words
    painter.drawText(foot, middle, words)
    x = foot.x() + (metrics.horizontalAdvance(words) + 16 if words else 0)
    if not layout.chart.has_truth:
        return
    for present, meaning in ((True, "labelled here"), (False, "not labelled")):
        width = metrics.horizontalAdvance(meaning)
        if x + _MARK + width > foot.right():
            break
        paint_presence(painter, QPointF(x + 5, foot.center().y()), present=present)
        painter.setPen(theme.color("t2"))
        painter.drawText(QRectF(x + _MARK, foot.y(), width + 2, foot.height()), middle, meaning)
        x += _MARK + width + 12
