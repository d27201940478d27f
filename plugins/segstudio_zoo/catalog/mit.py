"""Mix Transformer: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, Paper

ENTRY = BackboneEntry(
    id="mit",
    title="Mix Transformer (MiT)",
    paper=Paper(
        title="SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
        authors="Xie, Wang, Yu, Anandkumar, Alvarez, Luo",
        venue="NeurIPS",
        year=2021,
        arxiv="2105.15203",
    ),
    build="segstudio_zoo.backbones.mit:build",
    variants=tuple(BackboneVariant(f"mit-b{n}", aliases=(f"mitb{n}",)) for n in range(6)),
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
            id="mit_attention",
            title="Attention on the reduced keys",
            build="segstudio_zoo.backbones.mit:attention_probe",
            options=(
                Option("stage", "choice", 4, "stage 1 (stride 4) to 4 (stride 32)", choices=(1, 2, 3, 4)),
                Option("block", "int", 0, "block of the stage, counted from 1; 0 is the last", minimum=0),
                Option("head", "int", 0, "head, counted from 1; 0 is their mean", minimum=0),
                Option(
                    "view",
                    "choice",
                    "row",
                    "row: where the pixel looks; column: who looks at its key cell",
                    choices=("row", "column"),
                ),
            ),
            group="Efficient self-attention",
            help="Keys lie on a grid reduced 8, 4, 2, 1 times a side at the four stages.",
        ),
    ),
    switches=(
        SwitchSpec(
            id="mix_ffn",
            title="3x3 convolution of Mix-FFN",
            apply="segstudio_zoo.backbones.mit:mix_switch",
            choices=("on", "centre", "off"),
            trained="on",
            help="What tells positions apart here: centre keeps the middle tap only, off leaves it out.",
        ),
    ),
    parts=(
        "overlapped patch merging 7x7 stride 4, then 3x3 stride 2 three times",
        "self-attention with keys and values reduced 8, 4, 2, 1 times a side",
        "Mix-FFN with a 3x3 depthwise convolution instead of position embeddings",
    ),
    look_at=("attention on its reduced key grid per stage", "the mask with the 3x3 of Mix-FFN off"),
    deviations=(
        "Keys and values are reduced by a strided convolution, as in the published weights; equation 2 "
        "reshapes instead.",
    ),
    search_aliases=("MixVisionTransformer", "mix transformer"),
    reference_checked=True,
)
