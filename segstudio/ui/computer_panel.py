"""What this computer can do, as the first page tells it: processor, GPU, disk, and networks ready to run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QBoxLayout, QGridLayout, QLabel, QVBoxLayout, QWidget

from segstudio.ui import theme
from segstudio.ui.icons import paint_icon
from segstudio.ui.widgets.card import Card
from segstudio.ui.widgets.labels import ElidedLabel, label
from segstudio.ui.widgets.mark import IconMark
from segstudio.ui.widgets.numbers import grouped

if TYPE_CHECKING:
    from segstudio.runtime.model_shelf import ModelShelf
    from segstudio.runtime.runnable_models import RunnableModel

_MOST_MODELS = 4
_ORIGINS = {
    "demo": "included",
    "run": "trained here",
    "file": "opened by hand",
    "checkpoint": "published",
}


class ComputerPanel(Card):
    """What this computer can do; rows fill in as they become known."""

    def __init__(self) -> None:
        super().__init__()
        self._sides = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._sides.setSpacing(40)
        left = QVBoxLayout()
        left.setSpacing(8)
        left.addWidget(label("What this computer can do", strong=600))
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(12)
        self._grid.setColumnMinimumWidth(1, 128)
        self._grid.setColumnStretch(2, 1)
        left.addLayout(self._grid)
        left.addStretch(1)
        self._values: dict[str, tuple[ElidedLabel, _State]] = {}
        for row, (name, icon) in enumerate(
            (("Processor", "chip"), ("GPU", "chip"), ("Free disk", "disk"), ("Model files", "model"))
        ):
            value, state = ElidedLabel(""), _State()
            self._grid.addWidget(IconMark(icon, 18), row, 0)
            self._grid.addWidget(label(name, role="t2"), row, 1)
            self._grid.addWidget(value, row, 2)
            self._grid.addWidget(state, row, 3)
            self._values[name] = (value, state)
        self._sides.addLayout(left, 1)
        self._models = QGridLayout()
        self._models.setHorizontalSpacing(16)
        self._models.setVerticalSpacing(8)
        self._models.setColumnStretch(0, 2)
        self._models.setColumnStretch(1, 1)
        self._rows: list[tuple[ElidedLabel, QLabel, QLabel]] = []
        self._right = QWidget()
        right = QVBoxLayout(self._right)
        right.setContentsMargins(0, 0, 0, 0)
        right.addLayout(self._models)
        right.addStretch(1)
        self._right.hide()
        self._sides.addWidget(self._right, 1)
        self.column.addLayout(self._sides)
        self._set("Processor", _processor(), "ok", "usable")
        self._set("GPU", "looking…", "", "")
        self._set("Model files", "looking…", "", "")

    def stack(self, stacked: bool) -> None:
        """Put the right half below the left one where there is no room beside it."""
        direction = QBoxLayout.Direction.TopToBottom if stacked else QBoxLayout.Direction.LeftToRight
        self._sides.setDirection(direction)
        self._sides.setSpacing(12 if stacked else 40)
        self._grid.setVerticalSpacing(8 if stacked else 12)
        self._models.setVerticalSpacing(4 if stacked else 8)

    def show_disk(self, folder: Path) -> None:
        """Room in the folder where projects without a writable folder of their own lie."""
        free = shutil.disk_usage(folder).free / 1e9
        plenty = free > 5
        self._set("Free disk", f"{grouped(free)} GB", "ok" if plenty else "warn", "")
        self._values["Free disk"][1].show_state("ok" if plenty else "warn", "enough" if plenty else "little")

    def show_devices(self, devices: list[dict[str, object]]) -> None:
        """What the worker found; entries have `id` ("cuda:0", "mps", "cpu"), `title`, `memory` (bytes)."""
        found = [entry for entry in devices if entry.get("id") != "cpu"]
        if not found:
            self._set("GPU", "none found: networks run on the processor", "info", "not needed")
            return
        first = found[0]
        memory = first.get("memory")
        words = str(first.get("title", "GPU"))
        if isinstance(memory, (int, float)) and memory:
            words += f" · {memory / 1e9:.0f} GB"
        self._set("GPU", words, "ok", "usable")

    def show_models(self, shelf: ModelShelf) -> None:
        """Which networks can run at once."""
        runnable = shelf.runnable
        families = len({spec.family for spec in shelf.specs})
        if runnable:
            words = f"{len(runnable)} ready to run, {families} families to train"
            self._set("Model files", words, "ok", "usable")
        elif families:
            self._set("Model files", f"{families} families, none with weights yet", "warn", "add or train")
        self._list_models(runnable)

    def _list_models(self, runnable: tuple[RunnableModel, ...]) -> None:
        for row in range(len(self._rows), min(len(runnable), _MOST_MODELS)):
            self._rows.append(self._add_row(row + 1))
        for row, widgets in enumerate(self._rows):
            for widget in widgets:
                widget.setVisible(row < len(runnable))
        for (title, origin, count), model in zip(self._rows, runnable, strict=False):
            title.setText(model.title)
            origin.setText(_ORIGINS.get(model.origin, "plugin"))
            count.setText(str(len(model.class_names) or "–"))
        self._right.setVisible(bool(runnable))

    def _add_row(self, row: int) -> tuple[ElidedLabel, QLabel, QLabel]:
        """Made once: the list is told anew each time the shelf learned something."""
        if row == 1:
            for place, words in enumerate(("Ready to run here", "Weights", "Classes")):
                head = label(words, role="t2", size=11, strong=500)
                self._models.addWidget(head, 0, place)
                if place == 2:
                    head.setAlignment(Qt.AlignmentFlag.AlignRight)
        title = ElidedLabel("", size=12)
        origin, count = label("", role="t2", size=12), label("", size=12)
        count.setAlignment(Qt.AlignmentFlag.AlignRight)
        for place, widget in enumerate((title, origin, count)):
            self._models.addWidget(widget, row, place)
        return title, origin, count

    def _set(self, name: str, value: str, role: str, word: str) -> None:
        words, state = self._values[name]
        words.setText(value)
        words.update()
        state.show_state(role, word)


class _State(QWidget):
    _ICONS = {"ok": "check", "warn": "warning", "info": "info", "": ""}

    def __init__(self) -> None:
        super().__init__()
        self._role, self._word = "", ""
        self.setFixedSize(112, 18)

    def show_state(self, role: str, word: str) -> None:
        self._role, self._word = role, word
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not self._word:
            return
        painter = QPainter(self)
        role = "t2" if self._role == "info" else self._role
        painter.setFont(theme.font(12))
        width = painter.fontMetrics().horizontalAdvance(self._word)
        x = self.width() - width - 1
        paint_icon(painter, QRect(x - 18, 2, 14, 14), self._ICONS[self._role] or "check", role or "t2")
        painter.setPen(theme.color(role or "t2"))
        painter.drawText(QRect(x, 0, width + 2, 18), int(Qt.AlignmentFlag.AlignVCenter), self._word)
        painter.end()


def _processor() -> str:
    cores = os.cpu_count() or 1
    words = f"{cores} core" if cores == 1 else f"{cores} cores"
    memory = _total_memory()
    return words if memory is None else f"{words} · {memory / 1e9:.0f} GB memory"


def _total_memory() -> int | None:
    """Bytes of main memory, None where the system does not tell."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
