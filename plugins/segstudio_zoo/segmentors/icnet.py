"""Image cascade network: the whole depth on a quarter of the picture, a light branch on all of it.

H. Zhao, X. Qi, X. Shen, J. Shi, J. Jia: "ICNet for Real-Time Semantic Segmentation on High-Resolution
Images", ECCV 2018, arXiv 1704.08545. Section 3.2: three resolutions; section 3.3: cascade feature fusion
(CFF, Fig. 3); section 3.4: cascade label guidance, a loss on each resolution.

The figure draws three images; published code halves the picture once, runs stem to layer 2 on it, halves the
result and runs layers 3, 4 and pyramid pooling on that. CFF's auxiliary classifier reads the enlarged coarse
features after their dilated convolution there, before it in the paper (`guided_by`). Loss weights are 0.4,
0.4, 1.0 in published configurations, 0.16, 0.4, 1.0 in the paper.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.fcn_head import FCNHead
from segstudio_zoo.layers.ppm import POOL_SCALES, PyramidPooling
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import EncoderDecoder

TRUNK_PREFIX = "backbone.backbone."
"""Where the backbone's own keys stand."""

LIGHT_CHANNELS = 32
BRANCH_CHANNELS = (64, 256, 256)
"""Of the branches on the whole, half and quarter picture."""

GUIDED_BY = ("convolved", "enlarged")
"""What a fusion's auxiliary classifier reads: its coarse features after, before the dilated convolution."""

LOSS_WEIGHTS = {"published": (0.4, 0.4, 1.0), "paper": (0.16, 0.4, 1.0)}


class CascadeBackbone(nn.Module):
    """`image` (N, 3, H, W) -> light branch at stride 8, medium at stride 16, deep one at stride 32."""

    def __init__(self, backbone: nn.Module, *, psp_channels: int, align_corners: bool) -> None:
        super().__init__()
        infos = backbone.features
        medium, deep = infos[1].channels, infos[-1].channels
        self.align_corners = align_corners
        self.backbone = backbone
        # Keeps the last row and column of odd sizes, as the published networks do.
        backbone.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.psp_modules = PyramidPooling(deep, psp_channels, align_corners=align_corners)
        self.psp_bottleneck = ConvNormAct(deep + len(POOL_SCALES) * psp_channels, psp_channels, 3)
        self.conv_sub1 = nn.Sequential(
            ConvNormAct(3, LIGHT_CHANNELS, 3, stride=2),
            ConvNormAct(LIGHT_CHANNELS, LIGHT_CHANNELS, 3, stride=2),
            ConvNormAct(LIGHT_CHANNELS, BRANCH_CHANNELS[0], 3, stride=2),
        )
        self.conv_sub2 = ConvNormAct(medium, BRANCH_CHANNELS[1], 1)
        self.conv_sub4 = ConvNormAct(psp_channels, BRANCH_CHANNELS[2], 1)
        self.muted: int | None = None

    def _half(self, x: Tensor) -> Tensor:
        """By the factor, not to a size: cell centres of odd sizes keep their places."""
        corners = self.align_corners
        return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=corners)

    def shared_layers(self, image: Tensor) -> Tensor:
        """Stem to layer 2 on the half picture."""
        net: Any = self.backbone
        x = self._half(image)
        x = net.stem(x) if hasattr(net, "stem") else net.relu(net.bn1(net.conv1(x)))
        out: Tensor = net.layer2(net.layer1(net.maxpool(x)))
        return out

    def deep_layers(self, x: Tensor) -> Tensor:
        """Layers 3, 4 and pyramid pooling on half of what the shared layers gave."""
        net: Any = self.backbone
        x = net.layer4(net.layer3(self._half(x)))
        out: Tensor = self.conv_sub4(self.psp_bottleneck(torch.cat([*self.psp_modules(x), x], dim=1)))
        return out

    def forward(self, image: Tensor) -> list[Tensor]:
        light = self.conv_sub1(image)
        x = self.shared_layers(image)
        branches = [light, self.conv_sub2(x), self.deep_layers(x)]
        if self.muted is not None:
            branches[self.muted] = torch.zeros_like(branches[self.muted])
        return branches


