"""The 14 px icon of a state in a row of a table or list."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter

from segstudio.ui.icons import paint_icon


def paint_state(painter: QPainter, rect: QRectF, name: str, role: str) -> None:
    """A 14 px state icon, vertically centred at the left of `rect`."""
    box = rect.toRect()
    box.setSize(box.size().scaled(14, 14, Qt.AspectRatioMode.IgnoreAspectRatio))
    box.moveTop(round(rect.center().y()) - 7)
    paint_icon(painter, box, name, role)
