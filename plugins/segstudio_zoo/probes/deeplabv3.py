"""What can be looked at inside DeepLabV3: where atrous convolutions read. Closed form, no weights.

arXiv 1706.05587, section 3.3 and figure 4: how many taps of a dilated 3x3 fall on valid features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.aspp import valid_taps
from segstudio_zoo.layers.feature_grid import FeatureGrid, ImageSize, watching_image


@dataclass
class CapturedRates:
    """The feature map's size and the rates in effect during the last run."""

    image: ImageSize = field(default_factory=ImageSize)
    size: tuple[int, int] = (0, 0)
    pyramid: tuple[int, ...] = ()
    stage: tuple[int, ...] = ()
    align_corners: bool = False

    @property
    def nbytes(self) -> int:
        return 0

    @property
    def grid(self) -> FeatureGrid:
        if self.size == (0, 0):
            raise ValueError("Nothing is kept yet: run the model on the picture first.")
        return FeatureGrid(self.size, self.image.size, self.align_corners)


class _RateProbe:
    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedRates]:
        """While open, a run of `model` fills what is returned."""
        captured = CapturedRates(align_corners=model.align_corners)
        stage = getattr(model.backbone, "layer4", None)

        def note(_: nn.Module, __: Any, features: Sequence[Tensor]) -> None:
            height, width = features[-1].shape[-2:]
            captured.size = (int(height), int(width))
            captured.pyramid = getattr(model.decode_head, "rates", ())
            convs = [m for m in stage.modules() if isinstance(m, nn.Conv2d)] if stage is not None else []
            captured.stage = tuple(c.dilation[0] for c in convs if c.kernel_size == (3, 3))

        handle = model.backbone.register_forward_hook(note)
        try:
            with watching_image(model, [captured.image]):
                yield captured
        finally:
            handle.remove()


class TapsProbe(_RateProbe):
    """The nine taps of every rate as points; weight = 1 on the map, 0 outside it."""

    def map(self, captured: CapturedRates, query: Query) -> ProbeMap:
        """`extras["valid"]`: taps on the map by rate, out of nine."""
        grid = captured.grid
        row, column = grid.cell_of(query)
        (down, right), (top, left) = grid.stride, grid.offset
        height, width = grid.size
        points, names, valid = [], [], {}
        for rate in captured.pyramid:
            if rate == 1:
                continue
            valid[str(rate)] = valid_taps(row, column, height, width, rate)
            for dy in (-rate, 0, rate):
                for dx in (-rate, 0, rate):
                    y, x = row + dy, column + dx
                    inside = 0 <= y < height and 0 <= x < width
                    points.append((top + (y + 0.5) * down, left + (x + 0.5) * right, float(inside)))
                    names.append(f"rate {rate}")
        return ProbeMap(
            np.array(points, dtype=np.float32).reshape(-1, 3),
            kind="points",
            stride=grid.stride,
            offset=grid.offset,
            labels=tuple(names),
            query_cell=(row, column),
            extras={"valid": valid},
        )


class GriddingProbe(_RateProbe):
    """The share of all paths through the dilated 3x3 that begin in each cell."""

    def map(self, captured: CapturedRates, query: Query, *, rate: int = 0) -> ProbeMap:
        """Paths through the last residual stage and, where `rate` is not 0, the pyramid's branch."""
        grid = captured.grid
        if rate and rate not in captured.pyramid:
            known = ", ".join(map(str, captured.pyramid))
            raise ValueError(f"There is no branch of rate {rate}; rates are {known}.")
        cell = grid.cell_of(query)
        rates = (*captured.stage, *((rate,) if rate > 1 else ()))
        return ProbeMap(
            path_share(grid.size, cell, rates),
            stride=grid.stride,
            offset=grid.offset,
            rows_sum_to_one=True,
            query_cell=cell,
            extras={"rates": list(rates)},
        )


def path_share(size: tuple[int, int], cell: tuple[int, int], rates: Sequence[int]) -> NDArray[np.float32]:
    """Paths from every cell to `cell` through 3x3 convolutions of these rates, over their number."""
    counts = np.zeros(size, dtype=np.float64)
    counts[cell] = 1.0
    for rate in reversed(rates):  # from the cell back to the picture; the border cuts at every step
        spread = np.zeros_like(counts)
        for dy in (-rate, 0, rate):
            for dx in (-rate, 0, rate):
                height, width = size
                rows = slice(max(dy, 0), min(height + dy, height))
                columns = slice(max(dx, 0), min(width + dx, width))
                if rows.start >= rows.stop or columns.start >= columns.stop:
                    continue
                from_rows = slice(rows.start - dy, rows.stop - dy)
                from_columns = slice(columns.start - dx, columns.stop - dx)
                spread[rows, columns] += counts[from_rows, from_columns]
        counts = spread
    return (counts / counts.sum()).astype(np.float32)


def taps() -> TapsProbe:
    return TapsProbe()


def gridding() -> GriddingProbe:
    return GriddingProbe()
