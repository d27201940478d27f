"""What can be looked at inside CCNet: a hop's cross, and the product of all hops.

Queries and keys of every hop are kept, and one log-sum-exp a cell; a row costs H + W products.
arXiv 1811.11721, section 3.3: in two hops every cell reaches every other over two corner cells.
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
from segstudio_zoo.segmentors.ccnet import CrissCrossAttention


@dataclass
class Hop:
    """One pass: `query`, `key` (C', H, W) float32 and `normaliser` (H, W), the log-sum-exp of its scores."""

    query: Tensor
    key: Tensor
    normaliser: Tensor
    element_size: int = 4

    @classmethod
    def of(cls, query: Tensor, key: Tensor) -> Hop:
        size = query.element_size()
        query, key = query[:1].detach().float(), key[:1].detach().float()
        strips = [criss_cross_rows(query[0], key[0], row).logsumexp(dim=-1) for row in range(query.shape[2])]
        return cls(query[0], key[0], torch.stack(strips), size)

    @property
    def nbytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.query, self.key, self.normaliser))

    def row(self, row: int, column: int) -> Tensor:
        """Attention of one cell over the whole map (H, W); zero off its cross, the sum is 1."""
        q, (height, width) = self.query[:, row, column], self.key.shape[1:]
        down = torch.exp(q @ self.key[:, :, column] - self.normaliser[row, column])
        across = torch.exp(q @ self.key[:, row, :] - self.normaliser[row, column])
        out = q.new_zeros(height, width)
        out[:, column] = down
        out[row, :] = across  # the centre counts once, in the row
        return out

    def gather(self, weights: Tensor) -> Tensor:
        """`weights` (H, W) on cells -> the same mass handed on to what those cells attend to: w A."""
        out = torch.zeros_like(weights)
        for column in torch.nonzero(weights.any(dim=0)).flatten().tolist():
            logits = self.query[:, :, column].T @ self.key[:, :, column]
            attention = torch.exp(logits - self.normaliser[:, column, None])
            attention.fill_diagonal_(0.0)
            out[:, column] += weights[:, column] @ attention
        for row in torch.nonzero(weights.any(dim=1)).flatten().tolist():
            logits = self.query[:, row, :].T @ self.key[:, row, :]
            out[row] += weights[row] @ torch.exp(logits - self.normaliser[row, :, None])
        return out


def criss_cross_rows(query: Tensor, key: Tensor, row: int) -> Tensor:
    """The scores of one row of cells: (C', H, W) twice -> (W, H + W), the centre once."""
    column = torch.einsum("cw,cgw->wg", query[:, row], key)
    column[:, row] = float("-inf")
    return torch.cat([column, query[:, row].T @ key[:, row]], dim=1)


@dataclass
class CapturedHops:
    """The hops of the last run, first to last, with gamma at that time."""

    hops: list[Hop] = field(default_factory=list)
    gamma: float = 0.0
    image: ImageSize = field(default_factory=ImageSize)
    align_corners: bool = False

    @property
    def nbytes(self) -> int:
        return sum(hop.nbytes for hop in self.hops)

    @property
    def grid(self) -> FeatureGrid:
        if not self.hops:
            raise ValueError("Nothing is kept yet: run the model on the picture first.")
        height, width = self.hops[0].key.shape[1:]
        return FeatureGrid((height, width), self.image.size, self.align_corners)

    def cost(self, hops: int, of: str) -> dict[str, Any]:
        """H W (H + W - 1) scores a hop, the centre counted once (section 3.2); full attention once."""
        height, width = self.hops[0].key.shape[1:]
        scores = hops * height * width * (height + width - 1)
        return attention_cost(scores, height * width, self.hops[0].element_size, of=of)

    def hop(self, number: int) -> Hop:
        """The hop counted from 1."""
        if not 1 <= number <= len(self.hops):
            raise ValueError(f"There is no hop {number}: the network ran with {len(self.hops)}.")
        return self.hops[number - 1]


