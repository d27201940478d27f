"""The two charts of the tab: what the bar asks for at the left, at the right how good it is on validation
images (mean IoU, or the losses of pre-training); one run or two."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import cast

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from segstudio.runtime.run_history import Floats, RunHistory, Series, smoothed
from segstudio.runtime.run_view import RunView
from segstudio.runtime.turns import Turns
from segstudio.ui.train.chart_data import Line, Mark, Points
from segstudio.ui.train.curve_chart import CurveChart
from segstudio.ui.train.legend import Legend
from segstudio.ui.train.option_bar import Quantity
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.segmented import SegmentedControl

_TITLES: dict[Quantity, str] = {
    "losses": "Loss",
    "parts": "Every loss",
    "rate": "Learning rate",
    "speed": "Images per second",
    "memory": "Memory, GB",
}
# Of the losses that a network sums up, in their own order; a sixth has the first colour again.
_PART_ROLES = ("accent", "warn", "ok", "err", "t2")
_MOST_KEPT = 16
STACKED_BELOW = 700  # pixels of width under which two charts side by side could not hold their legends


class Charts(QSplitter):
    """`cursor_moved` tells the epoch that was pressed in either chart."""

    cursor_moved = Signal(int)

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setHandleWidth(1)
        self.setChildrenCollapsible(False)
        self._quantity: Quantity = "losses"
        self._smooth = True
        self._shown: tuple[RunView, RunHistory] | None = None
        self._other: tuple[RunView, RunHistory] | None = None
        self._turns = Turns(self)
        self._awaits_turn = False
        self._kept: dict[tuple[str, str], tuple[tuple[object, ...], tuple[Floats, Floats, Floats]]] = {}
        self.loss = CurveChart("Loss")
        self.miou = CurveChart("Mean IoU")
        self.loss_legend, self.miou_legend = Legend(), Legend()
        self._title = label("Loss", size=12, strong=600)
        self.scale = SegmentedControl(["Linear", "Log"], tall=24, name="Scale")
        self.scale.set_current(1)
        self.scale.changed.connect(lambda index: self.loss.set_log(index == 1))
        self.addWidget(_boxed([self._title, self.loss_legend, self.scale], self.loss))
        self._goal = label("Mean IoU", size=12, strong=600)
        self.addWidget(_boxed([self._goal, self.miou_legend], self.miou))
        self.setSizes([1000, 1000])
        for chart in (self.loss, self.miou):
            chart.cursor_moved.connect(lambda epoch: self.cursor_moved.emit(round(epoch)))

    def surfaces(self) -> Iterator[None]:
        """Makes what the curves are drawn on, before there are any."""
        for chart in (self.loss, self.miou):
            yield from chart.prepare()
            yield

    @property
    def compared(self) -> RunView | None:
        """The run whose curves are dashed."""
        return self._other[0] if self._other is not None else None

    def show_run(
        self, view: RunView, history: RunHistory, other: tuple[RunView, RunHistory] | None = None
    ) -> None:
        """Draws a run and, dashed, the run it is compared with."""
        self._shown, self._other = (view, history), other
        self._draw()

    def set_quantity(self, quantity: str) -> None:
        self._quantity = cast(Quantity, quantity)
        self._draw()

    def set_smooth(self, on: bool) -> None:
        self._smooth = on
        self._draw()

    def set_cursor(self, epoch: int) -> None:
        for chart in (self.loss, self.miou):
            chart.set_cursor(float(epoch) if epoch else None)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        stacked = self.width() < STACKED_BELOW
        wanted = Qt.Orientation.Vertical if stacked else Qt.Orientation.Horizontal
        if wanted != self.orientation():
            self.setOrientation(wanted)
            self.setSizes([1000, 1000])

    # -- drawing -------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """One chart a turn; who asks again before gets them once, as they are then."""
        if self._shown is not None and not self._awaits_turn:
            self._awaits_turn = True
            self._turns.add(self._draw_first, self._draw_second)

    def _draw_first(self) -> None:
        self._awaits_turn = False
        if self._shown is not None:
            self._draw_left(*self._shown, self._epochs())

    def _draw_second(self) -> None:
        if self._shown is not None:
            self._draw_miou(*self._shown, self._epochs())

    def _epochs(self) -> int:
        shown = [each[0].epochs for each in (self._shown, self._other) if each is not None]
        return max(shown, default=0)

    def _draw_left(self, view: RunView, history: RunHistory, epochs: int) -> None:
        self._title.setText(_TITLES[self._quantity])
        falls = self._quantity in ("losses", "parts")
        self.loss.set_log(falls and self.scale.current == 1)
        if self._quantity == "parts":
            lines = self._parts(view, history)
            self.loss.show_lines(lines, x_max=epochs)
            self.loss_legend.show_lines(lines)
            self.scale.setVisible(self.loss.fits_log)
            return
        name = "train" if self._quantity == "losses" else f"run {view.number}"
        line, dots = self._curve(name, view, history)
        lines = [line]
        if self._quantity == "losses":
            known = [(epoch.number, epoch.val_loss) for epoch in history.epochs if epoch.val_loss is not None]
            if known:
                lines.append(Line("validation", *_columns(known), "warn"))
        if self._other is not None:
            other, past = self._other
            lines.append(self._curve(f"run {other.number}", other, past, compared=True)[0])
        lines = [line for line in lines if len(line.x)]
        zero = self._quantity != "losses"
        self.loss.show_lines(lines, x_max=epochs, dots=dots, from_zero=zero)
        self.loss_legend.show_lines(lines)
        self.scale.setVisible(falls and self.loss.fits_log)

    def _curve(
        self, name: str, view: RunView, history: RunHistory, *, compared: bool = False
    ) -> tuple[Line, Points]:
        """The chosen quantity of one run over epochs, and its single steps where the curve is an average."""
        series: Series = {
            "losses": history.loss,
            "rate": history.rate,
            "speed": history.speed,
            "memory": history.memory,
        }[self._quantity]
        averaged = self._smooth and self._quantity in ("losses", "speed")
        x, values, drawn = self._values(view, history, self._quantity, series, averaged)
        line = Line(name, x, drawn, "t3" if compared else "accent", dashed=compared, averaged=averaged)
        return line, ((x, values) if averaged else ((), ()))

    def _parts(self, view: RunView, history: RunHistory) -> list[Line]:
        """One curve for each loss the network sums up."""
        lines = []
        for (name, series), role in zip(history.parts.items(), itertools.cycle(_PART_ROLES), strict=False):
            x, _, drawn = self._values(view, history, f"parts/{name}", series, self._smooth)
            lines.append(Line(name, x, drawn, role, averaged=self._smooth))
        return [line for line in lines if len(line.x)]

    def _values(
        self, view: RunView, history: RunHistory, what: str, series: Series, averaged: bool
    ) -> tuple[Floats, Floats, Floats]:
        """Epochs, values and what is drawn of them; kept until the run tells more."""
        per_epoch = history.steps_per_epoch or (view.steps / view.epochs if view.steps else 1.0)
        key = (history.version, id(history), per_epoch, averaged)
        kept = self._kept.get((view.name, what))
        if kept is not None and kept[0] == key:
            return kept[1]
        steps, values = series.arrays()
        if what == "memory":
            values = values / 2**30
        made = (steps / per_epoch, values, smoothed(values) if averaged else values)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[view.name, what] = (key, made)
        return made

    def _draw_miou(self, view: RunView, history: RunHistory, epochs: int) -> None:
        self._goal.setText("Validation loss" if view.is_pretraining else "Mean IoU")
        self.miou.setAccessibleName(self._goal.text())
        if view.is_pretraining:
            self._draw_validation(view, history, epochs)
            return
        lines = []
        mark = None
        best = history.best
        if best is not None and best.miou is not None:
            lines.append(_miou(view, history))
            mark = Mark(best.number, 100 * best.miou, f"{100 * best.miou:.1f} at {best.number}")
        if self._other is not None and self._other[1].best is not None:
            lines.append(_miou(*self._other, compared=True))
        self.miou.show_lines(lines, x_max=epochs, mark=mark, from_zero=True)
        self.miou_legend.show_lines(lines)

    def _draw_validation(self, view: RunView, history: RunHistory, epochs: int) -> None:
        """The loss on the validation images, and each part of it where there are several."""
        lines = []
        mark = None
        best = history.lowest
        if best is not None and best.val_loss is not None:
            lines.append(_val_loss(view, history))
            mark = Mark(best.number, best.val_loss, f"{best.val_loss:.3f} at {best.number}", falls=True)
        names = list(dict.fromkeys(name for epoch in history.epochs for name in epoch.val_losses))
        for name, role in zip(
            names if len(names) > 1 else (), itertools.cycle(_PART_ROLES[1:]), strict=False
        ):
            known = [
                (epoch.number, epoch.val_losses[name]) for epoch in history.epochs if name in epoch.val_losses
            ]
            lines.append(Line(name, *_columns(known), role))
        if self._other is not None and self._other[1].lowest is not None:
            lines.append(_val_loss(*self._other, compared=True))
        self.miou.show_lines(lines, x_max=epochs, mark=mark)
        self.miou_legend.show_lines(lines)


def _val_loss(view: RunView, history: RunHistory, *, compared: bool = False) -> Line:
    known = [(epoch.number, epoch.val_loss) for epoch in history.epochs if epoch.val_loss is not None]
    role = "t3" if compared else "accent"
    return Line(f"run {view.number}", *_columns(known), role, dashed=compared)


def _miou(view: RunView, history: RunHistory, *, compared: bool = False) -> Line:
    known = [(epoch.number, 100 * epoch.miou) for epoch in history.epochs if epoch.miou is not None]
    role = "t3" if compared else "accent"
    return Line(f"run {view.number}", *_columns(known), role, dashed=compared)


def _columns(pairs: list[tuple[int, float]]) -> tuple[list[float], list[float]]:
    return [float(number) for number, _ in pairs], [value for _, value in pairs]


def _boxed(head: list[QWidget], body: QWidget) -> QWidget:
    """A pane: a 32 px header, its first widget at the left and the others at the right, over its content."""
    made = QWidget()
    column = QVBoxLayout(made)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    bar = QFrame()
    bar.setObjectName("DockHeader")
    bar.setFixedHeight(32)
    row = QHBoxLayout(bar)
    row.setContentsMargins(8, 0, 8, 0)
    row.setSpacing(8)
    row.addWidget(head[0])
    row.addWidget(head[1], 1)
    for part in head[2:]:
        row.addWidget(part)
    column.addWidget(bar)
    column.addWidget(body, 1)
    return made
