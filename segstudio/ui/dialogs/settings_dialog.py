"""Settings: the look, and where SegStudio keeps its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QDialog, QGridLayout, QHBoxLayout, QVBoxLayout

from segstudio.core.settings import config_folder, data_folder, log_folder, plugin_folder
from segstudio.ui import theme
from segstudio.ui.engines import offered_precisions
from segstudio.ui.remembered import settings
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.labels import ElidedLabel, label, rule
from segstudio.ui.widgets.segmented import SegmentedControl
from segstudio.ui.window_actions import use_theme

if TYPE_CHECKING:
    from segstudio.ui.main_window import MainWindow

_THEMES: tuple[theme.Choice, ...] = ("system", "light", "dark")


class SettingsDialog(QDialog):
    """Every change acts at once; there is nothing to confirm."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self.setWindowTitle("Settings – SegStudio")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFixedWidth(560)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 16)
        column.setSpacing(12)
        column.addWidget(label("Look", size=15, strong=600))
        row = QHBoxLayout()
        row.addWidget(label("Theme", role="t2"))
        row.addStretch(1)
        switch = SegmentedControl(["System", "Light", "Dark"], name="Theme")
        switch.set_current(_THEMES.index(theme.appearance().choice))
        switch.changed.connect(lambda index: use_theme(_THEMES[index]))
        self.theme_switch = switch
        row.addWidget(switch)
        column.addLayout(row)
        self.precision_switch = self._add_precision(window, column)
        column.addWidget(rule())
        column.addWidget(label("Where things lie", size=15, strong=600))
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(1, 1)
        places = (
            ("Settings", config_folder()),
            ("Demo and projects of read-only folders", data_folder()),
            ("Plugins", plugin_folder()),
            ("Logs", log_folder()),
        )
        for line, (name, folder) in enumerate(places):
            grid.addWidget(label(name, role="t2"), line, 0)
            grid.addWidget(ElidedLabel(str(folder)), line, 1)
            button = IconButton("external", f"Open {folder}")
            button.clicked.connect(
                lambda _on=False, folder=folder: QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
            )
            grid.addWidget(button, line, 2)
        column.addLayout(grid)
        column.addSpacing(8)
        foot = QHBoxLayout()
        foot.addStretch(1)
        close = push_button("Close")
        close.clicked.connect(self.accept)
        foot.addWidget(close)
        column.addLayout(foot)

    @staticmethod
    def _add_precision(window: MainWindow, column: QVBoxLayout) -> SegmentedControl | None:
        """What networks compute with; nothing where this computer has float32 alone."""
        devices = window.read_outs.devices
        choices = offered_precisions(devices)
        shelf = window.services.shelf if window.services is not None else None
        if len(choices) < 2 or shelf is None:
            return None
        column.addWidget(rule())
        column.addWidget(label("Networks", size=15, strong=600))
        row = QHBoxLayout()
        row.addWidget(label("Numbers", role="t2"))
        row.addStretch(1)
        switch = SegmentedControl(list(choices), name="Numbers")
        switch.set_current(choices.index(shelf.precision))

        def use(index: int) -> None:
            settings().set("networks.precision", choices[index])
            shelf.use_precision(choices[index])

        switch.changed.connect(use)
        row.addWidget(switch)
        column.addLayout(row)
        speed = devices[0].get("bfloat16_speed")
        words = (
            "bfloat16 takes half the memory and is less exact: each result says how far it is from float32."
        )
        if speed:
            words += f" This processor multiplies it {float(speed):.1f} times as fast."
        hint = label(words, role="t2")
        hint.setWordWrap(True)
        column.addWidget(hint)
        return switch
