"""One image through one segmentor: padding, whole or in blended tiles, scores to class maps.

The network runs on the image as it is, padded at the right and below by reflection where it needs sizes
of a kind; it is resized only where somebody asks to see the network at another size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from segstudio.plugin_api import ModelSpec, Preprocess, Scores
from segstudio.worker import devices
from segstudio.worker.control import Control
from segstudio.worker.resampling import Maps, RowResizer, ScaledRowResizer, strip_rows, write_strip
from segstudio.worker.side_outputs import output_scores
from segstudio.worker.tiles import Tile, TilePlan, plan_tiles, whole, window

SMALLEST_TILE = 128
_TILE_STEP = 32
_COARSE_GRID = 4


@dataclass
class Timing:
    """Seconds inside the network, and how many passes that were."""

    forward: float = 0.0
    passes: int = 0


class Network:
    """A segmentor on its device with its preprocessing: pixels in, scores out."""

    def __init__(
        self,
        model: nn.Module,
        spec: ModelSpec,
        preprocess: Preprocess,
        device: torch.device,
        *,
        dtype: torch.dtype = torch.float32,
        autocast: bool = False,
        output: str = "",
    ) -> None:
        """`dtype` is that of the model's weights, or with `autocast` that of the operations which bear it.

        `output` names the side output whose scores are given; "" is the final one.
        """
        self.model = model
        self.spec = spec
        self.device = device
        self.dtype = dtype
        self.autocast = autocast
        self.output = output
        mean, std = (
            torch.tensor(values, dtype=torch.float32) for values in (preprocess.mean, preprocess.std)
        )
        values = torch.arange(256, dtype=torch.float32)[:, None]
        self._mean, self._std = (x.to(device).reshape(1, 3, 1, 1) for x in (mean, std))
        self._normalised: NDArray[np.float32] = ((values - mean) / std).numpy()[None]  # (1, 256, 3)

    def tensor(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, H, W) float32, normalised, channels last."""
        if self.device.type == "cpu":
            # A pixel has one of 256 values: looked up, it takes a fourth of the time of computing it.
            found = cv2.LUT(pixels, self._normalised)
            return torch.from_numpy(found).permute(2, 0, 1)[None]
        # torch warns of arrays that it could write to by mistake, so a read-only one is copied.
        raw = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).to(self.device)
        image = raw.permute(2, 0, 1)[None]  # a view: the memory stays channels last
        return torch.sub(image, self._mean).div_(self._std)

    def scores(self, pixels: NDArray[np.uint8], timing: Timing | None = None) -> Scores:
        """One pass. `pixels` (H, W, 3) have a size that the network takes. The scores are float32."""
        image = self.tensor(pixels)
        if not self.autocast:
            image = image.to(self.dtype)
        started = time.perf_counter()
        with torch.no_grad(), self._precision():
            found = output_scores(self.model, self.spec, image, self.output)
        scores = Scores(found.logits.float(), found.align_corners)
        if timing is not None:
            devices.synchronize(self.device)
            timing.forward += time.perf_counter() - started
            timing.passes += 1
        return scores

    def _precision(self) -> AbstractContextManager[object]:
        if not self.autocast:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def padded_size(height: int, width: int, spec: ModelSpec, step: int = 1) -> tuple[int, int]:
    """The smallest size a network takes that holds the image; multiples of `step` as well."""
    multiple = math.lcm(max(1, spec.size_divisor), max(1, step))

    def up(side: int) -> int:
        return -(-max(side, spec.min_size, 1) // multiple) * multiple

    return up(height), up(width)


def pad(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pads below and at the right by reflection, where a side is under 2 pixels by replication."""
    height, width = pixels.shape[:2]
    below, right = size[0] - height, size[1] - width
    if not below and not right:
        return pixels
    for amount, axis_length, vertical in ((below, height, True), (right, width, False)):
        if amount:
            border = cv2.BORDER_REFLECT_101 if axis_length >= 2 else cv2.BORDER_REPLICATE
            sides = (0, amount, 0, 0) if vertical else (0, 0, 0, amount)
            pixels = cv2.copyMakeBorder(pixels, *sides, border)
    return pixels


def make_plan(height: int, width: int, spec: ModelSpec, tile_side: int | None) -> TilePlan:
    """One pass over everything, or tiles of about `tile_side` pixels."""
    if tile_side is None or max(height, width) <= tile_side:
        return whole(*padded_size(height, width, spec))
    step = math.lcm(max(1, spec.size_divisor), _TILE_STEP)
    side = max(tile_side, spec.min_size)
    side = -(-side // step) * step if side == spec.min_size else max(step, side // step * step)
    return plan_tiles(*padded_size(height, width, spec, step), side, step)


def run_plan(
    network: Network, pixels: NDArray[np.uint8], plan: TilePlan, maps: Maps, control: Control
) -> Timing:
    """Fills `maps` (H, W) from `pixels` (H, W, 3) or (h, w, 3), the picture at another size.

    Raises Cancelled between tiles.
    """
    timing = Timing()
    if plan.is_whole:
        _run_whole(network, pixels, plan, maps, control, timing)
    else:
        _run_tiled(network, pixels, plan, maps, control, timing)
    return timing


def cut(pixels: NDArray[np.uint8], tile: Tile) -> NDArray[np.uint8]:
    """A tile's pixels; what lies outside the image is padded."""
    inside = pixels[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
    if inside.shape[:2] == (tile.height, tile.width):
        return inside
    # Reflected about the image's own edge, so the rows and columns that the reflection needs are cut along.
    height, width = pixels.shape[:2]
    top = max(0, min(tile.y, 2 * height - tile.y - tile.height - 1))
    left = max(0, min(tile.x, 2 * width - tile.x - tile.width - 1))
    bottom, right = tile.y + tile.height, tile.x + tile.width
    part = pixels[top:bottom, left:right]
    part = pad(part, (bottom - top, right - left))
    return part[tile.y - top :, tile.x - left :][: tile.height, : tile.width]


def _run_whole(
    network: Network,
    pixels: NDArray[np.uint8],
    plan: TilePlan,
    maps: Maps,
    control: Control,
    timing: Timing,
) -> None:
    height, width = maps.labels.shape
    control.check()
    found = network.scores(pad(pixels, (plan.height, plan.width)), timing)
    control.progress(0.8)
    logits = found.logits[0]
    grid = (int(logits.shape[1]), int(logits.shape[2]))
    resizer = _resizer(grid, plan, found.align_corners, logits.device, pixels, maps)
    _emit(resizer, logits, 0, (0, height), width, maps, control)


def _run_tiled(
    network: Network,
    pixels: NDArray[np.uint8],
    plan: TilePlan,
    maps: Maps,
    control: Control,
    timing: Timing,
) -> None:
    """Tiles row by row: only one band of weighted scores is held, and finished rows leave it at once."""
    height, width = maps.labels.shape
    blend = _Blend(plan)
    done_rows = 0
    for number, tile_y in enumerate(plan.rows):
        for place, tile_x in enumerate(plan.columns):
            tile = Tile(tile_y, tile_x, plan.tile_height, plan.tile_width)
            found = network.scores(cut(pixels, tile), timing)
            blend.add(found, tile)
            share = (number * len(plan.columns) + place + 1) / plan.count
            control.progress(0.98 * share, f"tile {number * len(plan.columns) + place + 1} of {plan.count}")
        last = number + 1 == len(plan.rows)
        next_y = plan.height if last else plan.rows[number + 1]
        scores, first, end = blend.finish_rows(next_y)
        resizer = _resizer(blend.grid, plan, False, scores.device, pixels, maps)
        ready = height if last else min(height, resizer.ready(end))
        _emit(resizer, scores, first, (done_rows, ready), width, maps, control, tell=False)
        done_rows = max(done_rows, ready)


def _resizer(
    grid: tuple[int, int],
    plan: TilePlan,
    align_corners: bool,
    device: torch.device,
    pixels: NDArray[np.uint8],
    maps: Maps,
) -> RowResizer:
    """From the grid of scores over the pass to the maps, which may be of another size than its pixels."""
    padded = (plan.height, plan.width)
    run, shown = pixels.shape[:2], maps.labels.shape
    if run == shown:
        return RowResizer(grid, padded, align_corners, device)
    return ScaledRowResizer(
        grid, padded, align_corners, device, run=(run[0], run[1]), shown=(shown[0], shown[1])
    )


def _emit(
    resizer: RowResizer,
    scores: Tensor,
    first: int,
    rows: tuple[int, int],
    width: int,
    maps: Maps,
    control: Control,
    *,
    tell: bool = True,
) -> None:
    for start, stop in _strips(rows, strip_rows(scores.shape[0], width, scores.device)):
        control.check()
        write_strip(resizer.rows(scores, first, start, stop, width), maps, start)
        if tell:
            control.progress(0.8 + 0.2 * stop / max(1, rows[1]))


def _strips(rows: tuple[int, int], height: int) -> Iterator[tuple[int, int]]:
    for start in range(rows[0], rows[1], height):
        yield start, min(start + height, rows[1])


class _Blend:
    """Weighted scores of tiles on one grid over the whole image, of which one band is held.

    A network with a whole stride keeps its own grid, so that tiles meet cell on cell. Others (corners
    aligned, odd sizes) are resampled to a grid of 4 pixels first.
    """

    def __init__(self, plan: TilePlan) -> None:
        self._plan = plan
        self._stride = 0
        self._top = 0
        self._sum: Tensor | None = None
        self._weight: Tensor | None = None
        self._tail: Tensor | None = None

    def add(self, found: Scores, tile: Tile) -> None:
        plan = self._plan
        logits = found.logits[0]
        stride_y, rest_y = divmod(tile.height, logits.shape[1])
        stride_x, rest_x = divmod(tile.width, logits.shape[2])
        own_grid = not (rest_y or rest_x or found.align_corners) and stride_y == stride_x
        if not own_grid or tile.y % stride_y or plan.height % stride_y or plan.width % stride_y:
            size = (tile.height, tile.width)
            logits = functional.interpolate(
                logits[None], size, mode="bilinear", align_corners=found.align_corners
            )
            logits = functional.avg_pool2d(logits, _COARSE_GRID)[0]
            stride_y = _COARSE_GRID
        if self._sum is None or self._weight is None:
            self._stride = stride_y
            band = (plan.tile_height // stride_y, plan.width // stride_y)
            self._sum = logits.new_zeros((logits.shape[0], *band))
            self._weight = logits.new_zeros(band)
        rows = window(logits.shape[1], tile.y > 0, tile.y + tile.height < plan.height)
        columns = window(logits.shape[2], tile.x > 0, tile.x + tile.width < plan.width)
        weight = torch.from_numpy(rows[:, None] * columns[None, :]).to(logits.device)
        left = tile.x // self._stride
        self._sum[:, :, left : left + logits.shape[2]] += logits * weight
        self._weight[:, left : left + logits.shape[2]] += weight

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the scores of the whole image; known after the first tile."""
        return self._plan.height // self._stride, self._plan.width // self._stride

    def finish_rows(self, next_y: int) -> tuple[Tensor, int, int]:
        """Scores of the rows that no later tile touches: (K, n, w), the grid row they begin at, their end.

        The last finished row is handed out again the next time, since interpolation needs it.
        """
        assert self._sum is not None and self._weight is not None
        end = next_y // self._stride
        number = end - self._top
        scores = self._sum[:, :number] / self._weight[:number].clamp(min=1e-12)
        first = self._top
        if self._tail is not None:
            scores = torch.cat([self._tail, scores], dim=1)
            first -= 1
        self._tail = scores[:, -1:].clone()
        self._sum = _shifted(self._sum, number)
        self._weight = _shifted(self._weight[None], number)[0]
        self._top = end
        return scores, first, end


def _shifted(band: Tensor, rows: int) -> Tensor:
    """The band moved up by `rows`, zeros below."""
    result = torch.zeros_like(band)
    kept = band.shape[1] - rows
    if kept > 0:
        result[:, :kept] = band[:, rows:]
    return result
