"""DeepLabV3: atrous convolution in parallel (ASPP with image pooling) or in cascade.

Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution for Semantic Image Segmentation,
arXiv 1706.05587. Section 3.2: cascaded blocks 5 to 7 with Multi_Grid, figure 3b; section 3.3: ASPP,
figure 5.

Behind the pyramid, publishers differ: a 3x3 (mmsegmentation), the paper's 1x1, or a 1x1 and a 3x3
(torchvision): option `projection`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.aspp import atrous_branches, image_pooling, project_pyramid, rates_for
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.encoding_layout import conv_norm, encoding_maps
from segstudio_zoo.layers.fcn_head import auxiliary_fcn
from segstudio_zoo.layers.joined_conv import JoinedConv
from segstudio_zoo.layers.residual import BasicBlock, Bottleneck, residual_stage, set_rates
from segstudio_zoo.layers.segmentor import EncoderDecoder, SegmentationHead


class ASPPHead(SegmentationHead):
    """ASPP, projection, classifier. `projection`: "3x3", "1x1" or "1x1+3x3"."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_classes: int,
        *,
        rates: Sequence[int],
        image_pool: bool = True,
        projection: str = "3x3",
        align_corners: bool = False,
    ) -> None:
        if projection not in ("3x3", "1x1", "1x1+3x3"):
            raise ValueError(f'projection must be "3x3", "1x1" or "1x1+3x3", not {projection!r}')
        super().__init__(channels, num_classes, align_corners=align_corners)
        self.rates = tuple(rates)
        self.pool_off = False
        self.image_pool = image_pooling(in_channels, channels) if image_pool else None
        self.aspp_modules = atrous_branches(in_channels, channels, self.rates)
        joined = channels * (len(self.rates) + (1 if image_pool else 0))
        self.bottleneck: nn.Module = ConvNormAct(joined, channels, 3 if projection == "3x3" else 1)
        self.refine = ConvNormAct(channels, channels, 3) if projection == "1x1+3x3" else None

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, H, W) at the last feature's stride."""
        x = project_pyramid(
            features[-1], self.image_pool, self.aspp_modules, self.bottleneck, pool_off=self.pool_off
        )
        return self.classify(x if self.refine is None else self.refine(x))

    def split_joins(self) -> None:
        """For inference: the 3x3 convolution apart over the branches and the pooled image."""
        if self.image_pool is None or self.bottleneck.conv.kernel_size != (3, 3):
            return
        channels = self.aspp_modules[0].conv.out_channels
        self.bottleneck = JoinedConv(self.bottleneck, channels, coarse_first=True)


