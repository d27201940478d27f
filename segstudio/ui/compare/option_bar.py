"""Compare's option bar: add a pane, layout, view of the active pane, reference, run."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QMenu, QWidget

from segstudio.core.boundaries import BAND_WIDTHS
from segstudio.runtime.comparison import VIEWS, Layout, View
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.segmented import Segment, SegmentedControl

LAYOUTS: tuple[tuple[Layout, str, str, str], ...] = (
    ("grid", "Grid", "grid", "All panes side by side"),
    ("curtain", "Curtain", "curtain", "Two models on one picture with a movable divider\nK"),
    ("blink", "Blink", "blink", "One model, the other while F is held\nF"),
    ("difference", "Difference", "difference", "Only where two models differ"),
)
_ORIGINS = {
    "demo": "Demo checkpoints",
    "run": "Training runs",
    "file": "Opened weights",
    "checkpoint": "Published checkpoints",
    "plugin": "Plugins",
}
_ROOMY = 1290


class CompareBar(QWidget):
    """Holds no state of its own: it shows what the comparison says and asks for changes."""

    add_wanted = Signal(str, object)
    layout_wanted = Signal(str)
    view_wanted = Signal(str)
    reference_wanted = Signal(int)
    band_wanted = Signal(int)
    run_wanted = Signal()
    run_all_wanted = Signal()
    more_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._models: tuple[RunnableModel, ...] = ()
        self._views: tuple[View, ...] = ()
        self._compact = False
        self.add = push_button("Add pane", tall=28, icon_name="plus")
        self.add.setToolTip("Another picture, ground truth or model")
        self.layouts = SegmentedControl(
            [Segment(text, icon, tip) for _, text, icon, tip in LAYOUTS], name="Layout"
        )
        self.views = QWidget()
        self._views_row = QHBoxLayout(self.views)
        self._views_row.setContentsMargins(0, 0, 0, 0)
        self._views_row.setSpacing(0)
        self._segments: SegmentedControl | None = None
        self._shown: tuple[View, ...] = ()
        self._current: View = "mask"
        self.more_views = IconButton("more", "More views", side=28)
        self.more_views.hide()
        self.more_views.clicked.connect(self._open_views)
        self._views_row.addWidget(self.more_views)
        self.band = QComboBox()
        self.band.setAccessibleName("Band")
        self.band.setToolTip(
            "Errors and differences everywhere, or only near the borders of the labels\n"
            "Without labels: of the first model's mask"
        )
        self.band.addItem("Everywhere", 0)
        for width in BAND_WIDTHS:
            self.band.addItem(f"{width} px to borders", width)
        self.band.hide()
        self._reference_word = label("Reference", role="t2")
        self.reference = QComboBox()
        self.reference.setMinimumWidth(140)
        self.reference.setAccessibleName("Reference")
        self.reference.setToolTip("What ticks, errors and scores are held against")
        self.run = push_button("Run models  R", kind="primary", icon_name="play")
        self.run.setToolTip("Run all panes on this image\nR or F9")
        self.run_all = push_button("", icon_name="chevron-down")
        self.run_all.setFixedWidth(28)
        self.run_all.setStyleSheet("padding: 0")
        self.run_all.setAccessibleName("More ways to run")
        self.run_all.setToolTip("Run on all labelled images")
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(8)
        row.addWidget(self.add)
        row.addWidget(self.layouts)
        row.addWidget(self.views)
        row.addWidget(self.band)
        row.addStretch(1)
        row.addWidget(self._reference_word)
        row.addWidget(self.reference)
        row.addWidget(self.run)
        row.addSpacing(-4)
        row.addWidget(self.run_all)
        self.add.clicked.connect(self._open_models)
        self.layouts.changed.connect(lambda index: self.layout_wanted.emit(LAYOUTS[index][0]))
        self.reference.activated.connect(
            lambda place: self.reference_wanted.emit(int(self.reference.itemData(place)))
        )
        self.band.activated.connect(lambda place: self.band_wanted.emit(int(self.band.itemData(place))))
        self.run.clicked.connect(self.run_wanted)
        self.run_all.clicked.connect(self._open_run)

    def set_models(self, models: Sequence[RunnableModel]) -> None:
        self._models = tuple(models)

    def set_layout(self, layout: Layout, *, pairs: bool) -> None:
        """The layout in force; without two models there is only the grid, and no choice is shown."""
        self.layouts.setVisible(pairs)
        self.layouts.set_current([each[0] for each in LAYOUTS].index(layout))

    def set_views(self, views: tuple[View, ...], current: View) -> None:
        """What the active pane can show."""
        self._views, self._current = views, current
        self._fit_views()

    def set_band(self, width: int, *, applies: bool) -> None:
        """Where errors and differences are shown; the choice is there while one of them is seen."""
        self.band.setVisible(applies)
        self.band.setCurrentIndex(max(0, self.band.findData(width)))
        self._fit_views()

    def _fit_views(self) -> None:
        """A segment is shown whole or not at all: those without room wait in the menu at the end."""
        titles, views = dict(VIEWS), self._views
        shown = views if len(views) > 1 else ()
        taken = self.more_views.width()
        while len(shown) > 2 and _width(shown) + (taken if len(shown) < len(views) else 0) > self._room():
            shown = shown[:-1]
        if shown and self._current not in shown:
            shown = (*shown[:-1], self._current)
        self.more_views.setVisible(len(shown) < len(views) and bool(shown))
        if shown != self._shown:
            self._shown = shown
            if self._segments is not None:
                self._views_row.removeWidget(self._segments)
                self._segments.hide()
                self._segments.deleteLater()
                self._segments = None
            if shown:
                self._segments = SegmentedControl([titles[view] for view in shown], name="View")
                self._segments.set_current(shown.index(self._current))
                self._segments.changed.connect(lambda index: self.view_wanted.emit(self._shown[index]))
                self._views_row.insertWidget(0, self._segments)
        if self._segments is not None:
            self._segments.blockSignals(True)
            self._segments.set_current(shown.index(self._current))
            self._segments.blockSignals(False)

    def _room(self) -> int:
        """Width that is left for the views."""
        others = [
            self.add,
            self.layouts,
            self.band,
            self._reference_word,
            self.reference,
            self.run,
            self.run_all,
        ]
        shown = [widget for widget in others if not widget.isHidden()]
        taken = sum(max(widget.sizeHint().width(), widget.minimumWidth()) for widget in shown)
        if not self.run_all.isHidden():
            taken += self.run_all.width() - max(self.run_all.sizeHint().width(), self.run_all.minimumWidth())
        return self.width() - taken - 8 * (len(shown) + 3)

    def _open_views(self) -> None:
        menu = QMenu(self)
        titles = dict(VIEWS)
        for view in self._views:
            if view not in self._shown:
                menu.addAction(titles[view]).triggered.connect(
                    lambda _=False, view=view: self.view_wanted.emit(view)
                )
        menu.popup(self.more_views.mapToGlobal(self.more_views.rect().bottomLeft()))

    def set_references(self, entries: Sequence[tuple[int, str]], current: int) -> None:
        """(pane number, title) of what may be held to be right; 0 is the ground truth."""
        self.reference.clear()
        for number, title in entries:
            self.reference.addItem(title, number)
        self.reference.setCurrentIndex(max(0, self.reference.findData(current)))

    def set_can_run(self, can: bool) -> None:
        self.run.setVisible(can)
        self.run_all.setVisible(can)

    def _open_models(self) -> None:
        menu = QMenu(self)
        menu.addAction("Image").triggered.connect(lambda: self.add_wanted.emit("image", None))
        menu.addAction("Ground truth").triggered.connect(lambda: self.add_wanted.emit("truth", None))
        for origin, title in _ORIGINS.items():
            found = [model for model in self._models if model.origin == origin]
            if found:
                menu.addSection(title)
            for model in found:
                action = menu.addAction(model.title)
                action.triggered.connect(lambda _=False, model=model: self.add_wanted.emit("model", model))
        menu.addSeparator()
        menu.addAction("More networks…").triggered.connect(self.more_wanted)
        menu.popup(self.add.mapToGlobal(self.add.rect().bottomLeft()))

    def _open_run(self) -> None:
        menu = QMenu(self)
        menu.addAction("Run on this image").triggered.connect(self.run_wanted)
        menu.addAction("Run on all labelled images").triggered.connect(self.run_all_wanted)
        menu.popup(self.run_all.mapToGlobal(self.run_all.rect().bottomLeft()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Under about 1300 px the layouts are icons and the run button is its icon."""
        super().resizeEvent(event)
        compact = self.width() < _ROOMY
        if compact != self._compact:
            self._compact = compact
            for place, (_, text, _, _) in enumerate(LAYOUTS):
                self.layouts.set_text(place, "" if compact else text)
            self.run.setText("" if compact else "Run models  R")
            self._reference_word.setVisible(not compact)
        self._fit_views()


def _width(views: Sequence[View]) -> int:
    """What a control of these views takes."""
    titles = dict(VIEWS)
    control = SegmentedControl([titles[view] for view in views])
    width = control.sizeHint().width()
    control.deleteLater()
    return width
