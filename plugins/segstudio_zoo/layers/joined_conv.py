"""A 3x3 convolution over full maps joined with enlarged pooled ones, without enlarging them.

Pyramid pooling (arXiv 1612.01105, Fig. 3) and the image pooling of ASPP (arXiv 1706.05587, section 3.3) give
maps of a few cells, which are enlarged bilinearly and joined with full maps; the 3x3 convolution behind
spends up to half of its multiplications on them. Enlarging and convolving are both linear, so

    conv(join(x, up(p)))[c, y, x] = conv(x)[c, y, x] + sum over taps t, cells s of B[t, s, y, x] (W_t p)[c, s]

with B[t, s] the enlarged unit map of cell s, shifted by tap t, zero outside: the same function up to
rounding. W_t p costs one pass over the cells, the sum one small matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.resize import resize


class JoinedConv(nn.Module):
    """What `block` gives for the joined maps; made from it once its batch norm is folded, for inference.

    `block` is a 3x3 of stride 1 with padding 1. Of its input channels, `pooled_channels` belong to pooled
    maps, in front (`pooled_first`) or behind.
    """

    taps: Tensor

    def __init__(
        self,
        block: ConvNormAct,
        pooled_channels: int,
        *,
        pooled_first: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        conv = block.conv
        if conv.kernel_size != (3, 3) or conv.padding != (1, 1) or conv.dilation != (1, 1):
            raise ValueError("only a 3x3 convolution with padding 1 can be split")
        if pooled_first:
            pooled, full = conv.weight.data.split([pooled_channels, conv.in_channels - pooled_channels], 1)
        else:
            full, pooled = conv.weight.data.split([conv.in_channels - pooled_channels, pooled_channels], 1)
        self.conv = nn.Conv2d(full.shape[1], conv.out_channels, 3, padding=1, device=full.device)
        self.conv.weight = nn.Parameter(full.clone(), requires_grad=False)
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.data
        self.conv.bias = nn.Parameter(bias.clone(), requires_grad=False)
        # (taps * out, in): row t * out + c is W_t for output c.
        taps = pooled.permute(2, 3, 0, 1).reshape(-1, pooled_channels).contiguous()
        self.register_buffer("taps", taps, persistent=False)
        self.norm = nn.Identity() if block.bn is None else block.bn
        self.activate = nn.Identity() if block.activate is None else block.activate
        self.align_corners = align_corners

    def forward(self, full: Tensor, pooled: Sequence[Tensor]) -> Tensor:
        """`full` (N, C, H, W), `pooled` (N, P, s, s) each, in the order of `block` -> (N, C', H, W)."""
        size = (full.shape[2], full.shape[3])
        out = self.conv(full)
        start = 0
        cells, bases = [], []
        for part in pooled:
            width = part.shape[1]
            weight = self.taps[:, start : start + width]
            values = weight @ part.flatten(2)  # (N, taps * C', s * s)
            cells.append(values.unflatten(1, (9, -1)).transpose(1, 2).flatten(2))  # (N, C', taps * s * s)
            bases.append(_shifted_units(part, size, self.align_corners))
            start += width
        # (N, C', taps and cells of all pooled maps) @ (the same, H * W)
        added = torch.cat(bases).T @ torch.cat(cells, dim=2).transpose(1, 2)
        out += added.transpose(1, 2).unflatten(2, size)
        return self.activate(self.norm(out))


def _shifted_units(part: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """B of the module's formula for maps like `part` (N, P, h, w): (9 * h * w, H * W)."""
    h, w = part.shape[2], part.shape[3]
    units = torch.eye(h * w, dtype=part.dtype, device=part.device).reshape(1, h * w, h, w)
    large = F.pad(resize(units, size, align_corners=align_corners), (1, 1, 1, 1))[0]
    height, width = size
    shifted = [large[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return torch.stack(shifted).flatten(2).flatten(0, 1)
