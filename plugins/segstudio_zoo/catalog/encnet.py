"""EncNet: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import Paper, SegmentorEntry

ENTRY = SegmentorEntry(
    id="encnet",
    title="EncNet",
    paper=Paper(
        title="Context Encoding for Semantic Segmentation",
        authors="Zhang, Dana, Shi, Zhang, Wang, Tyagi, Agrawal",
        venue="CVPR",
        year=2018,
        arxiv="1803.08904",
    ),
    build="segstudio_zoo.segmentors.encnet:build",
    backbones=("r50-d8", "r101-d8", "r50s-d8"),
    options=(
        Option("num_codes", "int", 32, "codewords K", minimum=1, maximum=512),
        Option("se_loss", "bool", True, "predict which classes are present, from the encoding"),
        Option("se_weight", "float", 0.2, "weight of the SE-loss", minimum=0),
        Option("lateral", "bool", False, "join stages 2 and 3 before the encoding"),
        Option("second_encoding", "bool", False, "a further encoding module with SE-loss on stage 3"),
        Option(
            "aggregation",
            "choice",
            "mean",
            "over codewords: mean as published, sum as in the paper",
            choices=("mean", "sum"),
        ),
        Option(
            "gate_residual", "bool", True, "x + x * gate as published; off: x * gate alone, as in the paper"
        ),
        Option("channels", "int", 512, "channels of the head", minimum=1),
        Option("auxiliary", "bool", True, "auxiliary head on the feature before the last"),
    ),
    probes=(
        ProbeSpec(
            "codewords",
            "Assignment to codewords",
            "segstudio_zoo.probes.encnet:codeword_probe",
            query="pixel",
            kind="vector",
            options=(
                Option(
                    "codeword",
                    "int",
                    -1,
                    "-1: bars for the clicked pixel; else the map of one codeword",
                    minimum=-1,
                ),
            ),
            group="Context encoding",
            help="how a pixel is shared out among the codewords; or where one codeword is",
        ),
        ProbeSpec(
            "presence",
            "Class presence",
            "segstudio_zoo.probes.encnet:presence_probe",
            query="global",
            kind="vector",
            group="Context encoding",
            help="probability of each class being in the picture, from the SE-loss's layer",
            rows_sum_to_one=False,
        ),
        ProbeSpec(
            "gate",
            "Channel gate",
            "segstudio_zoo.probes.encnet:gate_probe",
            query="global",
            kind="vector",
            group="Context encoding",
            help="the gate of every channel, 0 to 1, from the encoding of the whole picture",
            rows_sum_to_one=False,
        ),
    ),
    switches=(
        SwitchSpec(
            "enc_gate",
            "Channel gate",
            "segstudio_zoo.segmentors.encnet:gate_off",
            choices=(True, False),
            trained=True,
            help="off: every channel's gate is 1",
        ),
        SwitchSpec(
            "absent_class",
            "Class forced absent",
            "segstudio_zoo.segmentors.encnet:force_absent",
            choices=(-1,),
            trained=-1,
            help="the encoding is moved until it denies this class; gate and mask follow; -1: none",
            per_class=True,
        ),
    ),
    side_outputs=("auxiliary",),
    parts=(
        "K codewords with smoothing factors, learned end to end",
        "soft assignment of cells by distance, aggregation of residuals",
        "a gate on the channels, and the SE-loss from the same vector",
    ),
    look_at=("codeword assignment", "presence bars against the truth", "gate = 1", "a class forced absent"),
    deviations=(
        "Published weights average over the codewords; the paper sums (aggregation sum).",
        "Published networks add the gated features to the ungated; the paper multiplies (gate_residual off).",
        "Published networks have an auxiliary FCN head; the paper a second encoding with SE-loss on stage 3 "
        "(second_encoding on, auxiliary off).",
    ),
    only_with=(("presence", "se_loss", True), ("absent_class", "se_loss", True)),
    expects="any backbone; three features with lateral",
    search_aliases=("context encoding", "SE-loss", "codewords"),
    reference_checked=True,
)
