"""Fields of a form: numbers, choices and words, made from the options a model declares."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from segstudio.core.errors import UserError
from segstudio.plugin_api import Option
from segstudio.ui.train.weights_field import WeightsField
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.slider import Slider

FIELD = 132


def form_layout() -> QFormLayout:
    """A form with our spacing: names left, fields as wide as they like."""
    form = QFormLayout()
    form.setHorizontalSpacing(16)
    form.setVerticalSpacing(8)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return form


def field_name(text: str, tip: str = "") -> QWidget:
    """The name before a field; `tip` says what it means."""
    made = label(text, role="t2", size=12)
    made.setFixedWidth(FIELD)
    made.setMinimumHeight(28)
    made.setToolTip(tip)
    return made


def left_aligned(field: QWidget, width: int = FIELD) -> QWidget:
    """The field at its own width, not stretched over the form."""
    if isinstance(field, WeightsField | PercentField):
        return field  # a path wants all the width there is, a slider has its own
    if not isinstance(field, QCheckBox):
        field.setFixedWidth(width)
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(field)
    row.addStretch(1)
    return holder


def whole_number(low: int, high: int, value: int, name: str) -> QSpinBox:
    """A whole number from `low` to `high`; `name` is for screen readers."""
    made = QSpinBox()
    made.setRange(low, high)
    made.setValue(value)
    made.setAccessibleName(name)
    made.setFixedSize(FIELD, 28)
    made.lineEdit().setTextMargins(6, 0, 0, 0)
    return made


class _Number(QDoubleSpinBox):
    """Shows 0.01 as "0.01", however many decimals it takes."""

    def textFromValue(self, value: float) -> str:
        return self.locale().toString(value, "g", 6)


def real_number(low: float, high: float, value: float, decimals: int, name: str) -> QDoubleSpinBox:
    """A number from `low` to `high` with at most `decimals` decimals."""
    made = _Number()
    made.setDecimals(decimals)
    made.setRange(low, high)
    made.setSingleStep(10.0 ** -min(2, decimals))
    made.setValue(value)
    made.setAccessibleName(name)
    made.setFixedSize(FIELD, 28)
    made.lineEdit().setTextMargins(6, 0, 0, 0)
    return made


class PercentField(QWidget):
    """A share of `low` to `high` per cent as a slider with its figure."""

    changed = Signal(float)

    def __init__(self, low: int, high: int, name: str, *, width: int = 240) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.slider = Slider(low, high, low, width=width, name=name)
        self.slider.setPageStep(5)
        self._figure = label(f"{low} %", size=12)
        self._figure.setFixedWidth(40)
        self.slider.valueChanged.connect(self._moved)
        row.addWidget(self.slider)
        row.addWidget(self._figure)
        row.addStretch(1)
        self.setFocusProxy(self.slider)
        self.setMinimumHeight(28)

    def value(self) -> float:
        """In 0..1."""
        return self.slider.value() / 100

    def setValue(self, share: float) -> None:
        self.slider.setValue(round(100 * share))

    def _moved(self, percent: int) -> None:
        self._figure.setText(f"{percent} %")
        self.changed.emit(percent / 100)


def is_share(option: Option) -> bool:
    """Whether a slider in per cent suits it: a ratio between two shares."""
    within = option.minimum is not None and option.maximum is not None
    return option.kind == "float" and within and option.name.endswith("ratio") and option.default is not None


def field_of(option: Option) -> QWidget:
    """The field of an option, showing its default."""
    made: QWidget
    words = option.name.replace("_", " ")
    if option.kind == "weights":
        needed = option.needed_for
        says = f"needed for {needed[0].replace('_', ' ')} = {needed[1]}" if needed else "none chosen"
        made = WeightsField(words.capitalize(), placeholder=says)
    elif is_share(option):
        assert option.minimum is not None and option.maximum is not None
        made = PercentField(round(100 * option.minimum), round(100 * option.maximum), words.capitalize())
    elif option.kind == "bool":
        made = QCheckBox()
    elif option.kind == "choice":
        made = QComboBox()
        for choice in option.choices:
            made.addItem(str(choice), choice)
    elif option.kind == "int" and option.default is not None:
        low = int(option.minimum) if option.minimum is not None else -(2**31)
        high = int(option.maximum) if option.maximum is not None else 2**31 - 1
        made = whole_number(low, high, 0, option.name)
    elif option.kind == "float" and option.default is not None:
        made = real_number(
            option.minimum if option.minimum is not None else -1e9,
            option.maximum if option.maximum is not None else 1e9,
            0.0,
            4,
            option.name,
        )
    else:
        made = QLineEdit()
        made.setPlaceholderText("as published" if option.default is None else "")
    made.setAccessibleName(option.name)
    made.setToolTip(option.help)
    show_value(option, made, option.default)
    return made


def show_value(option: Option, field: QWidget, value: Any) -> None:
    """Puts `value` into the field of an option."""
    if isinstance(field, WeightsField):
        field.setText("" if value is None else str(value))
    elif isinstance(field, PercentField):
        field.setValue(float(value))
    elif isinstance(field, QCheckBox):
        field.setChecked(bool(value))
    elif isinstance(field, QComboBox):
        field.setCurrentIndex(max(0, field.findText(str(value))))
    elif isinstance(field, QSpinBox):
        field.setValue(int(value))
    elif isinstance(field, QDoubleSpinBox):
        field.setValue(float(value))
    elif isinstance(field, QLineEdit):
        text = "" if value is None else ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        field.setText(text)


def value_of(option: Option, field: QWidget) -> Any:
    """What the field of an option says. Raises UserError where it is no such value."""
    if isinstance(field, WeightsField):
        return field.text() or option.default
    if isinstance(field, PercentField):
        return field.value()
    if isinstance(field, QCheckBox):
        return field.isChecked()
    if isinstance(field, QComboBox):
        return option.choices[field.currentIndex()]
    if isinstance(field, QSpinBox | QDoubleSpinBox):
        return field.value()
    assert isinstance(field, QLineEdit)
    text = field.text().strip()
    if not text:
        return option.default
    try:
        if option.kind == "ints":
            return tuple(int(part) for part in text.replace("x", ",").split(","))
        if option.kind == "int":
            return int(text)
        return float(text) if option.kind == "float" else text
    except ValueError as error:
        raise UserError(f"{option.name} is {text!r}, expected {option.kind}") from error
