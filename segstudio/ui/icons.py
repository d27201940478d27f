"""One line-icon set, drawn in the colour of a token at the moment of painting.

The files in resources/icons lie on a 24-unit grid; the stroke gets heavier as the icon gets smaller so that
all sizes look like one weight. Because the engine asks the theme when it paints, a change of theme needs no
new icons.
"""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QByteArray, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QIconEngine, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from segstudio.core.resources import resource
from segstudio.ui import theme


def icon(name: str, size: int = 18, role: str = "t2", *, on: str | None = None) -> QIcon:
    """A live icon: `role` at rest, t1 under the pointer, `on` (default accent) when checked.

    `size` fixes the stroke (14: 2, 18: 1.6, 22: 1.5 units). Raises FileNotFoundError for an unknown name.
    """
    _source(name)
    return QIcon(_LineIcon(name, size, role, on or "accent"))


def pixmap(name: str, size: int = 18, role: str = "t2", ratio: float = 1.0) -> QPixmap:
    """The icon as pixels for own painting; cached per colour and device pixel ratio."""
    return _pixmap(name, size, theme.color(role).rgba(), ratio, _stroke(size))


def paint_icon(painter: QPainter, rect: QRect, name: str, role: str = "t2") -> None:
    """Draw the icon into the square `rect` in the colour of a token."""
    ratio = painter.device().devicePixelRatioF()
    painter.drawPixmap(rect.topLeft(), pixmap(name, rect.width(), role, ratio))


def paint_logo(painter: QPainter, rect: QRect) -> None:
    """The mark of the application, three regions that meet, in the colours of the theme."""
    side = rect.width() / 16
    for x, y, width, height, role in ((0, 0, 9, 7, "accent"), (9, 0, 7, 12, "t3"), (0, 7, 9, 9, "t2")):
        region = QRectF(rect.x() + x * side, rect.y() + y * side, width * side, height * side)
        painter.fillRect(region, theme.color(role))


def application_icon() -> QIcon:
    """The mark on a dark ground, for the window's frame and the task bar."""
    result = QIcon()
    for side in (16, 32, 64, 256):
        picture = QPixmap(side, side)
        picture.fill(QColor("#232323"))
        margin = side // 8
        painter = QPainter(picture)
        paint_logo(painter, QRect(margin, margin, side - 2 * margin, side - 2 * margin))
        painter.end()
        result.addPixmap(picture)
    return result


class _LineIcon(QIconEngine):
    def __init__(self, name: str, size: int, role: str, on: str) -> None:
        super().__init__()
        self._name, self._size, self._role, self._on = name, size, role, on

    def clone(self) -> QIconEngine:
        return _LineIcon(self._name, self._size, self._role, self._on)

    def actualSize(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QSize:
        return size

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        side = min(rect.width(), rect.height())
        ratio = painter.device().devicePixelRatioF()
        drawn = _pixmap(self._name, side, self._color(mode, state).rgba(), ratio, _stroke(self._size))
        offset = QPoint((rect.width() - side) // 2, (rect.height() - side) // 2)
        painter.drawPixmap(rect.topLeft() + offset, drawn)

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        side = min(size.width(), size.height())
        return _pixmap(self._name, side, self._color(mode, state).rgba(), 1.0, _stroke(self._size))

    def _color(self, mode: QIcon.Mode, state: QIcon.State) -> QColor:
        if mode == QIcon.Mode.Disabled:
            return theme.color("disabled")
        if state == QIcon.State.On:
            return theme.color(self._on)
        if mode == QIcon.Mode.Active and self._role in ("t2", "t3"):
            return theme.color("t1")
        return theme.color(self._role)


def _stroke(size: int) -> float:
    if size <= 15:
        return 2.0
    return 1.6 if size <= 20 else 1.5


@lru_cache(maxsize=256)
def _source(name: str) -> str:
    return resource("icons", f"{name}.svg").read_text(encoding="utf-8")


@lru_cache(maxsize=1024)
def _pixmap(name: str, side: int, rgba: int, ratio: float, stroke: float) -> QPixmap:
    ink = QColor.fromRgba(rgba)
    text = _source(name).replace("currentColor", ink.name()).replace('"1.6"', f'"{stroke}"')
    renderer = QSvgRenderer(QByteArray(text.encode()))
    result = QPixmap(round(side * ratio), round(side * ratio))
    result.setDevicePixelRatio(ratio)
    result.fill(Qt.GlobalColor.transparent)
    painter = QPainter(result)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setOpacity(ink.alphaF())
    renderer.render(painter, QRectF(0, 0, side, side))
    painter.end()
    return result
