"""The panes side by side, every border movable, one of them maximised when wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QSplitter, QSplitterHandle, QVBoxLayout, QWidget

COLUMNS = {1: 1, 2: 2, 3: 2, 4: 2, 5: 3, 6: 3, 7: 3, 8: 3, 9: 3}


class PaneGrid(QWidget):
    """Lays out up to nine widgets in rows; equal sizes until somebody moves a border."""

    def __init__(self) -> None:
        super().__init__()
        self._panes: list[QWidget] = []
        self._maximised: QWidget | None = None
        self._rows: QSplitter | None = None
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)

    @property
    def maximised(self) -> QWidget | None:
        return self._maximised

    def set_panes(self, panes: Sequence[QWidget]) -> Iterator[None]:
        """Shows these widgets in order, from yield to yield one more of them.

        Widgets that are no longer listed are only taken out.
        """
        if list(panes) == self._panes:
            return
        for pane in self._panes:
            if pane not in panes:
                pane.hide()
                pane.setParent(None)
        self._panes = list(panes)
        if self._maximised not in self._panes:
            self._maximised = None
        yield from self._arrange()

    def maximise(self, pane: QWidget | None) -> None:
        """Shows one pane alone, or all again."""
        self._maximised = None if pane is self._maximised else pane
        self._show_wanted()

    def even_out(self) -> None:
        """Gives all panes of a row, and all rows, the same size."""
        if self._rows is None:
            return
        self._rows.setSizes([1000] * self._rows.count())
        for index in range(self._rows.count()):
            row = self._rows.widget(index)
            if isinstance(row, QSplitter):
                row.setSizes([1000] * row.count())

    def _arrange(self) -> Iterator[None]:
        before, self._rows = self._rows, _Splitter(Qt.Orientation.Vertical, self)
        self._column.addWidget(self._rows)
        columns = COLUMNS.get(len(self._panes), 3)
        for start in range(0, len(self._panes), columns):
            row = _Splitter(Qt.Orientation.Horizontal, self)
            self._rows.addWidget(row)
            for pane in self._panes[start : start + columns]:
                row.addWidget(pane)
                yield
        if before is not None:
            self._column.removeWidget(before)
            before.deleteLater()
        self.even_out()
        self._show_wanted()

    def _show_wanted(self) -> None:
        for pane in self._panes:
            pane.setVisible(self._maximised in (None, pane))
        if self._rows is None:
            return
        for index in range(self._rows.count()):
            row = self._rows.widget(index)
            if isinstance(row, QSplitter):
                inside = [row.widget(i) for i in range(row.count())]
                row.setVisible(self._maximised is None or self._maximised in inside)


class _Splitter(QSplitter):
    def __init__(self, orientation: Qt.Orientation, grid: PaneGrid) -> None:
        super().__init__(orientation)
        self.grid = grid
        self.setHandleWidth(2)
        self.setChildrenCollapsible(False)

    def createHandle(self) -> QSplitterHandle:
        return _Handle(self.orientation(), self)


class _Handle(QSplitterHandle):
    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        splitter = self.splitter()
        if isinstance(splitter, _Splitter):
            splitter.grid.even_out()
