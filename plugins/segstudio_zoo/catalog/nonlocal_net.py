"""Non-local: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import Paper, SegmentorEntry

FORMS = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")

ENTRY = SegmentorEntry(
    id="nonlocal",
    title="Non-local",
    paper=Paper(
        title="Non-local Neural Networks",
        authors="Wang, Girshick, Gupta, He",
        venue="CVPR",
        year=2018,
        arxiv="1711.07971",
    ),
    build="segstudio_zoo.segmentors.nonlocal_net:build",
    backbones=("r50-d8", "r101-d8"),
    aliases=("non-local", "nl", "nonlocal-net"),
    options=(
        Option(
            "instantiation",
            "choice",
            "embedded_gaussian",
            "the pairwise function f (section 3.2)",
            choices=FORMS,
        ),
        Option(
            "use_scale", "bool", True, "divide the embedded Gaussian's scores by the root of the channels"
        ),
        Option("sub_sample", "bool", False, "max-pool phi and g by two (section 3.3)"),
        Option("reduction", "int", 2, "channels of theta, phi and g: this many times fewer", minimum=1),
        Option("channels", "int", 512, "channels of the head", minimum=8),
        Option("auxiliary", "bool", True, "auxiliary head on the feature before the last"),
    ),
    probes=(
        ProbeSpec(
            "nonlocal_attention",
            "Non-local attention",
            "segstudio_zoo.segmentors.nonlocal_net:attention_probe",
            query="pixel",
            kind="map",
            options=(
                Option(
                    "view", "choice", "row", "where the pixel looks, or who looks at it", ("row", "column")
                ),
                Option(
                    "form",
                    "choice",
                    "as built",
                    "the pairwise function, on the same features; concatenation where w_f is there",
                    ("as built", *FORMS),
                ),
            ),
            group="Non-local block",
            help="f(x_i, x_j) / C(x); the dot product may be negative",
            signed=False,
        ),
    ),
    switches=(
        SwitchSpec(
            "nonlocal_block",
            "Non-local block",
            "segstudio_zoo.segmentors.nonlocal_net:block_off",
            choices=(True, False),
            trained=True,
            help="off: z = x",
        ),
    ),
    side_outputs=("auxiliary",),
    parts=(
        "theta, phi and g, 1x1 convolutions to half the channels",
        "a weighted sum over all cells, weights f / C",
        "W_z with a batch norm that starts at zero, and the residual",
    ),
    look_at=("the four f on one query", "block off"),
    deviations=(
        "The published weights divide the embedded Gaussian's scores by the root of the channels; "
        "the paper does not (use_scale off).",
    ),
    expects="any backbone; its last feature is attended to, best at stride 8",
    search_aliases=("self-attention", "NLNet"),
    reference_checked=True,
)
