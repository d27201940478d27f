"""The demo project: a copy of the bundled pictures that a person may paint on."""

from __future__ import annotations

import shutil
from pathlib import Path

from segstudio.core.resources import resource
from segstudio.core.settings import data_folder


def demo_folder() -> Path:
    """Where the person's copy of the demo lies; made at the first call. Raises OSError."""
    target = data_folder() / "demo" / "Demo street"
    source = resource("demo")
    pictures = source / "images" if (source / "images").is_dir() else source
    if not target.is_dir():
        fresh = target.with_name("Demo street.new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(pictures, fresh)
        fresh.rename(target)
    return target
