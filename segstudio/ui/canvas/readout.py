"""What is written over a picture: the cursor cross, chips, their metrics and painting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen, QRegion

from segstudio.ui import theme

GAP = 9
"""View pixels left free round the pixel under the pointer."""

_HEIGHT = 22
_MARGIN = 8


@dataclass(frozen=True, slots=True)
class Readout:
    """One line over a picture: swatch, class, value, detail, and whether it agrees with the reference."""

    title: str
    color: tuple[int, int, int] | None = None
    value: str = ""
    detail: str = ""
    verdict: bool | None = None


@lru_cache(maxsize=1)
def _fonts() -> tuple[QFont, QFont]:
    """The chip's regular and semibold font."""
    return theme.font(12), theme.font(12, 600)


@lru_cache(maxsize=512)
def chip_size(readout: Readout) -> QSize:
    """How large a chip is, in logical pixels."""
    regular, bold = (QFontMetrics(each) for each in _fonts())
    width = bold.horizontalAdvance(readout.title)
    width += 20 if readout.color is not None else 0
    for text in (readout.value, readout.detail):
        width += 6 + regular.horizontalAdvance(text) if text else 0
    width += 20 if readout.verdict is not None else 0
    return QSize(width + 16, _HEIGHT)


def paint_chip(painter: QPainter, readout: Readout, corner: QPointF) -> QRect:
    """Paints the chip with its bottom right corner at `corner`; gives the rectangle it covers."""
    size = chip_size(readout)
    area = QRectF(corner.x() - size.width(), corner.y() - size.height(), size.width(), size.height())
    regular, bold = _fonts()
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color("chip"))
    painter.drawRoundedRect(area, 4, 4)
    x = area.x() + 8
    if readout.color is not None:
        swatch = QRectF(round(x) + 0.5, round(area.y() + 4) + 0.5, 13, 13)
        painter.setPen(QPen(QColor(0, 0, 0, 90), 1))
        painter.setBrush(QColor(*readout.color))
        painter.drawRoundedRect(swatch, 3, 3)
        x += 20
    for text, chosen, role in (
        (readout.title, bold, "chip_text"),
        (readout.value, regular, "chip_text"),
        (readout.detail, regular, "chip_detail"),
    ):
        if text:
            painter.setFont(chosen)
            painter.setPen(theme.color(role))
            width = QFontMetrics(chosen).horizontalAdvance(text)
            painter.drawText(
                QRectF(x, area.y(), width + 2, area.height()), Qt.AlignmentFlag.AlignVCenter, text
            )
            x += width + 6
    if readout.verdict is not None:
        _paint_verdict(painter, readout.verdict, QPointF(x, area.y() + 4))
    painter.restore()
    return area.toAlignedRect()


def chip_rect(readout: Readout, view: QSize) -> QRect:
    """Where the read-out of a view lies: bottom right."""
    size = chip_size(readout)
    return QRect(
        view.width() - _MARGIN - size.width() - 1,
        view.height() - _MARGIN - size.height() - 1,
        size.width() + 2,
        size.height() + 2,
    )


def chip_corner(view: QSize) -> QPointF:
    return QPointF(view.width() - _MARGIN, view.height() - _MARGIN)


def _paint_verdict(painter: QPainter, right: bool, corner: QPointF) -> None:
    pen = QPen(theme.color("chip_ok" if right else "chip_err"), 1.8)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    x, y = corner.x(), corner.y()
    if right:
        painter.drawPolyline([QPointF(x + 3, y + 7), QPointF(x + 6, y + 10.5), QPointF(x + 12, y + 3.5)])
    else:
        painter.drawLine(QPointF(x + 3.5, y + 3.5), QPointF(x + 10.5, y + 10.5))
        painter.drawLine(QPointF(x + 10.5, y + 3.5), QPointF(x + 3.5, y + 10.5))


def cross_region(pixel: QRectF, view: QRect) -> QRegion:
    """What the cross through `pixel` (view pixels) covers."""
    center = pixel.center().toPoint()
    return QRegion(QRect(view.left(), center.y() - 2, view.width(), 5)) | QRegion(
        QRect(center.x() - 2, view.top(), 5, view.height())
    )


def paint_cross(painter: QPainter, pixel: QRectF, view: QRect) -> None:
    """1 px white over 3 px black at 55 %, free of the pixel under the pointer by 9 px on each side."""
    center = pixel.center().toPoint()
    left, right = round(pixel.left()) - GAP, round(pixel.right()) + GAP
    top, bottom = round(pixel.top()) - GAP, round(pixel.bottom()) + GAP
    for color, wide in ((QColor(0, 0, 0, 140), 1), (QColor(255, 255, 255), 0)):
        thick = 1 + 2 * wide
        y, x = center.y() - wide, center.x() - wide
        painter.fillRect(QRect(view.left(), y, left - view.left(), thick), color)
        painter.fillRect(QRect(right, y, view.right() + 1 - right, thick), color)
        painter.fillRect(QRect(x, view.top(), thick, top - view.top()), color)
        painter.fillRect(QRect(x, bottom, thick, view.bottom() + 1 - bottom), color)
