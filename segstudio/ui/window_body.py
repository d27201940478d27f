"""What lies between rail and status bar: the pages, and the job drawer at their right."""

from __future__ import annotations

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from segstudio.ui.job_drawer import WIDTH, JobDrawer

_PUSHES_FROM = 1336  # a narrower body lets the drawer lie over the room


class WindowBody(QFrame):
    """The drawer pushes the pages aside where there is room for both."""

    def __init__(self, pages: QWidget, drawer: JobDrawer) -> None:
        super().__init__()
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self._row.addWidget(pages)
        self._drawer = drawer
        drawer.setParent(self)
        drawer.hide()

    def toggle_drawer(self) -> bool:
        """Show or hide the drawer; whether it is shown now."""
        shown = self._drawer.isHidden()
        self._drawer.setVisible(shown)
        self._place()
        return shown

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def _place(self) -> None:
        shown = not self._drawer.isHidden()
        self._row.setContentsMargins(0, 0, WIDTH if shown and self.width() >= _PUSHES_FROM else 0, 0)
        self._drawer.setGeometry(self.width() - WIDTH, 0, WIDTH, self.height())
        if shown:
            self._drawer.raise_()
