"""ResNeSt: bottlenecks whose 3x3 convolution is a split-attention block.

H. Zhang et al.: "ResNeSt: Split-Attention Networks", arXiv 2004.08955 (CVPR workshops 2022). Section 3.1:
features in K cardinal groups (`cardinality`), each in R splits (`radix`); Eq. 1-3: the splits are summed,
pooled, squeezed, and an r-softmax over the splits (a sigmoid at R = 1, which is SE) weighs them. Section 4:
strided convolutions become average pooling, and the stem three 3x3 convolutions. Names are those of the
published state dicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo, ProbeMap, Query
from segstudio_zoo.catalog.resnest import DESIGNS, Design
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.pooled_norm import PooledBatchNorm

EXPANSION = 4
REDUCTION = 4


class SplitAttention(nn.Module):
    """Grouped 3x3 convolution into R splits, and their attention-weighted sum.

    (N, C, H, W) -> (N, C, H', W'); weights a_r (N, R, C) with sum over R equal to 1 (Eq. 3).
    """

    norm_pairs = (("conv", "bn0"), ("fc1", "bn1"))

    def __init__(
        self, channels: int, *, radix: int, cardinality: int, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        inner = max(channels * radix // REDUCTION, 32)
        if channels % (radix * cardinality) or inner % cardinality:
            raise ValueError(
                f"{channels} channels do not divide into radix {radix} x cardinality {cardinality} groups; "
                "a radix of 1, 2, 4 or 8 divides all of ResNeSt's widths"
            )
        self.radix = radix
        self.cardinality = cardinality
        self.average = False
        self.conv = nn.Conv2d(
            channels,
            channels * radix,
            3,
            stride,
            dilation,
            dilation,
            groups=cardinality * radix,
            bias=False,
        )
        self.bn0 = nn.BatchNorm2d(channels * radix)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(channels, inner, 1, groups=cardinality)
        self.bn1 = PooledBatchNorm(inner)
        self.fc2 = nn.Conv2d(inner, channels * radix, 1, groups=cardinality)

    def weights(self, pooled: Tensor) -> Tensor:
        """`pooled` (N, C, 1, 1), the splits' sum averaged over the picture -> (N, R, C)."""
        scores = self.fc2(self.relu(self.bn1(self.fc1(pooled))))
        if self.radix == 1:
            return torch.sigmoid(scores).reshape(scores.shape[0], 1, -1)
        # fc2 gives cardinal groups outside, splits inside; the convolution gives splits outside.
        scores = scores.reshape(scores.shape[0], self.cardinality, self.radix, -1).transpose(1, 2)
        return scores.softmax(dim=1).reshape(scores.shape[0], self.radix, -1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn0(self.conv(x)))
        batch, _, height, width = x.shape
        splits = x.reshape(batch, self.radix, -1, height, width)
        if self.average:
            return splits.mean(dim=1)
        pooled = splits.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        weights = self.weights(pooled)[..., None, None]
        return (splits * weights).sum(dim=1)


