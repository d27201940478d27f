"""From class scores at a network's own resolution to class maps at the image's, in strips of rows.

Scores of all classes at full size never exist: 150 classes of a 24-megapixel image would be 14 GB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

# On a CPU a strip stays in the cache (measured: 1.6 times as fast as 48 MB); a GPU wants much work at once.
_STRIP_BYTES = {"cpu": 12 * 2**20, "cuda": 256 * 2**20, "mps": 64 * 2**20}


@dataclass
class Maps:
    """What a prediction fills: class indices, and where wanted confidence and entropy, 0..255 for 0..1.

    All (H, W); `labels` uint8 or uint16, the others uint8 or None. They may lie in shared memory.
    """

    labels: NDArray[Any]
    confidence: NDArray[np.uint8] | None = None
    entropy: NDArray[np.uint8] | None = None


class RowResizer:
    """Resizes scores (K, h, w), handed over in bands of rows, bilinearly to (K, H, W), strip by strip.

    `padded` (H, W) is the size that the whole grid `grid` (h, w) stands for, as `interpolate` has it.
    """

    def __init__(
        self, grid: tuple[int, int], padded: tuple[int, int], align_corners: bool, device: torch.device
    ) -> None:
        self._grid = grid
        self._padded = padded
        self._align = align_corners
        rows = torch.arange(padded[0], dtype=torch.float64)
        self._set_rows(*_neighbours(rows, grid[0], padded[0], align_corners), device)

    def _set_rows(self, low: Tensor, high: Tensor, share: Tensor, device: torch.device) -> None:
        self._low, self._high, self._share = low.to(device), high.to(device), share.to(device)
        self._low_row, self._last_row = self._low.cpu().numpy(), self._high.cpu().numpy()

    def ready(self, end: int) -> int:
        """How many rows of the output need grid rows below `end` only."""
        return int(np.searchsorted(self._last_row, end, side="left"))

    def rows(self, scores: Tensor, first: int, start: int, stop: int, width: int) -> Tensor:
        """Output rows [start, stop) and the first `width` columns: (K, stop - start, width).

        `scores` (K, n, w) are the grid's rows from `first` on.
        """
        if self._grid == self._padded:
            return scores[:, start - first : stop - first, :width]
        # Along the rows first: there are fewer of them before they are spread over the strip.
        low, high = self._low[start:stop] - first, self._high[start:stop] - first
        top, end = int(self._low_row[start]) - first, int(self._last_row[stop - 1]) + 1 - first
        size = (end - top, self._padded[1])
        wide = functional.interpolate(
            scores[None, :, top:end].contiguous(), size, mode="bilinear", align_corners=self._align
        )[0]
        if self._padded[1] != width:
            wide = wide[:, :, :width]
        if scores.device.type == "cpu" and end - top <= 64:
            # A small matrix product writes each row once; gathering both neighbours writes three times.
            mix = torch.zeros(stop - start, end - top)
            share = self._share[start:stop, None]
            mix.scatter_add_(1, (low - top)[:, None], 1 - share)
            mix.scatter_add_(1, (high - top)[:, None], share)
            return torch.matmul(mix, wide.float())
        share = self._share[start:stop, None].to(scores.dtype)
        return torch.lerp(wide[:, low - top], wide[:, high - top], share)


class ScaledRowResizer(RowResizer):
    """The same to `shown` (H, W), the size of a picture that the network saw resized to `run` (h, w).

    The bilinear scores are read where the shown pixels' centres lie on the resized picture.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        padded: tuple[int, int],
        align_corners: bool,
        device: torch.device,
        *,
        run: tuple[int, int],
        shown: tuple[int, int],
    ) -> None:
        super().__init__(grid, padded, align_corners, device)
        axes = []
        for axis in range(2):
            places = (torch.arange(shown[axis], dtype=torch.float64) + 0.5) * (run[axis] / shown[axis]) - 0.5
            places = places.clamp(0, run[axis] - 1)
            axes.append(_neighbours(places, grid[axis], padded[axis], align_corners))
        self._set_rows(*axes[0], device)
        self._left, self._right, self._across = (each.to(device) for each in axes[1])

    def rows(self, scores: Tensor, first: int, start: int, stop: int, width: int) -> Tensor:
        """Output rows [start, stop) and the first `width` columns: (K, stop - start, width)."""
        low, high = self._low[start:stop] - first, self._high[start:stop] - first
        top, end = int(self._low_row[start]) - first, int(self._last_row[stop - 1]) + 1 - first
        band = scores[:, top:end]
        left, right, across = self._left[:width], self._right[:width], self._across[:width]
        wide = torch.lerp(band[:, :, left], band[:, :, right], across.to(scores.dtype))
        share = self._share[start:stop, None].to(scores.dtype)
        return torch.lerp(wide[:, low - top], wide[:, high - top], share)


