"""GCNet: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import Paper, SegmentorEntry

ENTRY = SegmentorEntry(
    id="gcnet",
    title="GCNet",
    paper=Paper(
        title="GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond",
        authors="Cao, Xu, Lin, Wei, Hu",
        venue="ICCV workshops",
        year=2019,
        arxiv="1904.11492",
    ),
    build="segstudio_zoo.segmentors.gcnet:build",
    backbones=("r50-d8", "r101-d8"),
    options=(
        Option(
            "preset",
            "choice",
            "gc",
            "Fig. 4: global context, simplified Non-local, squeeze-excitation, multiply, or add and multiply",
            choices=("gc", "snl", "se", "gc_multiply", "gc_add_multiply"),
        ),
        Option(
            "placement",
            "choice",
            "head",
            "one block in the head (published weights) or in the residual blocks of stages 3-5 (paper)",
            choices=("head", "blocks"),
        ),
        Option(
            "ratio",
            "float",
            None,
            "width of the bottleneck; 1/4 in the head, 1/16 in blocks",
            minimum=0.001,
            maximum=4,
        ),
        Option("channels", "int", 512, "channels of the head", minimum=4),
    ),
    probes=(
        ProbeSpec(
            "global_map",
            "Global attention map",
            "segstudio_zoo.segmentors.gcnet:global_map_probe",
            query="global",
            kind="map",
            options=(
                Option(
                    "block", "int", -1, "context block, counted from the image; -1 is the last", minimum=-1
                ),
            ),
            group="Context block",
            help="the one map that serves every pixel",
        ),
    ),
    switches=(
        SwitchSpec(
            "gc_pooling",
            "Context modelling",
            "segstudio_zoo.segmentors.gcnet:set_pooling",
            choices=("as built", "average"),
            trained="as built",
            help="average: every cell weighs the same, as in SE",
        ),
        SwitchSpec(
            "gc_block",
            "Context block",
            "segstudio_zoo.segmentors.gcnet:block_off",
            choices=(True, False),
            trained=True,
        ),
    ),
    side_outputs=("auxiliary",),
    parts=(
        "context modelling: one softmax over all cells, shared by every query",
        "transform: bottleneck with layer norm",
        "fusion: add, multiply, or both",
    ),
    look_at=("the global map", "presets", "how alike Non-local's maps are to one another"),
    deviations=(
        "Published weights have one block in the head at ratio 1/4; the paper has one in every residual "
        "block of stages 3 to 5 at ratio 1/16 (placement blocks).",
    ),
    expects="any backbone in the head form; a ResNet for blocks",
    search_aliases=("global context", "squeeze excitation"),
    reference_checked=True,
)
