"""Asking for a folder of images."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget

from segstudio.ui.remembered import settings


def ask_folder(parent: QWidget, title: str = "Open a folder of images") -> Path | None:
    """The folder a person chose, None when they changed their mind."""
    last = settings().get("window.last_folder", str(Path.home()))
    chosen = QFileDialog.getExistingDirectory(parent, title, last)
    if not chosen:
        return None
    settings().set("window.last_folder", str(Path(chosen).parent))
    return Path(chosen)
