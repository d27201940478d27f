"""DeepLabV3: facts."""

from segstudio.plugin_api import Option, Preprocess, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

_BUILD = "segstudio_zoo.segmentors.deeplabv3"
_PROBES = "segstudio_zoo.probes.deeplabv3"
_TORCHVISION = (
    ("channels", 256),
    ("rates", (1, 12, 24, 36)),
    ("projection", "1x1+3x3"),
    ("num_classes", 21),
)

_SHALLOW = (("channels", 128), ("auxiliary_channels", 64))
"""Published networks on ResNet-18 have a narrower head."""

ENTRY = SegmentorEntry(
    id="deeplabv3",
    title="DeepLabV3",
    paper=Paper(
        title="Rethinking Atrous Convolution for Semantic Image Segmentation",
        authors="Chen, Papandreou, Schroff, Adam",
        venue="arXiv",
        year=2017,
        arxiv="1706.05587",
    ),
    build=f"{_BUILD}:build",
    backbones=(
        "r50-d8",
        "r101-d8",
        "r50b-d8",
        "r101b-d8",
        "r101-d16-mg124",
        "mobilenet-v2-d8",
        "resnest101-d8",
    ),
    models=(
        NamedModel("deeplabv3_r18-d8", backbone="r18-d8", settings=_SHALLOW),
        NamedModel("deeplabv3_r18b-d8", backbone="r18b-d8", settings=_SHALLOW),
        NamedModel(
            "deeplabv3_mobilenet-v2-d16",
            backbone="mobilenet-v2-d16",
            settings=(*_TORCHVISION, ("dilated_blocks", "rest"), ("auxiliary", False)),
            aliases=("deeplabv3_mobilenetv2-d16", "mobilenet-v2-d16_deeplabv3"),
            preprocess=Preprocess(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)),
        ),
        NamedModel(
            "torchvision_deeplabv3_resnet50", backbone="resnet50-d8", settings=_TORCHVISION, listed=False
        ),
        NamedModel(
            "torchvision_deeplabv3_resnet101", backbone="resnet101-d8", settings=_TORCHVISION, listed=False
        ),
        NamedModel(
            "torchvision_deeplabv3_mobilenet_v3_large",
            backbone="mobilenet-v3-large-d16",
            settings=(
                *_TORCHVISION,
                ("padding", "even"),
                ("auxiliary_channels", 10),
                ("out_indices", (1, 3, 4, 12, 15, 16)),
                ("auxiliary_index", 2),
            ),
            listed=False,
        ),
    ),
    options=(
        Option(
            "arrangement",
            "choice",
            "parallel",
            "ASPP, or blocks 5 to 7 in cascade",
            choices=("parallel", "cascaded"),
        ),
        Option("channels", "int", 512, "width of the head (256 in the paper)", minimum=8),
        Option("rates", "ints", None, "rates of the pyramid, 1 for the 1x1; by output stride unless given"),
        Option("image_pool", "bool", True, "image pooling"),
        Option(
            "projection",
            "choice",
            "3x3",
            "what follows the pyramid (the paper has 1x1)",
            choices=("3x3", "1x1", "1x1+3x3"),
        ),
        Option("cascade_grid", "ints", None, "Multi_Grid of blocks 5 to 7; multi_grid unless given"),
        Option("auxiliary", "bool", True, "auxiliary head on the feature before the last"),
        Option("auxiliary_channels", "int", 256, "width of the auxiliary head", minimum=8),
    ),
    probes=(
        ProbeSpec(
            "taps",
            "Taps of the pyramid",
            f"{_PROBES}:taps",
            kind="points",
            group="Atrous pyramid",
            rows_sum_to_one=False,
            help="Where the dilated 3x3 of every rate read for this pixel, and how many of the nine taps "
            "lie on the feature map.",
        ),
        ProbeSpec(
            "gridding",
            "Gridding",
            f"{_PROBES}:gridding",
            group="Atrous pyramid",
            options=(
                Option("rate", "int", 0, "rate of the pyramid's branch; 0 = what comes before it alone"),
                Option(
                    "start",
                    "choice",
                    "dilated",
                    "from the first dilated convolution, or all since the last stride",
                    choices=("dilated", "last stride"),
                ),
            ),
            rows_sum_to_one=True,
            help="Along how many ways each cell reaches this pixel through the convolutions on the "
            "last grid, with blocks 5 to 7 of a cascade.",
        ),
    ),
    switches=(
        SwitchSpec(
            "image_pool_off",
            "Image pooling off",
            f"{_BUILD}:image_pool_off",
            choices=(False, True),
            trained=False,
        ),
    ),
    only_with=(
        ("taps", "arrangement", "parallel"),
        ("image_pool_off", "arrangement", "parallel"),
        ("image_pool_off", "image_pool", True),
    ),
    side_outputs=("auxiliary",),
    parts=(
        "atrous spatial pyramid: 1x1, three dilated 3x3, image pooling; rates 6, 12, 18 at stride 16, "
        "doubled at 8",
        "cascaded: blocks 5 to 7, copies of block 4 dilated so that the stride stays",
        "Multi_Grid on the rates inside a block (option multi_grid: one for blocks 4 to 7 of the cascade)",
    ),
    look_at=("valid taps at a corner", "gridding of one rate", "image pooling off"),
    deviations=(
        "Published configurations named mg124 take 1, 2, 4 as the rates themselves; the paper multiplies "
        "them with the stage's rate (option multiply_multi_grid; the cascade always does).",
    ),
    expects="The pyramid takes any backbone; the cascade a residual network.",
    reference_checked=True,
)
