"""Showing a room without one long painting: its surfaces come into view one a turn, the largest first."""

from __future__ import annotations

from functools import partial

import shiboken6
from PySide6.QtCore import QObject
from PySide6.QtWidgets import QSplitter, QStackedWidget, QWidget

from segstudio.runtime.turns import Turns


class Unveiling(QObject):
    """Paints nothing of a widget in the turn that brought it in, then a surface of it in each."""

    def __init__(self, veil: QWidget) -> None:
        """`veil` is what holds the widget: while it stands still, nobody sees the sizes being found."""
        super().__init__(veil)
        self._veil = veil
        self._turns = Turns(self)

    def begin(self, widget: QWidget) -> None:
        """Call this before the widget becomes visible."""
        self._veil.setUpdatesEnabled(False)
        self._turns.add(partial(self._lift, widget))

    def _lift(self, widget: QWidget) -> None:
        found = surfaces(widget) if shiboken6.isValid(widget) else []
        found.sort(key=lambda each: -each.width() * each.height())
        for surface in found:
            surface.setUpdatesEnabled(False)
            self._turns.add(partial(_show, surface))
        self._veil.setUpdatesEnabled(True)


def _show(surface: QWidget) -> None:
    if shiboken6.isValid(surface):
        surface.setUpdatesEnabled(True)


def surfaces(widget: QWidget) -> list[QWidget]:
    """The visible widgets that a room is made of, as its splitters and stacks divide it."""
    found: list[QWidget] = []
    for child in widget.children():
        if isinstance(child, QWidget) and child.isVisible():
            divided = isinstance(child, (QSplitter, QStackedWidget))
            found += surfaces(child) if divided else [child]
    return found
