"""LR-ASPP: a light head whose pooled branch gates the features.

Howard et al.: Searching for MobileNetV3, ICCV 2019, arXiv 1905.02244, section 6.4 and figure 10: a 1x1 on
the last feature times the sigmoid of a 1x1 on its 49x49 average pooling (stride 16, 20), with skips of 64
and 32 channels from strides 4 and 2, as mmsegmentation's published weights have them. `skip="classifier"` is
the figure's one skip: stride 8, classified by itself and added, with the whole map pooled, as torchvision's
weights have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.joined_output import add_conv
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import EncoderDecoder, SegmentationHead, pyramid_indices

POOL, POOL_STRIDE = 49, (16, 20)


class PooledGate(nn.Sequential):
    """Average pooling 49x49 -> 1x1 -> sigmoid; the window shrinks to maps smaller than itself."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(
            nn.AvgPool2d(POOL, stride=POOL_STRIDE),
            ConvNormAct(in_channels, channels, 1, norm=None, bias=False, act=nn.Sigmoid),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, h, w) in [0, 1]."""
        window = (min(POOL, x.shape[2]), min(POOL, x.shape[3]))
        return self[1](F.avg_pool2d(x, window, stride=POOL_STRIDE))


class LRASPPHead(SegmentationHead):
    """Gate, then two enlargements, each joined to a projected early feature.

    `gate_off` (a switch) sets the gate to 1.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        indices: Sequence[int],
        channels: int,
        num_classes: int,
        *,
        branch_channels: Sequence[int] = (32, 64),
        norm_eps: float = 1e-3,
        align_corners: bool = False,
    ) -> None:
        super().__init__(channels, num_classes, align_corners=align_corners)
        self.indices = tuple(indices)
        self.gate_off = False

        def norm(width: int) -> nn.Module:
            return nn.BatchNorm2d(width, eps=norm_eps)

        self.convs = nn.Sequential()
        self.conv_ups = nn.Sequential()
        for number, width in enumerate(branch_channels):
            self.convs.add_module(f"conv{number}", nn.Conv2d(in_channels[number], width, 1, bias=False))
            self.conv_ups.add_module(
                f"conv_up{number}", ConvNormAct(channels + width, channels, 1, norm=norm)
            )
        self.conv_up_input = nn.Conv2d(channels, channels, 1)
        self.aspp_conv = ConvNormAct(in_channels[-1], channels, 1, norm=norm)
        self.image_pool = PooledGate(in_channels[-1], channels)
        self.small_convs: nn.ModuleList | None = None
        self.early_convs: nn.ModuleList | None = None

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, h, w) at the earliest feature's stride."""
        *early, last = (features[index] for index in self.indices)
        x = self.aspp_conv(last)
        if not self.gate_off:
            gate = self.image_pool(last)
            x = x * resize(gate, x.shape[-2:], align_corners=self.align_corners)
        x = self.conv_up_input(x)
        for number in reversed(range(len(early))):
            x = self._joined(number, x, early[number])
        return self.classify(x)

    def _joined(self, number: int, x: Tensor, early: Tensor) -> Tensor:
        """`x` enlarged, joined to the projected early feature and convolved."""
        if self.small_convs is None or self.early_convs is None:
            x = resize(x, early.shape[-2:], align_corners=self.align_corners)
            return self.conv_ups[number](torch.cat([x, self.convs[number](early)], dim=1))
        large = resize(self.small_convs[number](x), early.shape[-2:], align_corners=self.align_corners)
        return F.relu(add_conv(large, self.early_convs[number], early), inplace=True)

    @torch.no_grad()
    def split_joins(self) -> None:
        """For inference: of W (up(x); V e) + b, W_x x + b before it is enlarged and (W_e V) e at once.

        A 1x1 and bilinear enlargement commute, and nothing stands between the two 1x1 of the early feature.
        """
        if any(isinstance(block.bn, nn.BatchNorm2d) for block in self.conv_ups):
            return
        self.small_convs, self.early_convs = nn.ModuleList(), nn.ModuleList()
        for block, project in zip(self.conv_ups, self.convs, strict=True):
            joined = block.conv
            width = joined.in_channels - project.out_channels
            weight = joined.weight.double()
            composed = weight[:, width:].flatten(1) @ project.weight.double().flatten(1)
            self.small_convs.append(_conv1x1(weight[:, :width].flatten(1), joined.bias))
            self.early_convs.append(_conv1x1(composed, None))


