"""The option bar of Annotate: what the tool in hand can be told, and the overlay at the right."""

from __future__ import annotations

import math

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QCheckBox, QFrame, QHBoxLayout, QWidget

from segstudio.ui.annotate.tool_column import TOOLS
from segstudio.ui.canvas.tools.paint_state import LARGEST, SMALLEST, PaintState
from segstudio.ui.widgets.buttons import IconButton
from segstudio.ui.widgets.labels import KeyCaps, key_cap, label
from segstudio.ui.widgets.mark import IconMark
from segstudio.ui.widgets.number_field import NumberField
from segstudio.ui.widgets.segmented import Segment, SegmentedControl
from segstudio.ui.widgets.slider import Slider

_STEPS = 200


class OptionBar(QFrame):
    """`overlay_changed(0-100)`; `overlay_toggled()`."""

    overlay_changed = Signal(int)
    overlay_toggled = Signal()

    def __init__(self, state: PaintState) -> None:
        super().__init__()
        self._state = state
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(8)
        self._icon = IconMark("brush", 18, "t1")
        self._name = label("Brush", strong=600)
        self._name.setMinimumWidth(48)
        row.addWidget(self._icon)
        row.addWidget(self._name)
        row.addSpacing(8)
        self._pen = QWidget()
        self._fill_pen(self._pen)
        row.addWidget(self._pen)
        self._hint = KeyCaps("", size=13)
        row.addWidget(self._hint)
        row.addSpacing(8)
        self.preserve = QCheckBox("Preserve other labels")
        self.preserve.setToolTip("Preserve other labels  Shift+R\nOnly unlabelled pixels are painted on")
        self.preserve.toggled.connect(state.set_preserve)
        row.addWidget(self.preserve)
        row.addStretch(1)
        row.addWidget(label("Overlay", role="t2"))
        self.overlay = Slider(0, 100, 48, width=64, name="Overlay opacity")
        self.overlay.setToolTip("Overlay opacity  , .  (Alt+wheel on the picture)")
        self.overlay.valueChanged.connect(self._overlay_moved)
        row.addWidget(self.overlay)
        self._percent = label("48 %")
        self._percent.setFixedWidth(40)
        self._percent.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self._percent)
        self.eye = IconButton("eye", "Hide the overlay  Q\nHeld: only while held", side=28, size=18)
        self.eye.clicked.connect(self.overlay_toggled)
        row.addWidget(self.eye)
        state.changed.connect(self._follow)
        state.protection_changed.connect(self._follow)
        self._follow()

    def _fill_pen(self, holder: QWidget) -> None:
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(label("Size", role="t2"))
        self.size = Slider(0, _STEPS, 0, width=120, name="Brush size")
        self.size.valueChanged.connect(self._size_moved)
        row.addWidget(self.size)
        self.pixels = NumberField(SMALLEST, LARGEST, suffix=" px")
        self.pixels.setAccessibleName("Brush size in pixels")
        self.pixels.valueChanged.connect(self._state.set_size)
        row.addWidget(self.pixels)
        row.addWidget(key_cap("["))
        row.addWidget(key_cap("]"))
        row.addSpacing(8)
        row.addWidget(label("Tip", role="t2"))
        self.tip = SegmentedControl(
            [Segment("", "circle", "Round tip"), Segment("", "square", "Square tip")], name="Tip"
        )
        self.tip.changed.connect(lambda index: self._state.set_tip("square" if index else "round"))
        row.addWidget(self.tip)

    def show_tool(self, tool: str) -> None:
        """The options of this tool."""
        spec = TOOLS[tool]
        self._icon.show_icon(spec.icon)
        self._name.setText(spec.title)
        pens = tool in ("brush", "eraser")
        self._pen.setVisible(pens)
        self.preserve.setVisible(tool not in ("pan", "picker"))
        self._hint.setVisible(not pens)
        self._hint.set_text(spec.option_hint)

    def show_overlay(self, percent: int, hidden: bool) -> None:
        """Opacity and eye as they are now."""
        self.overlay.blockSignals(True)
        self.overlay.setValue(percent)
        self.overlay.blockSignals(False)
        self._percent.setText(f"{percent} %")
        self.eye.show_icon("eye-off" if hidden else "eye", size=18, role="accent" if hidden else "t2")

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.size.setFixedWidth(120 if self.width() >= 1300 else 96)
        super().resizeEvent(event)

    def _follow(self) -> None:
        for control in (self.size, self.pixels, self.preserve):
            control.blockSignals(True)
        self.size.setValue(_to_step(self._state.size))
        self.pixels.setValue(self._state.size)
        self.preserve.setChecked(self._state.preserve)
        for control in (self.size, self.pixels, self.preserve):
            control.blockSignals(False)

    def _size_moved(self, step: int) -> None:
        self._state.set_size(_to_size(step))

    def _overlay_moved(self, percent: int) -> None:
        self._percent.setText(f"{percent} %")
        self.overlay_changed.emit(percent)


def _to_size(step: int) -> int:
    """Sizes on the slider grow by equal ratios: 1 px at the left, 1000 px at the right."""
    return max(SMALLEST, min(LARGEST, round(LARGEST ** (step / _STEPS))))


def _to_step(size: int) -> int:
    return round(_STEPS * math.log(size) / math.log(LARGEST))
