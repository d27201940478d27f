"""What is written over an image: dark chips with light words, the same in both themes."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QFontMetrics, QPainter

from segstudio.ui import theme

_HEIGHT = 22


def chip_width(text: str, *, detail: str = "", swatch: bool = False) -> int:
    """Width in pixels that `paint_chip` needs."""
    width = 16 + QFontMetrics(theme.font(12)).horizontalAdvance(text) + (20 if swatch else 0)
    if detail:
        width += 6 + QFontMetrics(theme.font(12)).horizontalAdvance(detail)
    return width


def paint_chip(
    painter: QPainter,
    top_left: QPoint,
    text: str,
    *,
    swatch: QColor | None = None,
    detail: str = "",
) -> QRect:
    """Draw a chip and return the rectangle it covers (22 px high)."""
    box = QRect(
        top_left.x(), top_left.y(), chip_width(text, detail=detail, swatch=swatch is not None), _HEIGHT
    )
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color("chip"))
    painter.drawRoundedRect(QRectF(box), 4, 4)
    x = box.left() + 8
    if swatch is not None:
        paint_swatch(painter, QRect(x, box.center().y() - 6, 14, 14), swatch)
        x += 20
    painter.setFont(theme.font(12))
    painter.setPen(theme.color("chip_text"))
    painter.drawText(QRect(x, box.top(), box.right() - x, _HEIGHT), int(_LEFT), text)
    if detail:
        x += QFontMetrics(theme.font(12)).horizontalAdvance(text) + 6
        painter.setPen(theme.color("chip_detail"))
        painter.drawText(QRect(x, box.top(), box.right() - x, _HEIGHT), int(_LEFT), detail)
    painter.restore()
    return box


def paint_swatch(painter: QPainter, rect: QRect, color: QColor | None) -> None:
    """A 14x14 class swatch with a dark rim; None draws the grey hatch of "unlabelled"."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(theme.color("swatch_rim"))
    if color is None:
        painter.setBrush(QColor("#4A4A4A"))
        painter.drawRoundedRect(QRectF(rect).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
        painter.setBrush(QBrush(QColor("#9A9A9A"), Qt.BrushStyle.BDiagPattern))
    else:
        painter.setBrush(color)
    painter.drawRoundedRect(QRectF(rect).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
    painter.restore()


_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
