"""ICNet: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import Paper, SegmentorEntry

ENTRY = SegmentorEntry(
    id="icnet",
    title="ICNet",
    paper=Paper(
        title="ICNet for Real-Time Semantic Segmentation on High-Resolution Images",
        authors="Zhao, Qi, Shen, Shi, Jia",
        venue="ECCV",
        year=2018,
        arxiv="1704.08545",
    ),
    build="segstudio_zoo.segmentors.icnet:build",
    backbones=("r50-d8", "r18-d8", "r101-d8"),
    options=(
        Option(
            "label_guidance",
            "choice",
            "published",
            "loss weights of quarter, half and whole: 0.4, 0.4, 1 (published) or 0.16, 0.4, 1 (paper)",
            choices=("published", "paper"),
        ),
        Option(
            "guided_by",
            "choice",
            "convolved",
            "what a fusion's auxiliary classifier reads: its enlarged coarse features after the dilated "
            "convolution as published, or before it as in the paper",
            choices=("convolved", "enlarged"),
        ),
        Option("psp_channels", "int", 512, "channels of the pyramid pooling", minimum=1),
        Option("channels", "int", 128, "channels of the fusion and the heads", minimum=1),
        Option("auxiliary", "bool", True, "auxiliary heads on the quarter and the half picture"),
    ),
    probes=(
        ProbeSpec(
            "branch_times",
            "Milliseconds a branch",
            "segstudio_zoo.segmentors.icnet:branch_time_probe",
            query="global",
            kind="vector",
            options=(Option("repeats", "int", 3, "runs; their median is shown", minimum=1, maximum=50),),
            group="Cascade",
            help="the light, the shared and the deep layers, run one after the other on this picture",
            rows_sum_to_one=False,
        ),
    ),
    switches=(
        SwitchSpec(
            "icnet_branch",
            "Branches used",
            "segstudio_zoo.segmentors.icnet:mute_branch",
            choices=("all", "without whole", "without half", "without quarter"),
            trained="all",
            help="zeroes one branch before the fusion",
        ),
    ),
    side_outputs=("auxiliary.0", "auxiliary.1"),
    parts=(
        "light branch of three strided convolutions on the whole picture",
        "stem to layer 2 on the half picture, layers 3, 4 and pyramid pooling on its half",
        "cascade feature fusion: enlarge, dilated 3x3, add the finer branch's projection",
        "cascade label guidance: a loss on each resolution",
    ),
    look_at=("the three predictions from coarse to fine", "milliseconds a branch", "one branch left out"),
    deviations=(
        "The paper's figure draws three pictures; half and quarter share the early layers.",
        "The auxiliary classifier of a fusion reads behind the dilated convolution, in the paper before it "
        "(guided_by enlarged).",
        "The coarsest loss weighs 0.4 in published configurations, 0.16 in the paper (label_guidance paper).",
    ),
    expects="A ResNet or ResNeSt, best at stride 8.",
    min_size=17,
    search_aliases=("image cascade", "real-time"),
    reference_checked=True,
)
