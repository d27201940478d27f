"""How strongly the labels lie over the picture: opacity, and Q, which hides them while it is held."""

from __future__ import annotations

import time

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent

from segstudio.ui.canvas.layers import OVERLAY_OPACITY, LabelLayer
from segstudio.ui.remembered import remember_later, settings

_TAP_SECONDS = 0.2


class Overlay(QObject):
    """Sets the opacity of `layer`. `percent` is remembered between starts, `off` is not."""

    changed = Signal(int, bool)  # per cent, hidden

    def __init__(self, layer: LabelLayer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._layer = layer
        self._q_since: float | None = None
        self._was_off = False
        self.off = False
        self.percent = round(float(settings().get("view.overlay", OVERLAY_OPACITY)) * 100)
        self._apply()

    def set_percent(self, percent: int) -> None:
        """Opacity of the labels in per cent; shows them where they are hidden."""
        self.percent = max(0, min(100, percent))
        self.off = False
        remember_later("view.overlay", self.percent / 100)
        self._apply()

    def step(self, by: int) -> None:
        """So many per cent more (or less, where negative)."""
        self.set_percent(self.percent + by)

    def hide(self, off: bool) -> None:
        """Hide or show the labels."""
        self.off = off
        self._apply()

    def toggle(self) -> None:
        """Hide the labels where they are shown, and the other way round."""
        self.hide(not self.off)

    def key_changed(self, event: QKeyEvent, down: bool) -> bool:
        """Q hides while it is held, and toggles where it is only tapped. True where the key is Q."""
        if event.key() != Qt.Key.Key_Q or event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            return False
        if event.isAutoRepeat():
            return True
        if down:
            self._q_since, self._was_off = time.monotonic(), self.off
            self.hide(True)
        elif self._q_since is not None:
            tapped = time.monotonic() - self._q_since < _TAP_SECONDS
            self._q_since = None
            self.hide(not self._was_off if tapped else self._was_off)
        return True

    def _apply(self) -> None:
        self._layer.set_opacity(0.0 if self.off else self.percent / 100)
        self.changed.emit(self.percent, self.off)
