"""What EncNet shows: which codewords cells belong to, which classes the encoding says are there, the gate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.dense_attention import grid_of, image_size_of
from segstudio_zoo.segmentors.encnet import EncHead, Encoding


@dataclass
class CapturedEncoding:
    """Assignment of every cell to every codeword (h, w, K), the gate (C,), presence (K,) or None."""

    image_size: tuple[int, int] = (0, 0)
    align_corners: bool = False
    assignment: np.ndarray | None = None
    gate: np.ndarray | None = None
    presence: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        kept = (self.assignment, self.gate, self.presence)
        return sum(values.nbytes for values in kept if values is not None)


@contextmanager
def _capturing(model: nn.Module) -> Iterator[CapturedEncoding]:
    captured = CapturedEncoding()
    head = next(module for module in model.modules() if isinstance(module, EncHead))
    module = head.enc_module

    @torch.no_grad()
    def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        x = inputs[0][:1].detach()
        encoding = module.encoding[0]
        assert isinstance(encoding, Encoding)
        weights = encoding.assignment(module.cells(x))[0]
        captured.assignment = weights.reshape(*x.shape[2:], -1).float().cpu().numpy()
        encoded = output[0][:1].detach()
        captured.gate = module.gate(encoded)[0].float().cpu().numpy()
        if head.se_layer is not None:
            captured.presence = head.se_layer(encoded).sigmoid()[0].float().cpu().numpy()

    handle = module.register_forward_hook(keep)
    try:
        with image_size_of(model, captured):
            yield captured
    finally:
        handle.remove()


class _EncodingProbe:
    def attach(self, model: nn.Module) -> Any:
        return _capturing(model)


class CodewordProbe(_EncodingProbe):
    """How a clicked pixel is shared out among the codewords; or, with `codeword`, where one codeword is."""

    def map(
        self, captured: CapturedEncoding, query: Query, *, codeword: int = -1, **options: Any
    ) -> ProbeMap:
        if captured.assignment is None:
            raise ValueError("nothing was kept yet: run the network first")
        height, width, codes = captured.assignment.shape
        grid = grid_of(captured, (height, width))
        cell = grid.cell_of(query)
        if codeword < 0:
            labels = tuple(f"codeword {k + 1}" for k in range(codes))
            values = captured.assignment[cell]
            return ProbeMap(values, "vector", labels=labels, rows_sum_to_one=True, query_cell=cell)
        if codeword >= codes:
            raise ValueError(f"there are {codes} codewords; {codeword} is none of them")
        values = captured.assignment[..., codeword]
        return ProbeMap(values, "map", stride=grid.stride, offset=grid.offset, query_cell=cell)


class PresenceProbe(_EncodingProbe):
    """Which classes the encoding says are in the picture: a probability for each."""

    def map(self, captured: CapturedEncoding, query: Query, **options: Any) -> ProbeMap:
        if captured.presence is None:
            raise ValueError("this network was built without the SE-loss, or has not run yet")
        return ProbeMap(captured.presence, "vector")


class GateProbe(_EncodingProbe):
    """The factor each channel is multiplied by (before the residual); ones where the gate is off."""

    def map(self, captured: CapturedEncoding, query: Query, **options: Any) -> ProbeMap:
        if captured.gate is None:
            raise ValueError("nothing was kept yet: run the network first")
        return ProbeMap(captured.gate, "vector")


def codeword_probe() -> CodewordProbe:
    return CodewordProbe()


def presence_probe() -> PresenceProbe:
    return PresenceProbe()


def gate_probe() -> GateProbe:
    return GateProbe()
