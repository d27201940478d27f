"""How "detectron2", PointRend's repository, names a ResNet, a feature pyramid and the head over its levels.

Its ResNets stride in the first 1x1, as the weights they start from; its heads have group norms.
"""

from __future__ import annotations

from collections.abc import Iterator

Rules = Iterator[tuple[str, str | None]]


def residual_rules() -> Rules:
    """The bare ResNet: stem, res2 ... res5."""
    yield r"stem\.conv1\.weight", "conv1.weight"
    yield r"stem\.conv1\.norm\.(.+)", r"bn1.\1"
    for stage in range(1, 5):
        block, to = rf"res{stage + 1}\.(\d+)\.", rf"layer{stage}.\1."
        yield rf"{block}shortcut\.weight", rf"{to}downsample.0.weight"
        yield rf"{block}shortcut\.norm\.(.+)", rf"{to}downsample.1.\2"
        yield rf"{block}conv([123])\.weight", rf"{to}conv\2.weight"
        yield rf"{block}conv([123])\.norm\.(.+)", rf"{to}bn\2.\3"
    yield r"(?:stem\.fc|linear)\.(weight|bias)", None


def pyramid_rules(head: str, ours: str) -> Rules:
    """The pyramid, and the head of this name in front of p2 ... p5, which is called `ours` here."""
    yield r"pixel_(mean|std)", None
    yield r"backbone\.bottom_up\.(.+)", r"backbone.\1"
    for level in range(4):
        yield rf"backbone\.fpn_lateral{level + 2}\.(.+)", rf"neck.lateral_convs.{level}.conv.\1"
        yield rf"backbone\.fpn_output{level + 2}\.(.+)", rf"neck.fpn_convs.{level}.conv.\1"
        layer = rf"{head}\.p{level + 2}\.(\d)\."
        yield rf"{layer}weight", rf"{ours}.scale_heads.{level}.\1.conv.weight"
        yield rf"{layer}norm\.(.+)", rf"{ours}.scale_heads.{level}.\1.bn.\2"
    yield rf"{head}\.predictor\.(.+)", rf"{ours}.conv_seg.\1"
