"""MSCAN: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, Paper

ENTRY = BackboneEntry(
    id="mscan",
    title="MSCAN",
    paper=Paper(
        title="SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation",
        authors="Guo, Lu, Hou, Liu, Cheng, Hu",
        venue="NeurIPS",
        year=2022,
        arxiv="2209.08575",
    ),
    build="segstudio_zoo.backbones.mscan:build",
    variants=tuple(
        BackboneVariant(f"mscan-{size[0]}", aliases=(f"mscan-{size}",))
        for size in ("tiny", "small", "base", "large")
    ),
    output_strides=(32,),
    options=(
        Option(
            "drop_path_rate",
            "float",
            0.1,
            "stochastic depth of the last block in training",
            minimum=0,
            maximum=1,
        ),
    ),
    probes=(
        ProbeSpec(
            id="strip_branches",
            title="Response of each branch",
            build="segstudio_zoo.backbones.mscan:branch_probe",
            kind="images",
            options=(
                Option("stage", "choice", 2, "stage 1 (stride 4) to 4 (stride 32)", choices=(1, 2, 3, 4)),
                Option("block", "int", 0, "block of the stage, counted from 1; 0 is the last", minimum=0),
            ),
            group="Multi-scale convolutional attention",
            help="Mean magnitude over channels of the 5x5 and of each strip pair; look at a pole or a kerb.",
            rows_sum_to_one=False,
        ),
    ),
    switches=(
        SwitchSpec(
            id="msca_branches",
            title="Branches of MSCA",
            apply="segstudio_zoo.backbones.mscan:branch_switch",
            choices=("all", "no 5x5", "no 1x7", "no 1x11", "no 1x21"),
            trained="all",
            help="Leaves one of the four summed branches out.",
        ),
        SwitchSpec(
            id="msca_product",
            title="Product with the input",
            apply="segstudio_zoo.backbones.mscan:product_switch",
            choices=("on", "off"),
            trained="on",
            help="Off gives the attention itself in place of attention times input.",
        ),
    ),
    parts=(
        "5x5 depthwise, strip pairs 1x7, 1x11, 1x21, all four summed, 1x1 mixing, product with the input",
        "overlapped patch embeddings, batch norm in the blocks",
    ),
    look_at=("response per strip branch on a pole or kerb", "masks without 1x21 and without the product"),
    search_aliases=("multi-scale convolutional attention",),
    reference_checked=True,
)
