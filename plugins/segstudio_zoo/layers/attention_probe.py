"""Probes of attention over grids of tokens: rows, columns, entropy and rollout on demand.

They serve every encoder that says where its attention stands and how its tokens lie in the picture
(`AttentionEncoder`): MiT with its reduced keys, ViT, BEiT, MAE and what is built on them.

Rollout: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, arXiv 2005.00928,
section 3: the product over layers of 0.5 A + 0.5 I, here for one query, from the last layer to the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.attention import AttentionRecord, recording
from segstudio_zoo.layers.attention_cost import attention_cost


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """How tokens lie in the picture: `prefix` tokens without a place, then rows x columns of cells.

    `size` (rows, columns); `stride` (y, x) is the side of a cell in pixels of the network's input.
    """

    size: tuple[int, int]
    stride: tuple[float, float]
    prefix: int = 0

    def cell(self, query: Query) -> tuple[int, int]:
        """The cell under the query's pixel. Raises ValueError where it lies outside the picture."""
        row, column = math.floor(query.y / self.stride[0]), math.floor(query.x / self.stride[1])
        inside = 0 <= row <= self.size[0] and 0 <= column <= self.size[1]
        if not inside:
            high, wide = self.size[0] * self.stride[0], self.size[1] * self.stride[1]
            raise ValueError(f"Query ({query.y:g}, {query.x:g}) is outside the {high:g}x{wide:g} picture.")
        return min(row, self.size[0] - 1), min(column, self.size[1] - 1)

    def index(self, cell: tuple[int, int]) -> int:
        """The token of a cell."""
        return self.prefix + cell[0] * self.size[1] + cell[1]

    def fold(self, values: Tensor) -> NDArray[np.float32]:
        """(tokens,) -> (rows, columns) float32; tokens without a place are left out."""
        rows, columns = self.size
        placed = values[self.prefix : self.prefix + rows * columns]
        return placed.reshape(rows, columns).detach().float().cpu().numpy()

    def rest(self, values: Tensor) -> float:
        """The sum over the tokens without a place."""
        count = self.size[0] * self.size[1]
        return float(values.sum() - values[self.prefix : self.prefix + count].sum())


@dataclass(frozen=True, slots=True)
class AttentionSite:
    """One attention module: where its queries and keys lie, and its place in the network.

    `place` is (stage, block) counted from 1; networks without stages have one.
    """

    place: tuple[int, int]
    queries: TokenGrid
    keys: TokenGrid


class AttentionEncoder(Protocol):
    """What an encoder shows to the probes below. Lists are in the order of the forward pass."""

    def attention_modules(self) -> Sequence[nn.Module]: ...

    def attention_sites(self, height: int, width: int) -> Sequence[AttentionSite]:
        """The sites for an input of `height` x `width` pixels."""
        ...


@dataclass
class CapturedAttention:
    """Queries and keys of all attention modules of the last run, and where they lie."""

    records: list[AttentionRecord | None] = field(default_factory=list)
    sites: Sequence[AttentionSite] = ()

    @property
    def nbytes(self) -> int:
        return sum(record.nbytes for record in self.records if record is not None)

    def at(self, stage: int, block: int) -> tuple[AttentionSite, AttentionRecord]:
        """The site at `stage` and `block`, counted from 1; 0 means the last."""
        if not self.sites:
            raise ValueError("Nothing is kept yet: run the model on the picture first.")
        last_stage = self.sites[-1].place[0]
        stage = stage or last_stage
        blocks = [i for i, site in enumerate(self.sites) if site.place[0] == stage]
        if not blocks:
            raise ValueError(f"There is no stage {stage}; stages are 1 to {last_stage}.")
        if not 0 <= block <= len(blocks):
            raise ValueError(f"There is no block {block} in stage {stage}; blocks are 1 to {len(blocks)}.")
        index = blocks[block - 1]
        record = self.records[index]
        if record is None:
            raise ValueError(f"Stage {stage} block {block} did not run.")
        return self.sites[index], record