class CrissCrossProbe:
    """Keeps queries and keys of every pass of the criss-cross attention."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedHops]:
        """While open, a run of `model` fills what is returned."""
        attention = next(m for m in model.modules() if isinstance(m, CrissCrossAttention))
        captured = CapturedHops(align_corners=model.align_corners)
        kept: dict[str, Tensor] = {}

        def start(_: nn.Module, __: Any) -> None:
            captured.hops.clear()

        def keep_query(_: nn.Module, __: Any, out: Tensor) -> None:
            kept["query"] = out

        def keep_key(_: nn.Module, __: Any, out: Tensor) -> None:
            kept["key"] = out

        def finish(module: nn.Module, __: Any, ___: Tensor) -> None:
            captured.hops.append(Hop.of(kept.pop("query"), kept.pop("key")))
            captured.gamma = float(attention.gamma.scale.detach())

        handles = [
            model.backbone.register_forward_pre_hook(start),
            attention.query_conv.register_forward_hook(keep_query),
            attention.key_conv.register_forward_hook(keep_key),
            attention.register_forward_hook(finish),
        ]
        try:
            with watching_image(model, [captured.image]):
                yield captured
        finally:
            for handle in handles:
                handle.remove()


class HopProbe(CrissCrossProbe):
    """The attention of one pass, counted from 1."""

    def __init__(self, number: int) -> None:
        self.number = number

    def map(self, captured: CapturedHops, query: Query) -> ProbeMap:
        """Row and column of the query's cell; the rest is zero."""
        grid = captured.grid
        cell = grid.cell_of(query)
        row = captured.hop(self.number).row(*cell)
        return ProbeMap(
            row.cpu().numpy(),
            stride=grid.stride,
            offset=grid.offset,
            rows_sum_to_one=True,
            query_cell=cell,
            extras={"hop": self.number, "hops": len(captured.hops), **captured.cost(1, "a hop")},
        )


class ComposedProbe(CrissCrossProbe):
    """The product of all passes: how much each cell of the picture reaches the query's cell."""

    def map(
        self,
        captured: CapturedHops,
        query: Query,
        *,
        residual: bool = False,
        to_y: float | None = None,
        to_x: float | None = None,
    ) -> ProbeMap:
        """A_R ... A_1 from the query's cell; with `residual` the product of (gamma A + I).

        With two hops `extras` holds the link to a second pixel (`to_y`, `to_x`; the strongest cell off the
        cross unless given): `corners`, its two corner cells, and `legs`, for each the weight of the
        second hop (query -> corner) and of the first (corner -> target).
        """
        grid = captured.grid
        cell = grid.cell_of(query)
        weights = torch.zeros_like(captured.hops[0].normaliser)
        weights[cell] = 1.0
        for hop in reversed(captured.hops):
            gathered = hop.gather(weights)
            weights = captured.gamma * gathered + weights if residual else gathered
        hops = len(captured.hops)
        extras: dict[str, Any] = {"hops": hops, "residual": residual}
        extras.update(captured.cost(hops, f"in {hops} hops" if hops > 1 else "a hop"))
        if len(captured.hops) == 2:
            target = None if to_y is None or to_x is None else grid.cell(to_y, to_x)
            extras.update(_link(captured, cell, target or _strongest_off_cross(weights, cell)))
        return ProbeMap(
            weights.cpu().numpy(),
            stride=grid.stride,
            offset=grid.offset,
            signed=residual and captured.gamma < 0,
            rows_sum_to_one=not residual,
            query_cell=cell,
            extras=extras,
        )


def _strongest_off_cross(weights: Tensor, cell: tuple[int, int]) -> tuple[int, int]:
    rest = weights.clone()
    if rest.shape[0] > 1 and rest.shape[1] > 1:
        rest[cell[0], :] = float("-inf")
        rest[:, cell[1]] = float("-inf")
    best = int(rest.argmax())
    return best // rest.shape[1], best % rest.shape[1]


def _link(captured: CapturedHops, cell: tuple[int, int], target: tuple[int, int]) -> dict[str, Any]:
    """The two corner cells between `cell` and `target`, and what each leg weighs."""
    corners = [(cell[0], target[1]), (target[0], cell[1])]
    first, second = captured.hops
    reach = second.row(*cell)
    legs = [[float(reach[corner]), float(first.row(*corner)[target])] for corner in corners]
    return {
        "target_cell": list(target),
        "corners": [list(corner) for corner in corners],
        "legs": legs,
        "weights": [a * b for a, b in legs],
    }


def first_hop() -> HopProbe:
    return HopProbe(1)


def second_hop() -> HopProbe:
    return HopProbe(2)


def composed() -> ComposedProbe:
    return ComposedProbe()
