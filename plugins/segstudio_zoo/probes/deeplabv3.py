"""What can be looked at inside DeepLabV3: where atrous convolutions read. Closed form, no weights.

arXiv 1706.05587, section 3.3 and figure 4: how many taps of a dilated 3x3 fall on valid features; section
3.2: what dilation instead of stride, and the cascade behind it, read of the last grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.aspp import valid_taps
from segstudio_zoo.layers.feature_grid import FeatureGrid, ImageSize, watching_image


@dataclass
class CapturedRates:
    """The feature map's size and the rates in effect during the last run.

    `path`: (kernel, rate) of the convolutions one after another that read the last grid; `cascaded`: there is
    no pyramid behind it.
    """

    image: ImageSize = field(default_factory=ImageSize)
    size: tuple[int, int] = (0, 0)
    pyramid: tuple[int, ...] = ()
    path: tuple[tuple[int, int], ...] = ()
    cascaded: bool = False
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
        head = model.decode_head
        captured = CapturedRates(align_corners=model.align_corners, cascaded=not hasattr(head, "rates"))
        run: list[tuple[nn.Conv2d, torch.Size]] = []

        def begin(_: nn.Module, __: Any) -> None:
            run.clear()

        def visit(conv: nn.Module, _: Any, out: Tensor) -> None:
            assert isinstance(conv, nn.Conv2d)
            run.append((conv, out.shape[-2:]))

        def note(_: nn.Module, __: Any, features: Sequence[Tensor]) -> None:
            size = features[-1].shape[-2:]
            captured.size = (int(size[0]), int(size[1]))
            captured.pyramid = getattr(head, "rates", ())
            blocks = [getattr(head, f"block{number}", nn.Identity()) for number in (5, 6, 7)]
            convs = [*_since_the_last_stride(run, size), *(conv for b in blocks for conv in _wide_convs(b))]
            captured.path = tuple((conv.kernel_size[0], conv.dilation[0]) for conv in convs)

        handles = [conv.register_forward_hook(visit) for conv in _wide_convs(model.backbone)]
        handles.append(model.backbone.register_forward_pre_hook(begin))
        handles.append(model.backbone.register_forward_hook(note))
        try:
            with watching_image(model, [captured.image]):
                yield captured
        finally:
            for handle in handles:
                handle.remove()


_SHORTCUTS = {"proj", "shortcut", "downsample"}


def _wide_convs(module: nn.Module) -> list[nn.Conv2d]:
    """Square convolutions of more than one tap, without those of shortcuts, which lie beside others."""
    return [
        part
        for name, part in module.named_modules()
        if isinstance(part, nn.Conv2d)
        and part.kernel_size[0] == part.kernel_size[1] > 1
        and part.kernel_size[0] % 2
        and not _SHORTCUTS.intersection(name.split("."))
    ]


def _since_the_last_stride(run: Sequence[tuple[nn.Conv2d, torch.Size]], size: torch.Size) -> list[nn.Conv2d]:
    """Of the convolutions in the order they ran, those that read and give the last grid."""
    changed = [index for index, (conv, out) in enumerate(run) if conv.stride[0] > 1 or out != size]
    return [conv for conv, _ in run[changed[-1] + 1 if changed else 0 :]]


class TapsProbe(_RateProbe):
    """The nine taps of every rate as points; weight = 1 on the map, 0 outside it."""

    def map(self, captured: CapturedRates, query: Query) -> ProbeMap:
        """`extras["valid"]`: taps on the map by rate, out of nine."""
        grid = captured.grid
        if captured.cascaded:
            raise ValueError("This DeepLabV3 is a cascade (arrangement='cascaded'): it has no pyramid.")
        if not any(rate > 1 for rate in captured.pyramid):
            raise ValueError("This pyramid has no dilated branch.")
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
    """The share of all paths through the convolutions on the last grid that begin in each cell."""

    def map(
        self, captured: CapturedRates, query: Query, *, rate: int = 0, start: str = "dilated"
    ) -> ProbeMap:
        """Paths through the backbone, a cascade's blocks and, where `rate` is not 0, the pyramid's branch.

        `start`: "dilated" begins with the first dilated convolution (where none is, like the other), "last
        stride" with the first that reads the last grid. `extras["rates"]`, `extras["kernels"]`: in order.
        """
        grid = captured.grid
        if start not in ("dilated", "last stride"):
            raise ValueError(f'start must be "dilated" or "last stride", not {start!r}')
        if rate and rate not in captured.pyramid:
            known = ", ".join(map(str, captured.pyramid))
            words = f"rates are {known}" if known else "a cascade has no pyramid"
            raise ValueError(f"There is no branch of rate {rate}; {words}.")
        cell = grid.cell_of(query)
        path = list(captured.path)
        if start == "dilated":
            first = next((index for index, (_, dilation) in enumerate(path) if dilation > 1), 0)
            path = path[first:]
        if rate > 1:
            path.append((3, rate))
        if not path:
            raise ValueError(
                "No 3x3 convolution of this backbone reads the last grid; choose a branch's rate."
            )
        kernels, rates = zip(*path, strict=True)
        return ProbeMap(
            path_share(grid.size, cell, rates, kernels=kernels),
            stride=grid.stride,
            offset=grid.offset,
            rows_sum_to_one=True,
            query_cell=cell,
            extras={"rates": list(rates), "kernels": list(kernels)},
        )


def path_share(
    size: tuple[int, int], cell: tuple[int, int], rates: Sequence[int], *, kernels: Sequence[int] = ()
) -> NDArray[np.float32]:
    """Paths from every cell to `cell` through convolutions of these rates, over their number.

    `kernels` are the sides of their kernels, odd; 3 unless given.
    """
    counts = np.zeros(size, dtype=np.float64)
    counts[cell] = 1.0
    steps = list(zip(rates, kernels or [3] * len(rates), strict=True))
    for rate, kernel in reversed(steps):  # from the cell back to the picture; the border cuts at every step
        spread = np.zeros_like(counts)
        offsets = [rate * tap for tap in range(-(kernel // 2), kernel // 2 + 1)]
        for dy in offsets:
            for dx in offsets:
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
