"""The choice of a second run whose curves are drawn dashed beside those of the run in front."""

from __future__ import annotations

from PySide6.QtCore import QObject, QPoint, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMenu

from segstudio.runtime.run_history import RunHistory
from segstudio.runtime.run_view import RunView
from segstudio.runtime.runs import Runs
from segstudio.ui.widgets.buttons import push_button


class RunComparison(QObject):
    """A button with a menu of the other runs; the choice stays while runs come to the front and go."""

    changed = Signal()

    def __init__(self, runs: Runs) -> None:
        super().__init__(runs)
        self._runs = runs
        self._front = ""
        self._chosen = ""
        self.menu: QMenu | None = None
        self.button = push_button("Compare", tall=24, icon_name="compare")
        self.button.setToolTip("Compare\nDraws the curves of a second run, dashed, beside this one's")
        self.button.setCheckable(True)
        self.button.clicked.connect(self._open)
        self.button.hide()

    def show_front(self, name: str) -> tuple[RunView, RunHistory] | None:
        """Tells which run is in front; returns the one to draw beside it, if there is one."""
        self._front = name
        others = self._others()
        self.button.setVisible(bool(others))
        found = next((view for view in others if view.name == self._chosen), None)
        self.button.setChecked(found is not None)
        return (found, self._runs.history(found.name)) if found is not None else None

    @property
    def chosen(self) -> str:
        """The name of the chosen run, "" for none."""
        return self._chosen

    def choose(self, name: str) -> None:
        """Compares with this run from now on; "" ends comparing."""
        self._chosen = name
        self.changed.emit()

    def _others(self) -> list[RunView]:
        """Runs of the same kind that have told something which can be drawn."""
        front = self._runs.view(self._front)
        if front is None:
            return []
        return [
            view
            for view in self._runs.views
            if view.name != self._front
            and view.task == front.task
            and len(self._runs.history(view.name).loss.steps)
        ]

    def _open(self) -> None:
        compared = self.show_front(self._front)  # a press on the button alone changes nothing
        menu = QMenu(self.button)
        group = QActionGroup(menu)
        self._add(menu, group, "Nothing", "", compared is None)
        menu.addSeparator()
        for view in self._others():
            best = f" · {view.best_words}" if view.best_words else ""
            words = f"Run {view.number} · {view.title}{best}"
            self._add(menu, group, words, view.name, compared is not None and compared[0].name == view.name)
        menu.aboutToHide.connect(menu.deleteLater)
        self.menu = menu
        menu.popup(self.button.mapToGlobal(QPoint(0, self.button.height() + 2)))

    def _add(self, menu: QMenu, group: QActionGroup, words: str, name: str, on: bool) -> None:
        action = QAction(words.replace("&", "&&"), menu, checkable=True, checked=on)
        action.triggered.connect(lambda: self.choose(name))
        group.addAction(action)
        menu.addAction(action)
