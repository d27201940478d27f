"""Adding up and gathering over the ranks of a run; with one rank everything is as it was."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor


def summed(fabric: Fabric, values: Tensor) -> Tensor:
    """The sum of `values` over all ranks."""
    if fabric.world_size == 1:
        return values
    result = fabric.all_reduce(values, reduce_op="sum")
    assert isinstance(result, Tensor)
    return result


def joined(fabric: Fabric, entries: list[Any]) -> list[Any]:
    """The lists of all ranks, one after the other."""
    if fabric.world_size == 1:
        return entries
    found: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(found, entries)
    return [entry for part in found for entry in part]