class CascadeFeatureFusion(nn.Module):
    """Coarse (N, Cl, h, w), fine (N, Ch, H, W) -> fused (N, C, H, W) and the enlarged coarse features, which
    guide the auxiliary classifier: convolved (N, C, H, W), or merely "enlarged" (N, Cl, H, W)."""

    def __init__(
        self,
        low_channels: int,
        high_channels: int,
        channels: int,
        *,
        align_corners: bool,
        guided_by: str = "convolved",
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.guided_by = guided_by
        self.conv_low = ConvNormAct(low_channels, channels, 3, dilation=2)
        self.conv_high = ConvNormAct(high_channels, channels, 1)

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        low = resize(low, (high.shape[2], high.shape[3]), align_corners=self.align_corners)
        convolved = self.conv_low(low)
        fused = (convolved + self.conv_high(high)).relu()
        return fused, low if self.guided_by == "enlarged" else convolved


class CascadeNeck(nn.Module):
    """The three branches -> what the heads of quarter, half and whole picture read."""

    def __init__(self, channels: int, *, align_corners: bool, guided_by: str) -> None:
        super().__init__()
        light, medium, deep = BRANCH_CHANNELS
        self.cff_24, self.cff_12 = (
            CascadeFeatureFusion(low, high, channels, align_corners=align_corners, guided_by=guided_by)
            for low, high in ((deep, medium), (channels, light))
        )

    def forward(self, branches: Sequence[Tensor]) -> list[Tensor]:
        light, medium, deep = branches
        fused, quarter = self.cff_24(deep, medium)
        whole, half = self.cff_12(fused, light)
        return [quarter, half, whole]


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    label_guidance: str = "published",
    guided_by: str = "convolved",
    psp_channels: int = 512,
    channels: int = 128,
    auxiliary: bool = True,
) -> EncoderDecoder:
    """ICNet on a ResNet or ResNeSt. `guided_by` is one of GUIDED_BY, `label_guidance` a key of LOSS_WEIGHTS;
    without `auxiliary` the whole picture's loss is the only one.

    Raises ValueError where the backbone has no four layers to put between the halvings, or `guided_by` is
    none of GUIDED_BY.
    """
    if guided_by not in GUIDED_BY:
        raise ValueError(f"guided_by is {guided_by!r}; it is one of {', '.join(GUIDED_BY)}")
    if not all(hasattr(backbone, name) for name in ("maxpool", "layer1", "layer2", "layer3", "layer4")):
        given = ", ".join(f"{info.channels} channels at {info.stride}" for info in backbone.features)
        raise ValueError(
            "expected layers 1 to 4 of a ResNet or ResNeSt at strides 4, 8, 8 to 16 and 8 to 32, between "
            f"which the picture is halved; this backbone gives {given}"
        )
    trunk = CascadeBackbone(backbone, psp_channels=psp_channels, align_corners=align_corners)
    heads = [
        FCNHead(
            BRANCH_CHANNELS[2] if index == 0 and guided_by == "enlarged" else channels,
            channels,
            num_classes,
            index=index,
            num_convs=1,
            concat_input=False,
            align_corners=align_corners,
            dropout=0.0 if index == 2 else 0.1,
            loss_weight=weight,
        )
        for index, weight in enumerate(LOSS_WEIGHTS[label_guidance])
    ]
    neck = CascadeNeck(channels, align_corners=align_corners, guided_by=guided_by)
    return EncoderDecoder(
        trunk,
        heads[2],
        heads[:2] if auxiliary else None,
        num_classes=num_classes,
        align_corners=align_corners,
        neck=neck,
    )


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell. A head as wide as the deep branch looks alike for both of GUIDED_BY."""
    channels = shapes["decode_head.conv_seg.weight"][1]
    quarter = shapes.get("auxiliary_head.0.convs.0.conv.weight")
    return {
        "psp_channels": shapes["backbone.psp_bottleneck.conv.weight"][0],
        "channels": channels,
        "auxiliary": quarter is not None,
        "guided_by": "enlarged" if quarter is not None and quarter[1] != channels else "convolved",
    }


# What a person can look at -------------------------------------------------------------------------------


@dataclass
class CapturedImage:
    """The picture of the last run and the branches that can be run on it again."""

    image: Tensor | None = None
    trunk: CascadeBackbone | None = None

    @property
    def nbytes(self) -> int:
        return 0 if self.image is None else self.image.nbytes


class BranchTimeProbe:
    """What each branch costs on this picture: milliseconds of light, shared and deep layers."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedImage]:
        trunk = next(module for module in model.modules() if isinstance(module, CascadeBackbone))
        captured = CapturedImage(trunk=trunk)

        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            captured.image = inputs[0][:1].detach().clone()

        handle = trunk.register_forward_pre_hook(keep)
        try:
            yield captured
        finally:
            handle.remove()

    @torch.no_grad()
    def map(self, captured: CapturedImage, query: Query, *, repeats: int = 3, **options: Any) -> ProbeMap:
        """The median of `repeats` runs a branch, one after the other, on one picture."""
        image, trunk = captured.image, captured.trunk
        if image is None or trunk is None:
            raise ValueError("nothing was kept yet: run the network first")
        half = trunk.shared_layers(image)
        parts = {
            "light, whole picture": lambda: trunk.conv_sub1(image),
            "shared, half picture": lambda: trunk.conv_sub2(trunk.shared_layers(image)),
            "deep, quarter picture": lambda: trunk.deep_layers(half),
        }
        values = [_median_milliseconds(part, repeats, image.device) for part in parts.values()]
        return ProbeMap(np.array(values, np.float32), "vector", labels=tuple(parts))


def _median_milliseconds(part: Callable[[], Tensor], repeats: int, device: torch.device) -> float:
    times = []
    for _ in range(max(repeats, 1)):
        start = time.perf_counter()
        part()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def branch_time_probe() -> BranchTimeProbe:
    return BranchTimeProbe()


@contextmanager
def mute_branch(model: nn.Module, value: str) -> Iterator[None]:
    """ "all" branches, or without one: "without whole", "without half", "without quarter"."""
    trunks = [module for module in model.modules() if isinstance(module, CascadeBackbone)]
    before = [trunk.muted for trunk in trunks]
    names = {"all": None, "without whole": 0, "without half": 1, "without quarter": 2}
    for trunk in trunks:
        trunk.muted = names[value]
    try:
        yield
    finally:
        for trunk, old in zip(trunks, before, strict=True):
            trunk.muted = old
