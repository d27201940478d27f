"""SemanticFPN: a feature pyramid whose levels are enlarged and added up.

A. Kirillov, R. Girshick, K. He, P. Dollar: "Panoptic Feature Pyramid Networks", CVPR 2019, arXiv 1901.02446,
section 3.1 (the semantic branch, Fig. 3). Published weights have batch norm where the paper has group norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.detectron_layout import pyramid_rules
from segstudio_zoo.layers.fpn import FeaturePyramid, SemanticFPNHead, group_norms
from segstudio_zoo.layers.segmentor import EncoderDecoder


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    pyramid_channels: int = 256,
    channels: int = 128,
    norm: str = "batch",
) -> EncoderDecoder:
    """SemanticFPN on every feature (N, C_i, H / s_i, W / s_i) of `backbone`; strides may repeat (a dilated
    backbone). Logits are (N, K, H / s_0, W / s_0).

    `norm` of the head: "batch" as most published weights, or the paper's "group".
    """
    infos = backbone.features
    neck = FeaturePyramid([info.channels for info in infos], pyramid_channels)
    head = SemanticFPNHead(
        pyramid_channels,
        [info.stride for info in infos],
        channels,
        num_classes,
        align_corners=align_corners,
        dropout=0.1,
        norm=norm,
    )
    return EncoderDecoder(backbone, head, num_classes=num_classes, align_corners=align_corners, neck=neck)


KEY_MAPS = (
    KeyMap(
        layout="detectron2",
        telltale=(r"sem_seg_head\.p5\.4\.norm\.weight", r"backbone\.fpn_lateral5\.weight"),
        rules=tuple(pyramid_rules("sem_seg_head", "decode_head")),
        inner="detectron2",
    ),
)


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell."""
    channels, pyramid_channels = shapes["decode_head.scale_heads.0.0.conv.weight"][:2]
    found: dict[str, Any] = {"channels": channels, "pyramid_channels": pyramid_channels}
    return {**found, "norm": "group"} if group_norms(shapes, "decode_head") else found


@contextmanager
def mute_level(model: nn.Module, value: str) -> Iterator[None]:
    """ "all" levels, or "without 4", "without 8", ...: one level adds nothing to the sum."""
    handles = []
    if value != "all":
        stride = int(value.split()[1])
        strides = [info.stride for info in model.get_submodule("backbone").features]  # type: ignore[union-attr]
        head = model.get_submodule("decode_head.scale_heads")
        for index, level in enumerate(head.children()):
            if strides[index] == stride:

                def zero(_: nn.Module, __: Any, out: Tensor) -> Tensor:
                    return torch.zeros_like(out)

                handles.append(level.register_forward_hook(zero))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
