"""3x3 convolutions with a quarter of the multiplications.

Lavin, Gray: "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv 1509.09308, section 4.3:
F(4x4, 3x3). A tile of 6x6 inputs d gives 4x4 outputs

    Y = A^T [ (G g G^T) * (B^T d B) ] A                                           (equation 8)

with 36 products a pair of channels instead of 144. The products are 36 matrix products over channels; the
transforms are matrix products too, with the Kronecker squares of A, B, G over flattened tiles. In float32
the result differs from the direct sum by about 5e-5 of its deviation.
"""

from __future__ import annotations

from functools import cache
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.worker.interleaved_grids import join_grids, split_grids

_B = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_A = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))

_TILE = 4
_FEWEST_CHANNELS = 128  # below, the transforms cost more than the products save (measured)
_LEAST_USE = 0.7  # share of the tiles' area that lies on the map
_CHUNK_BYTES = 64 * 2**20


def transformed_bytes(conv: nn.Conv2d) -> int:
    """Bytes that the transformed weights of a convolution take; 0 where the method does not suit it."""
    suits = (
        conv.kernel_size == (3, 3)
        and conv.stride == (1, 1)
        and conv.groups == 1
        and conv.dilation[0] == conv.dilation[1]
        and conv.padding == conv.dilation
        and conv.padding_mode == "zeros"
        and min(conv.in_channels, conv.out_channels) >= _FEWEST_CHANNELS
    )
    return 36 * 4 * conv.in_channels * conv.out_channels if suits else 0


class Winograd:
    """Equation 8 for the weights of `conv`, which may change: they are transformed anew then."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv = conv
        self._transformed: tuple[int, int, Tensor] | None = None

    def suits(self, x: Tensor) -> bool:
        """Whether tiles fit onto maps of this size without much waste."""
        rate = self.conv.dilation[0]
        used = 1.0
        for side in x.shape[2:]:
            used *= side / (_round_up(-(-side // rate), _TILE) * rate)
        return used >= _LEAST_USE

    def __call__(self, x: Tensor, *, least: float = -inf) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W), channels last; values below `least` become it (a ReLU's is 0)."""
        rate = self.conv.dilation[0]
        height, width = x.shape[2], x.shape[3]
        x = x.permute(0, 2, 3, 1)
        if rate == 1:
            return self._tiles(x, least).permute(0, 3, 1, 2)
        y = self._tiles(split_grids(x, rate), least)
        return join_grids(y, rate, (height, width)).permute(0, 3, 1, 2)

    def _tiles(self, x: Tensor, least: float) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C'), without dilation, in chunks of tile rows."""
        n, height, width, channels = x.shape
        below, right = -height % _TILE, -width % _TILE
        padded = F.pad(x, (0, 0, 1, right + 1, 1, below + 1))
        tiles = padded.unfold(1, 6, _TILE).unfold(2, 6, _TILE)  # (N, rows, columns, C, 6, 6)
        rows, columns = tiles.shape[1], tiles.shape[2]
        step = max(1, _CHUNK_BYTES // (36 * 4 * n * columns * channels))
        y = x.new_empty(n, rows, _TILE, columns, _TILE, self.conv.out_channels)
        for top in range(0, rows, step):
            part = self._transform(tiles[:, top : top + step])
            torch.clamp_min(part, least, out=y[:, top : top + step])
        return y.reshape(n, _TILE * rows, _TILE * columns, -1)[:, :height, :width]

    def _transform(self, tiles: Tensor) -> Tensor:
        """(N, rows, columns, C, 6, 6) -> (N, rows, 4, columns, 4, C')."""
        n, rows, columns, channels = tiles.shape[:4]
        weight = self._weight()
        flat = tiles.permute(4, 5, 0, 1, 2, 3).reshape(36, -1)
        inputs = (_kronecker(_B) @ flat).reshape(36, -1, channels)
        products = torch.bmm(inputs, weight)
        if self.conv.bias is not None:
            # The second column of A^T is all ones: what that product of both axes gets, all 16 outputs get.
            products[7] += self.conv.bias
        y = (_kronecker(_A) @ products.reshape(36, -1)).reshape(4, 4, n, rows, columns, -1)
        return y.permute(2, 3, 0, 4, 1, 5)

    def _weight(self) -> Tensor:
        """G g G^T of every pair of channels: (36, C, C')."""
        weight = self.conv.weight
        kept = self._transformed
        if kept is None or kept[:2] != (weight.data_ptr(), weight._version):
            out_channels, in_channels = weight.shape[:2]
            flat = weight.detach().reshape(out_channels * in_channels, 9).T
            turned = (_kronecker(_G) @ flat).reshape(36, out_channels, in_channels)
            kept = (weight.data_ptr(), weight._version, turned.transpose(1, 2).contiguous())
            self._transformed = kept
        return kept[2]


@cache
def _kronecker(matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    square = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(square, square).float()


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
