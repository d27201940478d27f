"""The column of drawing tools at the left of the canvas."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QVBoxLayout

from segstudio.ui.widgets.buttons import ToolColumnButton
from segstudio.ui.widgets.labels import rule


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool: `hint` for the status bar, `option_hint` for the option bar; [brackets] are keys."""

    title: str
    icon: str
    key: str
    sentence: str
    hint: str
    option_hint: str = ""
    group: int = 0


TOOLS: dict[str, ToolSpec] = {
    "pan": ToolSpec(
        "Pan",
        "pan",
        "H",
        "Dragging moves the picture",
        "Drag moves · wheel zooms · [Space] held pans with every tool",
        "Drag moves the picture; wheel zooms at the pointer",
    ),
    "brush": ToolSpec(
        "Brush",
        "brush",
        "B",
        "Paints the class in hand",
        "Drag paints · hold [Ctrl] erases · [Shift] straight line · hold [Q] hides overlay",
        group=1,
    ),
    "eraser": ToolSpec(
        "Eraser",
        "eraser",
        "E",
        "Takes labels away",
        "Drag erases · [Shift] straight line · hold [Q] hides overlay",
        group=1,
    ),
    "fill": ToolSpec(
        "Fill",
        "fill",
        "G",
        "The region under the pointer becomes the class in hand",
        "Click fills a region · [Ctrl] click unlabels it · hold [Q] hides overlay",
        "Click a region of one label",
        group=1,
    ),
    "polygon": ToolSpec(
        "Polygon",
        "polygon",
        "P",
        "Click round a region, Enter fills it",
        "Click sets points · [Enter] fills · [Backspace] last point · [Esc] cancels",
        "Click points; [Enter] or the first point closes",
        group=2,
    ),
    "lasso": ToolSpec(
        "Lasso",
        "lasso",
        "L",
        "Drag round a region, letting go fills it",
        "Drag round a region · [Ctrl] while letting go erases · [Esc] cancels",
        "Drag round a region; letting go closes it",
        group=2,
    ),
    "rectangle": ToolSpec(
        "Rectangle",
        "rectangle",
        "M",
        "Drag from corner to corner",
        "Drag from corner to corner · [Shift] square · [Ctrl] while letting go erases · [Esc] cancels",
        "Drag from corner to corner; [Shift] makes a square",
        group=2,
    ),
    "ellipse": ToolSpec(
        "Ellipse",
        "ellipse",
        "O",
        "Drag the box round it",
        "Drag the box round it · [Shift] circle · [Ctrl] while letting go erases · [Esc] cancels",
        "Drag the box round it; [Shift] makes a circle",
        group=2,
    ),
    "picker": ToolSpec(
        "Class picker",
        "picker",
        "C",
        "Takes the class under the pointer",
        "Click picks the class under the pointer",
        "Click takes the class under the pointer",
        group=3,
    ),
}


class ToolColumn(QFrame):
    """`tool_chosen(name)`; the button of the tool in hand is filled."""

    tool_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("ToolColumn")
        self.setFixedWidth(44)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 8, 3, 8)
        column.setSpacing(2)
        self._buttons: dict[str, ToolColumnButton] = {}
        group = 0
        for name, spec in TOOLS.items():
            if spec.group != group:
                group = spec.group
                column.addSpacing(4)
                column.addWidget(rule())
                column.addSpacing(4)
            button = ToolColumnButton(spec.icon, spec.key, f"{spec.title}  {spec.key}\n{spec.sentence}")
            button.clicked.connect(lambda _on=False, name=name: self.tool_chosen.emit(name))
            column.addWidget(button, 0, Qt.AlignmentFlag.AlignHCenter)
            self._buttons[name] = button
        column.addStretch(1)

    def show_tool(self, name: str) -> None:
        """Fill the button of this tool."""
        for key, button in self._buttons.items():
            button.setChecked(key == name)

    def show_held(self, name: str) -> None:
        """Frame a tool that acts only while a key is held; an empty name frames none."""
        for key, button in self._buttons.items():
            button.set_held(key == name)

    def button(self, name: str) -> ToolColumnButton:
        """The button of a tool. Raises KeyError."""
        return self._buttons[name]