def _conv1x1(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """The 1x1 convolution with `weight` (outputs, inputs)."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias is not None, device=weight.device)
    conv.weight.copy_(weight[:, :, None, None])
    if conv.bias is not None:
        conv.bias.copy_(bias)
    return conv.requires_grad_(False)


class FigureHead(SegmentationHead):
    """Figure 10: the gated feature and one early feature are each classified, and the logits added.

    `gate_off` (a switch) sets the gate to 1.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        indices: Sequence[int],
        channels: int,
        num_classes: int,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__(channels, num_classes, align_corners=align_corners, dropout=0.0)
        low, high = in_channels
        self.indices = tuple(indices)
        self.gate_off = False
        self.aspp_conv = ConvNormAct(high, channels, 1)
        self.image_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            ConvNormAct(high, channels, 1, norm=None, bias=False, act=nn.Sigmoid),
        )
        self.low_seg = nn.Conv2d(low, num_classes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, h, w) at the early feature's stride."""
        low, high = (features[index] for index in self.indices)
        x = self.aspp_conv(high)
        if not self.gate_off:
            x = x * self.image_pool(high)
        # a 1x1 with bias and bilinear enlargement commute: classify the small map
        x = resize(self.classify(x), low.shape[-2:], align_corners=self.align_corners)
        return x + self.low_seg(low)


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    channels: int = 128,
    branch_channels: Sequence[int] = (32, 64),
    skip: str = "two joined",
) -> EncoderDecoder:
    """LR-ASPP on a backbone with features at strides 2 and 4, or 8 for `skip="classifier"`."""
    features = backbone.features
    if skip not in ("two joined", "classifier"):
        raise ValueError(f'skip must be "two joined" or "classifier", not {skip!r}')
    head: SegmentationHead
    if skip == "classifier":
        strides = [info.stride for info in features]
        if 8 not in strides:
            raise ValueError(f"expected a feature at stride 8; this backbone gives {sorted(set(strides))}")
        indices = [strides.index(8), len(features) - 1]
        widths = [features[index].channels for index in indices]
        head = FigureHead(widths, indices, channels, num_classes, align_corners=align_corners)
        return EncoderDecoder(backbone, head, num_classes=num_classes, align_corners=align_corners)
    indices = [*pyramid_indices(features, (2, 4)), len(features) - 1]
    head = LRASPPHead(
        [features[index].channels for index in indices],
        indices,
        channels,
        num_classes,
        branch_channels=branch_channels,
        align_corners=align_corners,
    )
    return EncoderDecoder(backbone, head, num_classes=num_classes, align_corners=align_corners)


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Head width and kind of skip from tensor shapes."""
    classifier = shapes.get("decode_head.conv_seg.weight")
    options: dict[str, Any] = {} if classifier is None else {"channels": classifier[1]}
    if "decode_head.low_seg.weight" in shapes:
        options["skip"] = "classifier"
    return options


KEY_MAPS = (
    KeyMap(
        layout="torchvision",
        telltale=(r"classifier\.cbr\.0\.weight", r"classifier\.low_classifier\.weight"),
        rules=(
            (r"classifier\.cbr\.0\.(.+)", r"decode_head.aspp_conv.conv.\1"),
            (r"classifier\.cbr\.1\.(.+)", r"decode_head.aspp_conv.bn.\1"),
            (r"classifier\.scale\.1\.(.+)", r"decode_head.image_pool.1.conv.\1"),
            (r"classifier\.low_classifier\.(.+)", r"decode_head.low_seg.\1"),
            (r"classifier\.high_classifier\.(.+)", r"decode_head.conv_seg.\1"),
            (r"backbone\.(\d+\..+)", r"backbone.features.\1"),
        ),
        options={"skip": "classifier", "output_stride": 16, "out_indices": (4, 16)},
        inner="torchvision",
    ),
)


@contextmanager
def gate_off(model: nn.Module, value: bool) -> Iterator[None]:
    """Switch: the pooled gate at 1."""
    model.decode_head.gate_off = bool(value)
    try:
        yield
    finally:
        model.decode_head.gate_off = False
