"""One run in words: figures, why it stands still, its command line, and what can be done with it."""

from __future__ import annotations

import shlex
import time

from PySide6.QtCore import Signal
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from segstudio.core.recipe import Recipe
from segstudio.runtime.run_view import RunView
from segstudio.ui import theme
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.labels import ElidedLabel, label

_FACTS = ("Epoch", "Speed", "Loss", "Memory", "Crop, batch", "Left")


class RunDetail(QWidget):
    """Shows one run; its signals carry no name, the room knows which run is in front."""

    pause_wanted = Signal()
    stop_wanted = Signal(str)  # "epoch" or "now"
    start_wanted = Signal()
    clone_wanted = Signal()
    compare_wanted = Signal()
    inside_wanted = Signal()
    segmentation_wanted = Signal()
    folder_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 10, 8, 12)
        column.setSpacing(10)
        grid = QGridLayout()
        grid.setContentsMargins(4, 0, 4, 0)
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(6)
        self._facts: dict[str, QLabel] = {}
        self._names: dict[str, QLabel] = {}
        for index, name in enumerate(_FACTS):
            row, pair = divmod(index, 2)
            self._names[name] = label(name, role="t2", size=12)
            grid.addWidget(self._names[name], row, 2 * pair)
            self._facts[name] = label("–", size=12)
            grid.addWidget(self._facts[name], row, 2 * pair + 1)
        grid.setColumnMinimumWidth(0, 72)
        grid.setColumnMinimumWidth(2, 56)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        column.addLayout(grid)
        self._reason = label("", role="t2", size=12)
        self._reason.setWordWrap(True)
        self._reason.setContentsMargins(4, 0, 4, 0)
        column.addWidget(self._reason)
        self._box = self._command_box()
        column.addWidget(self._box)
        column.addLayout(self._buttons())
        column.addWidget(self._further())

    def _command_box(self) -> QWidget:
        box = QFrame()
        box.setObjectName("Well")
        row = QHBoxLayout(box)
        row.setContentsMargins(8, 2, 4, 2)
        self._command = ElidedLabel("", role="t2", size=12)
        self._command.setFont(theme.mono(11))
        self._copy = IconButton("copy", "Copy the command line\nStarts or resumes this run in a terminal")
        self._copy.clicked.connect(self._copy_command)
        row.addWidget(self._command, 1)
        row.addWidget(self._copy)
        return box

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self.pause = push_button("Pause", icon_name="pause")
        self.pause.setToolTip("Pause\nSaves now and frees memory; Resume goes on exactly here")
        self.stop_epoch = push_button("Stop after epoch", icon_name="clock")
        self.stop_epoch.setToolTip(
            "Stop after epoch\nFinishes the epoch and its validation, then ends the run"
        )
        self.stop_now = push_button("Stop now", icon_name="stop")
        self.stop_now.setToolTip("Stop now\nSaves the weights as they are and ends the run")
        self.start = push_button("Start", icon_name="play")
        self.compare = push_button("Open in Compare", icon_name="compare")
        self.clone = push_button("Clone", icon_name="copy")
        self.clone.setToolTip("Clone\nA new run with this recipe, to change before it starts")
        self.folder = IconButton("project", "Open the run's folder", side=28)
        self.pause.clicked.connect(self.pause_wanted)
        self.stop_epoch.clicked.connect(lambda: self.stop_wanted.emit("epoch"))
        self.stop_now.clicked.connect(lambda: self.stop_wanted.emit("now"))
        self.start.clicked.connect(self.start_wanted)
        self.compare.clicked.connect(self.compare_wanted)
        self.clone.clicked.connect(self.clone_wanted)
        self.folder.clicked.connect(self.folder_wanted)
        for button in (self.pause, self.stop_epoch, self.stop_now, self.start, self.compare, self.clone):
            row.addWidget(button)
        row.addStretch(1)
        row.addWidget(self.folder)
        return row

    def _further(self) -> QWidget:
        """What only weights of pre-training are good for."""
        self._pretrained = QWidget()
        row = QHBoxLayout(self._pretrained)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.inside = push_button("Look inside", icon_name="eye")
        self.inside.setToolTip("Look inside\nHide parts of a picture and see what it makes of them")
        self.segmentation = push_button("Start a segmentation from it", icon_name="train")
        self.segmentation.setToolTip(
            "Start a segmentation from it\nA new run for masks whose backbone begins with its best weights"
        )
        self.inside.clicked.connect(self.inside_wanted)
        self.segmentation.clicked.connect(self.segmentation_wanted)
        row.addWidget(self.inside)
        row.addWidget(self.segmentation)
        row.addStretch(1)
        return self._pretrained

    def show_run(
        self, view: RunView, recipe: Recipe, loss_parts: list[str], *, can_go_on: bool = False
    ) -> None:
        """Everything about a run that is no curve. `can_go_on`: networks for masks begin with its weights."""
        at_work = view.is_active
        now = min(view.epoch + 1, view.epochs) if at_work else view.epoch
        self._facts["Epoch"].setText(f"{now} of {view.epochs}")
        speed = view.images_per_s  # of the last steps, also when it stands still
        self._facts["Speed"].setText("–" if speed is None else f"{speed:.1f} images/s")
        self._facts["Loss"].setText(_loss_words(loss_parts, recipe))
        self._facts["Memory"].setText(_bytes(view.memory))
        self._facts["Crop, batch"].setText(f"{recipe.crop[0]} × {recipe.crop[1]}, {recipe.batch}")
        # What is left is known only while it is at work; afterwards it is worth knowing what it took.
        self._names["Left"].setText("Left" if at_work else "Took")
        self._facts["Left"].setText(duration(view.left_s if at_work else view.seconds or None))
        self._reason.setText(view.reason)
        self._reason.setVisible(bool(view.reason))
        self._fit_reason()
        role = "err" if view.state == "failed" else "t2"
        if self._reason.property("role") != role:
            self._reason.setProperty("role", role)
            self._reason.style().polish(self._reason)
        self._command.setText(f"segstudio train {shlex.quote(str(view.folder.path))}")
        self._box.setVisible(at_work or view.can_resume)  # a finished run is not trained any further
        running = view.state == "running"
        self.pause.setVisible(running)
        self.stop_epoch.setVisible(running)
        self.stop_now.setVisible(running)
        self.start.setVisible(view.can_resume)
        self.start.setText("Start" if view.state == "queued" and not view.epoch else "Resume")
        self.compare.setVisible(not at_work and view.has_best and not view.is_pretraining)
        self._pretrained.setVisible(view.is_pretraining and view.has_best)
        self.segmentation.setVisible(can_go_on)
        self.clone.setVisible(not at_work)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_reason()

    def _fit_reason(self) -> None:
        # A wrapped label asks for one line's height; the lines it grows by would squeeze the figures above.
        margins = self.layout().contentsMargins()
        wide = self.width() - margins.left() - margins.right()
        self._reason.setMinimumHeight(self._reason.heightForWidth(wide) if self._reason.text() else 0)

    def _copy_command(self) -> None:
        QGuiApplication.clipboard().setText(self._command.text())
        self._copy.show_icon("check", role="ok")

    def leaveEvent(self, event: object) -> None:
        self._copy.show_icon("copy")


def started_words(view: RunView) -> str:
    """ "started 06:02", with the date when that was not today."""
    if not view.created:
        return ""
    then = time.localtime(view.created)
    today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", then)
    return "made " + time.strftime("%H:%M" if today else "%d %b, %H:%M", then)


def duration(seconds: float | None) -> str:
    """ "2 h 01 min", "14 min", "50 s"."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _loss_words(parts: list[str], recipe: Recipe) -> str:
    if recipe.task == "pretraining":
        return ", ".join(name.rpartition(".")[2].removeprefix("loss_").replace("_", " ") for name in parts)
    kind = "OHEM" if recipe.ohem < 1 else "CE"
    auxiliary = sum(name.startswith("aux") for name in parts)
    others = len(parts) - auxiliary - 1
    words = kind + (" + aux" if auxiliary else "") + (f" + {others} more" if others > 0 else "")
    return words + (", weighted" if recipe.class_weights != "none" else "")


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count else "–"
