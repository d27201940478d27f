"""BiSeNet and BiSeNetV2 under the names of their authors and of the repository most people use."""

from __future__ import annotations

from tests.zoo.originals import RENAMING, Original, conv_bn

V1 = r"backbone\.context_path\."
TORCHSEG: RENAMING = (
    (rf"{V1}backbone\.", "context_path."),
    (rf"{V1}gap_conv\.1\.", "global_context.1."),
    (rf"{V1}conv_head32\.", "refines.0."),
    (rf"{V1}conv_head16\.", "refines.1."),
    (rf"{V1}arm32\.conv_layer\.", "arms.0.conv_3x3."),
    (rf"{V1}arm32\.atten_conv_layer\.1\.", "arms.0.channel_attention.1."),
    (rf"{V1}arm16\.conv_layer\.", "arms.1.conv_3x3."),
    (rf"{V1}arm16\.atten_conv_layer\.1\.", "arms.1.channel_attention.1."),
    (r"backbone\.spatial_path\.layer1\.", "spatial_path.conv_7x7."),
    (r"backbone\.spatial_path\.layer2\.", "spatial_path.conv_3x3_1."),
    (r"backbone\.spatial_path\.layer3\.", "spatial_path.conv_3x3_2."),
    (r"backbone\.spatial_path\.layer4\.", "spatial_path.conv_1x1."),
    (r"backbone\.ffm\.conv1\.", "ffm.conv_1x1."),
    (r"backbone\.ffm\.conv_atten\.0\.", "ffm.channel_attention.1."),
    (r"backbone\.ffm\.conv_atten\.1\.", "ffm.channel_attention.2."),
    (r"auxiliary_head\.1\.convs\.0\.", "heads.0.conv_3x3."),
    (r"auxiliary_head\.1\.conv_seg\.", "heads.0.conv_1x1."),
    (r"auxiliary_head\.0\.convs\.0\.", "heads.1.conv_3x3."),
    (r"auxiliary_head\.0\.conv_seg\.", "heads.1.conv_1x1."),
    (r"decode_head\.convs\.0\.", "heads.2.conv_3x3."),
    (r"decode_head\.conv_seg\.", "heads.2.conv_1x1."),
)
COINCHEUNG_V1: RENAMING = (
    (rf"{V1}backbone\.", "cp.resnet."),
    (rf"{V1}gap_conv\.1\.", "cp.conv_avg."),
    (rf"{V1}arm(16|32)\.conv_layer\.", r"cp.arm\1.conv."),
    (rf"{V1}arm(16|32)\.atten_conv_layer\.1\.conv\.", r"cp.arm\1.conv_atten."),
    (rf"{V1}arm(16|32)\.atten_conv_layer\.1\.bn\.", r"cp.arm\1.bn_atten."),
    (V1, "cp."),
    (r"backbone\.spatial_path\.layer([123])\.", r"sp.conv\1."),
    (r"backbone\.spatial_path\.layer4\.", "sp.conv_out."),
    (r"backbone\.ffm\.conv1\.", "ffm.convblk."),
    (r"decode_head\.convs\.0\.", "conv_out.conv."),
    (r"decode_head\.conv_seg\.", "conv_out.conv_out."),
    (r"auxiliary_head\.0\.convs\.0\.", "conv_out16.conv."),
    (r"auxiliary_head\.0\.conv_seg\.", "conv_out16.conv_out."),
    (r"auxiliary_head\.1\.convs\.0\.", "conv_out32.conv."),
    (r"auxiliary_head\.1\.conv_seg\.", "conv_out32.conv_out."),
)
V2 = r"backbone\.semantic\."


def split(ours: str, theirs: str) -> RENAMING:
    """A depthwise and a pointwise convolution, each with its norm."""
    return (
        (rf"{ours}\.depthwise_conv\.conv\.", f"{theirs}.0."),
        (rf"{ours}\.depthwise_conv\.bn\.", f"{theirs}.1."),
        (rf"{ours}\.pointwise_conv\.conv\.", f"{theirs}.2."),
        (rf"{ours}\.pointwise_conv\.bn\.", f"{theirs}.3."),
    )


