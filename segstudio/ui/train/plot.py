"""The surface of a chart: a pyqtgraph plot in our colours, without menu, buttons or a mouse of its own.

Imported when the first chart has something to show, never before: pyqtgraph takes longer to load than the
window takes to appear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QShowEvent
from PySide6.QtWidgets import QFrame

from segstudio.ui import theme
from segstudio.ui.train.chart_data import Line, Mark, Points, short_number
from segstudio.ui.widgets.first_frames import first_frames

LEFT, RIGHT, TOP, BOTTOM = 44, 16, 8, 22
MOST_DOTS = 1000
STAR = 13  # pixels a side of the mark at the best point
_DOTS_MORE = 16  # so many new dots are drawn at once
_AVERAGED_STEP_PX, _DASHED_STEP_PX = 2, 3  # points of a path that are nearer cost time and show nothing


class _Axis(pg.AxisItem):
    """Without a title: pyqtgraph would set the empty one as rich text at every change of a pen."""

    def _updateLabel(self) -> None:
        self.picture = None
        self.update()


class _EpochAxis(_Axis):
    """Whole epochs only."""

    def tickSpacing(self, low: float, high: float, size: float) -> list[tuple[float, float]]:
        spacing, offset = _spacing(super().tickSpacing(low, high, size), high - low, size, every=56)
        return [(max(1.0, spacing), offset)]


class _ValueAxis(_Axis):
    """Few short numbers; 1, 2, 5 of every decade where the scale is logarithmic."""

    def boundingRect(self) -> QRectF:
        # With room for half a line: a number at the very end of the axis would be left out.
        return super().boundingRect().adjusted(0, -TOP, 0, TOP)

    def tickSpacing(self, low: float, high: float, size: float) -> list[tuple[float, float]]:
        return [_spacing(super().tickSpacing(low, high, size), high - low, size, every=26)]

    def logTickValues(
        self, low: float, high: float, size: float, linear: list[tuple[float, list[float]]]
    ) -> list[tuple[float | None, list[float]]]:
        decades = range(math.floor(low), math.ceil(high) + 1)
        found = [decade + math.log10(factor) for decade in decades for factor in (1, 2, 5)]
        found = [value for value in found if low <= value <= high]
        return [(None, found if len(found) > 1 else [value for _, values in linear for value in values])]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float | None) -> list[str]:
        return [short_number(10.0**value if self.logMode else value) for value in values]


def _spacing(
    levels: list[tuple[float, float]], span: float, size: float, *, every: float
) -> tuple[float, float]:
    """The finest of pyqtgraph's levels whose ticks stand at least `every` pixels apart."""
    wide = [level for level in levels if size * level[0] >= every * span]
    return min(wide, default=levels[0])


