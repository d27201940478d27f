"""What the authors of EncNet, DANet, ResNeSt, CCNet, ANN, OCRNet, PointRend and others call the parts."""

from __future__ import annotations

from tests.zoo.originals import RENAMING, Original, conv_bn, sequential

DEEP_STEM: RENAMING = (
    (r"backbone\.stem\.7\.", "pretrained.bn1."),
    (r"backbone\.stem\.", "pretrained.conv1."),
)
ENCODING: RENAMING = (
    *DEEP_STEM,
    (r"backbone\.", "pretrained."),
    (r"auxiliary_head\.convs\.0\.conv\.", "auxlayer.conv5.0."),
    (r"auxiliary_head\.convs\.0\.bn\.", "auxlayer.conv5.1."),
    (r"auxiliary_head\.conv_seg\.", "auxlayer.conv5.4."),
)

OPENSEG: RENAMING = tuple(
    (rf"backbone\.stem\.{place}\.", f"backbone.resinit.{name}.")
    for name, place in (("conv1", 0), ("bn1", 1), ("conv2", 3), ("bn2", 4), ("conv3", 6), ("bn3", 7))
)
OCB = r"decode_head\.1\.object_context_block\."


def openseg_attention(ours: str, theirs: str) -> RENAMING:
    block, to = rf"{ours}\.stages\.0\.", f"{theirs}.stages.0."
    return (
        *sequential(rf"{block}key_project", f"{to}f_key"),
        *sequential(rf"{block}query_project", f"{to}f_query"),
        (rf"{block}value_project\.", f"{to}f_value."),
        (rf"{block}out_project\.", f"{to}W."),
    )


DETECTRON: RENAMING = (
    (r"backbone\.conv1\.", "backbone.bottom_up.stem.conv1."),
    (r"backbone\.bn1\.", "backbone.bottom_up.stem.conv1.norm."),
    *(
        rule
        for stage in range(1, 5)
        for block, to in ((rf"backbone\.layer{stage}\.(\d+)\.", rf"backbone.bottom_up.res{stage + 1}.\1."),)
        for rule in (
            (rf"{block}conv(\d)\.", rf"{to}conv\2."),
            (rf"{block}bn(\d)\.", rf"{to}conv\2.norm."),
            (rf"{block}downsample\.0\.", rf"{to}shortcut."),
            (rf"{block}downsample\.1\.", rf"{to}shortcut.norm."),
        )
    ),
    *((rf"neck\.lateral_convs\.{n}\.conv\.", f"backbone.fpn_lateral{n + 2}.") for n in range(4)),
    *((rf"neck\.fpn_convs\.{n}\.conv\.", f"backbone.fpn_output{n + 2}.") for n in range(4)),
)


def scale_heads(ours: str, theirs: str) -> RENAMING:
    return tuple(
        rule
        for level in range(4)
        for rule in (
            (rf"{ours}\.scale_heads\.{level}\.(\d)\.conv\.", rf"{theirs}.p{level + 2}.\1."),
            (rf"{ours}\.scale_heads\.{level}\.(\d)\.bn\.", rf"{theirs}.p{level + 2}.\1.norm."),
        )
    )


ENCODING_LAYOUT = "authors (PyTorch-Encoding)"

PARTS = ("expand_1x1", "conv_3x3", "reduce_1x1")
BLOCKS = [
    (layer, block)
    for layer, count in ((2, 2), (3, 3), (4, 4), (5, 3), (6, 3), (7, 1))
    for block in range(count)
]
TRANSFORMERS_MOBILENET: RENAMING = tuple(
    (rf"{ours}\.{part}\.", f"{theirs}.{name}.")
    for ours, theirs in (
        (r"backbone\.conv1", "mobilenet_v2.conv_stem.first_conv"),
        (r"backbone\.layer1\.0\.conv\.0", "mobilenet_v2.conv_stem.conv_3x3"),
        (r"backbone\.layer1\.0\.conv\.1", "mobilenet_v2.conv_stem.reduce_1x1"),
        *(
            (rf"backbone\.layer{layer}\.{block}\.conv\.{place}", f"mobilenet_v2.layer.{number}.{name}")
            for number, (layer, block) in enumerate(BLOCKS)
            for place, name in enumerate(PARTS)
        ),
        (r"decode_head\.image_pool\.1", "segmentation_head.conv_pool"),
        (r"decode_head\.aspp_modules\.0", "segmentation_head.conv_aspp"),
        (r"decode_head\.bottleneck", "segmentation_head.conv_projection"),
    )
    for part, name in (("conv", "convolution"), ("bn", "normalization"))
)

