"""The 40 px bar of the Train tab: which quantity is drawn, smooth or not, and the way to Compare."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QWidget

from segstudio.runtime.run_view import RunView
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.segmented import SegmentedControl

Quantity = Literal["losses", "parts", "rate", "speed", "memory"]
QUANTITIES: tuple[Quantity, ...] = ("losses", "parts", "rate", "speed", "memory")


class TrainBar(QWidget):
    quantity_changed = Signal(str)
    smooth_changed = Signal(bool)
    compare_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(8)
        row.addWidget(label("Show", role="t2", size=12))
        words = ["Losses and mIoU", "Every loss", "Learning rate", "Images per second", "Memory"]
        self.quantity = SegmentedControl(words, name="Quantity drawn")
        self.quantity.changed.connect(lambda index: self.quantity_changed.emit(QUANTITIES[index]))
        row.addWidget(self.quantity)
        row.addSpacing(8)
        self.smooth = QCheckBox("Smooth curves")
        self.smooth.setChecked(True)
        self.smooth.setToolTip("Smooth curves\nA moving average; single steps stay visible as dots")
        self.smooth.toggled.connect(self.smooth_changed)
        row.addWidget(self.smooth)
        row.addStretch(1)
        self.compare = push_button("Open best in Compare", icon_name="compare")
        self.compare.clicked.connect(self.compare_wanted)
        self.compare.hide()
        row.addWidget(self.compare)

    def show_run(self, view: RunView | None) -> None:
        """What there is of the run in front: a best checkpoint whose masks can be looked at, or none."""
        pretrains = view is not None and view.is_pretraining
        self.quantity.set_text(0, "Losses" if pretrains else "Losses and mIoU")
        self.compare.setVisible(view is not None and view.has_best and not pretrains)
