"""Padding as TensorFlow does it: more on the right and bottom where a stride leaves a pixel over."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from segstudio_zoo.layers.conv import ConvNormAct


class SamePadConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": ceil(size / stride) outputs, the odd pixel at the end."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (1, 0):  # width first, as F.pad wants it
            size, step = x.shape[2 + axis], self.stride[axis]
            reach = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
            missing = max((-(-size // step) - 1) * step + reach - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return self._conv_forward(F.pad(x, pads) if any(pads) else x, self.weight, self.bias)


def padded_conv(*arguments: Any, same: bool, **options: Any) -> ConvNormAct:
    """A ConvNormAct whose convolution, where it strides, is padded the TensorFlow way if `same`."""
    block = ConvNormAct(*arguments, **options)
    if same and block.conv.stride[0] > 1:
        plain = block.conv
        block.conv = SamePadConv(
            plain.in_channels,
            plain.out_channels,
            plain.kernel_size,
            stride=plain.stride,
            dilation=plain.dilation,
            groups=plain.groups,
            bias=plain.bias is not None,
        )
    return block
