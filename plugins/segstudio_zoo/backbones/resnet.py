"""ResNet 18/34/50/101/152, dilated for dense prediction.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385; table 1
gives the depths. The deep stem of three 3x3 convolutions ("V1c") is from "Bag of Tricks for Image
Classification", arXiv 1812.01187, figure 2c. Dilation instead of stride (output stride 8 or 16) and
multi-grid are from DeepLabV3, arXiv 1706.05587, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.detectron_layout import residual_rules
from segstudio_zoo.layers.residual import BasicBlock, Bottleneck, dilated_convs, residual_stage, set_rates

DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """Four stages; `features` are their outputs at strides 4, 8, 16, 32 (fewer where dilated)."""

    def __init__(
        self,
        depth: int,
        *,
        deep_stem: bool,
        output_stride: int = 32,
        in_channels: int = 3,
        multi_grid: Sequence[int] | None = None,
        multiply_multi_grid: bool = False,
        contract_dilation: bool = True,
        stage_dilations: Sequence[int] | None = None,
        stem_channels: int = 64,
        ceil_pool: bool = False,
        stride_first: bool = False,
    ) -> None:
        super().__init__()
        if stage_dilations is not None and len(stage_dilations) != 4:
            raise ValueError(f"stage_dilations has a rate for each of 4 stages, not {len(stage_dilations)}")
        block, counts = DEPTHS[depth]
        self.deep_stem = deep_stem
        if deep_stem:
            half = stem_channels // 2
            self.stem = nn.Sequential(
                nn.Conv2d(in_channels, half, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(half),
                nn.ReLU(inplace=True),
                nn.Conv2d(half, half, 3, padding=1, bias=False),
                nn.BatchNorm2d(half),
                nn.ReLU(inplace=True),
                nn.Conv2d(half, stem_channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(stem_channels),
                nn.ReLU(inplace=True),
            )
        else:
            self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=ceil_pool)

        features = []
        width, total, dilation = stem_channels if deep_stem else 64, 4, 1
        for stage, count in enumerate(counts):
            stride = 1 if stage == 0 else 2
            before = dilation
            if total * stride > output_stride:
                dilation *= stride
                stride = 1
            if stage_dilations is not None:
                dilation = stage_dilations[stage]
            total *= stride
            rates = [dilation] * count
            if stage == 3 and multi_grid:
                factors = list(multi_grid) + [multi_grid[-1]] * (count - len(multi_grid))
                unit = dilation if multiply_multi_grid else 1
                rates = [unit * factor for factor in factors[:count]]
            elif contract_dilation and dilation > before:
                rates[0] = before
            channels = 64 * 2**stage
            layer = residual_stage(
                block, width, channels, stride=stride, dilations=rates, stride_first=stride_first
            )
            self.add_module(f"layer{stage + 1}", layer)
            width = channels * block.expansion
            features.append(FeatureInfo(width, total))
        self.features = tuple(features)
        self.multi_grid = tuple(multi_grid) if multi_grid else None
        self.unit_rate = dilation  # the last stage's own, which multi-grid multiplies

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, in_channels, H, W) -> four maps, high resolution first."""
        x = self.stem(image) if self.deep_stem else self.relu(self.bn1(self.conv1(image)))
        x = self.maxpool(x)
        pyramid = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            pyramid.append(x)
        return pyramid