class CascadeHead(SegmentationHead):
    """Blocks 5, 6, 7: copies of block 4 whose unit rates double so that the stride stays; section 3.2.

    `unit_rate` is block 4's own rate (2 at output stride 16). The rates of a block's three convolutions
    are its unit rate times `multi_grid`, section 3.2.1.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        block: type[BasicBlock] | type[Bottleneck],
        unit_rate: int,
        multi_grid: Sequence[int] = (1, 1, 1),
        align_corners: bool = False,
    ) -> None:
        super().__init__(in_channels, num_classes, align_corners=align_corners)
        for number in (5, 6, 7):
            unit_rate *= 2
            stage = residual_stage(
                block,
                in_channels,
                in_channels // block.expansion,
                stride=1,
                dilations=[unit_rate * factor for factor in multi_grid],
            )
            self.add_module(f"block{number}", stage)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, H, W) at the last feature's stride."""
        x = features[-1]
        for number in (5, 6, 7):
            x = self.get_submodule(f"block{number}")(x)
        return self.classify(x)


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    arrangement: str = "parallel",
    channels: int = 512,
    rates: Sequence[int] | None = None,
    image_pool: bool = True,
    projection: str = "3x3",
    cascade_grid: Sequence[int] | None = None,
    auxiliary: bool = True,
    auxiliary_channels: int = 256,
    auxiliary_index: int | None = None,
) -> EncoderDecoder:
    """DeepLabV3 on any backbone ("parallel") or on a residual one ("cascaded").

    `rates` include the 1 of the 1x1 branch; by default those of the backbone's output stride.

    In the cascade the backbone's `multi_grid` are factors on the rates inside blocks 4 to 7 (section 3.2.1),
    whether or not `multiply_multi_grid` says so; `cascade_grid` gives blocks 5 to 7 factors of their own.
    """
    last = backbone.features[-1]
    head: SegmentationHead
    if arrangement == "parallel":
        head = ASPPHead(
            last.channels,
            channels,
            num_classes,
            rates=rates or rates_for(last.stride),
            image_pool=image_pool,
            projection=projection,
            align_corners=align_corners,
        )
    elif arrangement == "cascaded":
        blocks = [m for m in backbone.modules() if isinstance(m, BasicBlock | Bottleneck)]
        if not blocks:
            raise ValueError("cascaded blocks copy a residual network's block 4")
        unit_rate = getattr(backbone, "unit_rate", max(32 // last.stride, 1))
        multi_grid = getattr(backbone, "multi_grid", None)
        if multi_grid is not None:
            set_rates(backbone.layer4, unit_rate, multi_grid)
        head = CascadeHead(
            last.channels,
            num_classes,
            block=type(blocks[-1]),
            unit_rate=unit_rate,
            multi_grid=cascade_grid or _of_three(multi_grid or (1,)),
            align_corners=align_corners,
        )
    else:
        raise ValueError(f'arrangement must be "parallel" or "cascaded", not {arrangement!r}')
    side = None
    if auxiliary:
        side = auxiliary_fcn(
            backbone.features,
            num_classes,
            channels=auxiliary_channels,
            index=auxiliary_index,
            align_corners=align_corners,
        )
    return EncoderDecoder(backbone, head, side, num_classes=num_classes, align_corners=align_corners)


def _of_three(factors: Sequence[int]) -> list[int]:
    """Factors of a block's three units; the last one repeats."""
    return [factors[min(index, len(factors) - 1)] for index in range(3)]


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Arrangement, projection, widths and optional parts from tensor shapes; rates leave no trace."""
    options: dict[str, Any] = {"auxiliary": "auxiliary_head.conv_seg.weight" in shapes}
    if options["auxiliary"]:
        options["auxiliary_channels"] = shapes["auxiliary_head.conv_seg.weight"][1]
    if "decode_head.block5.0.conv1.weight" in shapes:
        units = sum(bool(re.fullmatch(r"decode_head\.block5\.\d+\.conv1\.weight", key)) for key in shapes)
        own = {} if units == 3 else {"cascade_grid": (1,) * units}
        return {**options, "arrangement": "cascaded", **own}
    options["channels"] = shapes.get("decode_head.conv_seg.weight", (0, 512))[1]
    if "decode_head.refine.conv.weight" in shapes:
        options["projection"] = "1x1+3x3"
    elif tuple(shapes.get("decode_head.bottleneck.conv.weight", (3, 3)))[-1] == 1:
        options["projection"] = "1x1"
    if "decode_head.image_pool.1.conv.weight" not in shapes:
        options["image_pool"] = False
    return options


@contextmanager
def image_pool_off(model: nn.Module, value: bool) -> Iterator[None]:
    """Switch: zeros in place of the pooled image. ValueError where none is pooled."""
    if not value:
        yield
        return
    if getattr(model.decode_head, "image_pool", None) is None:
        raise ValueError(
            "This DeepLabV3 has no image pooling (arrangement='cascaded', or image_pool=False), "
            "so it cannot be turned off."
        )
    model.decode_head.pool_off = True
    try:
        yield
    finally:
        model.decode_head.pool_off = False


def _from_torchvision(state: dict[str, Tensor], _: nn.Module) -> dict[str, Tensor]:
    """torchvision concatenates the pooled image last; here it comes first."""
    key = "decode_head.bottleneck.conv.weight"
    weight = state[key]
    branches = weight.shape[1] - weight.shape[0]
    state[key] = torch.cat([weight[:, branches:], weight[:, :branches]], dim=1)
    return state


def _from_compact(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A file without the parts that are zero or identity: put them back."""
    own = model.state_dict()
    head = "decode_head."
    if f"{head}refine.conv.weight" not in own:
        return state
    for key, value in own.items():
        part = key.removeprefix(head)
        if (
            key.startswith(f"{head}aspp_modules.") and not part.startswith("aspp_modules.0.")
        ) or key.startswith(f"{head}refine."):
            state[key] = torch.ones_like(value) if _is_scale(key) else torch.zeros_like(value)
    kernel = torch.zeros_like(own[f"{head}refine.conv.weight"])
    if not kernel.is_meta:
        index = torch.arange(len(kernel))
        kernel[index, index, 1, 1] = 1.0
    state[f"{head}refine.conv.weight"] = kernel
    epsilon = model.decode_head.refine.bn.eps
    state[f"{head}refine.bn.running_var"] = state[f"{head}refine.bn.running_var"] - epsilon
    wanted = own[f"{head}bottleneck.conv.weight"]
    given = state[f"{head}bottleneck.conv.weight"]
    full = torch.zeros_like(wanted)
    full[:, : given.shape[1]] = given
    state[f"{head}bottleneck.conv.weight"] = full
    return state


def _is_scale(key: str) -> bool:
    return key.endswith(("bn.weight", "bn.running_var"))


KEY_MAPS = (
    KeyMap(
        layout="torchvision",
        telltale=(r"classifier\.0\.convs\.0\.0\.weight", r"classifier\.0\.project\.0\.weight"),
        rules=(
            (r"classifier\.0\.convs\.([0-3])\.0\.(.+)", r"decode_head.aspp_modules.\1.conv.\2"),
            (r"classifier\.0\.convs\.([0-3])\.1\.(.+)", r"decode_head.aspp_modules.\1.bn.\2"),
            (r"classifier\.0\.convs\.4\.1\.(.+)", r"decode_head.image_pool.1.conv.\1"),
            (r"classifier\.0\.convs\.4\.2\.(.+)", r"decode_head.image_pool.1.bn.\1"),
            (r"classifier\.0\.project\.0\.(.+)", r"decode_head.bottleneck.conv.\1"),
            (r"classifier\.0\.project\.1\.(.+)", r"decode_head.bottleneck.bn.\1"),
            (r"classifier\.1\.(.+)", r"decode_head.refine.conv.\1"),
            (r"classifier\.2\.(.+)", r"decode_head.refine.bn.\1"),
            (r"classifier\.4\.(.+)", r"decode_head.conv_seg.\1"),
            (r"aux_classifier\.0\.(.+)", r"auxiliary_head.convs.0.conv.\1"),
            (r"aux_classifier\.1\.(.+)", r"auxiliary_head.convs.0.bn.\1"),
            (r"aux_classifier\.4\.(.+)", r"auxiliary_head.conv_seg.\1"),
            (r"backbone\.(\d+\..+)", r"backbone.features.\1"),
            (r"(backbone\..+)", r"\1"),
        ),
        options={"rates": (1, 12, 24, 36)},
        transform=_from_torchvision,
        inner="torchvision",
    ),
    KeyMap(
        layout="compact",
        telltale=(r"head\.aspp0\.0\.weight", r"head\.project\.0\.weight", r"head\.logits\.weight"),
        rules=(
            (r"head\.image_pool\.0\.(.+)", r"decode_head.image_pool.1.conv.\1"),
            (r"head\.image_pool\.1\.(.+)", r"decode_head.image_pool.1.bn.\1"),
            (r"head\.aspp0\.0\.(.+)", r"decode_head.aspp_modules.0.conv.\1"),
            (r"head\.aspp0\.1\.(.+)", r"decode_head.aspp_modules.0.bn.\1"),
            (r"head\.project\.0\.(.+)", r"decode_head.bottleneck.conv.\1"),
            (r"head\.project\.1\.(.+)", r"decode_head.bottleneck.bn.\1"),
            (r"head\.logits\.(.+)", r"decode_head.conv_seg.\1"),
            (r"backbone\.(features\..+)", r"backbone.\1"),
        ),
        options={"rates": (1, 12, 24, 36), "projection": "1x1+3x3"},
        transform=_from_compact,
        inner="torchvision",
    ),
    KeyMap(
        layout="transformers",
        telltale=(r"segmentation_head\.conv_aspp\.convolution\.weight", r"mobilenet_v2\.layer\.15\..+"),
        rules=(
            (r"(mobilenet_v2\..+)", r"backbone.\1"),
            *(
                (rf"segmentation_head\.{theirs}\.{part}\.(.+)", rf"decode_head.{ours}.{name}.\1")
                for theirs, ours in (
                    ("conv_pool", "image_pool.1"),
                    ("conv_aspp", "aspp_modules.0"),
                    ("conv_projection", "bottleneck"),
                )
                for part, name in (("convolution", "conv"), ("normalization", "bn"))
            ),
            (r"segmentation_head\.classifier\.convolution\.(.+)", r"decode_head.conv_seg.\1"),
        ),
        options={"rates": (1,), "projection": "1x1", "output_stride": 8},
        inner="transformers",
    ),
    *(
        replace(key_map, transform=_from_torchvision)
        for key_map in encoding_maps(
            r"head\.aspp\.b4\.gap\.1\.weight",
            (
                (r"head\.aspp\.b([0-3])\.0\.(.+)", r"decode_head.aspp_modules.\1.conv.\2"),
                (r"head\.aspp\.b([0-3])\.1\.(.+)", r"decode_head.aspp_modules.\1.bn.\2"),
                *conv_norm(r"head\.aspp\.b4\.gap", "decode_head.image_pool.1", conv=1),
                *conv_norm(r"head\.aspp\.project", "decode_head.bottleneck"),
                *conv_norm(r"head\.block", "decode_head.refine"),
                (r"head\.block\.4\.(.+)", r"decode_head.conv_seg.\1"),
            ),
            {"rates": (1, 12, 24, 36)},
        )
    ),
)
