"""What can be looked at inside DANet: rows and columns of the position attention, the channel matrix.

Position attention: queries, keys and one log-sum-exp a cell are kept. Channel attention: the C x C energy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.attention_cost import attention_cost
from segstudio_zoo.layers.feature_grid import FeatureGrid, ImageSize, watching_image
from segstudio_zoo.segmentors.danet import (
    CHUNK_SCORES,
    ChannelAttention,
    PositionAttention,
    channel_attention,
)


@dataclass
class CapturedPositions:
    """`query`, `key` (C', L) float32 of the last run, `size` (H, W) of the map."""

    query: Tensor | None = None
    key: Tensor | None = None
    size: tuple[int, int] = (0, 0)
    image: ImageSize = field(default_factory=ImageSize)
    align_corners: bool = False
    absent: bool = False
    element_size: int = 4
    _normaliser: Tensor | None = None

    @property
    def nbytes(self) -> int:
        kept = (self.query, self.key, self._normaliser)
        return sum(t.numel() * t.element_size() for t in kept if t is not None)

    @property
    def grid(self) -> FeatureGrid:
        if self.absent:
            raise ValueError("This DANet has no position attention (branches='channel').")
        if self.query is None:
            raise ValueError("Nothing is kept yet: run the model on the picture first.")
        return FeatureGrid(self.size, self.image.size, self.align_corners)

    def keep(self, query: Tensor, key: Tensor) -> None:
        self.size = (int(query.shape[2]), int(query.shape[3]))
        self.element_size = query.element_size()
        self.query, self.key = (t[0].detach().float().flatten(1) for t in (query, key))
        self._normaliser = None

    def row(self, index: int) -> Tensor:
        """The weights (L,) with which cell `index` sums all others."""
        assert self.query is not None and self.key is not None
        return (self.query[:, index] @ self.key).softmax(dim=0)

    def column(self, index: int) -> Tensor:
        """The weight (L,) that cell `index` has in every cell's sum."""
        assert self.query is not None and self.key is not None
        return torch.exp(self.key[:, index] @ self.query - self.normaliser())

    def normaliser(self) -> Tensor:
        """log-sum-exp of every cell's scores (L,), computed once in chunks."""
        assert self.query is not None and self.key is not None
        if self._normaliser is None:
            chunk = max(CHUNK_SCORES // self.key.shape[1], 1)
            parts = [(part.T @ self.key).logsumexp(dim=1) for part in self.query.split(chunk, dim=1)]
            self._normaliser = torch.cat(parts)
        return self._normaliser


class PositionProbe:
    """Keeps the position attention's queries and keys. `view` is "row" or "column"."""

    def __init__(self, view: str) -> None:
        self.view = view

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedPositions]:
        """While open, a run of `model` fills what is returned; nothing where the branch is absent."""
        attention = next((m for m in model.modules() if isinstance(m, PositionAttention)), None)
        captured = CapturedPositions(align_corners=model.align_corners, absent=attention is None)
        if attention is None:
            yield captured
            return
        kept: dict[str, Tensor] = {}

        def keep_query(_: nn.Module, __: Any, out: Tensor) -> None:
            kept["query"] = out

        def keep_key(_: nn.Module, __: Any, out: Tensor) -> None:
            kept["key"] = out

        def finish(_: nn.Module, __: Any, ___: Tensor) -> None:
            captured.keep(kept.pop("query"), kept.pop("key"))

        handles = [
            attention.query_project.register_forward_hook(keep_query),
            attention.key_project.register_forward_hook(keep_key),
            attention.register_forward_hook(finish),
        ]
        try:
            with watching_image(model, [captured.image]):
                yield captured
        finally:
            for handle in handles:
                handle.remove()

    def map(self, captured: CapturedPositions, query: Query) -> ProbeMap:
        """The row or column of the query's cell as a map."""
        grid = captured.grid
        cell = grid.cell_of(query)
        index = cell[0] * captured.size[1] + cell[1]
        values = captured.row(index) if self.view == "row" else captured.column(index)
        return ProbeMap(
            values.reshape(captured.size).cpu().numpy(),
            stride=grid.stride,
            offset=grid.offset,
            rows_sum_to_one=self.view == "row",
            query_cell=cell,
            extras=attention_cost(values.numel() ** 2, values.numel(), captured.element_size),
        )


@dataclass
class CapturedChannels:
    """`energy` (C, C) float32: inner products between the channels of the last run.

    `inverted`: the network's own softmax is over (largest - energy).
    """

    energy: Tensor | None = None
    inverted: bool = True
    absent: bool = False
    element_size: int = 4

    @property
    def nbytes(self) -> int:
        return 0 if self.energy is None else self.energy.numel() * self.energy.element_size()


class ChannelProbe:
    """The channel matrix: "energy" or "attention"; a query of kind "channel" picks one row."""

    def __init__(self, view: str) -> None:
        self.view = view

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedChannels]:
        """While open, a run of `model` fills what is returned; nothing where the branch is absent."""
        attention = next((m for m in model.modules() if isinstance(m, ChannelAttention)), None)
        if attention is None:
            yield CapturedChannels(absent=True)
            return
        captured = CapturedChannels(inverted=attention.inverted)

        def keep(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            captured.element_size = arguments[0].element_size()
            flat = arguments[0][0].detach().float().flatten(1)
            captured.energy = flat @ flat.T

        handle = attention.register_forward_pre_hook(keep)
        try:
            yield captured
        finally:
            handle.remove()

    def map(self, captured: CapturedChannels, query: Query) -> ProbeMap:
        """Row = the channel that is renewed, column = the channel it takes from."""
        if captured.absent:
            raise ValueError("This DANet has no channel attention (branches='position').")
        if captured.energy is None:
            raise ValueError("Nothing is kept yet: run the model on the picture first.")
        attends = self.view == "attention"
        matrix = captured.energy
        if attends:
            matrix = channel_attention(matrix, inverted=captured.inverted)
        cost = attention_cost(matrix.numel(), len(matrix), captured.element_size)
        if query.kind == "channel":
            if not 0 <= query.index < len(matrix):
                raise ValueError(f"There is no channel {query.index}; channels are 0 to {len(matrix) - 1}.")
            row = matrix[query.index].cpu().numpy()
            return ProbeMap(row, kind="vector", signed=not attends, rows_sum_to_one=attends, extras=cost)
        values = matrix.cpu().numpy()
        return ProbeMap(values, kind="matrix", signed=not attends, rows_sum_to_one=attends, extras=cost)


def position_row() -> PositionProbe:
    return PositionProbe("row")


def position_column() -> PositionProbe:
    return PositionProbe("column")


def channel_weights() -> ChannelProbe:
    return ChannelProbe("attention")


def channel_energy() -> ChannelProbe:
    return ChannelProbe("energy")
