"""Which network a file of weights belongs to, as plain values for people and for the window."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segstudio.registry import Registry
from segstudio.worker.checkpoints import read_weights
from segstudio.worker.model_building import identify

_LISTED_TENSORS = 2000


def identify_file(registry: Registry, path: Path) -> Mapping[str, Any]:
    """`found`: [{"model", "name", "num_classes", "layout", "options"}], best first; maybe none.

    Also `format`, `tensors` [[name, shape, type]], `values`, `facts`, `notes`, and `published`: {"model",
    "checkpoint"} where the file's hash is that of a listed checkpoint, else null. `model` is the spec's id
    where one has that name, else empty. `pretraining` is {"model", "title"} of the way of pre-training that
    the file says it comes from, else null. Raises UserError where the file cannot be read.
    """
    weights = read_weights(path)
    found = []
    open_points: list[str] = []
    for plugin, entry in identify(registry, weights.tensors):
        wanted = _plain(str(entry.name))
        ids = [spec.id for spec in plugin.models if wanted in map(_plain, (spec.name, *spec.search_aliases))]
        found.append(
            {
                "model": ids[0] if ids else "",
                "name": entry.name,
                "num_classes": entry.num_classes,
                "layout": entry.layout,
                "options": dict(entry.options),
            }
        )
        open_points.append(str(getattr(entry, "note", "")))
    return {
        "path": str(path),
        "format": weights.format,
        "found": found,
        "tensors": [
            [key, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
            for key, tensor in list(weights.tensors.items())[:_LISTED_TENSORS]
        ],
        "tensor_count": len(weights.tensors),
        "values": weights.values,
        "model": weights.facts.model,
        "pretraining": _pretraining(registry, weights.facts.model),
        "classes": [{"name": entry.name, "color": list(entry.color)} for entry in weights.facts.classes],
        "published": _published(registry, path),
        "notes": [*weights.notes, *filter(None, open_points[:1])],
    }


def _pretraining(registry: Registry, model: str) -> dict[str, str] | None:
    known = (spec for plugin in registry.plugins() for spec in plugin.pretraining)
    return next(({"model": spec.id, "title": spec.title} for spec in known if spec.id == model), None)


def _published(registry: Registry, path: Path) -> dict[str, str] | None:
    """The listed checkpoint with this hash. Two that begin alike are told apart by the file's name."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    found = [
        {"model": spec.id, "checkpoint": checkpoint.id}
        for plugin in registry.plugins()
        for spec in plugin.models
        for checkpoint in spec.checkpoints
        if checkpoint.sha256 and digest.startswith(checkpoint.sha256.lower())
    ]
    named = [entry for entry in found if entry["checkpoint"] == path.stem]
    return next(iter(named or found), None)


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
