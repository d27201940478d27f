"""What the window's own verbs do: each line of the action table that belongs to no room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from segstudio.core.resources import resource
from segstudio.runtime.actions import ActionSpec
from segstudio.ui import theme
from segstudio.ui.remembered import settings

if TYPE_CHECKING:
    from segstudio.core.records import Status
    from segstudio.ui.main_window import MainWindow

_NEEDS_PROJECT = "Open a folder of images first"


def bind_window_actions(window: MainWindow) -> None:
    """Give every verb of the window its deed and its key."""
    table = window.actions_table
    verbs = {
        "project.open": window.choose_folder,
        "project.import": window.import_labels,
        "project.export": window.export_labels,
        "project.close": window.close_project,
        "window.networks": lambda: show_models(window),
        "window.palette": lambda: show_palette(window),
        "window.keys": lambda: show_keys(window),
        "window.settings": lambda: show_settings(window),
        "window.jobs": window.toggle_jobs,
        "window.theme": lambda: use_theme("light" if theme.appearance().dark else "dark"),
        "window.filmstrip": lambda: window.filmstrip and window.filmstrip.toggle(),
        "window.region": lambda: next_region(window),
        "window.quit": window.close,
        "edit.undo": lambda: window.session and window.session.edits.undo(),
        "edit.redo": lambda: window.session and window.session.edits.redo(),
        "image.next": lambda: _step(window, 1),
        "image.previous": lambda: _step(window, -1),
        "image.next_unlabelled": lambda: _step(window, 1, unlabelled=True),
        "image.previous_unlabelled": lambda: _step(window, -1, unlabelled=True),
        "image.mark_done": lambda: _mark(window, "done"),
        "image.mark_check": lambda: _mark(window, "check"),
        "view.zoom_in": lambda: _zoom(window, 1),
        "view.zoom_out": lambda: _zoom(window, -1),
        "view.fit": lambda: window.services and window.services.viewport.fit(),
        "view.one_to_one": lambda: _one_to_one(window),
    }
    if resource("demo").is_dir():
        verbs["project.demo"] = window.open_demo
    for action_id, deed in verbs.items():
        table.bind(action_id, deed)
    for number, entry in enumerate(window.rooms.entries, start=1):
        spec = ActionSpec(
            f"room.{entry.title.lower()}", f"Go to {entry.title}", (f"Alt+{number}",), icon=entry.icon
        )
        table.add([spec])
        table.bind(spec.id, lambda title=entry.title: window.enter(title))

    def take_new() -> None:
        known = set(window.actions())
        window.addActions([action for action in table.all_actions() if action not in known])

    take_new()
    table.changed.connect(take_new)
    enable_project_actions(window, False)


def enable_project_actions(window: MainWindow, on: bool) -> None:
    """Switch the verbs that need an open project."""
    others = ("project.close", "project.import", "project.export", "window.filmstrip")
    for spec in window.actions_table.available():
        if spec.id.startswith(("image.", "view.", "edit.")) or spec.id in others:
            window.actions_table.enable(spec.id, on, why_not=_NEEDS_PROJECT)


def enable_steps(window: MainWindow) -> None:
    """Switch undo and redo by the history of the image in front."""
    session = window.session
    if session is None or session.project is None:
        return
    undo, redo = session.edits.can_step
    window.actions_table.enable("edit.undo", undo, why_not="Nothing to undo on this image")
    window.actions_table.enable("edit.redo", redo, why_not="Nothing to redo on this image")


def next_region(window: MainWindow) -> None:
    """F6: the focus jumps from region to region, in the order of the screen."""
    room = window.rooms.current
    regions = [
        region
        for region in (
            window.pages.currentWidget() if window.pages.currentWidget() is not window.rooms else None,
            room.widget() if room is not None else None,
            room.option_bar() if room is not None else None,
            window.filmstrip if room is not None else None,
            window.rail,
            window.top_bar,
        )
        if region is not None and region.isVisible()
    ]
    focus = window.focusWidget()
    here = next((place for place, region in enumerate(regions) if focus and region.isAncestorOf(focus)), -1)
    for step in range(1, len(regions) + 1):
        region = regions[(here + step) % len(regions)]
        target = next(
            (
                child
                for child in region.findChildren(QWidget)
                if child.isVisible() and child.isEnabled() and child.focusPolicy() & Qt.FocusPolicy.TabFocus
            ),
            None,
        )
        if target is not None:
            window.setAttribute(Qt.WidgetAttribute.WA_KeyboardFocusChange)
            target.setFocus(Qt.FocusReason.TabFocusReason)
            return


def use_theme(choice: theme.Choice) -> None:
    """Switch the look at once and remember it."""
    theme.appearance().use(choice)
    settings().set("view.theme", choice)


def show_palette(window: MainWindow) -> None:
    """Open the command palette."""
    from segstudio.ui.dialogs.palette import CommandPalette

    CommandPalette(window).show()


def show_models(window: MainWindow, file: Path | None = None) -> None:
    """Open the page of networks; `file` is a file of weights to look into."""
    from segstudio.ui.models.opening import show_networks

    show_networks(window, file)


def show_keys(window: MainWindow) -> None:
    """Open the key sheet."""
    from segstudio.ui.dialogs.key_sheet import KeySheet

    KeySheet(window, window.actions_table).show()


def show_settings(window: MainWindow) -> None:
    """Open the settings."""
    from segstudio.ui.dialogs.settings_dialog import SettingsDialog

    SettingsDialog(window).open()


def _step(window: MainWindow, by: int, *, unlabelled: bool = False) -> None:
    if window.filmstrip is not None:
        window.filmstrip.step(by, unlabelled=unlabelled)


def _mark(window: MainWindow, status: Status) -> None:
    """Mark the image in front, or take the mark back."""
    session = window.session
    record = session.current if session is not None else None
    if session is not None and record is not None:
        labels = session.label_map
        labelled = labels is not None and any(index != labels.ignore for index in session.class_counts)
        session.set_status(
            record.id, ("draft" if labelled else "none") if record.status == status else status
        )


def _zoom(window: MainWindow, steps: int) -> None:
    if window.services is not None:
        window.services.viewport.zoom(steps)


def _one_to_one(window: MainWindow) -> None:
    if window.services is not None:
        window.services.viewport.set_scale(1.0, window.services.viewport.cursor)
