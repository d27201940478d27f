"""How PSPNet's and PSANet's authors (repository "semseg") name what the two networks share."""

from __future__ import annotations

from typing import Any

SEMSEG_RULES: tuple[tuple[str, str | None], ...] = (
    (r"cls\.0\.(.+)", r"decode_head.bottleneck.conv.\1"),
    (r"cls\.1\.(.+)", r"decode_head.bottleneck.bn.\1"),
    (r"cls\.4\.(.+)", r"decode_head.conv_seg.\1"),
    (r"aux\.0\.(.+)", r"auxiliary_head.convs.0.conv.\1"),
    (r"aux\.1\.(.+)", r"auxiliary_head.convs.0.bn.\1"),
    (r"aux\.4\.(.+)", r"auxiliary_head.conv_seg.\1"),
    (r"layer0\.(\d\..+)", r"backbone.stem.\1"),
    (r"(layer[1-4]\..+)", r"backbone.\1"),
)

SEMSEG_OPTIONS: dict[str, Any] = {
    "align_corners": True,
    "contract_dilation": False,
    "stem_channels": 128,
    "output_stride": 8,
}
"""Their ResNet has a wider stem and dilates also the first block of a stage; every resize aligns corners."""
