"""pytest-qt's robot with a longer patience: what is awaited arrives when a loaded machine gets to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytestqt.qtbot import QtBot

PATIENCE = 60_000  # ms; only a test that fails anyway waits as long


class PatientBot(QtBot):  # type: ignore[misc]
    """As pytest-qt's `qtbot`; a row or key that is not there yet is waited for, too."""

    def waitUntil(self, callback: Callable[[], bool | None], *, timeout: int = PATIENCE) -> None:
        """Run the event loop until `callback` returns None or True.

        Besides a failed assertion, a missing index, key or row (LookupError, StopIteration) means "not yet":
        lists are read on threads and filled anew.
        """

        def there() -> bool | None:
            try:
                return callback()
            except (LookupError, StopIteration) as problem:
                raise AssertionError(f"{type(problem).__name__}: {problem}") from problem

        super().waitUntil(there, timeout=timeout)

    def waitSignal(self, signal: Any, **options: Any) -> Any:
        """Run the event loop until `signal` is emitted; options as pytest-qt's."""
        return super().waitSignal(signal, **{"timeout": PATIENCE, **options})
