"""BiSeNetV2: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, NamedModel, Paper, SegmentorEntry

_PAPER = Paper(
    title="BiSeNet V2: Bilateral Network with Guided Aggregation for Real-time Semantic Segmentation",
    authors="Yu, Gao, Wang, Yu, Shen, Sang",
    venue="IJCV",
    year=2021,
    arxiv="2004.02147",
)

_TRUNK = BackboneEntry(
    id="bisenetv2-trunk",
    title="BiSeNetV2's branches",
    paper=_PAPER,
    build="segstudio_zoo.segmentors.bisenetv2:build_trunk",
    variants=(BackboneVariant("bisenetv2-trunk"), BackboneVariant("bisenetv2-large-trunk")),
    output_strides=(),
    options=(
        Option(
            "ratio",
            "float",
            0.25,
            "lambda: semantic to detail channels (1/2, 1/4, 1/8)",
            minimum=0.0625,
            maximum=1,
        ),
        Option("expansion", "int", 6, "of the gather-and-expansion layers", minimum=1, maximum=12),
        Option(
            "aggregation",
            "choice",
            "bga",
            "bilateral guided aggregation, or what the paper compares it with",
            choices=("bga", "bga-nearest", "sum", "concat"),
        ),
    ),
    parts=("detail branch", "semantic branch", "bilateral guided aggregation"),
)

_SEGMENTOR = SegmentorEntry(
    id="bisenetv2",
    title="BiSeNetV2",
    paper=_PAPER,
    build="segstudio_zoo.segmentors.bisenetv2:build",
    backbones=(),
    models=(
        NamedModel("bisenetv2", backbone="bisenetv2-trunk", aliases=("bisenetv2_fcn",)),
        NamedModel("bisenetv2-large", backbone="bisenetv2-large-trunk", aliases=("bisenetv2-l",)),
    ),
    probes=(
        ProbeSpec(
            "gates",
            "Gates of the guided aggregation",
            "segstudio_zoo.segmentors.bisenetv2:gate_probe",
            query="global",
            kind="map",
            options=(
                Option(
                    "gate", "choice", "fine", "on the detail, or on its shrunken form", ("fine", "coarse")
                ),
                Option("channel", "int", -1, "one channel; -1: their mean", minimum=-1),
            ),
            group="Guided aggregation",
            help="what the semantic branch lets through of the detail, 0 to 1; the mean or one channel",
            rows_sum_to_one=False,
        ),
    ),
    switches=(
        SwitchSpec(
            "bisenetv2_branch",
            "Branches used",
            "segstudio_zoo.segmentors.bisenetv2:mute_branch",
            choices=("both", "without detail", "without semantic"),
            trained="both",
            help="zeroes one branch before the aggregation",
        ),
    ),
    options=(Option("boosters", "bool", True, "auxiliary heads on the semantic stages"),),
    side_outputs=("auxiliary.0", "auxiliary.1", "auxiliary.2", "auxiliary.3"),
    parts=(
        "detail branch: three stages of plain convolutions to stride 8",
        "semantic branch: stem, gather-and-expansion layers, context embedding",
        "bilateral guided aggregation: each branch gates the other",
        "booster heads on the semantic stages, in training only",
    ),
    look_at=("both gates of the aggregation", "detail off against semantic off"),
    deviations=(
        "The context embedding's last convolution has norm and ReLU, as published weights have it; the paper "
        "has neither.",
    ),
    expects="its own two branches; no other backbone",
    search_aliases=("bilateral", "real-time", "boosters"),
    reference_checked=True,
)

ENTRIES = (_TRUNK, _SEGMENTOR)