class _EncoderProbe:
    """Keeps queries and keys of every attention module of the encoder that `find` gives."""

    def __init__(self, find: Callable[[nn.Module], Any]) -> None:
        self.find = find

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedAttention]:
        """While open, a run of `model` fills what is returned."""
        encoder = self.find(model)
        captured = CapturedAttention()

        def note_sites(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            captured.sites = encoder.attention_sites(*arguments[0].shape[-2:])

        handle = encoder.register_forward_pre_hook(note_sites)
        try:
            with recording(encoder.attention_modules()) as records:
                captured.records = records
                yield captured
        finally:
            handle.remove()


class AttentionProbe(_EncoderProbe):
    """Attention of one layer: where a pixel looks ("row"), or who looks at it ("column").

    A query of kind "global" asks for the row of the class token.
    """

    def map(
        self,
        captured: CapturedAttention,
        query: Query,
        *,
        stage: int = 0,
        block: int = 0,
        head: int = 0,
        view: str = "row",
    ) -> ProbeMap:
        """`stage`, `block` and `head` count from 1; 0 is the last stage or block, and the mean over heads."""
        site, record = captured.at(stage, block)
        return attention_map(site, record, query, head=head, view=view)


class RolloutProbe(_EncoderProbe):
    """Attention from a pixel, or for kind "global" from the class token, to the patches of the picture."""

    def map(self, captured: CapturedAttention, query: Query, *, block: int = 0) -> ProbeMap:
        """Composed from `block` (counted from 1; 0 = the last) back to the first."""
        site, _ = captured.at(0, block)
        grid = site.queries
        cell = None if query.kind == "global" else grid.cell(query)
        records = [record for record in captured.records if record is not None][: site.place[1]]
        weights = torch.zeros(records[-1].query.shape[1], device=records[-1].query.device)
        weights[_class_token(grid) if cell is None else grid.index(cell)] = 1.0
        for record in reversed(records):
            weights = 0.5 * weights + 0.5 * record.propagate(weights.to(record.query.dtype))
        return ProbeMap(
            grid.fold(weights),
            stride=grid.stride,
            rows_sum_to_one=grid.prefix == 0,
            query_cell=cell,
            notes=_notes(grid, weights),
            extras={**_whole_row(grid, weights), **_cost(records)},
        )


def attention_map(
    site: AttentionSite, record: AttentionRecord, query: Query, *, head: int = 0, view: str = "row"
) -> ProbeMap:
    """One row or column of `record` as a map; `head` counts from 1, 0 = the mean over heads."""
    if not 0 <= head <= record.heads:
        raise ValueError(f"There is no head {head}; heads are 1 to {record.heads}.")
    which = head - 1 if head else None
    if view == "column":
        cell = site.keys.cell(query)
        column = record.column(site.keys.index(cell), which)
        return ProbeMap(
            site.queries.fold(column), stride=site.queries.stride, query_cell=cell, extras=_cost([record])
        )
    if view != "row":
        raise ValueError(f"view is {view!r}; it is 'row' or 'column'.")
    cell = None if query.kind == "global" else site.queries.cell(query)
    row = record.row(_class_token(site.queries) if cell is None else site.queries.index(cell), which)
    return ProbeMap(
        site.keys.fold(row),
        stride=site.keys.stride,
        rows_sum_to_one=site.keys.prefix == 0,
        query_cell=cell,
        notes=_notes(site.keys, row),
        extras={**_whole_row(site.keys, row), **_cost([record])},
    )


def _whole_row(grid: TokenGrid, row: Tensor) -> dict[str, Any]:
    """What the map of a row lacks: the share of tokens without a place, and the entropy with them."""
    used = row[row > 0].double()
    return {"other_tokens": grid.rest(row), "entropy_bits": float(-(used * used.log2()).sum())}


def _notes(grid: TokenGrid, row: Tensor) -> tuple[str, ...]:
    if grid.prefix != 1:
        return ()
    return (f"{100 * grid.rest(row):.1f} % of the row goes to the class token",)


def _cost(records: Sequence[AttentionRecord]) -> dict[str, Any]:
    """The scores of all heads of one layer, or of several."""
    scores = sum(record.heads * record.query.shape[1] * record.key.shape[1] for record in records)
    groups = sum(record.heads for record in records)
    last, several = records[-1], len(records) > 1
    return attention_cost(
        scores,
        last.query.shape[1],
        last.query,
        groups=groups,
        of=f"in {len(records)} layers" if several else "",
    )


def _class_token(grid: TokenGrid) -> int:
    if grid.prefix == 0:
        raise ValueError("This network has no class token; ask with a pixel.")
    return 0


def find_module(model: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """The first module of `kind` in `model`. Raises ValueError where there is none."""
    for module in model.modules():
        if isinstance(module, kind):
            return module
    raise ValueError(f"This model has no {kind.__name__}.")
