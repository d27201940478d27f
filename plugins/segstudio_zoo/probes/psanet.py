"""What can be looked at inside PSANet: collect, distribute from and to a cell, and the raw map.

The predicted maps (M_h * M_w, h, w) are kept, as the network computed them; attention over sources is
made for the asked cell only.
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
from segstudio_zoo.segmentors.psanet import PSAHead


@dataclass
class CapturedMaps:
    """`maps`: direction -> predicted map (1, M, h, w) float32 of the last run."""

    maps: dict[str, Tensor] = field(default_factory=dict)
    head: PSAHead | None = None
    image: ImageSize = field(default_factory=ImageSize)
    align_corners: bool = False
    element_size: int = 4
    _normaliser: Tensor | None = None

    @property
    def nbytes(self) -> int:
        kept = [*self.maps.values(), *([] if self._normaliser is None else [self._normaliser])]
        return sum(t.numel() * t.element_size() for t in kept)

    def of(self, direction: str) -> Tensor:
        if not self.maps:
            raise ValueError("Nothing is kept yet: run the model on the picture first.")
        if direction not in self.maps:
            raise ValueError(f"This network has no {direction} branch.")
        return self.maps[direction]

    def grid(self, direction: str) -> FeatureGrid:
        height, width = self.of(direction).shape[-2:]
        return FeatureGrid((height, width), self.image.size, self.align_corners)

    def cost(self, direction: str) -> dict[str, Any]:
        """A branch predicts M_h x M_w scores a cell, over-completed: more than full attention has."""
        maps = self.of(direction)
        return attention_cost(maps.numel(), maps.shape[2] * maps.shape[3], self.element_size, of="a branch")

    def logits(self, direction: str) -> Tensor:
        """A view (j_y, j_x, i_y, i_x) of the logits; nothing of that size is made."""
        assert self.head is not None
        return self.head.logits(self.of(direction), direction)[0]

    def attention_to(self, direction: str, cell: tuple[int, int]) -> Tensor:
        """Weights over the sources (h, w) for one target."""
        assert self.head is not None
        logits = self.logits(direction)[:, :, cell[0], cell[1]]
        return logits.flatten().softmax(dim=0).reshape(logits.shape) if self.head.softmax else logits

    def attention_from(self, direction: str, cell: tuple[int, int]) -> Tensor:
        """The weight of one source for every target (h, w)."""
        assert self.head is not None
        logits = self.logits(direction)
        given = logits[cell[0], cell[1]]
        if not self.head.softmax:
            return given
        if self._normaliser is None:
            rows = [logits[:, :, row].flatten(0, 1).logsumexp(dim=0) for row in range(logits.shape[2])]
            self._normaliser = torch.stack(rows)
        return torch.exp(given - self._normaliser)


class _MapProbe:
    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedMaps]:
        """While open, a run of `model` fills what is returned."""
        head = model.decode_head
        assert isinstance(head, PSAHead)
        captured = CapturedMaps(head=head, align_corners=model.align_corners)
        first = "collect" if head.direction == "both" else head.direction
        predictors = {first: head.attention}
        if head.direction == "both":
            predictors["distribute"] = head.attention_p

        def keeper(direction: str) -> Any:
            def keep(_: nn.Module, __: Any, out: Tensor) -> None:
                captured.maps[direction] = out[:1].detach().float()
                captured.element_size = out.element_size()
                captured._normaliser = None

            return keep

        handles = [module.register_forward_hook(keeper(name)) for name, module in predictors.items()]
        try:
            with watching_image(model, [captured.image]):
                yield captured
        finally:
            for handle in handles:
                handle.remove()


class ToCellProbe(_MapProbe):
    """Weights over the sources for the query's cell, in one branch."""

    def __init__(self, direction: str) -> None:
        self.direction = direction

    def map(self, captured: CapturedMaps, query: Query) -> ProbeMap:
        grid = captured.grid(self.direction)
        cell = grid.cell_of(query)
        assert captured.head is not None
        return ProbeMap(
            captured.attention_to(self.direction, cell).contiguous().cpu().numpy(),
            stride=grid.stride,
            offset=grid.offset,
            signed=not captured.head.softmax,
            rows_sum_to_one=captured.head.softmax,
            query_cell=cell,
            extras=_reach(captured, self.direction, cell, others_maps=self.direction == "distribute"),
        )


class FromCellProbe(_MapProbe):
    """What the query's cell hands to every target in the distribute branch."""

    def map(self, captured: CapturedMaps, query: Query) -> ProbeMap:
        grid = captured.grid("distribute")
        cell = grid.cell_of(query)
        assert captured.head is not None
        return ProbeMap(
            captured.attention_from("distribute", cell).contiguous().cpu().numpy(),
            stride=grid.stride,
            offset=grid.offset,
            signed=not captured.head.softmax,
            query_cell=cell,
            extras=_reach(captured, "distribute", cell),
        )


class RawMapProbe(_MapProbe):
    """The over-completed map of the query's cell, before the softmax."""

    def map(self, captured: CapturedMaps, query: Query, *, direction: str = "collect") -> ProbeMap:
        """(M_h, M_w) logits by offset.

        `extras["window"]`: the offsets that lie on the grid, (y0, x0, y1, x1) half open;
        `extras["centre"]`: where offset (0, 0) lies.
        """
        grid = captured.grid(direction)
        cell = grid.cell_of(query)
        head = captured.head
        assert head is not None
        values = captured.of(direction)[0, :, cell[0], cell[1]]
        size = grid.size if head.compact else head.mask_size
        extras: dict[str, Any] = {"direction": direction, "compact": head.compact}
        if not head.compact:
            half = ((size[0] - 1) // 2, (size[1] - 1) // 2)
            low = [h - c for h, c in zip(half, cell, strict=True)]
            high = [low[0] + grid.size[0], low[1] + grid.size[1]]
            extras["centre"] = list(half)
            extras["window"] = [
                max(low[0], 0),
                max(low[1], 0),
                min(high[0], size[0]),
                min(high[1], size[1]),
            ]
        extras.update(_reach(captured, direction, cell))
        return ProbeMap(
            values.reshape(size).contiguous().cpu().numpy(),
            stride=grid.stride,
            offset=grid.offset,
            signed=True,
            query_cell=cell,
            extras=extras,
        )


def _reach(
    captured: CapturedMaps, direction: str, cell: tuple[int, int], *, others_maps: bool = False
) -> dict[str, Any]:
    """`reach`: the cells (y0, x0, y1, x1) whose offset to `cell` a map holds; the rest has logit 0.

    `others_maps`: the weights are read from the other cells' maps instead of this cell's own.
    """
    head = captured.head
    assert head is not None
    height, width = captured.grid(direction).size
    cost = captured.cost(direction)
    if head.compact:
        return {"reach": [0, 0, height, width], **cost}
    before = [(side - 1) // 2 for side in head.mask_size]
    after = [side - 1 - half for side, half in zip(head.mask_size, before, strict=True)]
    if others_maps:
        before, after = after, before
    return {
        "reach": [
            max(cell[0] - before[0], 0),
            max(cell[1] - before[1], 0),
            min(cell[0] + after[0] + 1, height),
            min(cell[1] + after[1] + 1, width),
        ],
        **cost,
    }


def collect() -> ToCellProbe:
    return ToCellProbe("collect")


def distribute_to() -> ToCellProbe:
    return ToCellProbe("distribute")


def distribute_from() -> FromCellProbe:
    return FromCellProbe()


def raw_map() -> RawMapProbe:
    return RawMapProbe()
