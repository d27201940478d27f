"""What the window remembers between starts: one settings file, read once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from PySide6.QtCore import QTimer

from segstudio.core.settings import Settings

_PAUSE_MS = 600
_waiting: dict[str, Any] = {}


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The user's settings of this process."""
    return Settings()


def remember_later(name: str, value: Any) -> None:
    """Keep a value that changes with every move of a slider: written once the hand rests.

    A setting is written through to the disk, which may take longer than a frame.
    """
    if not _waiting:
        QTimer.singleShot(_PAUSE_MS, write_remembered)
    _waiting[name] = value


def write_remembered() -> None:
    """Write what `remember_later` holds back; called when the window closes, too."""
    while _waiting:
        name, value = _waiting.popitem()
        settings().set(name, value)
