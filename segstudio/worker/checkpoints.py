"""Files of weights: read without running anything in them, and written as safetensors."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.core.weights_facts import WeightsFacts, read_facts, safetensors_metadata
from segstudio.worker import restricted_zip

_NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "params", "weights")
_PREFIXES = ("module.", "_orig_mod.")
_MOST_DEPTH = 4


@dataclass(frozen=True)
class WeightsFile:
    """The tensors of one file (nesting and a "module." prefix taken away), its facts, and what to say of it.

    `format`: "safetensors", "torch", or "torch, placeholders" where objects of the file were left out.
    """

    path: Path
    tensors: dict[str, Tensor]
    format: str
    facts: WeightsFacts = field(default_factory=WeightsFacts)
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> int:
        """Numbers in all tensors."""
        return sum(tensor.numel() for tensor in self.tensors.values())


def read_weights(path: Path) -> WeightsFile:
    """Reads a safetensors or torch file onto the CPU. Raises UserError with one plain sentence."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        reason = (
            "There is no file of weights" if isinstance(error, FileNotFoundError) else "Cannot read weights"
        )
        raise UserError(reason, where=f"at {path}", details=str(error)) from error
    facts = read_facts(path)
    if head[8:9] == b"{":
        return WeightsFile(path, _read_safetensors(path), "safetensors", facts)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _read_torch(path, facts)
    raise UserError(
        f"{path.name} is no file of weights", action="Expected a safetensors file or one saved by torch.save"
    )


def write_weights(path: Path, tensors: Mapping[str, Tensor], facts: WeightsFacts) -> None:
    """Writes a safetensors file with its facts inside, whole or not at all. Raises OSError."""
    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    with atomic_file.replacing(path) as temporary:
        save_file(plain, os.fspath(temporary), metadata=safetensors_metadata(facts))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return _plain_keys(load_file(path))
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            f"{path.name} is a damaged safetensors file", action="Fetch it again", details=str(error)
        ) from error


def _read_torch(path: Path, facts: WeightsFacts) -> WeightsFile:
    try:
        root = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a broken pickle raises a dozen kinds
        return _read_with_placeholders(path, facts, error)
    tensors, dropped = _state_dict(root)
    if not tensors:
        raise UserError(
            f"{path.name} holds no state dict", action="Expected names and tensors, or a nested model"
        )
    return WeightsFile(path, _plain_keys(tensors), "torch", facts, _dropped_note(dropped))


def _read_with_placeholders(path: Path, facts: WeightsFacts, error: Exception) -> WeightsFile:
    text = str(error)
    refused = "WeightsUnpickler" in text or "weights_only" in text or "Unsupported" in text
    if not zipfile.is_zipfile(path):
        what = "names code that is not run" if refused else "is damaged or no file of weights"
        raise UserError(
            f"{path.name} {what}", action="Ask its authors for a safetensors file", details=text
        ) from error
    if not refused:
        raise UserError(
            f"{path.name} is a damaged torch file", action="Fetch it again", details=text
        ) from error
    found = restricted_zip.places(path)
    storages = restricted_zip.read_bytes(path, found)
    tensors: dict[str, Tensor] = {}
    for key, (dtype, storage, count, offset, shape, stride) in found["tensors"].items():
        if not count:
            tensors[key] = torch.zeros(shape, dtype=getattr(torch, dtype))
            continue
        flat = torch.frombuffer(bytearray(storages[storage]), dtype=getattr(torch, dtype), count=count)
        tensors[key] = flat.as_strided(shape, stride, offset).clone()
    note = "Objects in the file that are no tensors were left out unread"
    return WeightsFile(path, _plain_keys(tensors), "torch, placeholders", facts, (note,))


def _state_dict(root: Any) -> tuple[dict[str, Tensor], list[str]]:
    """The mapping of names to tensors in what a file held, however deep, and what else lay in it."""
    for _ in range(_MOST_DEPTH):
        if not isinstance(root, Mapping):
            break
        tensors = {str(key): value for key, value in root.items() if isinstance(value, Tensor)}
        inner = next((root[key] for key in _NESTED if isinstance(root.get(key), Mapping)), None)
        if inner is None and not tensors:
            inner = next((value for value in root.values() if isinstance(value, Mapping)), None)
        if tensors and (inner is None or not any(isinstance(value, Tensor) for value in inner.values())):
            return tensors, [str(key) for key in root if str(key) not in tensors]
        root = inner
    return {}, []


def _plain_keys(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that wrappers put before every name."""
    for prefix in _PREFIXES:
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key[len(prefix) :]: tensor for key, tensor in tensors.items()}
    return tensors


def _dropped_note(dropped: list[str]) -> tuple[str, ...]:
    return (f"Left out, since they are no tensors: {', '.join(dropped[:5])}",) if dropped else ()
