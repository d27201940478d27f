"""The project's menu: open, recent, import, export, close."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QMenu

from segstudio.ui.remembered import settings

if TYPE_CHECKING:
    from segstudio.ui.main_window import MainWindow


def project_menu(window: MainWindow) -> QMenu:
    """A fresh menu; only what works now is in it."""
    menu = QMenu(window)
    table = window.actions_table
    offered = {spec.id for spec in table.available()}
    for action_id in ("project.open", "project.demo"):
        if action_id in offered:
            menu.addAction(table.action(action_id))
    recent = [path for path in settings().get("recent", []) if Path(path).is_dir()]
    session = window.session
    here = str(session.project.folder) if session is not None and session.project is not None else ""
    others = [path for path in recent if path != here]
    if others:
        menu.addSeparator()
        for path in others[:6]:
            action = menu.addAction(_short(path))
            action.setToolTip(path)
            action.triggered.connect(lambda _on=False, path=path: window.open(Path(path)))
    if here and session is not None:
        menu.addSeparator()
        menu.addAction("Look for new images").triggered.connect(lambda: session.rescan())
        for action_id in ("project.import", "project.export", "project.close"):
            if action_id in offered:
                menu.addAction(table.action(action_id))
    menu.addSeparator()
    menu.addAction(table.action("window.networks"))
    return menu


def _short(path: str) -> str:
    parts = Path(path).parts
    return path if len(parts) <= 3 else str(Path("…", *parts[-2:]))
