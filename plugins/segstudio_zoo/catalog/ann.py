"""ANN: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import Paper, SegmentorEntry

ENTRY = SegmentorEntry(
    id="ann",
    title="ANN",
    paper=Paper(
        title="Asymmetric Non-local Neural Networks for Semantic Segmentation",
        authors="Zhu, Xu, Bai, Huang, Bai",
        venue="ICCV",
        year=2019,
        arxiv="1908.07678",
    ),
    build="segstudio_zoo.segmentors.ann:build",
    backbones=("r50-d8", "r101-d8"),
    aliases=("asymmetric-nonlocal", "annnet"),
    options=(
        Option("pyramid", "ints", (1, 3, 6, 8), "sizes of the pooling pyramid; anchors: the sum of squares"),
        Option(
            "sampling",
            "choice",
            "average",
            "how anchors are taken (the paper's Table 4)",
            choices=("average", "max", "random"),
        ),
        Option("fusion", "bool", True, "AFNB: stage 5 asks stage 4 before the pyramid block"),
        Option("project_channels", "int", 256, "channels of queries, keys and values", minimum=1),
        Option("channels", "int", 512, "channels of the head", minimum=1),
        Option("auxiliary_channels", "int", 256, "channels of the auxiliary head", minimum=1),
    ),
    probes=(
        ProbeSpec(
            "anchors",
            "Anchors looked at",
            "segstudio_zoo.segmentors.ann:anchor_probe",
            query="pixel",
            kind="regions",
            options=(
                Option("block", "choice", "APNB", "which block", choices=("APNB", "AFNB")),
                Option("level", "int", 0, "one size of the pyramid; 0 shows all", minimum=0),
            ),
            group="Asymmetric non-local",
            help="each anchor is the box it pools, weighted by the attention of the clicked pixel",
        ),
    ),
    switches=(
        SwitchSpec(
            "ann_pyramid",
            "Pyramid",
            "segstudio_zoo.segmentors.ann:set_pyramid",
            choices=("1 3 6 8", "1", "3", "6", "8", "1 3", "1 3 6"),
            trained="1 3 6 8",
            help="other anchors with the same weights",
        ),
        SwitchSpec(
            "ann_sampling",
            "Sampling",
            "segstudio_zoo.segmentors.ann:set_sampling",
            choices=("average", "max", "random"),
            trained="average",
        ),
        SwitchSpec(
            "afnb",
            "Fusion block (AFNB)",
            "segstudio_zoo.segmentors.ann:fusion_off",
            choices=(True, False),
            trained=True,
        ),
    ),
    side_outputs=("auxiliary",),
    parts=(
        "AFNB: queries from stage 5, keys and values from stage 4",
        "APNB: shared key and query projections on its own input",
        "keys and values sampled by pyramid pooling 1, 3, 6, 8: 110 anchors",
    ),
    look_at=("anchors as boxes, per level", "pyramid (1) against (1, 3, 6, 8)", "AFNB off"),
    expects="two features, best both at stride 8",
    search_aliases=("AFNB", "APNB", "pyramid pooling attention"),
    reference_checked=True,
)
