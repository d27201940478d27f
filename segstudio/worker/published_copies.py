"""A fetched checkpoint is tried on its network once, and kept a second time as safetensors with its facts.

The published file stays as it is: its checksum is its identity. The copy loads faster, and knows its network,
classes and preprocessing wherever it is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from segstudio.core.downloaded_weights import downloaded, safetensors_copy
from segstudio.core.errors import UserError
from segstudio.core.weights_facts import WeightsFacts
from segstudio.registry import Registry
from segstudio.worker.checkpoints import read_weights, write_weights
from segstudio.worker.downloads import is_published
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
    if not is_published(checkpoint, path):
        raise UserError(
            "The file is not the published checkpoint",
            where=f"at {path} (its SHA-256 does not begin with {checkpoint.sha256[:8]})",
            action="Remove it, and fetch it again.",
        )
    copy = safetensors_copy(path)
    if copy != path:
        copy.unlink(missing_ok=True)
    loaded = load_model(
        registry, ModelRef(spec.id, checkpoint=checkpoint.id), torch.device("cpu"), optimise=False
    )
    if copy != path:
        facts = WeightsFacts(
            model=spec.id,
            title=f"{spec.title} · {checkpoint.dataset}" if checkpoint.dataset else spec.title,
            num_classes=loaded.num_classes,
            options=dict(loaded.options),
            preprocess=loaded.preprocess,
            classes=loaded.classes,
        )
        try:
            write_weights(copy, read_weights(path).tensors, facts)
        except OSError as error:
            copy.unlink(missing_ok=True)
            raise UserError(
                "The copy of the checkpoint cannot be written",
                where=f"to {copy}",
                action="The published file is whole and can be used; make room for its copy.",
                details=str(error),
            ) from error
    return {
        "path": str(path),
        "classes": [{"name": entry.name, "color": list(entry.color)} for entry in loaded.classes],
        "parameters": loaded.parameters,
    }
