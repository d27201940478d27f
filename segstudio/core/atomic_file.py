"""Writing a file so that a reader finds the old one or the new one, never a part.

The new content goes under a temporary name in the same folder, is flushed to the disk, takes the final
name in one step, and the folder is flushed too: without that, a power cut can undo the renaming.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY_PREFIX = ".~"


def write_bytes(path: Path | str, data: bytes) -> None:
    """Replaces or makes the file `path` with `data`, durable when it returns. Raises OSError."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Gives a temporary path with the same suffix; what was written there becomes `path` at the end.

    After an exception inside the block the old file is untouched and the temporary one is gone.
    Nothing may hold `path` mapped: Windows cannot rename over a mapped file.
    """
    target = Path(path)
    # The name is short on purpose: with the target's own name in it, a 255-byte name would not fit.
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{target.suffix[:16]}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    flush_folder(target.parent)


def flush_folder(folder: Path) -> None:
    """Makes renamings and new names in `folder` durable, on systems where a folder can be flushed."""
    if os.name == "nt":
        return  # Windows offers no flush of a folder; its journal orders the renaming.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # Some network file systems refuse to flush folders.
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
