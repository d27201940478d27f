"""Attention's option bar: model, module, map, the map's own options, switches, models beside, export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QMenu, QWidget

from segstudio.plugin_api import Option
from segstudio.runtime.attention import ProbeSlot
from segstudio.runtime.inspection import Inspection
from segstudio.ui.attention.query_tool import BOX_SIDES, box_of
from segstudio.ui.icons import icon
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.number_field import NumberField
from segstudio.ui.widgets.segmented import Segment, SegmentedControl

_MOST_SEGMENTS = 4
_ROOMY = 1160


class AttentionBar(QWidget):
    """Shows the inspection's choices and asks for others."""

    front_wanted = Signal(object, str)
    option_wanted = Signal(object, str, object)
    models_wanted = Signal(object)
    switches_wanted = Signal()
    export_wanted = Signal(str)
    more_wanted = Signal()

    def __init__(self, inspection: Inspection) -> None:
        super().__init__()
        self._inspection = inspection
        self._slots: list[ProbeSlot] = []
        self._shown: tuple[Any, ...] = ()
        self._compact = False
        self.model = QComboBox()
        self.model.setMinimumWidth(176)
        self.model.setAccessibleName("Model")
        self._module_word = label("Module", role="t2")
        self.module = QComboBox()
        self.module.setAccessibleName("Module")
        self._choices = QWidget()
        self._choices_row = QHBoxLayout(self._choices)
        self._choices_row.setContentsMargins(0, 0, 0, 0)
        self._choices_row.setSpacing(8)
        self.beside = push_button("Models", icon_name="layers")
        self.beside.setToolTip("Which models are shown beside each other")
        self.switches = push_button("Switches", icon_name="compare")
        self.switches.setToolTip("Parts of the model in front that can be switched off")
        self.export = push_button("Export", icon_name="export")
        self.export.setToolTip("Write the map in front to a file")
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(8)
        for widget in (self.model, self._module_word, self.module, self._choices):
            row.addWidget(widget)
        row.addStretch(1)
        for widget in (self.beside, self.switches, self.export):
            row.addWidget(widget)
        self.model.activated.connect(self._choose_model)
        self.module.activated.connect(self._choose_module)
        self.beside.clicked.connect(self._open_models)
        self.switches.clicked.connect(self.switches_wanted)
        self.export.clicked.connect(self._open_export)

    def refresh(self) -> None:
        """Brings all choices up to date."""
        inspection = self._inspection
        candidates, front, slot = inspection.candidates, inspection.front, inspection.front_slot
        self._slots = list(inspection.slots_of(front)) if front is not None else []
        groups = list(dict.fromkeys(each.spec.group or each.spec.title for each in self._slots))
        # What is chosen may change without the choices: only then is the bar rebuilt.
        shown = (candidates, front, slot, tuple(groups))
        if shown == self._shown:
            return
        self._shown = shown
        self.setVisible(bool(candidates))
        self.model.clear()
        for model in candidates:
            self.model.addItem(model.title, model.key)
        if front is not None:
            self.model.setCurrentIndex(max(0, self.model.findData(front.key)))
        self.module.clear()
        self.module.addItems(groups)
        if slot is not None:
            self.module.setCurrentText(slot.spec.group or slot.spec.title)
        self.module.setVisible(len(groups) > 1)
        self._show_words()
        self._show_choices(slot)
        spec = inspection.spec_of(front) if front is not None else None
        self.switches.setVisible(bool(spec is not None and spec.switches))
        self.beside.setVisible(bool(candidates))

    def _show_choices(self, slot: ProbeSlot | None) -> None:
        """The maps of one module, and the options of the one in front."""
        while (item := self._choices_row.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        if slot is None:
            return
        group = slot.spec.group or slot.spec.title
        mates = [each for each in self._slots if (each.spec.group or each.spec.title) == group]
        is_drawn = box_of(slot) is not None
        if 1 < len(mates) <= _MOST_SEGMENTS and not is_drawn:
            control = SegmentedControl([Segment(m.spec.title, tip=m.spec.help) for m in mates], name="Map")
            control.set_current([m.spec.id for m in mates].index(slot.spec.id))
            control.changed.connect(lambda place: self.front_wanted.emit(slot.runnable, mates[place].spec.id))
            self._choices_row.addWidget(control)
        elif len(mates) > 1:
            box = QComboBox()
            box.addItems([m.spec.title for m in mates])
            box.setCurrentText(slot.spec.title)
            box.activated.connect(lambda place: self.front_wanted.emit(slot.runnable, mates[place].spec.id))
            self._choices_row.addWidget(box)
        chosen = dict(slot.options)
        for option in slot.spec.options:
            if is_drawn and option.name in BOX_SIDES:
                continue  # a drag on the picture draws the box
            widget = self._editor(slot, option, chosen.get(option.name, option.default))
            if widget is not None:
                self._choices_row.addWidget(label(option.name.replace("_", " ").capitalize(), role="t2"))
                self._choices_row.addWidget(widget)

    def _editor(self, slot: ProbeSlot, option: Option, value: Any) -> QWidget | None:
        """A control for one option; options that are points of the picture have none."""

        def tell(changed: Any) -> None:
            self.option_wanted.emit(slot, option.name, changed)

        if option.kind == "choice":
            segments = SegmentedControl(
                [str(choice).capitalize() for choice in option.choices], name=option.name
            )
            if value in option.choices:
                segments.set_current(option.choices.index(value))
            segments.changed.connect(lambda place: tell(option.choices[place]))
            segments.setToolTip(option.help)
            return segments
        if option.kind == "bool":
            switch = SegmentedControl(["Off", "On"], name=option.name)
            switch.set_current(int(bool(value)))
            switch.changed.connect(lambda place: tell(bool(place)))
            switch.setToolTip(option.help)
            return switch
        if option.kind == "int":
            most = int(option.maximum if option.maximum is not None else 99)
            spin = NumberField(int(option.minimum or 0), most, width=56)
            spin.setKeyboardTracking(True)
            spin.setValue(int(value or 0))
            spin.setToolTip(option.help)
            spin.setAccessibleName(option.name)
            spin.valueChanged.connect(tell)
            return spin
        return None

    def resizeEvent(self, event: QResizeEvent) -> None:
        """In a narrow window the verbs at the end are their icons."""
        super().resizeEvent(event)
        compact = self.width() < _ROOMY
        if compact != self._compact:
            self._compact = compact
            for button, text in (
                (self.beside, "Models"),
                (self.switches, "Switches"),
                (self.export, "Export"),
            ):
                button.setText("" if compact else text)
                button.setAccessibleName(text)
            self._show_words()

    def _show_words(self) -> None:
        self._module_word.setVisible(self.module.isVisibleTo(self) and not self._compact)

    def _choose_model(self, place: int) -> None:
        candidates: Sequence[Any] = self._inspection.candidates
        if 0 <= place < len(candidates):
            self.front_wanted.emit(candidates[place], "")

    def _choose_module(self, place: int) -> None:
        group = self.module.itemText(place)
        for slot in self._slots:
            if (slot.spec.group or slot.spec.title) == group:
                self.front_wanted.emit(slot.runnable, slot.spec.id)
                return

    def _open_models(self) -> None:
        menu = QMenu(self)
        chosen = list(self._inspection.models)
        for model in self._inspection.candidates:
            action = menu.addAction(model.title)
            action.setCheckable(True)
            action.setChecked(model in chosen)
            rest = [each for each in chosen if each != model]
            wanted = rest if model in chosen else [model, *chosen]
            action.setEnabled(bool(wanted))
            action.triggered.connect(lambda _=False, wanted=wanted: self.models_wanted.emit(wanted))
        menu.addSeparator()
        menu.addAction("More networks…").triggered.connect(self.more_wanted)
        menu.popup(self.beside.mapToGlobal(self.beside.rect().bottomLeft()))

    def _open_export(self) -> None:
        menu = QMenu(self)
        for kind, title in (("png", "Picture of the map (PNG)…"), ("npy", "Values of the cells (NPY)…")):
            menu.addAction(icon("image" if kind == "png" else "table", 14), title).triggered.connect(
                lambda _=False, kind=kind: self.export_wanted.emit(kind)
            )
        menu.popup(self.export.mapToGlobal(self.export.rect().bottomLeft()))
