"""Showing a room without one long painting: its surfaces come into view one a turn, the largest first."""

from __future__ import annotations

from functools import partial

import shiboken6
from PySide6.QtCore import QObject
from PySide6.QtWidgets import QAbstractItemView, QWidget

from segstudio.runtime.turns import Turns

COVERED = 0.8  # of a widget's area, by the widgets in it: it is their frame, not a picture with marks on it
SMALLEST = 40_000  # pixels: the painting of less is not worth a turn of its own


class Unveiling(QObject):
    """Paints nothing of a widget in the turns that bring it in, then a surface of it in each."""

    def __init__(self, veil: QWidget) -> None:
        """`veil` is what holds the widget: while it stands still, nobody sees the sizes being found."""
        super().__init__(veil)
        self._veil = veil
        self._turns = Turns(self)

    def cover(self) -> None:
        """Paints nothing below the veil until `show` or `lift`."""
        self._veil.setUpdatesEnabled(False)

    def lift(self) -> None:
        """All of what is there, at once."""
        self._veil.setUpdatesEnabled(True)

    def show(self, widget: QWidget) -> None:
        """From the next turn on."""
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
    """The visible widgets, large and without gaps between them, that a widget is divided into; or itself."""
    if isinstance(widget, QAbstractItemView):
        return [widget]
    inside = [child for child in widget.children() if isinstance(child, QWidget) and child.isVisible()]
    covered = sum(_pixels(child) for child in inside)
    if covered < COVERED * _pixels(widget) or _pixels(widget) < 2 * SMALLEST:
        return [widget]
    return [surface for child in inside for surface in surfaces(child)]


def _pixels(widget: QWidget) -> int:
    return widget.width() * widget.height()
