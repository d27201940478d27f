"""What a run has learned: curves, IoU strip, validation images and log, all under one epoch cursor."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from segstudio.core.recipe import Recipe
from segstudio.runtime.run_history import Epoch, RunHistory, Series, smoothed
from segstudio.runtime.run_view import RunView
from segstudio.ui.train.curve_chart import CurveChart, Legend, Line, Mark
from segstudio.ui.train.iou_strip import IouStrip, StripScale
from segstudio.ui.train.log_view import LogView
from segstudio.ui.train.option_bar import Quantity
from segstudio.ui.train.previews import PreviewPanel
from segstudio.ui.widgets.empty_state import EmptyState
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.section import FoldSection
from segstudio.ui.widgets.segmented import SegmentedControl

_TITLES: dict[Quantity, str] = {
    "losses": "Loss",
    "rate": "Learning rate",
    "speed": "Images per second",
    "memory": "Memory, GB",
}


LOG_HEIGHT, LOW = 88, 740


class ProgressPage(QStackedWidget):
    """The right side of the tab while no form is open."""

    def __init__(self) -> None:
        super().__init__()
        self._view: RunView | None = None
        self._recipe: Recipe | None = None
        self._history = RunHistory()
        self._shown: tuple[str, int, str, int, int] | None = None
        self._quantity: Quantity = "losses"
        self._smooth = True
        self._epoch = 0
        self._follows = True
        self._nothing = EmptyState(
            "train",
            "Curves and validation images",
            "They are drawn while a run is at work: losses, mIoU, the IoU of every class, and the same "
            "pictures epoch after epoch.",
        )
        self.addWidget(self._nothing)
        self._content = QWidget()
        self.addWidget(self._content)
        self._build()

    # -- building ------------------------------------------------------------------------------------

    def _build(self) -> None:
        column = QVBoxLayout(self._content)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setHandleWidth(1)
        split.setChildrenCollapsible(False)
        split.addWidget(self._charts())
        split.addWidget(self._below())
        split.setStretchFactor(0, 2)
        split.setStretchFactor(1, 5)
        split.setSizes([250, 620])
        column.addWidget(split, 1)

    def _charts(self) -> QWidget:
        holder = QSplitter(Qt.Orientation.Horizontal)
        holder.setHandleWidth(1)
        holder.setChildrenCollapsible(False)
        self.loss = CurveChart("Loss")
        self.miou = CurveChart("Mean IoU")
        self._loss_legend, self._miou_legend = Legend(), Legend()
        self._loss_title = label("Loss", size=12, strong=600)
        self.scale = SegmentedControl(["Linear", "Log"], tall=24, name="Scale")
        self.scale.set_current(1)
        self.loss.set_log(True)
        self.scale.changed.connect(lambda index: self.loss.set_log(index == 1))
        holder.addWidget(_boxed([self._loss_title, None, self._loss_legend, self.scale], self.loss))
        miou_title = label("Mean IoU", size=12, strong=600)
        holder.addWidget(_boxed([miou_title, None, self._miou_legend], self.miou))
        holder.setSizes([1000, 1000])
        for chart in (self.loss, self.miou):
            chart.cursor_moved.connect(lambda epoch: self.go(round(epoch)))
        return holder

    def _below(self) -> QWidget:
        holder = QWidget()
        column = QVBoxLayout(holder)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        strip_section = FoldSection("IoU of every class, epoch by epoch", key="train.strip")
        strip_section.add_action(StripScale())
        self.strip = IouStrip()
        self.strip.cursor_moved.connect(lambda epoch: self.go(max(1, int(epoch + 0.5))))
        strip_section.set_body(self.strip)
        column.addWidget(strip_section)
        self._preview_section = FoldSection("Validation images", key="train.previews")
        self.mode = SegmentedControl(["Mask", "Error"], tall=24, name="What the lower row shows")
        self._preview_section.add_action(self.mode)
        self.panel = PreviewPanel()
        self.mode.changed.connect(lambda index: self.panel.grid.set_view("error" if index else "mask"))
        self.panel.scrubber.moved.connect(self.go)
        self.panel.scrubber.best_wanted.connect(self._go_best)
        self.panel.scrubber.latest_wanted.connect(self._go_latest)
        self._preview_section.set_body(self.panel, stretch=True)
        column.addWidget(self._preview_section, 1)
        log_section = FoldSection("Log", key="train.log")
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Filter")
        self.filter.setProperty("tall", "24")
        self.filter.setFixedWidth(140)
        self.filter.setClearButtonEnabled(True)
        log_section.add_action(self.filter)
        self.log = LogView()
        self.log.setFixedHeight(LOG_HEIGHT)
        self.filter.textChanged.connect(self.log.set_filter)
        log_section.set_body(self.log)
        column.addWidget(log_section)
        return holder

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        # In a low window the pictures need the room more than the log does.
        self.log.setFixedHeight(LOG_HEIGHT if self.height() >= LOW else LOG_HEIGHT // 2)

    # -- showing -------------------------------------------------------------------------------------

    def show_nothing(self) -> None:
        self._view = None
        self._shown = None
        self.panel.scrubber.stop()
        self.setCurrentWidget(self._nothing)

    def show_run(self, view: RunView, recipe: Recipe, history: RunHistory) -> None:
        """The run in front; called again whenever it told something new."""
        if self._view is None or view.name != self._view.name:
            self.panel.scrubber.stop()
            self._epoch, self._follows = 0, True
        self._view, self._recipe, self._history = view, recipe, history
        self.setCurrentWidget(self._content)
        self.log.show_file(view.folder.log)
        stamp = (str(view.folder.path), history.version, self._quantity, int(self._smooth), view.steps)
        if stamp == self._shown:
            return
        self._shown = stamp
        self._draw()

    def set_quantity(self, quantity: str) -> None:
        self._quantity = cast(Quantity, quantity)
        self._redraw()

    def set_smooth(self, on: bool) -> None:
        self._smooth = on
        self._redraw()

    def stop(self) -> None:
        self.panel.scrubber.stop()

    def go(self, epoch: int) -> None:
        """Moves the one cursor of charts, strip and scrubber."""
        last = self._history.epochs[-1].number if self._history.epochs else 0
        self._epoch = min(max(1, epoch), last) if last else 0
        self._follows = self._epoch == last
        self._show_cursor()

    @property
    def epoch(self) -> int:
        """The epoch under the cursor; 0 before the first is finished."""
        return self._epoch

    def _go_best(self) -> None:
        best = self._history.best
        if best is not None:
            self.go(best.number)

    def _go_latest(self) -> None:
        if self._history.epochs:
            self.go(self._history.epochs[-1].number)

    def _redraw(self) -> None:
        if self._view is not None:
            self._draw()

    def _draw(self) -> None:
        view, recipe, history = self._view, self._recipe, self._history
        assert view is not None and recipe is not None
        last = history.epochs[-1].number if history.epochs else 0
        if self._follows or self._epoch > last:
            self._epoch = last
        self._draw_left(view, history)
        self._draw_miou(history, view.epochs)
        colors = [entry.color for entry in recipe.classes]
        self.strip.show_run([entry.name for entry in recipe.classes], colors, history.epochs, view.epochs)
        self.panel.grid.show_run(view.folder.path, history.previews, recipe.ignore)
        self.panel.scrubber.show_range(last, view.epochs)
        self._show_cursor()

    def _draw_left(self, view: RunView, history: RunHistory) -> None:
        per_epoch = history.steps_per_epoch or (view.steps / view.epochs if view.steps else 1.0)
        self._loss_title.setText(_TITLES[self._quantity])
        self.scale.setVisible(self._quantity == "losses")
        self.loss.set_log(self._quantity == "losses" and self.scale.current == 1)
        series: Series = {
            "losses": history.loss,
            "rate": history.rate,
            "speed": history.speed,
            "memory": history.memory,
        }[self._quantity]
        x = [step / per_epoch for step in series.steps]
        values = list(series.values)
        if self._quantity == "memory":
            values = [value / 2**30 for value in values]
        averaged = self._smooth and self._quantity in ("losses", "speed")
        lines = [
            Line(
                "train" if self._quantity == "losses" else "run", x, smoothed(values) if averaged else values
            )
        ]
        if self._quantity == "losses":
            known = [epoch for epoch in history.epochs if epoch.val_loss is not None]
            if known:
                line = Line(
                    "validation", [e.number for e in known], [e.val_loss or 0.0 for e in known], "warn"
                )
                lines.append(line)
        dots = (x, values) if averaged else ((), ())
        zero = self._quantity in ("speed", "memory", "rate")
        self.loss.show_lines(lines if x else [], x_max=view.epochs, dots=dots, from_zero=zero)
        self._loss_legend.show_lines(lines if x else [])

    def _draw_miou(self, history: RunHistory, epochs: int) -> None:
        known = [epoch for epoch in history.epochs if epoch.miou is not None]
        lines = []
        mark = None
        if known:
            lines = [Line("this run", [e.number for e in known], [100 * (e.miou or 0.0) for e in known])]
            best = history.best
            if best is not None and best.miou is not None:
                text = f"{100 * best.miou:.1f} at {best.number}"
                mark = Mark(best.number, 100 * best.miou, text)
        self.miou.show_lines(lines, x_max=epochs, mark=mark, from_zero=True, percent=True)
        self._miou_legend.show_lines(lines)

    def _show_cursor(self) -> None:
        epoch = self._found(self._epoch)
        for chart in (self.loss, self.miou):
            chart.set_cursor(float(self._epoch) if self._epoch else None)
        self.strip.set_cursor(self._epoch)
        self.panel.grid.show_epoch(epoch)
        self.panel.scrubber.show_epoch(self._epoch)
        words = f"label above, epoch {self._epoch} below" if epoch is not None else "label above"
        self._preview_section.set_count(words if self._history.previews else "")

    def _found(self, number: int) -> Epoch | None:
        return next((epoch for epoch in self._history.epochs if epoch.number == number), None)


def _boxed(head: list[QWidget | None], body: QWidget) -> QWidget:
    """A pane: 32 px header of widgets (None = the stretch) over its content."""
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
    for part in head:
        if part is None:
            row.addStretch(1)
        else:
            row.addWidget(part)
    column.addWidget(bar)
    column.addWidget(body, 1)
    return made