class Plot(pg.PlotWidget):
    """Curves over 0..`x_max` epochs. Everything is set from outside; it changes nothing by itself.

    Made in two steps, for pyqtgraph's own widget costs half of a frame: `furnish` comes before anything else.
    """

    def __init__(self) -> None:
        self._left, self._bottom = _ValueAxis("left"), _EpochAxis("bottom")
        super().__init__(axisItems={"left": self._left, "bottom": self._bottom}, enableMenu=False)
        self._is_new = True

    def furnish(self) -> None:
        """Axes, marks and read-outs, all of them still empty."""
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFrameShape(QFrame.Shape.NoFrame)
        item = self.getPlotItem()
        item.hideButtons()
        item.setMouseEnabled(False, False)
        item.layout.setContentsMargins(0, TOP, RIGHT, 0)
        box = item.getViewBox()
        box.disableAutoRange()
        box.setDefaultPadding(0)
        self._left.setWidth(LEFT)
        self._bottom.setHeight(BOTTOM)
        # Only the value axis has lines across the plot, and neither has a line of its own.
        self._left.setGrid(255)
        for axis in (self._left, self._bottom):
            axis.setStyle(tickLength=0, tickAlpha=255, autoExpandTextSpace=False, hideOverlappingLabels=False)
            axis.setPen(None)
            axis.setZValue(-1000)  # under the curves
        self._left.setStyle(tickTextOffset=8)
        self._curves: list[pg.PlotDataItem] = []
        self._lines: list[Line] = []
        self._dots = pg.PlotDataItem(pen=None, symbol="s", symbolSize=1.5, symbolPen=None)
        self._dots.setZValue(1)
        self._dots_key: tuple[float, ...] = ()
        self._cursor = pg.InfiniteLine(angle=90, movable=False)
        self._cursor.setZValue(3)
        self._star = pg.ScatterPlotItem(symbol="star", size=STAR, pen=None)
        self._star.setZValue(4)
        self._mark: Mark | None = None
        self._mark_words = pg.TextItem(anchor=(1, 0.5))
        self._mark_words.setZValue(4)
        self._readout = pg.TextItem(anchor=(0, 0))
        self._readout.setZValue(5)
        for part in (self._dots, self._cursor, self._star, self._mark_words, self._readout):
            item.addItem(part, ignoreBounds=True)
            part.hide()
        box.sigResized.connect(self._place_mark)
        self.restyle()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._is_new = True

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._is_new and not first_frames().take(self.viewport()):
            painter = QPainter(self.viewport())
            painter.fillRect(event.rect(), theme.color("win"))
            painter.end()
            return
        self._is_new = False
        super().paintEvent(event)

    # -- what is shown -------------------------------------------------------------------------------

    def show_lines(self, lines: Sequence[Line], dots: Points, x_max: float) -> None:
        """Replaces the curves and the dots behind them."""
        self._lines = list(lines)
        while len(self._curves) < len(lines):
            curve = pg.PlotDataItem(connect="finite", clipToView=True)
            self.getPlotItem().addItem(curve, ignoreBounds=True)
            self._curves.append(curve)
        for curve, line in zip(self._curves, lines, strict=False):
            self._fill(curve, line)
        for curve in self._curves[len(lines) :]:
            curve.hide()
        self._show_dots(np.asarray(dots[0], float), np.asarray(dots[1], float))
        self.getPlotItem().setXRange(0, x_max, padding=0)

    def _show_dots(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        """Making a thousand dots costs as much as all curves: a few more of many are not worth it."""
        thin = max(1, len(x) // MOST_DOTS)
        ends = (float(x[0]), float(y[0])) if len(x) else ()
        key = (thin, len(x) // (thin * _DOTS_MORE) if thin > 1 else len(x), *ends)
        if key != self._dots_key:
            self._dots_key = key
            self._dots.setData(x[::thin], y[::thin])
            self._dots.setVisible(len(x) > 0)

    def _fill(self, curve: pg.PlotDataItem, line: Line) -> None:
        """Gives a curve its points, no more of them than can be seen and drawn within a frame."""
        wide, count = max(1.0, self.area().width()), len(line.x)
        whole = line.dashed or line.averaged
        band = not whole and count > 2 * wide
        step = _DASHED_STEP_PX if line.dashed else _AVERAGED_STEP_PX
        # Everything in one call: each setter of its own would prepare the points again.
        curve.setData(
            np.asarray(line.x, float),
            np.asarray(line.y, float),
            downsample=max(1, int(step * count / wide)) if whole else 1,
            autoDownsample=not whole,
            downsampleMethod="mean" if whole else "peak",
            # Many peaks a pixel are a solid band: smooth edges would cost most and be seen least.
            antialias=not band,
            symbol="o" if count == 1 else None,
            symbolSize=5,
            symbolPen=None,
            symbolBrush=theme.color(line.role),
            pen=_pen(line, thin=band),
        )
        curve.setZValue(1.5 if line.dashed else 2)
        curve.show()

    def show_range(self, low: float, high: float, *, log: bool) -> None:
        """The values at the lower and the upper edge; both above 0 where `log`."""
        item = self.getPlotItem()
        item.setLogMode(x=False, y=log)
        item.setYRange(*((math.log10(low), math.log10(high)) if log else (low, high)), padding=0)
        self._place_mark()

    def show_cursor(self, epoch: float | None) -> None:
        self._cursor.setVisible(epoch is not None)
        if epoch is not None:
            self._cursor.setValue(epoch)

    def show_mark(self, mark: Mark | None) -> None:
        self._mark = mark
        self._star.setVisible(mark is not None)
        self._mark_words.setVisible(mark is not None)
        if mark is not None:
            self._mark_words.setText(mark.text)
            self._place_mark()

    def show_readout(self, text: str, at: QPointF) -> None:
        """Words beside the pointer at `at` (widget pixels), kept inside the plot; "" hides them."""
        self._readout.setVisible(bool(text))
        if text:
            self._readout.setText(text)
            area, size = self.area(), self._readout.boundingRect()
            x = max(area.left(), min(at.x() + 12, area.right() - size.width()))
            self._readout.setPos(self._box.mapSceneToView(QPointF(x, max(area.top(), at.y() - 30))))

    def area(self) -> QRectF:
        """The part of the widget that curves are drawn in, in pixels."""
        return self._box.sceneBoundingRect()

    @property
    def _box(self) -> pg.ViewBox:
        return self.getPlotItem().getViewBox()

    def _place_mark(self) -> None:
        """The star stands above its point, whole at the edge too, its words on whichever side has room."""
        if self._mark is None:
            return
        area = self.area()
        point = self._box.mapViewToScene(QPointF(self._mark.x, self._mark.y))
        y = max(area.top() + 8, point.y() - 12)
        x = min(max(point.x(), area.left() + STAR / 2), area.right() - STAR / 2)
        star = self._box.mapSceneToView(QPointF(x, y))
        self._star.setData([star.x()], [star.y()])
        wide = 10 + self._mark_words.boundingRect().width()
        left = point.x() - wide > area.left()
        if self._mark.falls and point.x() + wide < area.right():
            left = False
        self._mark_words.setAnchor((1, 0.5) if left else (0, 0.5))
        side = -8 if left else 8
        self._mark_words.setPos(self._box.mapSceneToView(QPointF(x + side, y)))

    # -- the look ------------------------------------------------------------------------------------

    def restyle(self) -> None:
        """Takes the colours of the theme in force."""
        self.setBackground(theme.color("win"))
        for axis in (self._left, self._bottom):
            axis.setTickPen(theme.color("grid"))
            axis.setTextPen(theme.color("t3"))
            axis.setTickFont(theme.font(11))
        quiet = QColor(theme.color("t3"))
        quiet.setAlphaF(0.55)
        self._dots.setSymbolBrush(quiet)
        self._cursor.setPen(pg.mkPen(theme.color("t3"), width=1, style=Qt.PenStyle.DotLine))
        self._star.setBrush(theme.color("t1"))
        self._mark_words.setColor(theme.color("t1"))
        self._mark_words.setFont(theme.font(11, 600))
        self._readout.setColor(theme.color("chip_text"))
        self._readout.fill = pg.mkBrush(theme.color("chip"))
        self._readout.setFont(theme.font(11))
        for curve, line in zip(self._curves, self._lines, strict=False):
            curve.setPen(_pen(line, thin=not curve.opts["antialias"]))
            curve.setSymbolBrush(theme.color(line.role))


def _pen(line: Line, *, thin: bool) -> QPen:
    """`thin` lines of one pixel are drawn ten times faster than any wider ones."""
    pen = pg.mkPen(theme.color(line.role), width=1 if thin else 1.2 if line.dashed else 1.5)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    if line.dashed:
        pen.setDashPattern([4, 3])
    return pen
