"""CCNet: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import Paper, SegmentorEntry

_PROBES = "segstudio_zoo.probes.ccnet"

ENTRY = SegmentorEntry(
    id="ccnet",
    title="CCNet",
    paper=Paper(
        title="CCNet: Criss-Cross Attention for Semantic Segmentation",
        authors="Huang, Wang, Wei, Huang, Shi, Liu, Huang",
        venue="ICCV",
        year=2019,
        arxiv="1811.11721",
    ),
    build="segstudio_zoo.segmentors.ccnet:build",
    backbones=("r50-d8", "r101-d8", "mobilenet-v2-d8", "mobilenet-v2-d16"),
    options=(
        Option("channels", "int", 512, "width of the head", minimum=8),
        Option("recurrence", "int", 2, "how often the attention is applied", minimum=0, maximum=9),
        Option("category_consistent", "bool", False, "train with the category consistent loss"),
        Option("initial_gamma", "float", 0.0, "weight of the attention before training (0 in the paper)"),
        Option("auxiliary", "bool", True, "auxiliary head on the feature before the last"),
        Option("auxiliary_channels", "int", 256, "width of the auxiliary head", minimum=8),
        Option("leaky", "bool", False, "leaky ReLU in both heads, as the authors' own weights have it"),
    ),
    probes=(
        ProbeSpec(
            "criss_cross_1",
            "Hop 1",
            f"{_PROBES}:first_hop",
            group="Criss-cross",
            help="What the first pass gathers for this pixel: its row and column.",
        ),
        ProbeSpec(
            "criss_cross_2",
            "Hop 2",
            f"{_PROBES}:second_hop",
            group="Criss-cross",
            help="What the second pass gathers, from cells that have already looked around themselves.",
        ),
        ProbeSpec(
            "composed",
            "Composed",
            f"{_PROBES}:composed",
            group="Criss-cross",
            options=(
                Option("residual", "bool", False, "(gamma A + I) for every hop instead of A"),
                Option("to_y", "float", None, "row of a second pixel whose two links are given"),
                Option("to_x", "float", None, "column of that pixel"),
            ),
            help="The product of all hops: how much every cell reaches this pixel. Every link runs over "
            "two corner cells.",
        ),
    ),
    switches=(
        SwitchSpec(
            "recurrence",
            "Recurrence",
            "segstudio_zoo.segmentors.ccnet:recurrence",
            choices=(1, 2, 3),
            trained=2,
            help="With one pass a pixel sees a cross, with two the whole picture.",
        ),
        SwitchSpec(
            "attention_off",
            "Attention off (gamma = 0)",
            "segstudio_zoo.segmentors.ccnet:attention_off",
            choices=(False, True),
            trained=False,
        ),
    ),
    side_outputs=("auxiliary",),
    parts=(
        "criss-cross attention over H + W - 1 cells, the centre counted once",
        "recurrence with shared weights (R = 2)",
        "category consistent loss (alpha = beta = 1, gamma = 0.001, delta_v = 0.5, delta_d = 1.5)",
    ),
    look_at=(
        "hop 1 against composed",
        "the corner cells that carry a link",
        "R = 1, 2, 3 with one checkpoint",
    ),
    reference_checked=True,
)
