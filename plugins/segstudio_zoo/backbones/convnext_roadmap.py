"""The networks between ResNet-50 and ConvNeXt-T, one for each step of the paper's roadmap.

Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: "A ConvNet for the 2020s", CVPR 2022, arXiv 2201.03545, section 2
and figure 2: stage ratio and patchify stem (2.2), depthwise convolution and width (2.3), inverted bottleneck
(2.4), depthwise convolution moved up and large kernels (2.5), GELU, fewer activations, fewer norms, layer
norm (2.6). The last step of 2.6, downsampling layers of their own, is ConvNeXt-T itself (`convnext.py`).

Every step keeps those before it. A step names its residual branch by a function of its own; that a stage
halves the map in its first block, beside a strided 1x1 in the shortcut, is ResNet's way and holds for all of
them. The paper does not say what follows the patchify stem: batch norm and ReLU, as after ResNet's first
convolution, until the step that leaves one activation in a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo
from segstudio_zoo.layers.channel_norm import ChannelLayerNorm
from segstudio_zoo.layers.drop_path import DropPath, linear_rates

Norm = Callable[[int], nn.Module]
Activation = Callable[[], nn.Module]
Branch = Callable[[int, int, int], nn.Sequential]
"""Channels in, channels out, stride -> a residual branch (N, C, H, W) -> (N, C', H / stride, W / stride)."""


def _pointwise(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


def _depthwise(channels: int, kernel: int, stride: int) -> nn.Module:
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)


def bottleneck(channels: int, out: int, stride: int) -> nn.Sequential:
    """ResNet's: 1x1 to a quarter, 3x3, 1x1; figure 3a without its groups."""
    inner = out // 4
    full = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
    return _narrow(channels, inner, out, full)


def depthwise_bottleneck(channels: int, out: int, stride: int) -> nn.Sequential:
    """The 3x3 with as many groups as channels: ResNeXt's guideline to the end (section 2.3, figure 3a)."""
    inner = out // 4
    return _narrow(channels, inner, out, _depthwise(inner, 3, stride))


def _narrow(channels: int, inner: int, out: int, spatial: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        _pointwise(channels, inner),
        nn.BatchNorm2d(inner),
        nn.ReLU(inplace=True),
        spatial,
        nn.BatchNorm2d(inner),
        nn.ReLU(inplace=True),
        _pointwise(inner, out),
        nn.BatchNorm2d(out),
    )


def inverted(channels: int, out: int, stride: int) -> nn.Sequential:
    """1x1 to four times the channels, depthwise 3x3 among them, 1x1 back (section 2.4, figure 3b)."""
    inner = 4 * out
    return _narrow(channels, inner, out, _depthwise(inner, 3, stride))


def moved_up(channels: int, out: int, stride: int, *, kernel: int, act: Activation) -> nn.Sequential:
    """The depthwise convolution first, among the few channels (section 2.5, figure 3c)."""
    inner = 4 * out
    return nn.Sequential(
        _depthwise(channels, kernel, stride),
        nn.BatchNorm2d(channels),
        act(),
        _pointwise(channels, inner),
        nn.BatchNorm2d(inner),
        act(),
        _pointwise(inner, out),
        nn.BatchNorm2d(out),
    )


def one_activation(channels: int, out: int, stride: int) -> nn.Sequential:
    """Only the GELU between the two 1x1, as in a transformer's perceptron (section 2.6)."""
    inner = 4 * out
    return nn.Sequential(
        _depthwise(channels, 7, stride),
        nn.BatchNorm2d(channels),
        _pointwise(channels, inner),
        nn.BatchNorm2d(inner),
        nn.GELU(),
        _pointwise(inner, out),
        nn.BatchNorm2d(out),
    )


def one_norm(channels: int, out: int, stride: int, *, norm: Norm) -> nn.Sequential:
    """Only the norm before the first 1x1 (section 2.6); biases where no norm follows any more."""
    inner = 4 * out
    return nn.Sequential(
        _depthwise(channels, 7, stride),
        norm(channels),
        nn.Conv2d(channels, inner, 1),
        nn.GELU(),
        nn.Conv2d(inner, out, 1),
    )


class Unit(nn.Module):
    """A residual unit: shortcut plus branch, and ResNet's activation after the sum where a step has it."""

    def __init__(
        self, branch: nn.Sequential, shortcut: nn.Module, after: nn.Module, drop_path: float
    ) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.drop_path = DropPath(drop_path)
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.after(self.shortcut(x) + self.drop_path(self.branch(x)))
        return result


class Step(NamedTuple):
    """One network: blocks a stage, output channels of the first stage's blocks, channels of the stem, the
    residual branch, norms outside of it, activation after a sum and after the stem."""

    depths: tuple[int, int, int, int]
    channels: int
    stem: int
    branch: Branch
    patchify: bool = True
    norm: Norm = nn.BatchNorm2d
    act: Activation = nn.ReLU


_RESNET, _SWIN = (3, 4, 6, 3), (3, 3, 9, 3)


def _raised(kernel: int, act: Activation = nn.ReLU) -> Step:
    return Step(_SWIN, 96, 96, partial(moved_up, kernel=kernel, act=act), act=act)


STEPS: dict[str, Step] = {
    "resnet50": Step(_RESNET, 256, 64, bottleneck, patchify=False),
    "stage-ratio": Step(_SWIN, 256, 64, bottleneck, patchify=False),
    "patchify": Step(_SWIN, 256, 64, bottleneck),
    "depthwise": Step(_SWIN, 256, 64, depthwise_bottleneck),
    "width": Step(_SWIN, 384, 96, depthwise_bottleneck),
    "inverted": Step(_SWIN, 96, 96, inverted),
    "moved-up": _raised(3),
    "kernel-5": _raised(5),
    "kernel-7": _raised(7),
    "kernel-9": _raised(9),
    "kernel-11": _raised(11),
    "gelu": _raised(7, nn.GELU),
    "fewer-activations": Step(_SWIN, 96, 96, one_activation, act=nn.Identity),
    "fewer-norms": Step(_SWIN, 96, 96, partial(one_norm, norm=nn.BatchNorm2d), act=nn.Identity),
    "layer-norm": Step(
        _SWIN, 96, 96, partial(one_norm, norm=ChannelLayerNorm), norm=ChannelLayerNorm, act=nn.Identity
    ),
}
"""In the paper's order. Kernels 9 and 11 were tried and left again for 7."""


class RoadmapNet(nn.Module):
    """`image` (N, in_channels, H, W) -> four maps at strides 4, 8, 16, 32."""

    def __init__(self, step: Step, *, in_channels: int = 3, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        if step.patchify:
            first = nn.Conv2d(in_channels, step.stem, 4, 4, bias=False)
            self.stem = nn.Sequential(first, step.norm(step.stem), step.act())
        else:
            first = nn.Conv2d(in_channels, step.stem, 7, 2, 3, bias=False)
            self.stem = nn.Sequential(first, step.norm(step.stem), step.act(), nn.MaxPool2d(3, 2, 1))
        rates = iter(linear_rates(drop_path_rate, sum(step.depths)))
        channels, infos, stages = step.stem, [], []
        for stage, depth in enumerate(step.depths):
            out, units = step.channels * 2**stage, []
            for block in range(depth):
                stride = 2 if stage and not block else 1
                shortcut: nn.Module = nn.Identity()
                if channels != out:
                    shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), step.norm(out))
                units.append(Unit(step.branch(channels, out, stride), shortcut, step.act(), next(rates)))
                channels = out
            stages.append(nn.Sequential(*units))
            infos.append(FeatureInfo(out, 4 * 2**stage))
        self.stages = nn.ModuleList(stages)
        self.features = tuple(infos)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=(2 / module.weight[0].numel()) ** 0.5)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def build_step(name: str, *, in_channels: int = 3, drop_path_rate: float = 0.0) -> RoadmapNet:
    """The network after the step `name`. Raises ValueError naming the steps where there is none."""
    if name not in STEPS:
        raise ValueError(f"the roadmap has the steps {', '.join(STEPS)} and convnext, not {name!r}")
    return RoadmapNet(STEPS[name], in_channels=in_channels, drop_path_rate=drop_path_rate)


def infer_step(shapes: Mapping[str, Sequence[int]]) -> str | None:
    """The first step whose keys and shapes are those of `shapes` (of a bare backbone), or None.

    A GELU has no weights: "kernel-7" stands for "gelu" too (`UNTOLD`).
    """
    if "stages.0.0.branch.0.weight" not in shapes:
        return None
    wanted = {key: tuple(shape) for key, shape in shapes.items() if not key.endswith("num_batches_tracked")}
    import torch

    for name in STEPS:
        with torch.device("meta"):
            state: dict[str, Any] = build_step(name).state_dict()
        own = {k: tuple(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}
        if own == wanted:
            return name
    return None


UNTOLD = {"kernel-7": "gelu"}
"""Steps of the same keys and shapes."""
