"""How this program starts itself again: as reader, worker, lister of plugins or training run."""

from __future__ import annotations

import os
import sys


def program_command(*arguments: str) -> list[str]:
    """The command line that runs SegStudio with `arguments`, from a checkout, a wheel or a bundle."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *arguments]
    return [sys.executable, "-m", "segstudio", *arguments]


def child_environment() -> dict[str, str]:
    """The environment for a child process.

    A PyInstaller bundle points LD_LIBRARY_PATH at its own libraries and keeps the person's value beside
    it; a child that inherited the bundle's value would load the bundle's libraries into system programs.
    """
    environment = dict(os.environ)
    if getattr(sys, "frozen", False):
        original = environment.pop("LD_LIBRARY_PATH_ORIG", None)
        if original is None:
            environment.pop("LD_LIBRARY_PATH", None)
        else:
            environment["LD_LIBRARY_PATH"] = original
    environment["PYTHONUNBUFFERED"] = "1"
    return environment
