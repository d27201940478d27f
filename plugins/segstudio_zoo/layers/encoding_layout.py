"""How the repository of EncNet's authors ("PyTorch-Encoding") names what its networks share.

DANet's and ResNeSt's authors built theirs on it: a ResNet or ResNeSt as `pretrained`, the segmentor's `head`,
and a fully convolutional `auxlayer`. Every resize aligns corners; stages are dilated to stride 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import shaped_like

_SHARED: tuple[tuple[str, str | None], ...] = (
    (r"pretrained\.(.+)", r"backbone.\1"),
    (r"auxlayer\.conv5\.0\.(.+)", r"auxiliary_head.convs.0.conv.\1"),
    (r"auxlayer\.conv5\.1\.(.+)", r"auxiliary_head.convs.0.bn.\1"),
    (r"auxlayer\.conv5\.4\.(.+)", r"auxiliary_head.conv_seg.\1"),
)


def conv_norm(theirs: str, ours: str, *, conv: int = 0) -> tuple[tuple[str, str | None], ...]:
    """A Sequential's convolution (at index `conv`) and the norm behind it."""
    return (
        (rf"{theirs}\.{conv}\.(.+)", rf"{ours}.conv.\1"),
        (rf"{theirs}\.{conv + 1}\.(.+)", rf"{ours}.bn.\1"),
    )


def encoding_maps(
    telltale: str, rules: Sequence[tuple[str, str | None]], options: dict[str, Any] | None = None
) -> tuple[KeyMap, ...]:
    """The maps of one network: on a stem of three convolutions, and on one of a single 7x7."""
    stems = ((r"pretrained\.conv1\.6\.weight", "timm"), (r"pretrained\.conv1\.weight", "torchvision"))
    return tuple(
        KeyMap(
            layout="authors (PyTorch-Encoding)",
            telltale=(telltale, stem),
            rules=(*rules, *_SHARED),
            options={"align_corners": True, "output_stride": 8, **(options or {})},
            transform=shaped_like,
            inner=inner,
        )
        for stem, inner in stems
    )
