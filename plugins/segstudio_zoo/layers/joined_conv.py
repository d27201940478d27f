"""A 3x3 convolution over fine maps joined with enlarged coarse ones, without enlarging them.

Pyramid pooling (arXiv 1612.01105, Fig. 3), the image pooling of ASPP (arXiv 1706.05587, section 3.3) and the
deep levels of a feature pyramid (arXiv 1807.10221, Fig. 4) are enlarged bilinearly and joined with finer
maps; the 3x3 convolution behind spends half of its multiplications and more on them. Enlarging and
convolving are both linear, and bilinear enlargement goes row by row and column by column, so

    conv(join(x, up(p)))[y, x] = conv(x)[y, x] + sum over taps (i, j), cells (r, s)
                                 of U[i, r, y] V[j, s, x] (W_ij p)[r, s]

with U[i, r] the enlarged unit column of row r, shifted by tap i, zero outside, V the same for columns: the
same function up to rounding. W_ij p costs one pass over the cells, the sums two matrix products with narrow
bands, since an output cell has few neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.resize import resize

# On a processor a band of rows with its taps stays near the cache (measured, 512 channels: 16 to 64 rows and
# 32 to 64 columns are alike, whole rows a fifth slower). A GPU wants much work at once.
_ROWS, _COLUMNS = 32, 64


class JoinedConv(nn.Module):
    """What `block` gives for the joined maps; made from it once its batch norm is folded, for inference.

    `block` is a 3x3 of stride 1 with padding 1. Of its input channels, `coarse_channels` belong to coarse
    maps, in front (`coarse_first`) or behind.
    """

    taps: Tensor

    def __init__(
        self,
        block: ConvNormAct,
        coarse_channels: int,
        *,
        coarse_first: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        conv = block.conv
        if conv.kernel_size != (3, 3) or conv.padding != (1, 1) or conv.dilation != (1, 1):
            raise ValueError("only a 3x3 convolution with padding 1 can be split")
        if coarse_first:
            coarse, fine = conv.weight.data.split([coarse_channels, conv.in_channels - coarse_channels], 1)
        else:
            fine, coarse = conv.weight.data.split([conv.in_channels - coarse_channels, coarse_channels], 1)
        self.conv = nn.Conv2d(fine.shape[1], conv.out_channels, 3, padding=1, device=fine.device)
        self.conv.weight = nn.Parameter(fine.clone(), requires_grad=False)
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.data
        self.conv.bias = nn.Parameter(bias.clone(), requires_grad=False)
        # (3, in, 3 * out): W_ij for input p and output c at [i, p, j * out + c].
        taps = coarse.permute(2, 1, 3, 0).flatten(2).contiguous()
        self.register_buffer("taps", taps, persistent=False)
        self.norm = nn.Identity() if block.bn is None else block.bn
        self.activate = nn.Identity() if block.activate is None else block.activate
        self.align_corners = align_corners

    def forward(self, fine: Tensor, coarse: Sequence[Tensor]) -> Tensor:
        """`fine` (N, C, H, W), `coarse` (N, P, h, w) each, in the order of `block` -> (N, C', H, W)."""
        out = self.conv(fine)
        taps = self.taps.split([part.shape[1] for part in coarse], dim=1)
        cells = [part.permute(0, 2, 3, 1) for part in coarse]
        for index, sample in enumerate(out.permute(0, 2, 3, 1)):
            self._add(sample, [part[index] for part in cells], taps)
        return self.activate(self.norm(out))

    def _add(self, out: Tensor, coarse: Sequence[Tensor], taps: Sequence[Tensor]) -> None:
        """Adds the sum of the module's formula to `out` (H, W, C'); `coarse` are (h, w, P)."""
        height, width, channels = out.shape
        whole = out.device.type != "cpu"
        rows = [self._bands(p.shape[0], height, height if whole else _ROWS, out) for p in coarse]
        columns = [self._bands(p.shape[1], width, width if whole else _COLUMNS, out) for p in coarse]
        for row_bands in zip(*rows, strict=True):
            strips = []
            for part, weight, band in zip(coarse, taps, row_bands, strict=True):
                used = part[band.first_cell : band.last_cell]
                products = used.flatten(0, 1) @ weight  # (3, rows * w, 3 * C')
                spread = band.matrix @ products.reshape(band.matrix.shape[1], -1)
                strips.append(spread.reshape(-1, part.shape[1], 3 * channels))
            for column_bands in zip(*columns, strict=True):
                parts = [
                    strip[:, band.first_cell : band.last_cell].reshape(strip.shape[0], -1, channels)
                    for strip, band in zip(strips, column_bands, strict=True)
                ]
                matrix = torch.cat([band.by_cell for band in column_bands], dim=1)
                place = out[
                    row_bands[0].start : row_bands[0].stop, column_bands[0].start : column_bands[0].stop
                ]
                place.baddbmm_(matrix.expand(len(place), -1, -1), torch.cat(parts, dim=1))

    def _bands(self, cells: int, size: int, step: int, like: Tensor) -> tuple[_Band, ...]:
        return _bands(cells, size, step, self.align_corners, like.dtype, like.device)


@dataclass(frozen=True)
class _Band:
    """Output places [start, stop) of one axis as sums over cells [first_cell, last_cell) and taps.

    `matrix` and `by_cell` are (places, 3 * cells): columns by tap, then cell, and by cell, then tap.
    """

    start: int
    stop: int
    first_cell: int
    last_cell: int
    matrix: Tensor
    by_cell: Tensor


@lru_cache(maxsize=64)
def _bands(
    cells: int, size: int, step: int, align_corners: bool, dtype: torch.dtype, device: torch.device
) -> tuple[_Band, ...]:
    """U of the module's formula for `cells` enlarged to `size`, in bands of `step` places."""
    units = torch.eye(cells)[None, :, None, :]  # one map a cell: (1, cells, 1, cells)
    enlarged = F.pad(resize(units, (1, size), align_corners=align_corners)[0, :, 0], (1, 1))
    shifted = torch.stack([enlarged[:, tap : tap + size] for tap in range(3)])  # (3, cells, size)
    bands = []
    for start in range(0, size, step):
        part = shifted[:, :, start : start + step]
        reached = part.ne(0).any(2).any(0).nonzero()[:, 0]
        first, last = int(reached[0]), int(reached[-1]) + 1
        used = part[:, first:last].permute(2, 0, 1)  # (places, 3, cells)
        bands.append(
            _Band(
                start,
                start + part.shape[2],
                first,
                last,
                used.flatten(1).to(device, dtype),
                used.transpose(1, 2).flatten(1).to(device, dtype),
            )
        )
    return tuple(bands)
