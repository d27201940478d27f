"""Unpacking archives of data sets: zip and tar, file by file, within limits.

Nothing is written outside of the target, links are refused, and what would grow too large stops before it
does: sizes are counted while unpacking, because an archive may lie about them.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from segstudio.core.errors import UserError
from segstudio.core.formats.exchange import inside
from segstudio.core.records import printable

_PIECE = 1 << 20
_MAC_FORKS = "__MACOSX"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold: `files`, bytes once unpacked, and how much larger than itself it may get."""

    files: int = 500_000
    total_bytes: int = 64 << 30
    ratio: int = 200
    free_bytes: int = 100 << 20


def is_archive(path: Path) -> bool:
    """Whether the file is a zip or tar, by its content."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


@contextmanager
def unpacked(path: Path, limits: Limits | None = None) -> Iterator[Path]:
    """The folder that holds the archive's content while the block runs. Raises UserError."""
    with TemporaryDirectory(prefix="segstudio-") as folder:
        unpack(path, Path(folder), limits)
        yield content(Path(folder))


def content(folder: Path) -> Path:
    """Where the content of an unpacked archive begins: many hold one folder and nothing beside it."""
    inner = [path for path in folder.iterdir() if path.name != _MAC_FORKS and not path.name.startswith(".")]
    return content(inner[0]) if len(inner) == 1 and inner[0].is_dir() else folder


def unpack(
    path: Path, target: Path, limits: Limits | None = None, *, check: Callable[[], None] = lambda: None
) -> int:
    """Unpacks a zip or tar into `target` and gives the number of files.

    Raises UserError for names that leave the folder, links, passwords, and more than `limits` allow, and what
    `check`, called every megabyte, raises; what was unpacked until then stays in `target`.
    """
    allowed = limits or Limits()
    try:
        budget = _Budget(path, target, allowed, check)
        if zipfile.is_zipfile(path):
            return _unpack_zip(path, target, budget)
        return _unpack_tar(path, target, budget)
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise UserError(
            f"The archive cannot be unpacked ({error})",
            where=f"({printable(str(path))})",
            action="Unpack it with another program and import the folder.",
        ) from error


class _Budget:
    """Counts files and bytes; raises ValueError where a limit is passed."""

    def __init__(self, path: Path, target: Path, limits: Limits, check: Callable[[], None]) -> None:
        self._check = check
        free = shutil.disk_usage(target).free - limits.free_bytes
        packed = max(path.stat().st_size, 4096)
        self._bytes = min(limits.total_bytes, limits.ratio * packed, max(0, free))
        self._files = limits.files
        self.files = 0

    def file(self) -> None:
        self.files += 1
        if self.files > self._files:
            raise ValueError(f"it holds more than {self._files} files")

    def copy(self, source: IO[bytes], path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            while piece := source.read(_PIECE):
                self._check()
                self._bytes -= len(piece)
                if self._bytes < 0:
                    raise ValueError("it grows beyond what its size or the disk allow")
                file.write(piece)


def _unpack_zip(path: Path, target: Path, budget: _Budget) -> int:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise ValueError(f"{printable(entry.filename)!r} is a link")
            if entry.flag_bits & 1:
                raise ValueError("it needs a password")
            budget.file()
            with archive.open(entry) as source:
                budget.copy(source, inside(target, entry.filename))
    return budget.files


def _unpack_tar(path: Path, target: Path, budget: _Budget) -> int:
    with tarfile.open(path) as archive:
        for entry in archive:
            if entry.isdir():
                continue
            if not entry.isreg():
                raise ValueError(f"{printable(entry.name)!r} is a link or a device")
            budget.file()
            source = archive.extractfile(entry)
            if source is not None:
                with source:
                    budget.copy(source, inside(target, entry.name))
    return budget.files
