"""Reads the tensors of a torch file whose pickle names things that torch refuses to load.

Training loops store history objects, configurations and the like beside the tensors. Here only a fixed
list of constructors is known, and it builds descriptions, not tensors; every other name in the pickle
becomes an inert placeholder. Nothing is imported for the file's sake and nothing of it is called. The
pickle is walked in a process of its own with a limit on memory and time (`segstudio worker --read-zip
FILE`), which prints where each tensor's bytes lie; the caller then reads those bytes with every bound
checked.
"""

from __future__ import annotations

import collections
import json
import math
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from segstudio.core.errors import UserError
from segstudio.core.program import child_environment, program_command

MEMORY_LIMIT = 2 * 2**30
SECONDS = 60
_MOST_PICKLE_BYTES = 256 * 2**20
_MOST_DEPTH = 6

DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}


class Placeholder:
    """Stands for anything a pickle names that is not on the list: takes what it is given, does nothing."""

    origin = ""

    def __new__(cls, *arguments: Any, **keywords: Any) -> Placeholder:
        return object.__new__(cls)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.held = arguments

    def __call__(self, *arguments: Any, **keywords: Any) -> Placeholder:
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.item = value

    def append(self, value: Any) -> None:
        self.item = value

    def extend(self, values: Any) -> None:
        self.item = values

    def add(self, value: Any) -> None:
        self.item = value


class StorageName:
    """A storage class by its name: only the type of the numbers matters."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class Storage:
    def __init__(self, dtype: str, key: str, count: int) -> None:
        self.dtype, self.key, self.count = dtype, key, count


class TensorPlace:
    """Where a tensor's numbers lie: a storage, an offset, sizes and strides, all in elements."""

    def __init__(
        self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

    def __setstate__(self, state: Any) -> None:
        return None


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_ignored: Any) -> TensorPlace:
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor has no storage")
    sizes, steps = tuple(map(int, shape)), tuple(map(int, stride))
    if len(sizes) != len(steps) or min((*sizes, *steps, int(offset)), default=0) < 0:
        raise pickle.UnpicklingError(f"a tensor of size {sizes} with strides {steps}")
    return TensorPlace(storage, int(offset), sizes, steps)


def _parameter(data: Any, *_ignored: Any) -> Any:
    return data


def _size(values: Any = ()) -> tuple[Any, ...]:
    return tuple(values)


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch", "Size"): _size,
}


class _Walker(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        if module in ("torch", "torch.storage") and name in DTYPES:
            return StorageName(DTYPES[name])
        return type("Placeholder", (Placeholder,), {"origin": f"{module}.{name}"})

    def persistent_load(self, identifier: Any) -> Any:
        kind, storage, key, _location, count = identifier
        if kind != "storage" or not isinstance(storage, StorageName):
            raise pickle.UnpicklingError("a storage of an unknown kind")
        return Storage(storage.dtype, str(key), int(count))


def _walk(file: BinaryIO) -> dict[str, Any]:
    """The state dict of a pickle as JSON values: `tensors` {key: place}, `dropped` keys, `path` inside."""
    root = _Walker(file, encoding="utf-8", errors="surrogateescape").load()
    path, state = _find_state(root)
    tensors: dict[str, Any] = {}
    dropped: list[str] = []
    for key, value in state.items():
        if isinstance(value, TensorPlace) and isinstance(key, str):
            storage = value.storage
            place = [storage.dtype, storage.key, storage.count, value.offset, value.shape, value.stride]
            tensors[key] = place
        else:
            origin = f" ({value.origin})" if isinstance(value, Placeholder) else ""
            dropped.append(f"{str(key)[:80]}{origin}")
    return {"tensors": tensors, "dropped": dropped[:50], "path": path}


def _find_state(root: Any) -> tuple[str, dict[Any, Any]]:
    """The mapping with the most tensors, not more than a few levels down."""
    best: tuple[int, str, dict[Any, Any]] = (0, "", {})
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    seen: set[int] = set()
    while waiting:
        path, value, depth = waiting.pop(0)
        if not isinstance(value, dict) or id(value) in seen or depth > _MOST_DEPTH:
            continue
        seen.add(id(value))
        number = sum(isinstance(entry, TensorPlace) for entry in value.values())
        if number > best[0]:
            best = (number, path, value)
        waiting += [(f"{path}.{key}" if path else str(key), entry, depth + 1) for key, entry in value.items()]
    return best[1], best[2]


def _entries(archive: zipfile.ZipFile) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """The folder inside the archive, and its entries. Names that occur twice are refused."""
    infos: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename.lower() in infos:
            raise ValueError(f"two entries are named {info.filename}")
        infos[info.filename.lower()] = info
    pickles = [name for name in infos if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"{len(pickles)} entries are named data.pkl")
    return pickles[0][: -len("data.pkl")], infos


def main(path: str) -> int:
    """The process of its own: prints one JSON document."""
    from segstudio.worker.memory import limit_memory

    limit_memory(MEMORY_LIMIT)
    try:
        with zipfile.ZipFile(path) as archive:
            folder, infos = _entries(archive)
            info = infos[folder + "data.pkl"]
            if info.file_size > _MOST_PICKLE_BYTES:
                raise ValueError(f"its pickle has {info.file_size} bytes")
            with archive.open(info) as file:
                document = _walk(file)  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - a hostile file may cause anything
        document = {"error": f"{type(error).__name__}: {error}"[:500]}
    sys.stdout.write(json.dumps(document))
    sys.stdout.flush()
    os._exit(0)


def places(path: Path) -> dict[str, Any]:
    """What `_walk` found in `path`, by a limited process. Raises UserError."""
    command = program_command("worker", "--read-zip", str(path))
    environment = {**child_environment(), "PYTHONSAFEPATH": "1"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        document = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise _refused(path, f"it took over {SECONDS} seconds") from error
    except ValueError as error:
        raise _refused(path, done.stderr.decode("utf-8", "replace")[-500:]) from error
    if "error" in document:
        raise _refused(path, document["error"])
    if not document["tensors"]:
        raise UserError(
            f"{path.name} holds no tensors that could be read without running code from it",
            action="Ask its authors for a safetensors file or a plain state dict",
            details=", ".join(document["dropped"]),
        )
    result: dict[str, Any] = document
    return result


def read_bytes(path: Path, found: dict[str, Any]) -> dict[str, bytes]:
    """The bytes of every storage named in `found`. Raises UserError where sizes do not fit."""
    needed: dict[str, int] = {}
    for key, (dtype, storage, count, offset, shape, stride) in found["tensors"].items():
        reach = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) + 1
        if math.prod(shape) and (reach > count or math.prod(shape) > count):
            raise _refused(path, f"tensor {key} reaches beyond its storage")
        needed[storage] = max(needed.get(storage, 0), count * ITEM_BYTES[dtype])
    storages: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            folder, infos = _entries(archive)
            order = infos.get(folder + "byteorder")
            if order is not None and archive.read(order).strip() != sys.byteorder.encode():
                raise ValueError("it was written on a computer with another byte order")
            for storage, nbytes in needed.items():
                info = infos[f"{folder}data/{storage}".lower()]
                if info.compress_type != zipfile.ZIP_STORED or info.file_size < nbytes:
                    raise ValueError(f"storage {storage} has {info.file_size} bytes, expected {nbytes}")
                storages[storage] = archive.read(info)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _refused(path, str(error)) from error
    return storages


def _refused(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path.name} cannot be read without running code from it",
        action="Ask its authors for a safetensors file or a plain state dict",
        details=reason,
    )
