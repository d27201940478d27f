"""How the repositories of ANN's and OCRNet's authors ("openseg.pytorch" and its kin) name what they share.

A ResNet with a wide stem in a Sequential of its own, norms in a Sequential with their ReLU, convolutions with
biases before norms. Every resize aligns corners, the pooling behind the stem rounds up, stages are dilated to
stride 8.
"""

from __future__ import annotations

from typing import Any

_STEM = (("conv1", 0), ("bn1", 1), ("conv2", 3), ("bn2", 4), ("conv3", 6), ("bn3", 7))

_PREFIX = r"backbone\.(?:resinit|prefix)\."

OPENSEG_STEM = rf"{_PREFIX}conv3\.weight"
"""A key that tells these ResNets."""

OPENSEG_TRUNK: tuple[tuple[str, str | None], ...] = (
    *(
        (rf"backbone\.(?:resinit|prefix)\.{name}\.(.+)", rf"backbone.stem.{place}.\1")
        for name, place in _STEM
    ),
    (r"(backbone\.layer[1-4]\..+)", r"\1"),
)

OPENSEG_OPTIONS: dict[str, Any] = {"align_corners": True, "ceil_pool": True, "output_stride": 8}


def conv_norm_relu(theirs: str, ours: str) -> tuple[tuple[str, str | None], ...]:
    """A convolution and the Sequential of norm and ReLU behind it."""
    return (
        (rf"{theirs}\.0\.(.+)", rf"{ours}.conv.\1"),
        (rf"{theirs}\.1\.0\.(.+)", rf"{ours}.bn.\1"),
    )
