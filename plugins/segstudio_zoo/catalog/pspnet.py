"""PSPNet: facts."""

from segstudio.plugin_api import Option, SwitchSpec
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

ENTRY = SegmentorEntry(
    id="pspnet",
    title="PSPNet",
    paper=Paper(
        title="Pyramid Scene Parsing Network",
        authors="Zhao, Shi, Qi, Wang, Jia",
        venue="CVPR",
        year=2017,
        arxiv="1612.01105",
    ),
    build="segstudio_zoo.segmentors.pspnet:build",
    backbones=("r50-d8", "r101-d8", "mobilenet-v2-d8", "resnest101-d8", "r50b-d8", "r101b-d8"),
    models=(
        *(NamedModel(f"pspnet_{backbone}", backbone=backbone) for backbone in ("r50-d8", "r50b-d8")),
        *(
            NamedModel(
                f"pspnet_{backbone}",
                backbone=backbone,
                settings=(("channels", 128), ("auxiliary_channels", 64)),
            )
            for backbone in ("r18-d8", "r18b-d8")
        ),
        *(
            NamedModel(f"pspnet_{backbone}", backbone=backbone, settings=(("stage_dilations", (1, 1, 2, 4)),))
            for backbone in ("r50-d32", "r50b-d32")
        ),
    ),
    aliases=("psp",),
    options=(
        Option("pool_scales", "ints", (1, 2, 3, 6), "sizes of the pooled maps", minimum=1),
        Option("channels", "int", 512, "channels of the head", minimum=1),
        Option("auxiliary_channels", "int", 256, "channels of the auxiliary head", minimum=1),
    ),
    switches=(
        SwitchSpec(
            "psp_scales",
            "Pooling scales",
            "segstudio_zoo.segmentors.pspnet:mute_scales",
            choices=("all", "", "1", "2", "3", "6"),
            trained="all",
            help="the scales left; the others give zeros",
        ),
    ),
    side_outputs=("auxiliary",),
    parts=("pyramid pooling at 1, 2, 3, 6", "one 3x3 convolution over feature and pyramid", "auxiliary loss"),
    look_at=("one scale only",),
    deviations=("Published weights at output stride 32 dilate stages 3 and 4 all the same, as at stride 8.",),
    expects="any backbone; its last feature is pooled, best at stride 8",
    search_aliases=("pyramid pooling", "PPM"),
    reference_checked=True,
)
