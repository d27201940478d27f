"""DANet: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import Paper, SegmentorEntry

_PROBES = "segstudio_zoo.probes.danet"

ENTRY = SegmentorEntry(
    id="danet",
    title="DANet",
    paper=Paper(
        title="Dual Attention Network for Scene Segmentation",
        authors="Fu, Liu, Tian, Li, Bao, Fang, Lu",
        venue="CVPR",
        year=2019,
        arxiv="1809.02983",
    ),
    build="segstudio_zoo.segmentors.danet:build",
    backbones=("r50-d8", "r101-d8", "mobilenet-v2-d8", "mobilenet-v2-d16"),
    options=(
        Option("channels", "int", 512, "width of each branch", minimum=8),
        Option("inner_channels", "int", 64, "width of the position attention's queries and keys", minimum=1),
        Option("branches", "choice", "both", "branches", choices=("both", "position", "channel")),
        Option(
            "channel_softmax",
            "choice",
            "inverted",
            "channel attention over (largest - energy), as published, or over the energy (equation 3)",
            choices=("inverted", "energy"),
        ),
        Option("initial_gamma", "float", 0.0, "weight of the attention before training (0 in the paper)"),
        Option("auxiliary", "bool", True, "auxiliary head on the feature before the last"),
        Option("auxiliary_channels", "int", 256, "width of the auxiliary head", minimum=8),
    ),
    probes=(
        ProbeSpec(
            "position_row",
            "Position: where it looks",
            f"{_PROBES}:position_row",
            group="Position attention",
            help="The weights with which this pixel sums all others.",
        ),
        ProbeSpec(
            "position_column",
            "Position: who looks here",
            f"{_PROBES}:position_column",
            group="Position attention",
            rows_sum_to_one=False,
            help="The weight this pixel has in every other pixel's sum.",
        ),
        ProbeSpec(
            "channel_attention",
            "Channel attention",
            f"{_PROBES}:channel_weights",
            query="global",
            kind="matrix",
            group="Channel attention",
            help="Row: channel; column: channel it takes from. As published, the least similar "
            "channels weigh most.",
        ),
        ProbeSpec(
            "channel_energy",
            "Channel energy",
            f"{_PROBES}:channel_energy",
            query="global",
            kind="matrix",
            group="Channel attention",
            signed=True,
            rows_sum_to_one=False,
            help="Inner products between channels, before the softmax.",
        ),
    ),
    switches=(
        SwitchSpec(
            "position_off",
            "Position attention off (gamma = 0)",
            "segstudio_zoo.segmentors.danet:position_off",
            choices=(False, True),
            trained=False,
        ),
        SwitchSpec(
            "channel_off",
            "Channel attention off (gamma = 0)",
            "segstudio_zoo.segmentors.danet:channel_off",
            choices=(False, True),
            trained=False,
        ),
    ),
    only_with=tuple(
        (part, "branches", branches)
        for branch, parts in (
            ("position", ("position_off", "position_row", "position_column", "position")),
            ("channel", ("channel_off", "channel_attention", "channel_energy", "channel")),
        )
        for part in parts
        for branches in ("both", branch)
    ),
    side_outputs=("position", "channel", "auxiliary"),
    parts=(
        "position attention: every pixel over every pixel",
        "channel attention: softmax of (largest - energy), so the least similar channels weigh most",
        "two gammas that start at zero, the branches' sum, a loss on each branch",
        "multi-grid 4, 8, 16 in the authors' models (option multi_grid of the backbone)",
    ),
    look_at=("position row", "channel matrix, energy and attention side by side", "each gamma at 0"),
    deviations=(
        "Channel attention inverts the energy, as the published code does; equation 3 does not "
        "(`channel_softmax`).",
    ),
    reference_checked=True,
)
