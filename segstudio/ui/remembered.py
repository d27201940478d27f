"""What the window remembers between starts: one settings file, read once and written by a thread."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from segstudio.core.settings import Settings

_PAUSE_MS = 600
_waiting: dict[str, Any] = {}


class SettingsProblems(QObject):
    """Brings what the writing thread could not do into the window's thread."""

    failed = Signal(object)  # UserError


@lru_cache(maxsize=1)
def settings_problems() -> SettingsProblems:
    """Tells when the user's settings could not be written."""
    return SettingsProblems()


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The user's settings of this process."""
    return Settings(on_problem=settings_problems().failed.emit)


def remember_later(name: str, value: Any) -> None:
    """Keep a value that changes with every move of a slider: written once the hand rests."""
    if not _waiting:
        QTimer.singleShot(_PAUSE_MS, write_remembered)
    _waiting[name] = value


def write_remembered() -> None:
    """Hand over what `remember_later` holds back; called when the window closes, too."""
    while _waiting:
        name, value = _waiting.popitem()
        settings().set(name, value)