def build(
    variant: str,
    *,
    output_stride: int | None = None,
    in_channels: int = 3,
    multi_grid: Sequence[int] | None = None,
    multiply_multi_grid: bool = False,
    contract_dilation: bool = True,
    stage_dilations: Sequence[int] | None = None,
    stem_channels: int = 64,
    ceil_pool: bool = False,
    stride_first: bool = False,
) -> ResNet:
    """`variant` is "resnet50-v1c" (deep stem), "resnet50-v1s" (a wide one) or "resnet50" (7x7 stem).

    `stem_channels` is what a deep stem gives: 64, or 128 in some authors' repositories (PSPNet, EncNet).
    `stage_dilations` gives the four stages' rates instead of those that make up for missing strides: some
    published networks dilate although they stride (PSPNet at output stride 32). `ceil_pool` rounds the size
    behind the pooling up (CCNet's authors). `stride_first`: bottlenecks stride in their first 1x1.

    `multi_grid` gives the last stage's dilation rates block by block, as published weights have them;
    with `multiply_multi_grid` they are factors on the stage's own rate (DeepLabV3, section 3.1.1).
    """
    name, _, stem = variant.partition("-")
    return ResNet(
        int(name.removeprefix("resnet")),
        deep_stem=stem in ("v1c", "v1s"),
        output_stride=output_stride or 32,
        in_channels=in_channels,
        multi_grid=multi_grid,
        multiply_multi_grid=multiply_multi_grid,
        contract_dilation=contract_dilation,
        stage_dilations=stage_dilations,
        stem_channels=stem_channels,
        ceil_pool=ceil_pool,
        stride_first=stride_first,
    )


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The width of a deep stem that is not the usual one."""
    last = shapes.get("stem.6.weight")
    return {} if last is None or last[0] == 64 else {"stem_channels": last[0]}


@contextmanager
def other_multi_grid(model: nn.Module, value: str) -> Iterator[None]:
    """Switch: other dilation factors, "1,2,4", on the last stage's rate; "as built" leaves them.

    They also multiply in a cascade behind it, `decode_head.block5` to `block7`, whose unit rates double.
    """
    trunk = next(module for module in model.modules() if isinstance(module, ResNet))
    head = getattr(model, "decode_head", None)
    blocks = [getattr(head, f"block{number}", None) for number in (5, 6, 7)]
    stages = [trunk.layer4, *(block for block in blocks if block is not None)]
    convs = [conv for stage in stages for conv in dilated_convs(stage)]
    before = [(conv.dilation, conv.padding) for conv in convs]
    if value != "as built":
        factors = [int(text) for text in str(value).split(",")]
        for doublings, stage in enumerate(stages):
            set_rates(stage, trunk.unit_rate * 2**doublings, factors)
    try:
        yield
    finally:
        for conv, (dilation, padding) in zip(convs, before, strict=True):
            conv.dilation, conv.padding = dilation, padding


_HF = r"(?:resnet\.)?"
_HF_STAGE = rf"{_HF}encoder\.stages\."


def _transformers_rules() -> Iterator[tuple[str, str | None]]:
    yield rf"{_HF}embedder\.embedder\.convolution\.(.+)", r"conv1.\1"
    yield rf"{_HF}embedder\.embedder\.normalization\.(.+)", r"bn1.\1"
    for stage in range(4):
        block, to = rf"{_HF_STAGE}{stage}\.layers\.(\d+)\.", rf"layer{stage + 1}.\1."
        yield rf"{block}shortcut\.convolution\.(.+)", rf"{to}downsample.0.\2"
        yield rf"{block}shortcut\.normalization\.(.+)", rf"{to}downsample.1.\2"
        for place in range(3):
            yield rf"{block}layer\.{place}\.convolution\.(.+)", rf"{to}conv{place + 1}.\2"
            yield rf"{block}layer\.{place}\.normalization\.(.+)", rf"{to}bn{place + 1}.\2"
    yield r"classifier\.1\.(weight|bias)", None


# a deep stem: three convolutions in timm's "conv1" and in the authors' of EncNet and ResNeSt
_DEEP = (
    (r"conv1\.(\d)\.(.+)", r"stem.\1.\2"),
    (r"bn1\.(.+)", r"stem.7.\1"),
    (r"fc\.(weight|bias)", None),
    (r"(layer\d\..+)", r"\1"),
)

KEY_MAPS = (
    KeyMap(
        layout="transformers",
        telltale=(rf"{_HF}embedder\.embedder\.convolution\.weight", rf"{_HF_STAGE}3\.layers\.0\..+"),
        rules=tuple(_transformers_rules()),
    ),
    KeyMap(
        layout="detectron2",
        telltale=(r"stem\.conv1\.norm\.weight", r"res5\.0\.shortcut\.weight"),
        rules=tuple(residual_rules()),
        options={"stride_first": True},
    ),
    KeyMap(layout="timm", telltale=(r"conv1\.6\.weight", r"layer1\.0\.conv1\.weight"), rules=_DEEP),
    KeyMap(
        layout="torchvision",
        telltale=(r"layer1\.0\.conv1\.weight", r"fc\.weight"),
        rules=((r"fc\.(weight|bias)", None), (r"(.+)", r"\1")),
    ),
)
