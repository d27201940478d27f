"""Keeps an error inside a handler that Qt calls from ending the process on Python 3.11.

Before Python 3.12 an error raised by compiled code (a KeyError of a dict, "Signal source has been deleted")
travels as a bare type and text until some `except` makes an exception of it. PySide 6.11 expects the
exception where an overridden handler fails while Python itself is calling Qt (`resize`, `show`, `setFocus`),
and reads through a null pointer. So every method of ours that replaces one of Qt's gets an `except` of its
own: the error then goes on as Python's own would, to the caller or to `sys.excepthook`, which shows a card.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from PySide6.QtCore import QObject

_PACKAGE = "segstudio."


def keep_errors_in_python() -> None:
    """Guards all classes of this package that are made from now on; does nothing from Python 3.12."""
    if sys.version_info < (3, 12):
        QObject.__init_subclass__ = classmethod(_guard_overrides)  # type: ignore[assignment]


def _guard_overrides(cls: type, **named: Any) -> None:
    super(QObject, cls).__init_subclass__(**named)
    if not cls.__module__.startswith(_PACKAGE):
        return
    bases = [vars(base) for base in cls.__mro__ if base.__module__.startswith("PySide6")]
    for name, method in list(vars(cls).items()):
        ours = isinstance(method, FunctionType) and not name.startswith("__")
        if ours and any(name in base for base in bases):
            setattr(cls, name, _with_whole_errors(method))


def _with_whole_errors(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return method(*arguments, **named)
        except BaseException:  # entering this line makes the exception; nothing is swallowed
            raise

    return call
