"""Arrays shared by two processes: files mapped into memory, created and owned by the window.

They lie in /dev/shm where there is one with room, else in the temporary folder. The owner removes the
file; a worker that dies leaves nothing behind, and what a killed window left is swept at the next start.
`multiprocessing.SharedMemory` is not used: on Python 3.12 the resource tracker of a process that merely
attached removes the owner's segment when it exits.
"""

from __future__ import annotations

import itertools
import math
import mmap
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_PREFIX = "segstudio-"
_FILE_NAME = re.compile(r"segstudio-(\d+)-\d+\.map")
_serial = itertools.count(1)


class MappedArray:
    """An array in a mapped file. `array` stays valid while anything refers to it, also after `close`."""

    def __init__(self, path: Path, array: NDArray[Any], *, owner: bool, offset: int = 0) -> None:
        self.path = path
        self.array = array
        self._owner = owner
        self._offset = offset

    @classmethod
    def create(cls, shape: tuple[int, ...] | list[int], dtype: DTypeLike) -> MappedArray:
        """A new array of zeros. Raises OSError where neither memory nor disk has room for it."""
        kind = np.dtype(dtype)
        nbytes = max(1, math.prod(shape) * kind.itemsize)
        path, memory = _create_file(nbytes)
        return cls(path, _view(memory, tuple(shape), kind, 0), owner=True)

    @classmethod
    def attach(cls, descriptor: Mapping[str, Any]) -> MappedArray:
        """The array that another process described.

        Raises OSError where the file is gone, ValueError where the descriptor does not fit the file.
        """
        path = Path(descriptor["file"])
        shape = tuple(int(side) for side in descriptor["shape"])
        kind = np.dtype(str(descriptor["dtype"]))
        offset = int(descriptor.get("offset", 0))
        if kind.hasobject or offset < 0 or any(side < 0 for side in shape):
            raise ValueError(f"{path.name}: no plain array is described by {dict(descriptor)}")
        needed = offset + math.prod(shape) * kind.itemsize
        with path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            if needed > size:
                raise ValueError(f"{path.name} has {size} bytes, but the array described needs {needed}")
            memory = mmap.mmap(file.fileno(), size)
        return cls(path, _view(memory, shape, kind, offset), owner=False, offset=offset)

    def descriptor(self) -> dict[str, Any]:
        """What `attach` needs, as JSON values."""
        return {
            "file": str(self.path),
            "dtype": self.array.dtype.str,
            "shape": list(self.array.shape),
            "offset": self._offset,
        }

    def part(self, shape: tuple[int, ...], dtype: DTypeLike, offset: int) -> MappedArray:
        """A view of bytes from `offset` on as another array of the same file, which this object keeps."""
        kind = np.dtype(dtype)
        flat = self.array.reshape(-1).view(np.uint8)
        end = offset + math.prod(shape) * kind.itemsize
        if offset < 0 or end > flat.size:
            raise ValueError(f"bytes {offset}..{end} lie outside an array of {flat.size} bytes")
        array = flat[offset:end].view(kind).reshape(shape)
        return MappedArray(self.path, array, owner=False, offset=self._offset + offset)

    def close(self) -> None:
        """The owner removes the file; the memory goes when nothing refers to the array any longer."""
        if self._owner:
            self._owner = False
            _remove(self.path)

    def __enter__(self) -> MappedArray:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_owner", False) and not sys.is_finalizing():
            self.close()


def sweep_leftovers() -> int:
    """Removes files whose owner no longer runs. Gives how many there were."""
    removed = 0
    for folder in _folders():
        for path in folder.glob(f"{_PREFIX}*.map"):
            found = _FILE_NAME.fullmatch(path.name)
            if found and not _is_running(int(found[1])):
                _remove(path)
                removed += 1
    return removed


def _folders() -> list[Path]:
    shared_memory = Path("/dev/shm")
    temporary = Path(tempfile.gettempdir())
    return [shared_memory, temporary] if os.access(shared_memory, os.W_OK) else [temporary]


def _create_file(nbytes: int) -> tuple[Path, mmap.mmap]:
    problem: OSError | None = None
    for folder in _folders():
        path = folder / f"{_PREFIX}{os.getpid()}-{next(_serial)}.map"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            problem = error
            continue
        try:
            _reserve(descriptor, nbytes)
            return path, mmap.mmap(descriptor, nbytes)
        except OSError as error:
            problem = error
            _remove(path)
        finally:
            os.close(descriptor)
    assert problem is not None
    raise problem


def _reserve(descriptor: int, nbytes: int) -> None:
    """Gives the file its size for certain: a sparse file on a full disk would kill its first writer."""
    if sys.platform == "linux":
        os.posix_fallocate(descriptor, 0, nbytes)
    else:
        os.ftruncate(descriptor, nbytes)


def _view(memory: mmap.mmap, shape: tuple[int, ...], kind: np.dtype[Any], offset: int) -> NDArray[Any]:
    return np.ndarray(shape, dtype=kind, buffer=memory, offset=offset)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        # Windows keeps a mapped file until the last view is gone; the next start sweeps it.
        return


def _is_running(pid: int) -> bool:
    if os.name == "nt":
        return pid == os.getpid()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
