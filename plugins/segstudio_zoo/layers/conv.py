"""Convolution, norm and activation in the arrangement that published state dicts use.

The norm of a convolution always stands directly behind it and is called `bn` (`conv` -> `bn`,
`conv1` -> `bn1`, or the next element of a Sequential), so that whoever runs a network for inference
can fold the one into the other without knowing the network: see `fold_batch_norms`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, full, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

ModuleMaker = Callable[..., nn.Module]


def relu() -> nn.Module:
    """ReLU in place, the activation of most published networks."""
    return nn.ReLU(inplace=True)


def leaky_relu() -> nn.Module:
    """Leaky ReLU of slope 0.01 in place, what in-place batch norms have by themselves."""
    return nn.LeakyReLU(0.01, inplace=True)


class ConvNormAct(nn.Module):
    """Convolution -> norm -> activation; children `conv`, `bn`, `activate`.

    `padding=None` keeps the size at stride 1. `norm(out_channels)` or None; the convolution has a bias
    only where there is no norm, unless `bias` says otherwise. `act()` or None.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 1,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | None = None,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool | None = None,
        norm: ModuleMaker | None = nn.BatchNorm2d,
        act: ModuleMaker | None = relu,
    ) -> None:
        super().__init__()
        if padding is None:
            padding = same_padding(kernel_size, dilation)
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=norm is None if bias is None else bias,
        )
        self.bn = None if norm is None else norm(out_channels)
        self.activate = None if act is None else act()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        return x if self.activate is None else self.activate(x)


class DepthwiseSeparableConv(nn.Module):
    """A convolution per channel, then a 1x1 across channels; children `depthwise_conv`, `pointwise_conv`.

    Each half has its own norm and activation. MobileNets, arXiv 1704.04861, section 3.1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        norm: ModuleMaker | None = nn.BatchNorm2d,
        act: ModuleMaker | None = relu,
        depthwise_act: ModuleMaker | None = relu,
    ) -> None:
        super().__init__()
        self.depthwise_conv = ConvNormAct(
            in_channels,
            in_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=in_channels,
            norm=norm,
            act=depthwise_act,
        )
        self.pointwise_conv = ConvNormAct(in_channels, out_channels, 1, norm=norm, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        return self.pointwise_conv(self.depthwise_conv(x))


class Scale(nn.Module):
    """A learned scalar, the gamma of attention blocks; key `scale`, shape ()."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(full((), float(value)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def same_padding(
    kernel_size: int | tuple[int, int], dilation: int | tuple[int, int] = 1
) -> int | tuple[int, int]:
    """The padding that keeps the size at stride 1, for odd kernels."""
    if isinstance(kernel_size, int) and isinstance(dilation, int):
        return dilation * (kernel_size - 1) // 2
    kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    spread = (dilation, dilation) if isinstance(dilation, int) else dilation
    return (spread[0] * (kernel[0] - 1) // 2, spread[1] * (kernel[1] - 1) // 2)


def fold_batch_norms(model: nn.Module) -> int:
    """Multiplies batch norms into the convolutions before them, in place; gives how many were folded.

    The model must be in evaluation mode. Pairs are `conv*`/`bn*` siblings of one module with the same
    ending, neighbours in a Sequential, and what a module lists in `norm_pairs`; the norm becomes an
    Identity. A ConvNormAct and a residual block both fit.
    """
    folded = 0
    for parent in list(model.modules()):
        children = list(parent.named_children())
        for (name, first), (next_name, second) in pairwise(children):
            if not isinstance(first, nn.Conv2d) or not isinstance(second, nn.BatchNorm2d):
                continue
            paired = isinstance(parent, nn.Sequential) or next_name == name.replace("conv", "bn")
            paired = paired or (name, next_name) in getattr(parent, "norm_pairs", ())
            if paired and not second.training and second.track_running_stats:
                setattr(parent, name, fuse_conv_bn_eval(first, second))
                setattr(parent, next_name, nn.Identity())
                folded += 1
    return folded
