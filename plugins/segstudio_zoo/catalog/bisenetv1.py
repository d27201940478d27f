"""BiSeNet: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

_GATE = Option("gate", "choice", "ffm", "which gate", choices=("ffm", "arm16", "arm32"))

ENTRY = SegmentorEntry(
    id="bisenetv1",
    title="BiSeNet",
    paper=Paper(
        title="BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation",
        authors="Yu, Wang, Peng, Gao, Yu, Sang",
        venue="ECCV",
        year=2018,
        arxiv="1808.00897",
    ),
    build="segstudio_zoo.segmentors.bisenetv1:build",
    backbones=("xception39",),
    models=(
        NamedModel(
            "bisenetv1_r18-d32",
            backbone="r18b",
            aliases=("bisenetv1", "bisenet", "bisenetv1_r18", "bisenetv1_r18b"),
        ),
        NamedModel("bisenetv1_r50-d32", backbone="r50b", aliases=("bisenetv1_r50", "bisenetv1_r50b")),
        NamedModel("bisenetv1_r101-d32", backbone="r101b", aliases=("bisenetv1_r101", "bisenetv1_r101b")),
    ),
    aliases=("bisenet",),
    options=(
        Option("context_channels", "int", None, "channels of the context path; None: as at stride 8, >= 128"),
        Option(
            "spatial_projection", "bool", True, "a fourth, 1x1 layer in the spatial path; the paper has none"
        ),
        Option(
            "gate_reduction",
            "int",
            0,
            "the fusion's gate: 0 = one 1x1 with a norm, else the paper's two, over 1 / n of the channels",
            minimum=0,
        ),
        Option(
            "context_resize",
            "choice",
            "nearest",
            "how the context path enlarges",
            choices=("nearest", "bilinear"),
        ),
        Option("head_channels", "int", None, "of the head; twice the context's unless told", minimum=1),
        Option("auxiliary", "bool", True, "auxiliary heads on the context path at strides 8 and 16"),
        Option("auxiliary_channels", "int", None, "of the auxiliary heads; half the context's", minimum=1),
    ),
    probes=(
        ProbeSpec(
            "gates",
            "Gates, sorted",
            "segstudio_zoo.segmentors.bisenetv1:gate_probe",
            query="global",
            kind="vector",
            options=(_GATE,),
            group="ARM and FFM",
            help="the gate of every channel, 0 to 1, the largest first",
            rows_sum_to_one=False,
        ),
        ProbeSpec(
            "top_channels",
            "Channels with the largest gates",
            "segstudio_zoo.segmentors.bisenetv1:channel_probe",
            query="global",
            kind="images",
            options=(_GATE, Option("count", "int", 8, "how many", minimum=1, maximum=64)),
            group="ARM and FFM",
            help="what these channels show, before the gate",
            rows_sum_to_one=False,
        ),
    ),
    switches=(
        SwitchSpec(
            "bisenet_path",
            "Paths used",
            "segstudio_zoo.segmentors.bisenetv1:mute_path",
            choices=("both", "without spatial", "without context"),
            trained="both",
            help="zeroes one path before the fusion",
        ),
    ),
    side_outputs=("auxiliary.0", "auxiliary.1"),
    parts=(
        "spatial path: three strided convolutions to stride 8",
        "context path: Xception39 or ResNet, attention refinement at strides 16 and 32, global tail",
        "feature fusion module: joined, convolved, gated, residual",
        "two auxiliary losses of weight 1",
    ),
    look_at=("gates sorted", "channels with the largest gates", "spatial path off against context path off"),
    deviations=(
        "Published weights have a fourth, 1x1 layer in the spatial path; the paper has three layers "
        "(spatial_projection off).",
        "Published weights have a 3x3 convolution before the gate of each attention refinement module, which "
        "brings the backbone's channels to the context path's; the paper's module is the gate alone. Nor "
        "does the paper mention the 3x3 convolution after each enlarging of the context path.",
        "Most published weights gate the fusion by one 1x1 convolution with a norm; the paper by two without "
        "(gate_reduction above 0).",
    ),
    expects="Features at strides 8, 16 and 32.",
    search_aliases=("bilateral", "real-time", "Xception39"),
    reference_checked=True,
)
