"""What a run has learned: curves, IoU strip, validation images and log, all under one epoch cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLineEdit, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from segstudio.core.recipe import Recipe
from segstudio.runtime.run_history import Epoch, RunHistory
from segstudio.runtime.run_view import RunView
from segstudio.ui.train.charts import Charts
from segstudio.ui.train.iou_strip import IouStrip, StripScale
from segstudio.ui.train.log_view import LogView
from segstudio.ui.train.previews import PreviewPanel
from segstudio.ui.widgets.empty_state import EmptyState
from segstudio.ui.widgets.section import FoldSection
from segstudio.ui.widgets.segmented import SegmentedControl

LOG_ROWS, FEW_LOG_ROWS = 5, 3
CHARTS_SHARE = 2 / 7  # of the page's height, where the pictures need no more
LOW, VERY_LOW = 740, 640  # page heights under which the log shrinks, and is folded with the strip


class ProgressPage(QStackedWidget):
    """The right side of the tab while no form is open."""

    def __init__(self) -> None:
        super().__init__()
        self._view: RunView | None = None
        self._recipe: Recipe | None = None
        self._history = RunHistory()
        self._shown: tuple[object, ...] | None = None
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
        self._is_made = False
        self._keeps_border = False  # a person chose the height of the charts
        self._sizes = QTimer(self, singleShot=True, interval=0)  # when the sections know their heights
        self._sizes.timeout.connect(self._share_height)

    # -- building ------------------------------------------------------------------------------------

    def parts(self) -> Iterator[None]:
        """Makes the page; nothing else is asked of it before."""
        column = QVBoxLayout(self._content)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        split = self._split = _Split(self._share_height)
        split.setHandleWidth(1)
        split.setChildrenCollapsible(False)
        split.splitterMoved.connect(self._border_moved)
        column.addWidget(split, 1)
        self.charts = Charts()
        split.addWidget(self.charts)
        self.charts.cursor_moved.connect(self.go)
        yield
        holder = QWidget()
        split.addWidget(holder)
        below = QVBoxLayout(holder)
        below.setContentsMargins(0, 0, 0, 0)
        below.setSpacing(0)
        self._build_strip(below)
        yield
        self._build_previews(below)
        yield
        self._build_log(below)
        self._below = below
        self._is_made = True
        self._fit()

    def _build_strip(self, column: QVBoxLayout) -> None:
        self._strip_section = FoldSection("IoU of every class, epoch by epoch", key="train.strip")
        self._strip_section.add_action(StripScale())
        self.strip = IouStrip()
        self.strip.cursor_moved.connect(lambda epoch: self.go(max(1, int(epoch + 0.5))))
        self._strip_section.set_body(self.strip)
        column.addWidget(self._strip_section)

    def _build_previews(self, column: QVBoxLayout) -> None:
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

    def _build_log(self, column: QVBoxLayout) -> None:
        self._log_section = FoldSection("Log", key="train.log")
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Filter")
        self.filter.setProperty("tall", "24")
        self.filter.setFixedWidth(140)
        self.filter.setClearButtonEnabled(True)
        self._log_section.add_action(self.filter)
        self.log = LogView()
        self.log.show_rows(LOG_ROWS)
        self.filter.textChanged.connect(self.log.set_filter)
        self._log_section.set_body(self.log)
        column.addWidget(self._log_section)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._is_made:
            self._fit()

    def _fit(self) -> None:
        # In a low window the pictures need the room more than the log does.
        self.log.show_rows(LOG_ROWS if self.height() >= LOW else FEW_LOG_ROWS)
        for section in (self._strip_section, self._log_section):
            section.fold_by_default(self.height() < VERY_LOW)
        self._sizes.start()

    def _border_moved(self) -> None:
        self._keeps_border = True

    def _share_height(self) -> None:
        """The charts leave the pictures the height with which they fill the width."""
        if self._keeps_border or not self._is_made:
            return
        total = self._split.height() - self._split.handleWidth()
        below = self._below.totalHeightForWidth(self._split.width())
        most, least = round(CHARTS_SHARE * total), self.charts.minimumSizeHint().height()
        charts = max(least, min(most, total - below))
        self._split.setSizes([charts, max(0, total - charts)])

    # -- showing -------------------------------------------------------------------------------------

    def show_nothing(self) -> None:
        self._view = None
        self._shown = None
        self.panel.scrubber.stop()
        self.setCurrentWidget(self._nothing)

    def show_run(
        self,
        view: RunView,
        recipe: Recipe,
        history: RunHistory,
        other: tuple[RunView, RunHistory] | None = None,
    ) -> None:
        """The run in front, and the one it is compared with; called again whenever either told something."""
        if self._view is None or view.name != self._view.name:
            self.panel.scrubber.stop()
            self._epoch, self._follows = 0, True
        self._view, self._recipe, self._history = view, recipe, history
        self.setCurrentWidget(self._content)
        self.log.show_file(view.folder.log)
        stamp: tuple[object, ...] = (view.folder.path, history.version, view.steps)
        if other is not None:
            stamp += (other[0].folder.path, other[1].version, other[0].steps)
        if stamp == self._shown:
            return
        self._shown = stamp
        self.charts.show_run(view, history, other)
        self._draw()

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
        pretrains = self._view is not None and self._view.is_pretraining
        best = self._history.lowest if pretrains else self._history.best
        if best is not None:
            self.go(best.number)

    def _go_latest(self) -> None:
        if self._history.epochs:
            self.go(self._history.epochs[-1].number)

    def _draw(self) -> None:
        view, recipe, history = self._view, self._recipe, self._history
        assert view is not None and recipe is not None
        last = history.epochs[-1].number if history.epochs else 0
        if self._follows or self._epoch > last:
            self._epoch = last
        colors = [entry.color for entry in recipe.classes]
        self.strip.show_run([entry.name for entry in recipe.classes], colors, history.epochs, view.epochs)
        self._strip_section.setVisible(not view.is_pretraining)
        self.mode.setVisible(not view.is_pretraining)
        self.panel.show_run(view.folder.path, history.previews, recipe.ignore, pretrains=view.is_pretraining)
        self.panel.scrubber.show_range(last, view.epochs)
        self._show_cursor()
        self._sizes.start()

    def _show_cursor(self) -> None:
        epoch = self._found(self._epoch)
        self.charts.set_cursor(self._epoch)
        self.strip.set_cursor(self._epoch)
        self.panel.show_epoch(epoch)
        self.panel.scrubber.show_epoch(self._epoch)
        if self._view is not None and self._view.is_pretraining:
            words = f"epoch {self._epoch}, error under each image" if epoch is not None else ""
        else:
            words = f"label above, epoch {self._epoch} below" if epoch is not None else "label above"
        self._preview_section.set_count(words if self._history.previews else "")

    def _found(self, number: int) -> Epoch | None:
        return next((epoch for epoch in self._history.epochs if epoch.number == number), None)


class _Split(QSplitter):
    """Asks for its sizes anew when it has another height."""

    def __init__(self, share: Callable[[], None]) -> None:
        super().__init__(Qt.Orientation.Vertical)
        self._share = share

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share()
