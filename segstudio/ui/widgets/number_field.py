"""A number with its unit in a field, without arrows; wheel and arrow keys step it."""

from __future__ import annotations

from PySide6.QtWidgets import QSpinBox


class NumberField(QSpinBox):
    """Whole numbers from `low` to `high`; tells its value when the person is done typing."""

    def __init__(self, low: int, high: int, *, suffix: str = "", width: int = 72, tall: int = 28) -> None:
        super().__init__()
        self.setRange(low, high)
        self.setSuffix(suffix)
        self.setFixedSize(width, tall)
        self.setKeyboardTracking(False)
        self.lineEdit().setTextMargins(6, 0, 0, 0)
