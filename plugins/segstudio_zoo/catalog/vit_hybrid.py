"""ViT-hybrid: facts."""

from segstudio.plugin_api import Option, Preprocess
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, Paper
from segstudio_zoo.shared_probes import token_probes

ENTRY = BackboneEntry(
    id="vit_hybrid",
    title="ViT over ResNet-50 (hybrid)",
    paper=Paper(
        title="An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        authors="Dosovitskiy, Beyer, Kolesnikov, Weissenborn, Zhai, Unterthiner, Dehghani and others",
        venue="ICLR",
        year=2021,
        arxiv="2010.11929",
    ),
    build="segstudio_zoo.backbones.vit_hybrid:build",
    variants=(BackboneVariant("vit-hybrid", aliases=("vit-b16-r50", "vit-base-resnet50-384")),),
    output_strides=(),
    options=(
        Option(
            "image_size", "ints", (384, 384), "height and width the position table was trained for", minimum=1
        ),
        Option("out_indices", "ints", None, "blocks whose outputs are given, from 0; 8 and 11 if empty"),
        Option(
            "interpolation",
            "choice",
            "bilinear",
            "how positions are resized to the picture",
            choices=("bilinear", "bicubic"),
        ),
        Option(
            "drop_path_rate",
            "float",
            0.1,
            "stochastic depth of the last block in training",
            minimum=0,
            maximum=1,
        ),
    ),
    probes=token_probes("segstudio_zoo.backbones.vit_hybrid"),
    parts=(
        "ResNet-50 with group norm and standardised weights, three stages of 3, 4 and 9 blocks",
        "ViT-B over its cells at stride 16",
    ),
    look_at=("attention per layer and head", "attention rollout"),
    preprocess=Preprocess((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
)
