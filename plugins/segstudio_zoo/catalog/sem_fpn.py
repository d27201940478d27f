"""SemanticFPN: facts."""

from segstudio.plugin_api import Option, SwitchSpec
from segstudio_zoo.catalog.entry import Paper, SegmentorEntry

ENTRY = SegmentorEntry(
    id="sem_fpn",
    title="SemanticFPN",
    paper=Paper(
        title="Panoptic Feature Pyramid Networks",
        authors="Kirillov, Girshick, He, Dollar",
        venue="CVPR",
        year=2019,
        arxiv="1901.02446",
    ),
    build="segstudio_zoo.segmentors.sem_fpn:build",
    backbones=("r50", "r101"),
    aliases=("fpn", "semantic-fpn", "semfpn"),
    options=(
        Option("pyramid_channels", "int", 256, "channels of the feature pyramid", minimum=1),
        Option("channels", "int", 128, "channels of the head", minimum=1),
        Option("norm", "choice", "batch", "of the head; the paper has group", choices=("batch", "group")),
    ),
    switches=(
        SwitchSpec(
            "fpn_levels",
            "Levels added up",
            "segstudio_zoo.segmentors.sem_fpn:mute_level",
            choices=("all", "without 4", "without 8", "without 16", "without 32"),
            trained="all",
        ),
    ),
    parts=(
        "feature pyramid: laterals, top-down sum, 3x3",
        "each level convolved and doubled up to stride 4, then summed",
    ),
    look_at=("one level left out",),
    deviations=("Batch norm, as most published weights have it; the paper has group norm (`norm`).",),
    expects="features at strides that double, 4 to 32",
    search_aliases=("feature pyramid", "panoptic FPN"),
)
