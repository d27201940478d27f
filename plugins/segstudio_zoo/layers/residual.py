"""The residual blocks of ResNet, shared by every network that cites them.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385,
figure 5: the basic block (two 3x3) and the bottleneck (1x1, 3x3, 1x1). The stride sits in the 3x3
of the bottleneck, as nearly all published segmentation weights have it (the paper puts it in the first 1x1).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the shortcut; keys conv1, bn1, conv2, bn2, downsample."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            in_channels, channels, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + shortcut)


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up to four times the channels; keys conv1..conv3, bn1..bn3, downsample.

    `stride_first`: it strides in the first 1x1, as in the paper, and not in the 3x3.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        stride_first: bool = False,
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_first else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, stride=first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(
            channels, channels, 3, stride=second, padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, 4 * channels, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + shortcut)


def dilated_convs(stage: nn.Sequential) -> list[nn.Conv2d]:
    """The 3x3 that has its block's rate, block by block: the first of a basic block, a bottleneck's one."""
    return [block.conv1 if isinstance(block, BasicBlock) else block.conv2 for block in stage]


def set_rates(stage: nn.Sequential, unit: int, factors: Sequence[int]) -> None:
    """Multi-grid: the blocks' rates become `unit` times `factors`, whose last one repeats.

    Chen et al., arXiv 1706.05587, section 3.2.1.
    """
    for index, conv in enumerate(dilated_convs(stage)):
        rate = unit * factors[min(index, len(factors) - 1)]
        conv.dilation = conv.padding = (rate, rate)


def residual_stage(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    channels: int,
    *,
    stride: int,
    dilations: Sequence[int],
    stride_first: bool = False,
) -> nn.Sequential:
    """A stage of `len(dilations)` blocks; the first has `stride` and, where shapes differ, a 1x1 shortcut."""
    more = {"stride_first": True} if stride_first and block is Bottleneck else {}
    out_channels = channels * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    blocks: list[nn.Module] = [
        block(in_channels, channels, stride=stride, dilation=dilations[0], downsample=downsample, **more)
    ]
    blocks += [block(out_channels, channels, dilation=rate) for rate in dilations[1:]]
    return nn.Sequential(*blocks)
