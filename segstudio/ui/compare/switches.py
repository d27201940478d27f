"""The card under a pane's name: which output of its model is seen, at which input size, and parts that can be
switched off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from segstudio.plugin_api import SwitchSpec
from segstudio.runtime.runnable_models import scale_words
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.labels import label, set_role
from segstudio.ui.widgets.segmented import Segment, SegmentedControl

WIDTH = 264
_MARGIN, _SPACING = 10, 8
_INSIDE = WIDTH - 2 * _MARGIN
_LIST_WIDTH = 128
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


class SwitchesCard(QFrame):
    """One row a switch. `changed` tells all switches that are not as trained.

    A switch over classes is a list of `class_names`, which are those of the weights.

    Where the network has side `outputs`, a row above chooses one; `output_chosen` tells it, "" is the final
    one. Where the picture's `size` (width, height) is given, a row chooses at which size the network sees it
    (`scale_chosen`), or all of them side by side (`sweep_wanted`).
    """

    changed = Signal(object)
    output_chosen = Signal(str)
    scale_chosen = Signal(float)
    sweep_wanted = Signal()

    def __init__(
        self,
        specs: tuple[SwitchSpec, ...],
        values: Mapping[str, Any],
        parent: QWidget,
        *,
        outputs: tuple[str, ...] = (),
        output: str = "",
        class_names: tuple[str, ...] = (),
        scale: float = 1.0,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("Popup")
        self.setFixedWidth(WIDTH)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._specs = specs
        self._values = dict(values)
        self.rows: dict[str, SegmentedControl] = {}
        self.lists: dict[str, QComboBox] = {}
        self.outputs: QComboBox | None = None
        self.scales: QComboBox | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(_MARGIN, 8, _MARGIN, 8)
        column.setSpacing(8)
        if outputs:
            self.outputs = box = _output_box(outputs, output)
            box.activated.connect(lambda: self.output_chosen.emit(box.currentData()))
            self._output_row = _row("Output", box)
            column.addWidget(self._output_row)
        if size is not None:
            self.scales = sizes = _scale_box(size, scale)
            sizes.activated.connect(lambda: self.scale_chosen.emit(sizes.currentData()))
            column.addWidget(_row("Input size", sizes))
            self.sweep = push_button("Sweep: a pane for each size", tall=24)
            self.sweep.setToolTip("The same network and weights at all input sizes, side by side")
            self.sweep.clicked.connect(self.sweep_wanted)
            column.addWidget(self.sweep)
        if specs:
            head = QHBoxLayout()
            head.addWidget(label("Switches", size=12, strong=600))
            head.addStretch(1)
            head.addWidget(label("same weights", role="t2", size=12))
            column.addLayout(head)
        for spec in specs:
            self._add_row(column, spec, class_names)
        foot = QHBoxLayout()
        self._against = label("As trained", role="t2", size=12)
        self._loss = label("", role="warn", size=12)
        foot.addWidget(self._against)
        foot.addStretch(1)
        foot.addWidget(self._loss)
        column.addLayout(foot)
        self.adjustSize()

    def show_loss(self, against: str, loss: str, *, worse: bool) -> None:
        """What the switches cost against the untouched model, such as "mIoU −8.7"."""
        self._against.setText(against)
        self._loss.setText(loss)
        set_role(self._loss, "warn" if worse else "ok")

    def show_outputs(self, outputs: tuple[str, ...]) -> None:
        """The outputs that these weights have: the others go; a chosen one stays."""
        box = self.outputs
        if box is None:
            return
        for place in reversed(range(1, box.count())):
            if box.itemData(place) not in outputs and place != box.currentIndex():
                box.removeItem(place)
        self._output_row.setVisible(box.count() > 1)
        self.adjustSize()

    def _add_row(self, column: QVBoxLayout, spec: SwitchSpec, class_names: tuple[str, ...]) -> None:
        """Segments where they have room, else a list; under the title where beside it there is too little."""
        name = label(spec.title, size=12)
        name.setToolTip(spec.help)
        control: QWidget | None = None if spec.per_class else self._segments(spec)
        if control is None or control.sizeHint().width() > _INSIDE:
            control = self._list(spec, class_names)
        if isinstance(control, SegmentedControl):
            self.rows[spec.id] = control
        wanted = min(control.sizeHint().width(), control.maximumWidth())
        beside = name.sizeHint().width() + _SPACING + wanted <= _INSIDE
        row = QHBoxLayout()
        row.addWidget(name)
        row.addStretch(1)
        column.addLayout(row)
        if beside:
            row.addWidget(control)
        else:
            column.addWidget(control)

    def _segments(self, spec: SwitchSpec) -> SegmentedControl:
        control = SegmentedControl(
            [Segment(_word(choice, spec), tip=_tip(choice, spec)) for choice in spec.choices],
            tall=24,
            name=spec.title,
        )
        chosen = self._values.get(spec.id, spec.trained)
        if chosen in spec.choices:
            control.set_current(spec.choices.index(chosen))
        control.changed.connect(lambda index: self._choose(spec, spec.choices[index]))
        return control

    def _list(self, spec: SwitchSpec, class_names: tuple[str, ...]) -> QComboBox:
        box = QComboBox()
        box.setMaximumWidth(_LIST_WIDTH if spec.per_class else _INSIDE)
        box.setAccessibleName(spec.title)
        box.setToolTip(spec.help)
        for value in spec.values(len(class_names)):
            if spec.per_class and isinstance(value, int) and value not in spec.choices:
                box.addItem(class_names[value], value)
            elif spec.per_class and value == spec.trained:
                box.addItem("None", value)
            else:
                box.addItem(_word(value, spec), value)
        chosen = self._values.get(spec.id, spec.trained)
        values = [box.itemData(place) for place in range(box.count())]
        box.setCurrentIndex(values.index(chosen) if chosen in values else 0)
        box.activated.connect(lambda: self._choose(spec, box.currentData()))
        self.lists[spec.id] = box
        return box

    def _choose(self, spec: SwitchSpec, value: Any) -> None:
        if value == spec.trained:
            self._values.pop(spec.id, None)
        else:
            self._values[spec.id] = value
        self.changed.emit(dict(self._values))


def _row(title: str, control: QWidget) -> QWidget:
    made = QWidget()
    made.setObjectName("Plain")
    row = QHBoxLayout(made)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(label(title, size=12, strong=600))
    row.addStretch(1)
    row.addWidget(control)
    return made


def _scale_box(size: tuple[int, int], scale: float) -> QComboBox:
    box = QComboBox()
    box.setMinimumWidth(_LIST_WIDTH)
    box.setAccessibleName("Input size")
    box.setToolTip("How large the network sees the picture; its mask keeps the picture's size")
    for each in sorted({*SCALES, scale}):
        width, height = (max(1, round(side * each)) for side in size)
        box.addItem(f"{scale_words(each)} · {width} × {height}", each)
    box.setCurrentIndex(box.findData(scale))
    return box


def _output_box(outputs: tuple[str, ...], output: str) -> QComboBox:
    box = QComboBox()
    box.setMinimumWidth(128)
    box.setAccessibleName("Output")
    box.setToolTip("What the network supervises beside its final scores, with the same weights")
    for name in ("", *outputs):
        box.addItem(name or "Final", name)
    box.setCurrentIndex(max(0, box.findData(output)))
    return box


def _word(choice: Any, spec: SwitchSpec) -> str:
    if isinstance(choice, bool):
        return "On" if choice else "Off"
    if choice is None or (choice == spec.trained and isinstance(choice, str)):
        return "Trained"
    return str(choice)


def _tip(choice: Any, spec: SwitchSpec) -> str:
    return f"{_word(choice, spec)}: as trained" if choice == spec.trained else spec.help
