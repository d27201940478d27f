"""What the window remembers between starts: one settings file, read once."""

from __future__ import annotations

from functools import lru_cache

from segstudio.core.settings import Settings


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The user's settings of this process."""
    return Settings()
