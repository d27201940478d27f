"""Which files under published names were compared with their checksum: known to window and worker alike.

A worker compares, which takes seconds for a large file, and remembers what it found with the file's size and
time. The window only reads that, so it never computes a checksum.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.core.settings import cache_folder
from segstudio.plugin_api import Checkpoint


def is_published(checkpoint: Checkpoint, path: Path) -> bool:
    """Whether the SHA-256 begins as published; True where nothing was published. Reads the whole file."""
    if not checkpoint.sha256:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(checkpoint.sha256.lower())


def known_finding(checkpoint: Checkpoint, path: Path) -> bool | None:
    """What the last comparison of exactly this file found; None where it was not compared yet."""
    try:
        document = json.loads(_record(path).read_bytes())
        if document["file"] == _identity(checkpoint, path):
            return bool(document["published"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def check(checkpoint: Checkpoint, path: Path) -> bool:
    """Compares `path` with its checksum unless that is known -> whether it had to be compared just now.

    Raises UserError where it is another file. It stays where it is: only a person removes it.
    """
    known = known_finding(checkpoint, path)
    published = known
    if published is None:
        identity = _identity(checkpoint, path)
        try:
            published = is_published(checkpoint, path)
        except OSError as error:
            raise UserError(
                "The checkpoint cannot be read", where=f"at {path}", action="Look at its permissions."
            ) from error
        _remember(path, identity, published)
    if not published:
        raise another_file(checkpoint, path)
    return known is None


def remember_published(checkpoint: Checkpoint, path: Path) -> None:
    """Says that `path` was compared on its way here."""
    _remember(path, _identity(checkpoint, path), True)


def another_file(checkpoint: Checkpoint, path: Path) -> UserError:
    """What to say of a file that has a published name and is not what was published."""
    return UserError(
        "The file is not the published checkpoint",
        where=f"at {path} (its SHA-256 does not begin with {checkpoint.sha256[:8]})",
        action="Remove it, and fetch it again.",
    )


def _identity(checkpoint: Checkpoint, path: Path) -> list[str | int]:
    status = path.stat()
    return [str(path.absolute()), checkpoint.sha256.lower(), status.st_size, status.st_mtime_ns]


def _remember(path: Path, identity: list[str | int], published: bool) -> None:
    document = {"file": identity, "published": published}
    with suppress(OSError):  # a full disk costs another comparison, nothing else
        record = _record(path)
        record.parent.mkdir(exist_ok=True)
        atomic_file.write_bytes(record, json.dumps(document).encode("utf-8", "surrogatepass"))


def _record(path: Path) -> Path:
    """One small file for each, so that two workers never write into one."""
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:24]
    return cache_folder() / "checked_weights" / f"{name}.json"
