"""The chip over the proposed region in hand: class, confidence, size, and its two answers."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter

from segstudio.ui import theme
from segstudio.ui.widgets.chip import paint_swatch

_HEIGHT, _PILL = 30, 20
_ACCEPT, _REJECT = "Accept Y", "Reject N"


@dataclass(frozen=True, slots=True)
class GhostChip:
    """What is said, and the region's rectangle in image pixels."""

    text: str
    color: QColor
    region: QRectF

    def place(self, region: QRectF, view: QSize) -> QRect:
        """Above `region` (view pixels), kept inside the view."""
        metrics = QFontMetrics(theme.font(12))
        width = 8 + 20 + metrics.horizontalAdvance(self.text) + 8
        width += sum(metrics.horizontalAdvance(word) + 16 + 6 for word in (_ACCEPT, _REJECT)) + 2
        left = min(max(8.0, region.center().x() - width / 2), max(8.0, view.width() - width - 8.0))
        top = region.top() - _HEIGHT - 6
        if top < 8:
            top = min(region.bottom() + 6, view.height() - _HEIGHT - 8.0)
        return QRect(round(left), round(max(8.0, top)), width, _HEIGHT)

    def paint(self, painter: QPainter, box: QRect) -> None:
        """Draw the chip into `box` as `place` gave it."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("chip"))
        painter.drawRoundedRect(QRectF(box), 4, 4)
        paint_swatch(painter, QRect(box.left() + 8, box.center().y() - 6, 14, 14), self.color)
        painter.setFont(theme.font(12))
        painter.setPen(theme.color("chip_text"))
        flags = int(Qt.AlignmentFlag.AlignVCenter)
        painter.drawText(box.adjusted(28, 0, 0, 0), flags, self.text)
        accept, reject = self.answers(box)
        for pill, word, ground in ((accept, _ACCEPT, "accent_fill"), (reject, _REJECT, "chip_button")):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color(ground))
            painter.drawRoundedRect(QRectF(pill), 3, 3)
            painter.setPen(theme.color("on_accent" if ground == "accent_fill" else "chip_text"))
            painter.drawText(pill, int(Qt.AlignmentFlag.AlignCenter), word)

    def answers(self, box: QRect) -> tuple[QRect, QRect]:
        """Where "Accept" and "Reject" lie in a chip at `box`."""
        metrics = QFontMetrics(theme.font(12))
        widths = [metrics.horizontalAdvance(word) + 16 for word in (_ACCEPT, _REJECT)]
        top = box.center().y() - _PILL // 2 + 1
        reject = QRect(box.right() - 5 - widths[1], top, widths[1], _PILL)
        accept = QRect(reject.left() - 6 - widths[0], top, widths[0], _PILL)
        return accept, reject

    def answer_at(self, box: QRect, point: QPointF) -> str:
        """ "accept", "reject", "chip" (elsewhere on it) or "" (beside it)."""
        accept, reject = self.answers(box)
        at = point.toPoint()
        if accept.contains(at):
            return "accept"
        if reject.contains(at):
            return "reject"
        return "chip" if box.contains(at) else ""
