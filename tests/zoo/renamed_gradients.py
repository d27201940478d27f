"""References under another publisher's keys: gradient norms piece by piece, and shapes alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap, key_maps, through_backbone
from tests.zoo.reference import Reference


def shapes_of(ref: Reference) -> dict[str, Tensor]:
    """The reference's state dict without numbers: enough to be identified, and quick to make."""
    return {key: torch.empty(shape, device="meta") for key, shape in ref.manifest["state_dict"].items()}


def assert_renamed_gradients(ref: Reference, model: nn.Module, layout: str, *, pieces: int = 3) -> int:
    """Every stored norm equals that of the parameter it means (relative 1e-3); gives how many were compared.

    Norms below 1e-4 of the largest are rounding.
    """
    files = model.network_files
    outer = next(m for m in key_maps(files[0]) if m.layout == layout and m.fits(ref.manifest["state_dict"]))
    table: KeyMap = through_backbone(outer, files[1])
    stored: dict[str, float] = ref.manifest["grad_norm"]
    largest = max(stored.values())
    parameters = dict(model.named_parameters())
    compared = 0
    for key, value in stored.items():
        _, target = table.rename(key)
        if target is None:
            continue
        name, mark, place = target.partition("#")
        gradient = parameters[name].grad
        if gradient is None:
            assert value <= 1e-4 * largest, key
            continue
        part: Tensor = gradient.chunk(pieces)[int(place)] if mark else gradient
        norm = float(part.double().norm())
        if max(norm, value) > 1e-4 * largest:
            assert norm == pytest.approx(value, rel=1e-3), key
            compared += 1
    return compared
