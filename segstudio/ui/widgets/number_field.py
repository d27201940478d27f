"""A number with its unit in a field, without arrows; wheel and arrow keys step it."""

from __future__ import annotations

from PySide6.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QSpinBox

_PADDING = 6
"""Of a spin box, the style sheet's padding reaches the frame but not the words."""


class NumberField(QSpinBox):
    """Whole numbers from `low` to `high`; tells its value when the person is done typing."""

    def __init__(self, low: int, high: int, *, suffix: str = "", width: int = 72, tall: int = 28) -> None:
        super().__init__()
        self.setRange(low, high)
        self.setSuffix(suffix)
        _shape(self, width, tall)
        self.setKeyboardTracking(False)


class DecimalField(QDoubleSpinBox):
    """Numbers with `decimals` places from `low` to `high`."""

    def __init__(
        self,
        low: float,
        high: float,
        *,
        decimals: int = 1,
        suffix: str = "",
        width: int = 72,
        tall: int = 28,
    ) -> None:
        super().__init__()
        self.setDecimals(decimals)
        self.setRange(low, high)
        self.setSuffix(suffix)
        _shape(self, width, tall)


def _shape(field: QAbstractSpinBox, width: int, tall: int) -> None:
    field.setProperty("tall", str(tall))
    field.setFixedSize(width, tall)
    field.lineEdit().setTextMargins(_PADDING, 0, 0, 0)
