"""How others name the keys of BiSeNet and BiSeNetV2: the first's authors, and the repository most people use.

The authors (repository "TorchSeg") enlarge bilinearly with aligned corners in the context path;
"CoinCheung/BiSeNet" enlarges to the nearest, also inside BiSeNetV2's aggregation. Shapes tell the widths of
heads and of the fusion's gate.
"""

from __future__ import annotations

from collections.abc import Iterator

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import zero_biases

_PARTS = "backbone."


def _head(theirs: str, ours: str, *, classifier: str, conv: str) -> tuple[tuple[str, str | None], ...]:
    return (
        (rf"{theirs}\.{conv}\.(.+)", rf"{ours}.convs.0.\1"),
        (rf"{theirs}\.{classifier}\.(.+)", rf"{ours}.conv_seg.\1"),
    )


_CONTEXT = f"{_PARTS}context_path."
_TRUNK = f"{_CONTEXT}backbone."

FIRST = (
    KeyMap(
        layout="authors (TorchSeg)",
        telltale=(r"arms\.0\.conv_3x3\.conv\.weight", r"spatial_path\.conv_7x7\.conv\.weight"),
        rules=(
            (r"context_path\.fc\.(weight|bias)", None),
            (r"context_path\.(.+)", rf"{_TRUNK}\1"),
            (r"global_context\.1\.(.+)", rf"{_CONTEXT}gap_conv.1.\1"),
            (r"refines\.0\.(.+)", rf"{_CONTEXT}conv_head32.\1"),
            (r"refines\.1\.(.+)", rf"{_CONTEXT}conv_head16.\1"),
            *(
                rule
                for index, arm in enumerate(("arm32", "arm16"))
                for rule in (
                    (rf"arms\.{index}\.conv_3x3\.(.+)", rf"{_CONTEXT}{arm}.conv_layer.\1"),
                    (
                        rf"arms\.{index}\.channel_attention\.1\.(.+)",
                        rf"{_CONTEXT}{arm}.atten_conv_layer.1.\1",
                    ),
                )
            ),
            *(
                (rf"spatial_path\.{name}\.(.+)", rf"{_PARTS}spatial_path.layer{place}.\1")
                for place, name in enumerate(("conv_7x7", "conv_3x3_1", "conv_3x3_2", "conv_1x1"), start=1)
            ),
            (r"ffm\.conv_1x1\.(.+)", rf"{_PARTS}ffm.conv1.\1"),
            (r"ffm\.channel_attention\.1\.(.+)", rf"{_PARTS}ffm.conv_atten.0.\1"),
            (r"ffm\.channel_attention\.2\.(.+)", rf"{_PARTS}ffm.conv_atten.1.\1"),
            *_head(r"heads\.0", "auxiliary_head.1", classifier="conv_1x1", conv="conv_3x3"),
            *_head(r"heads\.1", "auxiliary_head.0", classifier="conv_1x1", conv="conv_3x3"),
            *_head(r"heads\.2", "decode_head", classifier="conv_1x1", conv="conv_3x3"),
        ),
        options={"align_corners": True, "context_resize": "bilinear"},
    ),
    *(
        KeyMap(
            layout="CoinCheung/BiSeNet",
            telltale=(r"cp\.arm16\.conv_atten\.weight", telltale),
            rules=(
                (r"cp\.resnet\.(.+)", rf"{_TRUNK}\1"),
                (r"cp\.(arm\d+)\.conv\.(.+)", rf"{_CONTEXT}\1.conv_layer.\2"),
                (r"cp\.(arm\d+)\.conv_atten\.(.+)", rf"{_CONTEXT}\1.atten_conv_layer.1.conv.\2"),
                (r"cp\.(arm\d+)\.bn_atten\.(.+)", rf"{_CONTEXT}\1.atten_conv_layer.1.bn.\2"),
                (r"cp\.(conv_head\d+\..+)", rf"{_CONTEXT}\1"),
                (r"cp\.conv_avg\.(.+)", rf"{_CONTEXT}gap_conv.1.\1"),
                (r"sp\.conv([123])\.(.+)", rf"{_PARTS}spatial_path.layer\1.\2"),
                (r"sp\.conv_out\.(.+)", rf"{_PARTS}spatial_path.layer4.\1"),
                (r"ffm\.convblk\.(.+)", rf"{_PARTS}ffm.conv1.\1"),
                (r"ffm\.conv1\.(.+)", rf"{_PARTS}ffm.conv_atten.0.conv.\1"),
                (r"ffm\.conv2\.(.+)", rf"{_PARTS}ffm.conv_atten.1.conv.\1"),
                (r"ffm\.conv\.(.+)", rf"{_PARTS}ffm.conv_atten.0.conv.\1"),
                (r"ffm\.bn\.(.+)", rf"{_PARTS}ffm.conv_atten.0.bn.\1"),
                *_head("conv_out", "decode_head", classifier="conv_out", conv="conv"),
                *_head("conv_out16", "auxiliary_head.0", classifier="conv_out", conv="conv"),
                *_head("conv_out32", "auxiliary_head.1", classifier="conv_out", conv="conv"),
            ),
            options=options,
            transform=zero_biases,
        )
        for telltale, options in (
            (r"ffm\.conv2\.weight", {"align_corners": True}),
            (r"ffm\.bn\.weight", {}),
        )
    ),
)
"""BiSeNet: the authors' repository; the other one with the gate of the figure, and later with one 1x1."""


