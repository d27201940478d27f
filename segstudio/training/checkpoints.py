"""What a run leaves on the disk: weights for use (safetensors) and the state to go on from (torch zip)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segstudio.core.atomic_file import replacing
from segstudio.core.errors import UserError
from segstudio.core.weights_facts import WeightsFacts
from segstudio.worker.checkpoints import write_weights

RESUME_FORMAT = 1


def save_weights(path: Path, module: nn.Module, facts: WeightsFacts, *, half: bool = False) -> None:
    """Writes the state dict as safetensors with its facts in the header; float16 where `half`."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for key, value in module.state_dict().items():
        tensor = value.detach().to("cpu")
        if half and tensor.is_floating_point():
            tensor = tensor.half()
        # Tied weights share memory, which safetensors refuses: each gets its own copy.
        if tensor.data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.data_ptr())
        tensors[key] = tensor
    write_weights(path, tensors, facts)


def save_resume(path: Path, state: Mapping[str, Any]) -> None:
    """Writes everything a run needs to go on: tensors, numbers, strings, lists and dicts only."""
    with replacing(path) as temporary:
        torch.save({"format": RESUME_FORMAT, **state}, temporary)


def load_resume(path: Path) -> dict[str, Any] | None:
    """The state `save_resume` wrote, None where there is none. Raises UserError where it is broken."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything on a damaged file
        raise _broken(path, error) from error
    if not isinstance(state, dict) or state.get("format") != RESUME_FORMAT:
        raise _broken(path, None)
    return state


def _broken(path: Path, error: BaseException | None) -> UserError:
    return UserError(
        "The state to go on from cannot be read",
        where=str(path),
        action="Remove the file to train this run from the start.",
        details=repr(error) if error else "another format",
    )
