"""FCN: the fully convolutional head alone, on one feature or on all of them joined.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015,
arXiv 1411.4038, section 3.1: a classifier run as convolutions over maps of any size. Published heads read
one dilated feature through two 3x3 convolutions; the paper's skips (section 4.2, FCN-16s and FCN-8s) are
left out. `levels="all"` enlarges every feature to the first one's size and concatenates them
before a 1x1, the head of HRNetV2 (arXiv 1904.04514, figure 4b).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import fold_biases
from segstudio_zoo.layers.encoding_layout import conv_norm, encoding_maps
from segstudio_zoo.layers.fcn_head import FCNHead, auxiliary_fcn
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import EncoderDecoder


class JoinedFCNHead(FCNHead):
    """An FCN head on all features, enlarged to the size of the first and concatenated."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, h, w) at the first feature's stride."""
        size = features[0].shape[-2:]
        joined = [resize(x, size, align_corners=self.align_corners) for x in features]
        return super().forward([torch.cat(joined, dim=1)])


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    channels: int = 512,
    num_convs: int = 2,
    kernel_size: int = 3,
    concat_input: bool = True,
    dilation: int = 1,
    levels: str = "last",
    dropout: float = 0.1,
    auxiliary: bool = True,
    auxiliary_channels: int = 256,
    auxiliary_dilation: int = 1,
) -> EncoderDecoder:
    """FCN on any backbone. `levels`: "last", "first" or "all"; `channels` 0 = as many as come in."""
    widths = [info.channels for info in backbone.features]
    if levels not in ("last", "first", "all"):
        raise ValueError(f'levels must be "last", "first" or "all", not {levels!r}')
    in_channels = {"last": widths[-1], "first": widths[0], "all": sum(widths)}[levels]
    head = (JoinedFCNHead if levels == "all" else FCNHead)(
        in_channels,
        channels or in_channels,
        num_classes,
        index=0 if levels == "first" else -1,
        num_convs=num_convs,
        kernel_size=kernel_size,
        concat_input=concat_input,
        dilation=dilation,
        align_corners=align_corners,
        dropout=dropout,
    )
    side = None
    if auxiliary:
        side = auxiliary_fcn(
            backbone.features,
            num_classes,
            channels=auxiliary_channels,
            dilation=auxiliary_dilation,
            align_corners=align_corners,
        )
    return EncoderDecoder(backbone, head, side, num_classes=num_classes, align_corners=align_corners)


def infer_options(shapes: Mapping[str, Sequence[int]], widths: Sequence[int] = ()) -> dict[str, Any]:
    """Widths and the auxiliary head from tensor shapes; with the backbone's `widths` which one is read."""
    options: dict[str, Any] = {"auxiliary": "auxiliary_head.conv_seg.weight" in shapes}
    if options["auxiliary"]:
        options["auxiliary_channels"] = shapes["auxiliary_head.conv_seg.weight"][1]
    options["concat_input"] = "decode_head.conv_cat.conv.weight" in shapes
    convs = [key for key in shapes if key.startswith("decode_head.convs.") and key.endswith("conv.weight")]
    options["num_convs"] = len(convs)
    if convs:
        options["channels"], options["kernel_size"] = shapes[convs[0]][0], shapes[convs[0]][-1]
    entrance = "decode_head.convs.0.conv.weight" if convs else "decode_head.conv_seg.weight"
    if widths and (convs or not options["concat_input"]):
        told = {widths[-1]: "last", widths[0]: "first", sum(widths): "all"}
        if len(told) == 3:  # features of one width tell nothing
            options["levels"] = told.get(shapes[entrance][1], "last")
    return options


KEY_MAPS = (
    *encoding_maps(
        r"head\.conv5\.4\.weight",
        (
            *conv_norm(r"head\.conv5", "decode_head.convs.0"),
            (r"head\.conv5\.4\.(.+)", r"decode_head.conv_seg.\1"),
        ),
    ),
    KeyMap(
        layout="authors (HRNet)",
        telltale=(r"(model\.)?last_layer\.3\.weight", r"(model\.)?stage4\.0\.branches\..+"),
        rules=(
            (r"loss\..+", None),
            (r"(?:model\.)?last_layer\.0\.(.+)", r"decode_head.convs.0.conv.\1"),
            (r"(?:model\.)?last_layer\.1\.(.+)", r"decode_head.convs.0.bn.\1"),
            (r"(?:model\.)?last_layer\.3\.(.+)", r"decode_head.conv_seg.\1"),
            (r"(?:model\.)?((?:conv|bn|layer|stage|transition)\d\..+)", r"backbone.\1"),
        ),
        transform=fold_biases,
    ),
    KeyMap(
        layout="torchvision",
        telltale=(r"classifier\.0\.weight", r"classifier\.4\.weight", r"backbone\.layer4\..+"),
        rules=(
            (r"classifier\.0\.(.+)", r"decode_head.convs.0.conv.\1"),
            (r"classifier\.1\.(.+)", r"decode_head.convs.0.bn.\1"),
            (r"classifier\.4\.(.+)", r"decode_head.conv_seg.\1"),
            (r"aux_classifier\.0\.(.+)", r"auxiliary_head.convs.0.conv.\1"),
            (r"aux_classifier\.1\.(.+)", r"auxiliary_head.convs.0.bn.\1"),
            (r"aux_classifier\.4\.(.+)", r"auxiliary_head.conv_seg.\1"),
            (r"(backbone\..+)", r"\1"),
        ),
    ),
)
