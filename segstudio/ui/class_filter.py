"""The strip's filter "has class": a button with a menu, then a chip with the class and a cross."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QIcon, QMouseEvent, QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QMenu, QSizePolicy, QWidget

from segstudio.runtime.session import ProjectSession
from segstudio.ui import theme
from segstudio.ui.icons import paint_icon
from segstudio.ui.widgets.chip import paint_swatch

_PREFIX = "Has class"


class ClassFilter(QWidget):
    """`changed(class index)`, -1 for no filter. A click opens the classes; a click on the cross clears."""

    changed = Signal(int)

    def __init__(self, session: ProjectSession) -> None:
        super().__init__()
        self._session = session
        self._index = -1
        self.setFixedHeight(24)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Show images that have a class")
        self.setToolTip("Show only images that have a class")
        session.classes_changed.connect(self._classes_changed)
        session.closed.connect(lambda: self.choose(-1))
        theme.appearance().changed.connect(self.update)

    @property
    def index(self) -> int:
        """The class that images must have, -1 for none."""
        return self._index

    def choose(self, index: int) -> None:
        """Filter by a class; -1 shows all."""
        if index != self._index:
            self._index = index
            self.updateGeometry()
            self.update()
            self.changed.emit(index)

    def sizeHint(self) -> QSize:
        metrics = QFontMetrics(theme.font(12))
        entry = self._session.class_of(self._index)
        if entry is None:
            return QSize(28, 24)
        return QSize(
            8 + 20 + metrics.horizontalAdvance(_PREFIX) + 28 + metrics.horizontalAdvance(entry.name) + 32, 24
        )

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def menu(self) -> QMenu:
        """The classes to choose from."""
        menu = QMenu(self)
        for entry in self._session.classes:
            action = menu.addAction(_swatch_icon(QColor(*entry.color)), entry.name)
            action.triggered.connect(lambda _on=False, index=entry.id: self.choose(index))
        return menu

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        if self._index >= 0 and event.position().x() >= self.width() - 26:
            self.choose(-1)
        elif self._session.classes:
            self.menu().popup(self.mapToGlobal(QPoint(0, self.height())))

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        entry = self._session.class_of(self._index)
        if entry is None:
            paint_icon(painter, QRect(7, 5, 14, 14), "filter", "t2")
            painter.end()
            return
        painter.setPen(theme.color("line2"))
        painter.setBrush(theme.color("base"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        paint_icon(painter, QRect(8, 5, 14, 14), "filter", "t2")
        painter.setFont(theme.font(12))
        painter.setPen(theme.color("t1"))
        metrics = painter.fontMetrics()
        flags = int(Qt.AlignmentFlag.AlignVCenter)
        x = 28
        painter.drawText(QRect(x, 0, self.width(), 24), flags, _PREFIX)
        x += metrics.horizontalAdvance(_PREFIX) + 8
        paint_swatch(painter, QRect(x, 5, 14, 14), QColor(*entry.color))
        painter.drawText(QRect(x + 20, 0, self.width(), 24), flags, entry.name)
        paint_icon(painter, QRect(self.width() - 22, 5, 14, 14), "close", "t2")
        painter.end()

    def _classes_changed(self) -> None:
        if self._index >= 0 and self._session.class_of(self._index) is None:
            self.choose(-1)
        self.setVisible(bool(self._session.classes))
        self.updateGeometry()
        self.update()


def _swatch_icon(color: QColor) -> QIcon:
    picture = QPixmap(14, 14)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    paint_swatch(painter, QRect(0, 0, 14, 14), color)
    painter.end()
    return QIcon(picture)
