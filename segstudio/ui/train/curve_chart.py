"""A chart of curves over epochs: lines, dots, one cursor that all charts of the tab share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from segstudio.ui import theme
from segstudio.ui.train.chart_data import Line, Mark, Points, short_number

if TYPE_CHECKING:
    from segstudio.ui.train.plot import Plot

MARK_ROOM = 28  # pixels above the highest point for the star and its words


class CurveChart(QWidget):
    """Loads its plot with the first curves; `cursor_moved` tells the epoch under a press or drag."""

    cursor_moved = Signal(float)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setMinimumSize(200, 110)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self._plot: Plot | None = None
        self._lines: list[Line] = []
        self._mark: Mark | None = None
        self._log = self._dips = False
        self._x_max = 1.0
        self._from_zero = False
        self._hover: QPointF | None = None
        theme.appearance().changed.connect(self._restyle)

    @property
    def lines(self) -> list[Line]:
        return self._lines

    @property
    def plot(self) -> Plot | None:
        """The drawing surface, None before it was needed."""
        return self._plot

    def prepare(self) -> Iterator[None]:
        """Makes the drawing surface, from yield to yield a part of it, before there is anything to draw."""
        if self._plot is None:
            plot = self._bare_surface()
            yield
            plot.furnish()
            if self._plot is None:
                self._plot = plot

    def show_lines(
        self,
        lines: Sequence[Line],
        *,
        x_max: float,
        dots: Points = ((), ()),
        mark: Mark | None = None,
        from_zero: bool = False,
    ) -> None:
        """Shows these curves over 0..`x_max` epochs."""
        self._lines, self._mark = list(lines), mark
        self._x_max, self._from_zero = max(1.0, x_max), from_zero
        if self._plot is None and not self._lines:
            return
        plot = self._surface()
        plot.setVisible(bool(self._lines))
        plot.show_lines(self._lines, dots, self._x_max)
        plot.show_mark(mark)
        self._dips = any(np.any(np.asarray(line.y, float) < 0) for line in self._lines)
        self._show_range()

    def set_log(self, on: bool) -> None:
        """A logarithmic scale, as far as `fits_log`."""
        if on != self._log:
            self._log = on
            self._show_range()

    @property
    def fits_log(self) -> bool:
        """No curve goes below zero, as minus a log likelihood of pixels does."""
        return not self._dips

    @property
    def _is_log(self) -> bool:
        return self._log and self.fits_log

    def set_cursor(self, epoch: float | None) -> None:
        """The line that scrubber, strip and charts share."""
        if self._plot is not None:
            self._plot.show_cursor(epoch)

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not self._lines:
            painter = QPainter(self)
            painter.setFont(theme.font(12))
            painter.setPen(theme.color("t3"))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "Nothing has been measured yet.")

    def _surface(self) -> Plot:
        if self._plot is None:
            self._plot = self._bare_surface()
            self._plot.furnish()
        return self._plot

    def _bare_surface(self) -> Plot:
        from segstudio.ui.train.plot import Plot

        plot = Plot()
        plot.setParent(self)
        plot.setGeometry(self.rect())
        plot.hide()
        return plot

    def _restyle(self) -> None:
        if self._plot is not None:
            self._plot.restyle()

    # -- range ---------------------------------------------------------------------------------------

    def _show_range(self) -> None:
        if self._plot is not None:
            self._plot.show_range(*self._range(), log=self._is_log)
            self._show_readout()

    def _range(self) -> tuple[float, float]:
        """The values at the lower and the upper edge."""
        lows, highs = [], []
        for line in self._lines:
            y = np.asarray(line.y, float)
            y = y[np.isfinite(y) & (y > 0)] if self._is_log else y[np.isfinite(y)]
            if y.size:
                lows.append(float(y.min()))
                highs.append(float(y.max()))
        if not lows:
            return (0.1, 1.0) if self._is_log else (0.0, 1.0)
        low, high = min(lows), max(highs)
        if self._is_log:
            low, high = low / 1.15, high * 1.15
            return low, max(high, low * 1.5)
        if self._from_zero:
            low = min(0.0, low)
        span = (high - low) or abs(high) or 1.0
        if self._mark is not None and self.height() > 3 * MARK_ROOM:
            return low, high + span * MARK_ROOM / (self.height() - 2 * MARK_ROOM)
        return (low if self._from_zero else low - 0.05 * span), high + 0.06 * span

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._plot is not None:
            self._plot.setGeometry(self.rect())
            self._show_range()

    # -- mouse ---------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._move_cursor(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._hover = event.position()
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._move_cursor(event.position())
        self._show_readout()

    def leaveEvent(self, event: object) -> None:
        self._hover = None
        self._show_readout()

    def _epoch_at(self, position: QPointF) -> float:
        assert self._plot is not None
        area = self._plot.area()
        share = (position.x() - area.left()) / max(1.0, area.width())
        return min(1.0, max(0.0, share)) * self._x_max

    def _move_cursor(self, position: QPointF) -> None:
        if self._lines:
            self.cursor_moved.emit(self._epoch_at(position))

    def _show_readout(self) -> None:
        """The values of all curves at the epoch under the pointer."""
        if self._plot is None:
            return
        at = self._hover
        words: list[str] = []
        if at is not None and self._plot.area().contains(at):
            epoch = self._epoch_at(at)
            for line in self._lines:
                if len(line.x) and line.x[0] <= epoch <= line.x[-1] + 1e-9:
                    value = float(np.interp(epoch, line.x, line.y))
                    if np.isfinite(value):
                        words.append(f"{line.name} {short_number(value, exact=True)}")
            if words:
                words.insert(0, f"{epoch:.1f}")
        self._plot.show_readout(" · ".join(words), at or QPointF())