def _neighbours(places: Tensor, cells: int, size: int, align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    """For `places` in pixels of `size`, 0 the first's centre: both cells of `cells`, the second's share."""
    if align_corners:
        source = places * ((cells - 1) / (size - 1)) if size > 1 else places * 0
    else:
        source = ((places + 0.5) * (cells / size) - 0.5).clamp(min=0)
    low = source.floor().clamp(max=cells - 1)
    return low.long(), (low.long() + 1).clamp(max=cells - 1), (source - low).float()


def strip_rows(num_classes: int, width: int, device: torch.device) -> int:
    """How many rows of all classes fit into a strip."""
    nbytes = _STRIP_BYTES.get(device.type, 2**24)
    return max(1, nbytes // (4 * 3 * max(1, num_classes) * max(1, width)))


def write_strip(scores: Tensor, maps: Maps, start: int) -> None:
    """The arg max of `scores` (K, n, W) into rows from `start` on, and what else is wanted.

    Confidence is the largest softmax probability; entropy is that of the softmax over log K.
    """
    number, rows, _width = scores.shape
    stop = start + rows
    if number == 1:
        # One map of scores is a foreground's log odds.
        scores = torch.cat([torch.zeros_like(scores), scores])
    best, index = _best(scores.float())
    maps.labels[start:stop] = index.cpu().numpy()
    if maps.confidence is None and maps.entropy is None:
        return
    shifted = scores.float() - best
    if maps.entropy is None:
        total = shifted.exp_().sum(dim=0)
    else:
        odds = shifted.exp()
        total = odds.sum(dim=0)
        expected = odds.mul_(shifted).sum(dim=0) / total
        entropy = (total.log() - expected) / math.log(max(2, scores.shape[0]))
        maps.entropy[start:stop] = _bytes(entropy)
    if maps.confidence is not None:
        maps.confidence[start:stop] = _bytes(total.reciprocal())


def _best(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of `scores` (K, n, W), and the first class that has it: both (n, W)."""
    number = scores.shape[0]
    if scores.device.type != "cpu" or number > 255:
        best, index = scores.max(dim=0)
        return best, index.to(torch.int32)
    # torch's maximum with its index goes value by value; a maximum alone, and one over bytes, by vectors, and
    # numpy's comparison too (measured: 3.8 times as fast with 19 classes). Among equal scores the first class
    # ranks highest.
    best = scores.amax(dim=0)
    ranks = torch.arange(number, 0, -1, dtype=torch.uint8).reshape(-1, 1, 1)
    equal = torch.from_numpy(np.equal(scores.numpy(), best.numpy()))
    rank = equal.view(torch.uint8).mul_(ranks).amax(dim=0)
    # Where a score is no number none equals the maximum; such a pixel gets the last class.
    return best, number - rank.clamp_(min=1)


def _bytes(values: Tensor) -> NDArray[np.uint8]:
    scaled: NDArray[np.uint8] = (values.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return scaled
