"""A slider with a 4 px groove and a 14 px knob; a click goes where it points."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QSlider

from segstudio.ui import theme

_KNOB = 14


class Slider(QSlider):
    """Horizontal, integer values from `low` to `high`."""

    def __init__(self, low: int, high: int, value: int, *, width: int = 120, name: str = "") -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setRange(low, high)
        self.setValue(value)
        self.setFixedWidth(width)
        self.setFixedHeight(20)
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        theme.appearance().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(self.width(), 20)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        middle = self.height() / 2
        x = self._position()
        painter.setBrush(theme.color("line2"))
        painter.drawRoundedRect(QRectF(0, middle - 2, self.width(), 4), 2, 2)
        painter.setBrush(theme.color("accent" if self.isEnabled() else "disabled"))
        painter.drawRoundedRect(QRectF(0, middle - 2, x, 4), 2, 2)
        painter.setBrush(theme.color("bar"))
        painter.drawEllipse(QRectF(x - _KNOB / 2, middle - _KNOB / 2, _KNOB, _KNOB))
        painter.setBrush(theme.color("t1" if self.isEnabled() else "disabled"))
        painter.drawEllipse(QRectF(x - _KNOB / 2 + 2, middle - _KNOB / 2 + 2, _KNOB - 4, _KNOB - 4))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self.setValue(self._value_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self.setValue(self._value_at(event.position().x()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)

    def wheelEvent(self, event: QWheelEvent) -> None:
        step = 1 if event.angleDelta().y() > 0 else -1
        self.setValue(self.value() + step * max(1, self.pageStep() // 4))
        event.accept()

    def _position(self) -> float:
        share = (self.value() - self.minimum()) / max(1, self.maximum() - self.minimum())
        return _KNOB / 2 + share * (self.width() - _KNOB)

    def _value_at(self, x: float) -> int:
        share = (x - _KNOB / 2) / max(1, self.width() - _KNOB)
        return round(self.minimum() + min(1.0, max(0.0, share)) * (self.maximum() - self.minimum()))
