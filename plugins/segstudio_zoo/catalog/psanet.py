"""PSANet: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import Paper, SegmentorEntry

_PROBES = "segstudio_zoo.probes.psanet"

ENTRY = SegmentorEntry(
    id="psanet",
    title="PSANet",
    paper=Paper(
        title="PSANet: Point-wise Spatial Attention Network for Scene Parsing",
        authors="Zhao, Zhang, Liu, Shi, Loy, Lin, Jia",
        venue="ECCV",
        year=2018,
        url="https://openaccess.thecvf.com/content_ECCV_2018/html/Hengshuang_Zhao_PSANet_Point-wise_Spatial_ECCV_2018_paper.html",
    ),
    build="segstudio_zoo.segmentors.psanet:build",
    backbones=("r50-d8", "r101-d8", "mobilenet-v2-d8", "mobilenet-v2-d16"),
    options=(
        Option("channels", "int", 512, "width of each branch", minimum=8),
        Option("mask_size", "ints", None, "offsets of the over-completed map, rows and columns (97, 97)"),
        Option("grid_size", "ints", None, "grid to which features are resized before the attention"),
        Option("direction", "choice", "both", "branches", choices=("both", "collect", "distribute")),
        Option("compact", "bool", False, "one weight per cell instead of per offset; fixed grid"),
        Option("shrink_factor", "int", 2, "how much smaller the attention's grid is", minimum=1),
        Option(
            "normalization_factor",
            "float",
            1.0,
            "divides the gathered context; 0 = by the number of the grid's cells (paper)",
            minimum=0.0,
        ),
        Option("psa_softmax", "bool", True, "softmax over the sources"),
        Option("projection_padding", "int", 1, "of the 1x1 after the attention (authors: 0)", minimum=0),
        Option("auxiliary", "bool", True, "auxiliary head on the feature before the last"),
        Option("auxiliary_channels", "int", 256, "width of the auxiliary head", minimum=8),
    ),
    probes=(
        ProbeSpec(
            "collect",
            "Collect",
            f"{_PROBES}:collect",
            group="Point-wise attention",
            help="What this pixel gathers, by the map it predicted itself.",
        ),
        ProbeSpec(
            "distribute_to",
            "Distribute to here",
            f"{_PROBES}:distribute_to",
            group="Point-wise attention",
            help="What all others hand to this pixel, by their maps.",
        ),
        ProbeSpec(
            "distribute_from",
            "Distribute from here",
            f"{_PROBES}:distribute_from",
            group="Point-wise attention",
            rows_sum_to_one=False,
            help="What this pixel hands to all others, by its map.",
        ),
        ProbeSpec(
            "raw_map",
            "Raw map",
            f"{_PROBES}:raw_map",
            group="Point-wise attention",
            options=(
                Option("direction", "choice", "collect", "whose map", choices=("collect", "distribute")),
            ),
            signed=True,
            rows_sum_to_one=False,
            help="The over-completed map of this pixel; the picture's window slides over it.",
        ),
    ),
    switches=(
        SwitchSpec(
            "branch",
            "Branches",
            "segstudio_zoo.segmentors.psanet:branch",
            choices=("both", "collect", "distribute"),
            trained="both",
        ),
    ),
    only_with=(
        ("branch", "direction", "both"),
        *((part, "direction", "both") for part in ("collect", "distribute_to", "distribute_from")),
        ("collect", "direction", "collect"),
        *((part, "direction", "distribute") for part in ("distribute_to", "distribute_from")),
    ),
    side_outputs=("auxiliary",),
    parts=(
        "over-completed map of offsets, predicted at every position",
        "collect and distribute, softmax over the sources in both",
        "compact variant, shrink factor, normalisation",
    ),
    look_at=("collect against distribute", "the raw map with its window", "one branch only"),
    deviations=(
        "Offsets outside the map keep logit 0 and so take part in the softmax, as published.",
        "The 1x1 after the attention has padding 1, as published.",
        "The weights are a softmax over the sources and their sum is not divided, as published; equations 1 "
        "and 2 divide by the number N of cells (`normalization_factor` 0, with or without `psa_softmax`).",
    ),
    search_aliases=("PsNet",),
    recipes=(("ade20k", (("mask_size", (66, 66)),)),),
    reference_checked=True,
)
