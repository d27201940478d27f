"""A fetched checkpoint is tried on its network once, and kept a second time as safetensors with its facts.

The published file stays as it is: its checksum is its identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from segstudio.core.checked_weights import check
from segstudio.core.downloaded_weights import downloaded, safetensors_copy
from segstudio.core.errors import UserError
from segstudio.registry import Registry
from segstudio.worker.loaded_models import load_model
from segstudio.worker.model_ref import ModelRef


def adopt(registry: Registry, model: str, checkpoint_id: str) -> Mapping[str, Any]:
    """Loads the fetched file strictly into its network, writes the copy -> `path`, `classes`, `parameters`.

    Raises UserError where the file is not here, is not the published one, or does not fit the network.
    """
    _, spec = registry.find(model)
    checkpoint = next((entry for entry in spec.checkpoints if entry.id == checkpoint_id), None)
    path = downloaded(checkpoint) if checkpoint is not None and checkpoint.url else None
    if checkpoint is None or path is None:
        raise UserError(f"Checkpoint {checkpoint_id} is not on this computer")
    check(checkpoint, path)
    copy = safetensors_copy(path)
    if copy != path:
        copy.unlink(missing_ok=True)
    loaded = load_model(
        registry, ModelRef(spec.id, checkpoint=checkpoint.id), torch.device("cpu"), optimise=False
    )
    if not copy.is_file():
        raise UserError(
            "The copy of the checkpoint cannot be written",
            where=f"to {copy}",
            action="The published file is whole and can be used; make room for its copy.",
            details="\n".join(loaded.notes),
        )
    return {
        "path": str(path),
        "classes": [{"name": entry.name, "color": list(entry.color)} for entry in loaded.classes],
        "parameters": loaded.parameters,
    }