ORIGINALS = {
    "transformers' DeepLabV3 on MobileNetV2": Original(
        {
            "name": "deeplabv3_mobilenet-v2-d8",
            "num_classes": 5,
            "channels": 256,
            "rates": (1,),
            "projection": "1x1",
            "auxiliary": False,
        },
        (*TRANSFORMERS_MOBILENET, (r"decode_head\.conv_seg\.", "segmentation_head.classifier.convolution.")),
        "deeplabv3_mobilenet-v2-d16",
        {"padding": "same", "norm_eps": 1e-3, "rates": (1,), "projection": "1x1", "output_stride": 8},
        ("mobilenet_v2.conv_1x1.convolution.weight",),
        "transformers",
    ),
    "EncNet on R50s": Original(
        {"name": "encnet_r50s-d8", "num_classes": 5},
        (
            *conv_bn(r"decode_head\.bottleneck", "head.conv5"),
            *conv_bn(r"decode_head\.enc_module\.encoding_project", "head.encmodule.encoding"),
            (r"decode_head\.enc_module\.encoding\.0\.", "head.encmodule.encoding.3."),
            (r"decode_head\.enc_module\.encoding\.1\.", "head.encmodule.encoding.4."),
            (r"decode_head\.enc_module\.fc\.0\.", "head.encmodule.fc.0."),
            (r"decode_head\.se_layer\.", "head.encmodule.selayer."),
            (r"decode_head\.conv_seg\.", "head.conv6.1."),
            *ENCODING,
        ),
        "encnet_r50s-d8",
        {"align_corners": True},
        ("pretrained.fc.weight", "pretrained.fc.bias"),
        ENCODING_LAYOUT,
    ),
    "EncNet with connections": Original(
        {"name": "encnet_r50s-d8", "num_classes": 5, "lateral": True},
        (
            (r"decode_head\.lateral_convs\.(\d)\.conv\.", r"head.connect.\1.0."),
            (r"decode_head\.lateral_convs\.(\d)\.bn\.", r"head.connect.\1.1."),
            *conv_bn(r"decode_head\.fusion", "head.fusion"),
            *conv_bn(r"decode_head\.bottleneck", "head.conv5"),
            *conv_bn(r"decode_head\.enc_module\.encoding_project", "head.encmodule.encoding"),
            (r"decode_head\.enc_module\.encoding\.0\.", "head.encmodule.encoding.3."),
            (r"decode_head\.enc_module\.encoding\.1\.", "head.encmodule.encoding.4."),
            (r"decode_head\.enc_module\.fc\.0\.", "head.encmodule.fc.0."),
            (r"decode_head\.se_layer\.", "head.encmodule.selayer."),
            (r"decode_head\.conv_seg\.", "head.conv6.1."),
            *ENCODING,
        ),
        "encnet_r50s-d8",
        {"align_corners": True, "lateral": True},
        layout=ENCODING_LAYOUT,
    ),
    "DANet": Original(
        {"name": "danet_r50-d8", "num_classes": 5, "auxiliary": False, "stem_channels": 128},
        (
            *conv_bn(r"decode_head\.pam_in_conv", "head.conv5a"),
            *conv_bn(r"decode_head\.cam_in_conv", "head.conv5c"),
            *conv_bn(r"decode_head\.pam_out_conv", "head.conv51"),
            *conv_bn(r"decode_head\.cam_out_conv", "head.conv52"),
            (r"decode_head\.pam\.(query|key|value)_project\.", r"head.sa.\1_conv."),
            (r"decode_head\.pam\.gamma\.scale", "head.sa.gamma"),
            (r"decode_head\.cam\.gamma\.scale", "head.sc.gamma"),
            (r"decode_head\.pam_conv_seg\.", "head.conv6.1."),
            (r"decode_head\.cam_conv_seg\.", "head.conv7.1."),
            (r"decode_head\.conv_seg\.", "head.conv8.1."),
            *ENCODING,
        ),
        "danet_r50-d8",
        {"align_corners": True, "multi_grid": (4, 8, 16), "stem_channels": 128, "auxiliary": False},
        ("pretrained.fc.weight",),
        ENCODING_LAYOUT,
        {"head.sa.gamma": (1,), "head.sc.gamma": (1,)},
    ),
    "FCN": Original(
        {"name": "fcn_r50b-d8", "num_classes": 5, "num_convs": 1, "concat_input": False},
        (
            *conv_bn(r"decode_head\.convs\.0", "head.conv5"),
            (r"decode_head\.conv_seg\.", "head.conv5.4."),
            *ENCODING[2:],
        ),
        "torchvision_fcn_resnet50",
        {"align_corners": True},
        layout=ENCODING_LAYOUT,
    ),
    "DeepLabV3 on ResNeSt": Original(
        {
            "name": "deeplabv3_resnest50-d8",
            "num_classes": 5,
            "channels": 256,
            "projection": "1x1+3x3",
        },
        (
            (r"decode_head\.aspp_modules\.(\d)\.conv\.", r"head.aspp.b\1.0."),
            (r"decode_head\.aspp_modules\.(\d)\.bn\.", r"head.aspp.b\1.1."),
            *conv_bn(r"decode_head\.image_pool\.1", "head.aspp.b4.gap", 1),
            *conv_bn(r"decode_head\.bottleneck", "head.aspp.project"),
            *conv_bn(r"decode_head\.refine", "head.block"),
            (r"decode_head\.conv_seg\.", "head.block.4."),
            *ENCODING,
        ),
        "deeplabv3_s50-d8",
        {"align_corners": True, "rates": (1, 12, 24, 36), "projection": "1x1+3x3", "channels": 256},
        ("pretrained.fc.weight",),
        ENCODING_LAYOUT,
    ),
    "ANN": Original(
        {"name": "ann_r50-d8", "num_classes": 5, "stem_channels": 128, "auxiliary_channels": 512},
        (
            *OPENSEG,
            *openseg_attention(r"decode_head\.fusion", "fusion"),
            *openseg_attention(r"decode_head\.context", "context.2"),
            *conv_bn(r"decode_head\.fusion\.bottleneck", "fusion.conv_bn_dropout"),
            *sequential(r"decode_head\.context\.bottleneck", "context.2.conv_bn_dropout"),
            *sequential(r"decode_head\.bottleneck", "context"),
            (r"decode_head\.conv_seg\.", "cls."),
            *sequential(r"auxiliary_head\.convs\.0", "dsn"),
            (r"auxiliary_head\.conv_seg\.", "dsn.3."),
        ),
        "ann_r50-d8",
        {"align_corners": True, "ceil_pool": True, "stem_channels": 128, "auxiliary_channels": 512},
        biased={
            "context.0.bias": "decode_head.bottleneck.bn.running_mean",
            "fusion.stages.0.f_query.0.bias": "decode_head.fusion.stages.0.query_project.bn.running_mean",
            "dsn.0.bias": "auxiliary_head.convs.0.bn.running_mean",
        },
    ),
    "OCRNet on ResNet": Original(
        {"name": "ocrnet_r101-d8", "num_classes": 5, "stem_channels": 128, "region_channels": 512},
        (
            *OPENSEG,
            *sequential(rf"{OCB}(query|key)_project\.0", r"spatial_ocr_head.object_context_block.f_\1"),
            (rf"{OCB}(query|key)_project\.1\.conv\.", r"spatial_ocr_head.object_context_block.f_\1.2."),
            (rf"{OCB}(query|key)_project\.1\.bn\.", r"spatial_ocr_head.object_context_block.f_\1.3.0."),
            *sequential(rf"{OCB}value_project", "spatial_ocr_head.object_context_block.f_down"),
            *sequential(rf"{OCB}out_project", "spatial_ocr_head.object_context_block.f_up"),
            *sequential(rf"{OCB}bottleneck", "spatial_ocr_head.conv_bn_dropout"),
            *sequential(r"decode_head\.1\.bottleneck", "conv_3x3"),
            (r"decode_head\.1\.conv_seg\.", "head."),
            *sequential(r"decode_head\.0\.convs\.0", "dsn_head"),
            (r"decode_head\.0\.conv_seg\.", "dsn_head.3."),
        ),
        "ocrnet_r101-d8",
        {"align_corners": True, "ceil_pool": True, "stem_channels": 128, "region_channels": 512},
        layout="authors (openseg)",
        then=(("f_query", "f_pixel"), ("f_key", "f_object")),
        biased={"dsn_head.0.bias": "decode_head.0.convs.0.bn.running_mean"},
    ),
    "PointRend": Original(
        {"name": "pointrend_r101", "backbone": "r101b", "num_classes": 5, "coarse_norm": "group"},
        (
            *DETECTRON,
            *scale_heads(r"decode_head\.0", "sem_seg_head.coarse_sem_seg_head"),
            (r"decode_head\.0\.conv_seg\.", "sem_seg_head.coarse_sem_seg_head.predictor."),
            (r"decode_head\.1\.fcs\.0\.conv\.", "sem_seg_head.point_head.fc1."),
            (r"decode_head\.1\.fcs\.1\.conv\.", "sem_seg_head.point_head.fc2."),
            (r"decode_head\.1\.fcs\.2\.conv\.", "sem_seg_head.point_head.fc3."),
            (r"decode_head\.1\.fc_seg\.", "sem_seg_head.point_head.predictor."),
        ),
        "pointrend_r101b",
        {"coarse_norm": "group", "stride_first": True, "subdivision_points": 8192},
        ("pixel_mean", "pixel_std"),
        "authors (detectron2)",
        without=r".+num_batches_tracked",
    ),
    "SemanticFPN": Original(
        {"name": "sem_fpn", "backbone": "r50b", "num_classes": 5, "norm": "group"},
        (
            *DETECTRON,
            *scale_heads("decode_head", "sem_seg_head"),
            (r"decode_head\.conv_seg\.", "sem_seg_head.predictor."),
        ),
        "sem_fpn_r50b",
        {"norm": "group", "stride_first": True},
        layout="detectron2",
    ),
    "CCNet": Original(
        {"name": "ccnet_r101-d8", "num_classes": 5, "stem_channels": 128, "auxiliary_channels": 512},
        (
            (r"backbone\.stem\.0\.", "conv1."),
            (r"backbone\.stem\.1\.", "bn1."),
            (r"backbone\.stem\.3\.", "conv2."),
            (r"backbone\.stem\.4\.", "bn2."),
            (r"backbone\.stem\.6\.", "conv3."),
            (r"backbone\.stem\.7\.", "bn3."),
            (r"backbone\.", ""),
            *conv_bn(r"decode_head\.convs\.0", "head.conva"),
            *conv_bn(r"decode_head\.convs\.1", "head.convb"),
            *conv_bn(r"decode_head\.conv_cat", "head.bottleneck"),
            (r"decode_head\.conv_seg\.", "head.bottleneck.3."),
            (r"decode_head\.cca\.gamma\.scale", "head.cca.gamma"),
            (r"decode_head\.cca\.", "head.cca."),
            *conv_bn(r"auxiliary_head\.convs\.0", "dsn"),
            (r"auxiliary_head\.conv_seg\.", "dsn.3."),
        ),
        "ccnet_r101-d8",
        {"align_corners": True, "ceil_pool": True, "leaky": True, "contract_dilation": False},
        reshaped={"head.cca.gamma": (1,)},
        biased={"dsn.0.bias": "auxiliary_head.convs.0.bn.running_mean"},
    ),
    "BEiT under UPerNet": Original(
        {"name": "upernet_beit-base", "num_classes": 5},
        (
            (r"neck\.upsample_4x\.", "backbone.fpn1."),
            (r"neck\.upsample_2x\.", "backbone.fpn2."),
            (r"backbone\.patch_embed\.projection\.", "backbone.patch_embed.proj."),
            (r"backbone\.layers\.(\d+)\.ln([12])\.", r"backbone.blocks.\1.norm\2."),
            (r"backbone\.layers\.(\d+)\.ffn\.layers\.0\.0\.", r"backbone.blocks.\1.mlp.fc1."),
            (r"backbone\.layers\.(\d+)\.ffn\.layers\.1\.", r"backbone.blocks.\1.mlp.fc2."),
            (r"backbone\.layers\.", "backbone.blocks."),
        ),
        "upernet_beit-base",
    ),
    "ConvNeXt under UPerNet": Original(
        {"name": "upernet_convnext-tiny", "num_classes": 5},
        (
            (r"(backbone\.stages\..+)depthwise_conv\.", r"\1dwconv."),
            (r"(backbone\.stages\..+)pointwise_conv([12])\.", r"\1pwconv\2."),
        ),
        "upernet_convnext-tiny",
    ),
}
