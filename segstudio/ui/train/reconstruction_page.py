"""Inside a pre-trained network: original, masked and reconstruction, and the mask in the hand."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from segstudio.runtime.session import ProjectSession
from segstudio.ui.thumbnail_row import ThumbnailRow
from segstudio.ui.train.chart_data import Line
from segstudio.ui.train.legend import Legend
from segstudio.ui.train.patch_stage import PatchStage
from segstudio.ui.train.sweep_chart import SweepChart
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.labels import ElidedLabel, label
from segstudio.ui.widgets.section import FoldSection
from segstudio.ui.widgets.segmented import SegmentedControl
from segstudio.ui.widgets.slider import Slider

LEAST_RATIO, MOST_RATIO = 10, 95  # per cent
_NARROW = 620  # page widths under which the bar has no room for a word before the slider
_LOW = 700  # page heights under which the chart is lower


class ReconstructionPage(QWidget):
    """The controls and what they show; who owns it asks the network."""

    closed = Signal()
    mask_wanted = Signal()  # ratio or masking changed: a mask is drawn
    another_wanted = Signal()  # the same, drawn anew
    measure_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self, session: ProjectSession) -> None:
        super().__init__()
        self._session = session
        self._maskings: tuple[str, ...] = ()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._head())
        self._controls = self._mask_bar()
        column.addWidget(self._controls)
        holder = QWidget()
        inside = QVBoxLayout(holder)
        inside.setContentsMargins(8, 8, 8, 8)
        inside.setSpacing(6)
        self.stage = PatchStage()
        inside.addWidget(self.stage, 1)
        self._notes = label("", role="t2", size=12)
        self._notes.setWordWrap(True)
        self._notes.hide()
        inside.addWidget(self._notes)
        column.addWidget(holder, 1)
        column.addWidget(self._measurements())
        column.addWidget(self._images())
        self.stage.edited.connect(self._count)

    # -- parts ---------------------------------------------------------------------------------------

    def _head(self) -> QWidget:
        head = QFrame()
        head.setObjectName("PaneHeader")
        head.setFixedHeight(40)
        row = QHBoxLayout(head)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(8)
        self.back = IconButton("arrow-left", "Back to the curves  Esc", side=28)
        self.back.clicked.connect(self.closed)
        row.addWidget(self.back)
        row.addWidget(label("Look inside", size=13, strong=600))
        self._about = ElidedLabel("", role="t2", size=12)
        row.addWidget(self._about, 1)
        self.told = label("", role="t2", size=12)
        row.addWidget(self.told)
        return head

    def _mask_bar(self) -> QWidget:
        bar = QFrame()
        bar.setObjectName("OptionBar")
        bar.setFixedHeight(40)
        row = QHBoxLayout(bar)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(8)
        self._hide = label("Hide", role="t2", size=12)
        row.addWidget(self._hide)
        self.ratio = Slider(LEAST_RATIO, MOST_RATIO, 75, width=160, name="Mask ratio in per cent")
        self.ratio.setToolTip("Mask ratio\nHow much of the picture is hidden; ← and → change it by 1 %")
        self.ratio.setPageStep(5)
        self.ratio.setMinimumWidth(64)
        self.ratio.setMaximumWidth(200)
        self.ratio.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.ratio.valueChanged.connect(self._ratio_moved)
        row.addWidget(self.ratio, 1)
        self._percent = label("75 %", size=12)
        self._percent.setFixedWidth(36)
        row.addWidget(self._percent)
        self._masking_place = QHBoxLayout()
        row.addLayout(self._masking_place)
        self.masking: SegmentedControl | None = None
        self.again = push_button("Draw again", icon_name="refresh")
        self.again.setToolTip("Draw again  R\nAnother mask of the same ratio")
        self.again.clicked.connect(self.another_wanted)
        row.addWidget(self.again)
        self.counted = ElidedLabel("", role="t2", size=12)
        self.counted.elide = Qt.TextElideMode.ElideRight
        self.counted.setMinimumWidth(118)
        row.addWidget(self.counted, 1)
        return bar

    def _measurements(self) -> QWidget:
        self._sweep = FoldSection("Error and time against the mask ratio", key="train.sweep")
        legend = Legend()
        legend.show_lines([Line("error", (), ()), Line("milliseconds", (), (), "warn", dashed=True)])
        self._sweep.add_action(legend)
        self.measure = push_button("Measure", tall=24)
        self.measure.setToolTip("Measure\nThis picture at every ratio from 10 to 95 %, one after the other")
        self.cancel = push_button("Cancel", tall=24)
        self.cancel.setToolTip("Cancel\nWhat was measured stays")
        self.cancel.hide()
        self.measure.clicked.connect(self.measure_wanted)
        self.cancel.clicked.connect(self.cancel_wanted)
        self._sweep.add_action(self.measure)
        self._sweep.add_action(self.cancel)
        self.chart = SweepChart()
        self.chart.ratio_chosen.connect(lambda ratio: self.ratio.setValue(round(100 * ratio)))
        self._sweep.set_body(self.chart)
        return self._sweep

    def _images(self) -> QWidget:
        self._strip = FoldSection("Images", key="train.inside.images")
        self.images = ThumbnailRow(self._session)
        self._session.current_changed.connect(self.images.follow_current)
        self._session.thumbnail_ready.connect(self.images.refresh)
        self._strip.set_body(self.images)
        return self._strip

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._hide.setVisible(self.width() >= _NARROW)
        self.chart.setFixedHeight(112 if self.height() < _LOW else 152)

    # -- showing -------------------------------------------------------------------------------------

    def show_words(self, words: str) -> None:
        """Whose weights these are."""
        self._about.setText(words)

    def show_masking(self, maskings: Sequence[str], masking: str, ratio: float) -> None:
        """How the network of another run can hide cells, and how it did in training."""
        with QSignalBlocker(self.ratio):
            self.ratio.setValue(round(100 * ratio))
        self._show_percent()
        if tuple(maskings) != self._maskings:
            self._maskings = tuple(maskings)
            if self.masking is not None:
                self.masking.hide()
                self.masking.deleteLater()
            self.masking = SegmentedControl(
                [name.capitalize() for name in maskings], name="How cells are chosen"
            )
            self._masking_place.addWidget(self.masking)
            self.masking.changed.connect(lambda _index: self.mask_wanted.emit())
            self.masking.setVisible(len(self._maskings) > 1)
        assert self.masking is not None
        with QSignalBlocker(self.masking):
            self.masking.set_current(self._maskings.index(masking) if masking in self._maskings else 0)

    def show_images(self, validation: Sequence[int], others: Sequence[int]) -> None:
        """The images of the project, those first that the run has not learned from."""
        self.images.show_images([*validation, *others], dict.fromkeys(validation, "validation"))
        told = f"{len(validation)} for validation, then {len(others)} more" if validation else ""
        self._strip.set_count(told)

    def show_hides(self, hides: bool) -> None:
        """Whether the network hides anything; what concerns masks is absent where it does not."""
        self._controls.setVisible(hides)
        self._sweep.setVisible(hides)

    def show_notes(self, notes: Sequence[str]) -> None:
        self._notes.setText(" ".join(notes))
        self._notes.setVisible(bool(notes))

    def show_problem(self, words: str) -> None:
        self.stage.clear()
        self.stage.show_message(words)
        self.counted.setText("")
        self.told.setText("")

    def show_count(self, ms: float, mean_error: float | None) -> None:
        """What the last answer says of the whole picture."""
        self.told.setText(
            f"error {mean_error:.3f} · {ms:.0f} ms" if mean_error is not None else f"{ms:.0f} ms"
        )
        self._count()

    def show_measuring(self, on: bool) -> None:
        self.measure.setVisible(not on)
        self.cancel.setVisible(on)

    @property
    def chosen_masking(self) -> str:
        return self._maskings[self.masking.current] if self.masking is not None else "random"

    @property
    def chosen_ratio(self) -> float:
        return self.ratio.value() / 100

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
            return
        super().keyPressEvent(event)

    # -- reactions -----------------------------------------------------------------------------------

    def _ratio_moved(self) -> None:
        self._show_percent()
        self.mask_wanted.emit()

    def _show_percent(self) -> None:
        self._percent.setText(f"{self.ratio.value()} %")
        self.chart.show_ratio(self.chosen_ratio)

    def _count(self) -> None:
        hidden = self.stage.hidden
        self.counted.setText("" if hidden is None else f"{int(hidden.sum())} of {hidden.size} hidden")