def gather_expansion(stage: int, theirs: str) -> RENAMING:
    """The first block halves the size with two depthwise convolutions, the others have one."""
    first = rf"{V2}stage{stage}\.0\."
    block = rf"{V2}stage{stage}\.(\d)\."
    return (
        *conv_bn(rf"{first}dwconv\.0", f"{theirs}.0.dwconv1"),
        *conv_bn(rf"{first}dwconv\.1", f"{theirs}.0.dwconv2"),
        *split(rf"{first}shortcut\.0", f"{theirs}.0.shortcut"),
        *conv_bn(rf"{block}dwconv\.0", rf"{theirs}.\1.dwconv"),
        *conv_bn(rf"{block}conv2\.0", rf"{theirs}.\1.conv2"),
        (block, rf"{theirs}.\1."),
    )


COINCHEUNG_V2: RENAMING = (
    (r"backbone\.detail\.detail_branch\.0\.", "detail.S1."),
    (r"backbone\.detail\.detail_branch\.1\.", "detail.S2."),
    (r"backbone\.detail\.detail_branch\.2\.", "detail.S3."),
    (rf"{V2}stage1\.conv_first\.", "segment.S1S2.conv."),
    (rf"{V2}stage1\.convs\.", "segment.S1S2.left."),
    (rf"{V2}stage1\.fuse_last\.", "segment.S1S2.fuse."),
    *gather_expansion(2, "segment.S3"),
    *gather_expansion(3, "segment.S4"),
    *gather_expansion(4, "segment.S5_4"),
    (rf"{V2}stage4_CEBlock\.gap\.1\.", "segment.S5_5.bn."),
    (rf"{V2}stage4_CEBlock\.", "segment.S5_5."),
    *split(r"backbone\.bga\.detail_dwconv\.0", "bga.left1"),
    *conv_bn(r"backbone\.bga\.detail_down\.0", "bga.left2"),
    *conv_bn(r"backbone\.bga\.semantic_conv\.0", "bga.right1"),
    *split(r"backbone\.bga\.semantic_dwconv\.0", "bga.right2"),
    *conv_bn(r"backbone\.bga\.conv", "bga.conv"),
    (r"decode_head\.convs\.0\.", "head.conv."),
    (r"decode_head\.conv_seg\.", "head.conv_out.1."),
)


ORIGINALS = {
    "BiSeNet on Xception39": Original(
        {
            "name": "bisenetv1_xception39",
            "num_classes": 5,
            "gate_reduction": 1,
            "head_channels": 64,
            "auxiliary_channels": 128,
        },
        TORCHSEG,
        "bisenetv1_xception39",
        {"align_corners": True, "context_resize": "bilinear", "gate_reduction": 1, "head_channels": 64},
        layout="authors (TorchSeg)",
    ),
    "BiSeNet on ResNet-18": Original(
        {
            "name": "bisenetv1_r18-d32",
            "num_classes": 5,
            "gate_reduction": 1,
            "head_channels": 64,
            "auxiliary_channels": 256,
        },
        TORCHSEG,
        "bisenetv1_r18-d32",
        {"align_corners": True, "context_resize": "bilinear", "auxiliary_channels": 256},
        layout="authors (TorchSeg)",
    ),
    "BiSeNet of CoinCheung": Original(
        {"name": "bisenetv1_r18-d32", "num_classes": 5},
        (
            (r"backbone\.ffm\.conv_atten\.0\.conv\.", "ffm.conv."),
            (r"backbone\.ffm\.conv_atten\.0\.bn\.", "ffm.bn."),
            *COINCHEUNG_V1,
        ),
        "bisenetv1_r18-d32",
        layout="CoinCheung/BiSeNet",
    ),
    "BiSeNet of CoinCheung, before": Original(
        {"name": "bisenetv1_r18-d32", "num_classes": 5, "gate_reduction": 4},
        (
            (r"backbone\.ffm\.conv_atten\.0\.conv\.", "ffm.conv1."),
            (r"backbone\.ffm\.conv_atten\.1\.conv\.", "ffm.conv2."),
            *COINCHEUNG_V1,
        ),
        "bisenetv1_r18-d32",
        {"align_corners": True, "gate_reduction": 4},
        layout="CoinCheung/BiSeNet",
        without=r"conv_out(16|32)?\.conv_out\.bias",
    ),
    "BiSeNetV2 of CoinCheung": Original(
        {"name": "bisenetv2", "num_classes": 5, "boosters": False},
        COINCHEUNG_V2,
        "bisenetv2",
        {"aggregation": "bga-nearest", "boosters": False},
        ("aux2.conv.conv.weight", "aux5_4.conv_out.1.bias"),
        "CoinCheung/BiSeNet",
        without=r"bga\.(left1|right2)\.2\.bias",
    ),
}