class Bottleneck(nn.Module):
    """1x1, split attention (pooled before or after where it strides), 1x1, residual."""

    def __init__(
        self, in_channels: int, channels: int, *, design: Design, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        width = channels * design.base_width // 64 * design.cardinality
        out_channels = channels * EXPANSION
        self.pool_first = design.pool_first
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.AvgPool2d(3, stride, 1) if stride > 1 else None
        self.conv2 = SplitAttention(
            width, radix=design.radix, cardinality=design.cardinality, dilation=dilation
        )
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride > 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
                if stride > 1
                else nn.Identity(),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        if self.pool is not None and self.pool_first:
            out = self.pool(out)
        out = self.conv2(out)
        if self.pool is not None and not self.pool_first:
            out = self.pool(out)
        return self.relu(self.bn3(self.conv3(out)) + identity)


class ResNeSt(nn.Module):
    """`image` (N, in_channels, H, W) -> features at strides 4, 8, 16, 32, the last ones at `output_stride`
    where that is smaller: strides become dilations, half as large in a stage's first block."""

    def __init__(self, design: Design, *, output_stride: int = 32, in_channels: int = 3) -> None:
        super().__init__()
        half = design.stem_width
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, half, 3, 2, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, 1, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, 2 * half, 3, 1, 1, bias=False),
            nn.BatchNorm2d(2 * half),
            nn.ReLU(inplace=True),
        )
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels_in, stride, dilation = 2 * half, 4, 1
        infos = []
        for stage, blocks in enumerate(design.blocks):
            channels, step, first_dilation = 64 * 2**stage, 1 if stage == 0 else 2, dilation
            if step == 2 and stride >= output_stride:
                step, dilation = 1, dilation * 2
            stride *= step
            layer = []
            for block in range(blocks):
                layer.append(
                    Bottleneck(
                        channels_in,
                        channels,
                        design=design,
                        stride=step if block == 0 else 1,
                        dilation=first_dilation if block == 0 else dilation,
                    )
                )
                channels_in = channels * EXPANSION
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layer))
            infos.append(FeatureInfo(channels_in, stride))
        self.features = tuple(infos)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.maxpool(self.stem(image))
        out = []
        for stage in range(len(self.features)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
            out.append(x)
        return out


def build(
    variant: str,
    *,
    output_stride: int | None = None,
    in_channels: int = 3,
    radix: int | None = None,
    cardinality: int | None = None,
) -> ResNeSt:
    """The ResNeSt called `variant`, a key of the catalog's DESIGNS; `radix` and `cardinality` replace the
    design's (R = 1 is SE-like, cardinality > 1 ResNeXt-like)."""
    design = DESIGNS[variant]
    if radix is not None:
        design = design._replace(radix=radix)
    if cardinality is not None:
        design = design._replace(cardinality=cardinality)
    return ResNeSt(design, output_stride=output_stride or 32, in_channels=in_channels)


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Radix and cardinality from the first block's shapes; nothing where they are those of ResNeSt-50."""
    outputs, per_group = shapes["layer1.0.conv2.conv.weight"][:2]
    width = shapes["layer1.0.conv1.weight"][0]
    radix = outputs // width
    cardinality = width // (per_group * radix)
    if (radix, cardinality) == (2, 1):
        return {}
    return {"radix": radix, "cardinality": cardinality}


KEY_MAPS = (
    KeyMap(
        layout="timm",
        telltale=(r"conv1\.6\.weight", r"layer1\.0\.conv2\.fc1\.weight"),
        rules=(
            (r"conv1\.(\d)\.(.+)", r"stem.\1.\2"),
            (r"bn1\.(.+)", r"stem.7.\1"),
            (r"fc\.(weight|bias)", None),
            (r"(.+)", r"\1"),
        ),
    ),
)
"""Classification weights, of the authors and of timm."""


# What a person can look at -------------------------------------------------------------------------------


def _blocks(model: nn.Module) -> dict[str, SplitAttention]:
    return {name: module for name, module in model.named_modules() if isinstance(module, SplitAttention)}


@dataclass
class CapturedSplits:
    """Split weights (R, C) float32 of each split-attention block, by module name, in order of depth."""

    weights: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(values.nbytes for values in self.weights.values())


class SplitWeightProbe:
    """The r-softmax of one block: a row a split, a column a channel."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedSplits]:
        captured = CapturedSplits()
        handles = []
        for name, block in _blocks(model).items():
            # The weights are a function of fc2's output alone: recomputed from it, so forward stays plain.
            def keep(
                _: Any, __: Any, scores: Tensor, name: str = name, block: SplitAttention = block
            ) -> None:
                scores = scores[:1].detach().float()
                if block.radix == 1:
                    weights = torch.sigmoid(scores).reshape(1, -1)
                else:
                    grouped = scores.reshape(block.cardinality, block.radix, -1).transpose(0, 1)
                    weights = grouped.softmax(dim=0).reshape(block.radix, -1)
                captured.weights[name] = weights.cpu().numpy()

            handles.append(block.fc2.register_forward_hook(keep))
        try:
            yield captured
        finally:
            for handle in handles:
                handle.remove()

    def map(self, captured: CapturedSplits, query: Query, *, block: int = -1, **options: Any) -> ProbeMap:
        """`block` counts the split-attention blocks from the image; -1 is the last."""
        names = list(captured.weights)
        if not names:
            raise ValueError("nothing was kept yet: run the network first")
        if not -len(names) <= block < len(names):
            raise ValueError(f"this network has {len(names)} split-attention blocks; {block} is none of them")
        weights = captured.weights[names[block]]
        return ProbeMap(
            values=weights,
            kind="matrix",
            labels=tuple(f"split {r + 1}" for r in range(len(weights))),
            notes=(names[block],),
            extras={"blocks": names},
        )


def split_weight_probe() -> SplitWeightProbe:
    return SplitWeightProbe()


@contextmanager
def average_splits(model: nn.Module, value: str) -> Iterator[None]:
    """ "attention" (as trained) or "mean": every split weighs 1 / R."""
    blocks = _blocks(model).values()
    before = [block.average for block in blocks]
    for block in blocks:
        block.average = value == "mean"
    try:
        yield
    finally:
        for block, old in zip(blocks, before, strict=True):
            block.average = old