def _layers(theirs: str, ours: str, *names: str) -> tuple[tuple[str, str | None], ...]:
    """A Sequential's members 0, 1, ... under our names for them."""
    return tuple((rf"{theirs}\.{place}\.(.+)", rf"{ours}.{name}.\1") for place, name in enumerate(names))


_STAGES = (("S3", 2), ("S4", 3), ("S5_4", 4))
_SPLIT = ("depthwise_conv.conv", "depthwise_conv.bn", "pointwise_conv.conv", "pointwise_conv.bn")


def _stage_rules(theirs: str, number: int) -> Iterator[tuple[str, str | None]]:
    block, ours = rf"segment\.{theirs}\.(\d)\.", rf"backbone.semantic.stage{number}.\1."
    yield rf"{block}conv1\.(.+)", rf"{ours}conv1.\2"
    for name, place in (("dwconv", 0), ("dwconv1", 0), ("dwconv2", 1)):
        yield rf"{block}{name}\.0\.(.+)", rf"{ours}dwconv.{place}.conv.\2"
        yield rf"{block}{name}\.1\.(.+)", rf"{ours}dwconv.{place}.bn.\2"
    yield rf"{block}conv2\.0\.(.+)", rf"{ours}conv2.0.conv.\2"
    yield rf"{block}conv2\.1\.(.+)", rf"{ours}conv2.0.bn.\2"
    for place, part in enumerate(_SPLIT):
        yield rf"{block}shortcut\.{place}\.(.+)", rf"{ours}shortcut.0.{part}.\2"


SECOND = (
    KeyMap(
        layout="CoinCheung/BiSeNet",
        telltale=(r"segment\.S1S2\.conv\.conv\.weight", r"bga\.left1\.0\.weight"),
        rules=(
            *((rf"detail\.S{n + 1}\.(.+)", rf"backbone.detail.detail_branch.{n}.\1") for n in range(3)),
            (r"segment\.S1S2\.conv\.(.+)", r"backbone.semantic.stage1.conv_first.\1"),
            (r"segment\.S1S2\.left\.(.+)", r"backbone.semantic.stage1.convs.\1"),
            (r"segment\.S1S2\.fuse\.(.+)", r"backbone.semantic.stage1.fuse_last.\1"),
            *(rule for theirs, number in _STAGES for rule in _stage_rules(theirs, number)),
            (r"segment\.S5_5\.bn\.(.+)", r"backbone.semantic.stage4_CEBlock.gap.1.\1"),
            (r"segment\.S5_5\.(.+)", r"backbone.semantic.stage4_CEBlock.\1"),
            *_layers(r"bga\.left1", "backbone.bga.detail_dwconv.0", *_SPLIT[:3]),
            *_layers(r"bga\.left2", "backbone.bga.detail_down.0", "conv", "bn"),
            *_layers(r"bga\.right1", "backbone.bga.semantic_conv.0", "conv", "bn"),
            *_layers(r"bga\.right2", "backbone.bga.semantic_dwconv.0", *_SPLIT[:3]),
            *_layers(r"bga\.conv", "backbone.bga.conv", "conv", "bn"),
            (r"head\.conv\.(.+)", r"decode_head.convs.0.\1"),
            (r"head\.conv_out\.1\.(.+)", r"decode_head.conv_seg.\1"),
            (r"aux(2|3|4|5_4)\..+", None),
        ),
        options={"aggregation": "bga-nearest", "boosters": False},
        transform=zero_biases,
    ),
)
"""BiSeNetV2; the boosters are of another build than the published ones here."""
