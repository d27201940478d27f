"""What a person can look at in PointRend: uncertainty, the points chosen in each step, and a box refined.

Beside the network so that `pointrend.py` stays readable next to the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.dense_attention import grid_of, image_size_of
from segstudio_zoo.segmentors.pointrend import PointHead, sample_points, uncertain_cells, uncertainty

BOX_GRIDS = (7, 14, 28, 56, 112, 224)
"""Section 4, "inference": a box starts at 7x7 and is doubled up to 224x224."""

BOX_POINTS = 28 * 28


@dataclass
class CapturedSteps:
    """For each step the uncertainty (h, w) and the chosen cells (P,), numbered in reading order.

    `fine` and `coarse` are the features that points are read from; `head` predicts at further points.
    """

    image_size: tuple[int, int] = (0, 0)
    align_corners: bool = False
    doubts: list[Tensor] = field(default_factory=list)
    chosen: list[Tensor] = field(default_factory=list)
    fine: Tensor | None = None
    coarse: Tensor | None = None
    head: PointHead | None = None

    @property
    def nbytes(self) -> int:
        kept = [*self.doubts, *self.chosen, self.fine, self.coarse]
        return sum(tensor.nbytes for tensor in kept if tensor is not None)

    def step(self, number: int) -> tuple[Tensor, Tensor]:
        """Step `number` counts from 1; 0 is the last."""
        if not self.doubts:
            if self.head is not None and not self.head.steps:
                raise ValueError("this network has no subdivision steps: its mask is the coarse map")
            raise ValueError("nothing was kept yet: run the network first")
        if not 0 <= number <= len(self.doubts):
            raise ValueError(f"there are {len(self.doubts)} subdivision steps; {number} is none of them")
        return self.doubts[number - 1], self.chosen[number - 1]


def _point_head(model: nn.Module) -> PointHead:
    return next(module for module in model.modules() if isinstance(module, PointHead))


class _StepProbe:
    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedSteps]:
        """While open, a run of `model` fills what is returned with its steps."""
        head = _point_head(model)
        captured = CapturedSteps(head=head)

        def begin(_: nn.Module, __: tuple[Any, ...]) -> None:
            captured.doubts, captured.chosen = [], []

        def keep(step: int, doubt: Tensor, indices: Tensor) -> None:
            captured.doubts.append(doubt[0].detach().clone())
            captured.chosen.append(indices[0].detach().clone())

        handle = head.register_forward_pre_hook(begin)
        head.recorders.append(keep)
        try:
            with image_size_of(model, captured):
                yield captured
        finally:
            head.recorders.remove(keep)
            handle.remove()


class UncertaintyProbe(_StepProbe):
    """Minus the gap between the best two classes, before a step's points are predicted anew."""

    def map(self, captured: CapturedSteps, query: Query, *, step: int = 0, **options: Any) -> ProbeMap:
        doubt, _ = captured.step(step)
        grid = grid_of(captured, (doubt.shape[0], doubt.shape[1]))
        return ProbeMap(doubt.float().cpu().numpy(), stride=grid.stride, offset=grid.offset, signed=True)


class PointsProbe(_StepProbe):
    """The points of one step, each with its uncertainty."""

    def map(self, captured: CapturedSteps, query: Query, *, step: int = 0, **options: Any) -> ProbeMap:
        doubt, chosen = captured.step(step)
        size = (doubt.shape[0], doubt.shape[1])
        grid = grid_of(captured, size)
        rows, columns = np.divmod(chosen.cpu().numpy(), size[1])
        y = grid.offset[0] + (rows + 0.5) * grid.stride[0]
        x = grid.offset[1] + (columns + 0.5) * grid.stride[1]
        weights = doubt.flatten()[chosen].float().cpu().numpy()
        values = np.stack([y, x, weights], axis=1).astype(np.float32)
        return ProbeMap(values, "points", signed=True, extras={"points": len(values), "cells": doubt.numel()})


class BoxProbe:
    """A box around the clicked pixel refined from 7x7 to 224x224, as the paper renders one object."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedSteps]:
        """While open, a run of `model` fills what is returned with the features that points are read from."""
        head = _point_head(model)
        captured = CapturedSteps(head=head)

        def begin(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            captured.fine = inputs[0][0][:1].detach().clone()
            captured.coarse = inputs[1][:1].detach().clone()

        handle = head.register_forward_pre_hook(begin)
        try:
            with image_size_of(model, captured):
                yield captured
        finally:
            handle.remove()

    @torch.no_grad()
    def map(
        self,
        captured: CapturedSteps,
        query: Query,
        *,
        height: int = 64,
        width: int = 64,
        show: str = "class",
        **options: Any,
    ) -> ProbeMap:
        """A box of `height` and `width` pixels around the query, with as many cells down as across; `show`
        "class" (indices) or "uncertainty"."""
        if captured.fine is None or captured.coarse is None or captured.head is None:
            raise ValueError("nothing was kept yet: run the network first")
        tall, wide = captured.image_size
        grid_of(captured, (tall, wide)).cell_of(query)  # raises outside the picture
        start = torch.tensor([(query.x - width / 2) / wide, (query.y - height / 2) / tall])
        extent = torch.tensor([width / wide, height / tall])
        start, extent = start.to(captured.fine), extent.to(captured.fine)
        logits: Tensor | None = None
        images, labels = [], []
        for size in BOX_GRIDS:
            if logits is None:
                logits = _coarse_box(captured, size, start, extent)
            else:
                logits = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
                indices, points = uncertain_cells(uncertainty(logits), BOX_POINTS)
                predicted = captured.head.at([captured.fine], captured.coarse, start + points * extent)
                where = indices[:, None].expand(-1, logits.shape[1], -1)
                logits = logits.flatten(2).scatter(2, where, predicted).reshape(logits.shape)
            shown = uncertainty(logits) if show == "uncertainty" else logits.argmax(1).float()
            largest = (BOX_GRIDS[-1], BOX_GRIDS[-1])
            images.append(F.interpolate(shown[:, None].float(), size=largest, mode="nearest")[0, 0])
            labels.append(f"{size}x{size}")
        return ProbeMap(
            torch.stack(images).cpu().numpy(),
            "images",
            stride=(height / BOX_GRIDS[-1], width / BOX_GRIDS[-1]),
            offset=(query.y - height / 2, query.x - width / 2),
            labels=tuple(labels),
            signed=show == "uncertainty",
            extras={"classes": show == "class"},
        )


def _coarse_box(captured: CapturedSteps, size: int, start: Tensor, extent: Tensor) -> Tensor:
    """The coarse logits (1, K, size, size) read at the cells of the box, where rendering begins."""
    assert captured.coarse is not None and captured.head is not None
    cells = (torch.arange(size, device=captured.coarse.device) + 0.5) / size
    y, x = torch.meshgrid(cells, cells, indexing="ij")
    points = start + torch.stack([x, y], dim=-1).reshape(1, -1, 2) * extent
    sampled = sample_points(captured.coarse, points, align_corners=captured.head.align_corners)
    return sampled.reshape(1, -1, size, size)


def uncertainty_probe() -> UncertaintyProbe:
    return UncertaintyProbe()


def points_probe() -> PointsProbe:
    return PointsProbe()


def box_probe() -> BoxProbe:
    return BoxProbe()


@contextmanager
def set_steps(model: nn.Module, value: int) -> Iterator[None]:
    """Another number of subdivision steps; 0 shows the coarse map, -1 the number it was built with."""
    head = _point_head(model)
    before = head.steps
    if value >= 0:
        head.steps = int(value)
    try:
        yield
    finally:
        head.steps = before
