"""A panel over the window that goes when something else is clicked or Esc is pressed."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QRect, Qt
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget


class Overlay(QWidget):
    """Dims the window a little and holds `panel`, `width` wide, `top` pixels below the window's top."""

    def __init__(self, window: QWidget, *, width: int, top: int = 96) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._width, self._top = width, top
        self._before = window.focusWidget()
        self.panel = QFrame(self)
        self.panel.setObjectName("Palette")
        self.column = QVBoxLayout(self.panel)
        self.column.setContentsMargins(1, 1, 1, 1)
        self.column.setSpacing(0)
        window.installEventFilter(self)
        self._place()
        self.raise_()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def refit(self) -> None:
        """The panel's content changed its height."""
        self._place()

    def _place(self) -> None:
        window = self.parentWidget()
        self.setGeometry(window.rect())
        width = min(self._width, window.width() - 32)
        self.panel.setFixedWidth(width)
        height = min(self.panel.sizeHint().height(), window.height() - self._top - 24)
        self.panel.setGeometry(QRect((window.width() - width) // 2, self._top, width, height))

    def showEvent(self, event: object) -> None:
        self._place()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(0, 0, 0, 60))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if not self.panel.geometry().contains(event.position().toPoint()):
            self.leave()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.leave()
        else:
            super().keyPressEvent(event)

    def leave(self) -> None:
        """Close and give the focus back."""
        before = self._before
        self.close()
        if before is not None and before.isVisible():
            before.setFocus(Qt.FocusReason.OtherFocusReason)
