"""A 6 px progress bar: accent while working, warn while cancelling, a moving part when the end is unknown."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, QTimerEvent
from PySide6.QtGui import QHideEvent, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from segstudio.ui import theme


class ProgressBar(QWidget):
    """`set_fraction(0.0-1.0)`, or None where nobody knows how long it takes."""

    def __init__(self) -> None:
        super().__init__()
        self._fraction: float | None = 0.0
        self._role = "accent"
        self._phase = 0.0
        self._timer = 0
        self.setFixedHeight(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.appearance().changed.connect(self.update)

    def set_fraction(self, fraction: float | None) -> None:
        """Show how much is done."""
        self._fraction = fraction
        self._tick()
        self.update()

    def set_role(self, role: str) -> None:
        """Colour token of the done part: accent, warn, err or ok."""
        self._role = role
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(120, 6)

    def showEvent(self, event: QShowEvent) -> None:
        self._tick()
        super().showEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        self._tick()
        super().hideEvent(event)

    def timerEvent(self, _event: QTimerEvent) -> None:
        self._phase = (self._phase + 0.02) % 1.3
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("line2"))
        painter.drawRoundedRect(QRectF(self.rect()), 3, 3)
        painter.setBrush(theme.color(self._role))
        width = self.width()
        if self._fraction is None:
            left = max(0.0, (self._phase - 0.3) * width)
            right = min(float(width), self._phase * width)
            painter.drawRoundedRect(QRectF(left, 0, max(0.0, right - left), 6), 3, 3)
        elif self._fraction > 0:
            painter.drawRoundedRect(QRectF(0, 0, max(6.0, min(1.0, self._fraction) * width), 6), 3, 3)
        painter.end()

    def _tick(self) -> None:
        wanted = self._fraction is None and self.isVisible()
        if wanted and not self._timer:
            self._timer = self.startTimer(33)
        elif not wanted and self._timer:
            self.killTimer(self._timer)
            self._timer = 0
