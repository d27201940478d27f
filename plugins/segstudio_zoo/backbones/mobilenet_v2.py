"""MobileNetV2: inverted residuals with linear bottlenecks.

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018,
arXiv 1801.04381. Table 2 gives the layers, section 3.2 the linear bottleneck, section 3.3 the inverted
residual, section 4 the width multiplier. Dilated for dense prediction as section 6.3 does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.conv import ConvNormAct, ModuleMaker
from segstudio_zoo.layers.same_pad import padded_conv

# Table 2: expansion t, channels c, blocks n, stride s of the first block; layer1 .. layer7
LAYERS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def make_divisible(value: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` to `value`, never under 90 % of it."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def _relu6() -> nn.Module:
    return nn.ReLU6(inplace=True)


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; figure 3b and table 1.

    `nonlinear` puts a ReLU6 behind the projection, which section 3.2 argues against (compared in figure 6a).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        expansion: int,
        stride: int,
        dilation: int,
        norm: ModuleMaker,
        same: bool,
        nonlinear: bool = False,
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.shortcut = stride == 1 and in_channels == out_channels
        self.clip_output = nonlinear
        layers = [ConvNormAct(in_channels, hidden, 1, norm=norm, act=_relu6)] if expansion != 1 else []
        layers += [
            padded_conv(
                hidden,
                hidden,
                3,
                stride=stride,
                dilation=dilation,
                groups=hidden,
                norm=norm,
                act=_relu6,
                same=same,
            ),
            ConvNormAct(hidden, out_channels, 1, norm=norm, act=None),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        out = self.conv(x)
        if self.clip_output:
            out = F.relu6(out)
        return x + out if self.shortcut else out


class MobileNetV2(nn.Module):
    """Seven layers of inverted residuals; `features` are the outputs of those in `out_indices`.

    `last_conv` adds the 1x1 to 1280 channels in front of the classifier as a further feature.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        output_stride: int = 32,
        in_channels: int = 3,
        out_indices: Sequence[int] = (1, 2, 4, 6),
        last_conv: bool = False,
        dilated_blocks: str = "first",
        padding: str = "even",
        norm_eps: float = 1e-5,
        projection: str = "linear",
    ) -> None:
        super().__init__()
        if padding not in ("same", "even"):
            raise ValueError(f'padding must be "same" or "even", not {padding!r}')
        same, norm = padding == "same", partial(nn.BatchNorm2d, eps=norm_eps)
        self.out_indices = tuple(out_indices)
        channels = make_divisible(32 * width)
        self.conv1 = padded_conv(in_channels, channels, 3, stride=2, norm=norm, act=_relu6, same=same)
        features, total, dilation = [], 2, 1
        for index, (expansion, base, count, stride) in enumerate(LAYERS):
            before = dilation
            if total * stride > output_stride:
                dilation *= stride
                stride = 1
            total *= stride
            out_channels = make_divisible(base * width)
            blocks = []
            for number in range(count):
                first = number == 0
                if dilated_blocks == "all" or first == (dilated_blocks == "first"):
                    rate = dilation
                else:
                    rate = before if first else 1
                blocks.append(
                    InvertedResidual(
                        channels,
                        out_channels,
                        expansion=expansion,
                        stride=stride if first else 1,
                        dilation=rate,
                        norm=norm,
                        same=same,
                        nonlinear=projection == "relu6",
                    )
                )
                channels = out_channels
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
            if index in self.out_indices:
                features.append(FeatureInfo(channels, total))
        self.conv2 = None
        if last_conv:
            wide = make_divisible(1280 * max(1.0, width))
            self.conv2 = ConvNormAct(channels, wide, 1, norm=norm, act=_relu6)
            features.append(FeatureInfo(wide, total))
        self.features = tuple(features)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, in_channels, H, W) -> the pyramid, high resolution first."""
        x = self.conv1(image)
        pyramid = []
        for index in range(len(LAYERS)):
            x = self.get_submodule(f"layer{index + 1}")(x)
            if index in self.out_indices:
                pyramid.append(x)
        if self.conv2 is not None:
            pyramid.append(self.conv2(x))
        return pyramid


def build(
    variant: str,
    *,
    output_stride: int | None = None,
    in_channels: int = 3,
    width: float = 1.0,
    out_indices: Sequence[int] = (1, 2, 4, 6),
    last_conv: bool = False,
    dilated_blocks: str = "first",
    padding: str = "even",
    norm_eps: float = 1e-5,
    projection_act: str = "linear",
) -> MobileNetV2:
    """The one variant is "mobilenet-v2"; `width` is the width multiplier, 0.35 to 1.4 in the paper.

    `padding` "same" pads where it strides as TensorFlow does, more on the right and bottom.

    Where stride is given up for dilation, `dilated_blocks` says which blocks of a layer take the rate:
    "first" only (mmsegmentation's published weights), "rest" = all but the first, which keeps the rate
    before it (TensorFlow's weights, and arithmetically what striding would have seen), or "all".

    `projection_act` "relu6" builds every bottleneck with the non-linearity behind its projection that section
    3.2 argues against; it has no weights.
    """
    if dilated_blocks not in ("first", "rest", "all"):
        raise ValueError(f'dilated_blocks must be "first", "rest" or "all", not {dilated_blocks!r}')
    return MobileNetV2(
        width=width,
        output_stride=output_stride or 32,
        in_channels=in_channels,
        out_indices=out_indices,
        last_conv=last_conv,
        dilated_blocks=dilated_blocks,
        padding=padding,
        norm_eps=norm_eps,
        projection=projection_act,
    )


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The width multiplier from the first convolution and the last layer."""
    last = shapes.get("layer7.0.conv.2.conv.weight")
    if last is None:
        return {}
    for width in (1.0, 0.35, 0.5, 0.75, 1.4, 0.25, 1.3, 2.0):
        stem = make_divisible(32 * width)
        if make_divisible(320 * width) == last[0] and shapes["conv1.conv.weight"][0] == stem:
            return {} if width == 1.0 else {"width": width}
    return {"width": last[0] / 320}


@contextmanager
def nonlinear_bottleneck(model: nn.Module, value: bool) -> Iterator[None]:
    """Switch: a ReLU6 behind every projection while the context is open; False leaves the network as built.

    Raises ValueError where it was built with one: then there is none to add.
    """
    blocks = [module for module in model.modules() if isinstance(module, InvertedResidual)]
    if value and any(block.clip_output for block in blocks):
        raise ValueError("this network was built and trained with ReLU6 after the projection")
    for block in blocks if value else ():
        block.clip_output = True
    try:
        yield
    finally:
        for block in blocks if value else ():
            block.clip_output = False


def _torchvision_rules() -> Iterator[tuple[str, str | None]]:
    yield r"features\.0\.0\.(.+)", r"conv1.conv.\1"
    yield r"features\.0\.1\.(.+)", r"conv1.bn.\1"
    number = 1
    for layer, (expansion, _, count, _) in enumerate(LAYERS, start=1):
        for block in range(count):
            ours, theirs = f"layer{layer}.{block}.conv", rf"features\.{number}\.conv"
            last = 1 if expansion == 1 else 2
            for part in range(last):
                yield rf"{theirs}\.{part}\.0\.(.+)", rf"{ours}.{part}.conv.\1"
                yield rf"{theirs}\.{part}\.1\.(.+)", rf"{ours}.{part}.bn.\1"
            yield rf"{theirs}\.{last}\.(.+)", rf"{ours}.{last}.conv.\1"
            yield rf"{theirs}\.{last + 1}\.(.+)", rf"{ours}.{last}.bn.\1"
            number += 1
    yield r"features\.18\.0\.(.+)", r"conv2.conv.\1"
    yield r"features\.18\.1\.(.+)", r"conv2.bn.\1"
    yield r"classifier\.1\.(.+)", None


_TIMM_RULES: tuple[tuple[str, str | None], ...] = (
    (r"conv_stem\.(.+)", r"conv1.conv.\1"),
    (r"bn1\.(.+)", r"conv1.bn.\1"),
    (r"blocks\.0\.0\.conv_dw\.(.+)", r"layer1.0.conv.0.conv.\1"),
    (r"blocks\.0\.0\.bn1\.(.+)", r"layer1.0.conv.0.bn.\1"),
    (r"blocks\.0\.0\.conv_pw\.(.+)", r"layer1.0.conv.1.conv.\1"),
    (r"blocks\.0\.0\.bn2\.(.+)", r"layer1.0.conv.1.bn.\1"),
    *(
        (rf"blocks\.{stage}\.(\d+)\.{theirs}\.(.+)", rf"layer{stage + 1}.\1.conv.{ours}.\2")
        for stage in range(1, 7)
        for theirs, ours in (
            ("conv_pw", "0.conv"),
            ("bn1", "0.bn"),
            ("conv_dw", "1.conv"),
            ("bn2", "1.bn"),
            ("conv_pwl", "2.conv"),
            ("bn3", "2.bn"),
        )
    ),
    (r"conv_head\.(.+)", r"conv2.conv.\1"),
    (r"bn2\.(.+)", r"conv2.bn.\1"),
    (r"classifier\.(weight|bias)", None),
)

_HF = r"(?:mobilenet_v2\.)?"


def _transformers_rules() -> Iterator[tuple[str, str | None]]:
    places = [
        (r"conv_stem\.first_conv", "conv1"),
        (r"conv_stem\.conv_3x3", "layer1.0.conv.0"),
        (r"conv_stem\.reduce_1x1", "layer1.0.conv.1"),
        (r"conv_1x1", "conv2"),
    ]
    number = 0
    for layer, (_, _, count, _) in enumerate(LAYERS[1:], start=2):
        for block in range(count):
            for part, name in enumerate(("expand_1x1", "conv_3x3", "reduce_1x1")):
                places.append((rf"layer\.{number}\.{name}", f"layer{layer}.{block}.conv.{part}"))
            number += 1
    for theirs, ours in places:
        yield rf"{_HF}{theirs}\.convolution\.(.+)", rf"{ours}.conv.\1"
        yield rf"{_HF}{theirs}\.normalization\.(.+)", rf"{ours}.bn.\1"
    yield r"classifier\.(weight|bias)", None


KEY_MAPS = (
    KeyMap(
        layout="transformers",
        telltale=(rf"{_HF}conv_stem\.first_conv\..+", rf"{_HF}layer\.15\.conv_3x3\..+"),
        rules=tuple(_transformers_rules()),
        options={"padding": "same", "norm_eps": 1e-3, "dilated_blocks": "rest"},
        optional=(r"conv2\..+",),
    ),
    KeyMap(
        layout="torchvision",
        telltale=(r"features\.1\.conv\.1\.weight", r"features\.17\.conv\.3\.weight"),
        rules=tuple(_torchvision_rules()),
        optional=(r"conv2\..+",),
    ),
    KeyMap(
        layout="timm",
        telltale=(r"conv_stem\.weight", r"blocks\.6\.0\.conv_pwl\.weight"),
        rules=_TIMM_RULES,
        optional=(r"conv2\..+",),
    ),
)
