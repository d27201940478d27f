"""BEiT: facts."""

from segstudio.plugin_api import Option
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, NamedModel, Paper
from segstudio_zoo.shared_probes import token_probes

ENTRY = BackboneEntry(
    id="beit",
    title="BEiT",
    paper=Paper(
        title="BEiT: BERT Pre-Training of Image Transformers",
        authors="Bao, Dong, Piao, Wei",
        venue="ICLR",
        year=2022,
        arxiv="2106.08254",
    ),
    build="segstudio_zoo.backbones.beit:build",
    variants=(
        BackboneVariant(
            "beit-base", aliases=("beit", "beit-b", "beit-base-patch16-224", "beit-base-patch16-384")
        ),
        BackboneVariant("beit-large", aliases=("beit-l", "beit-large-patch16-224", "beit-large-patch16-512")),
        BackboneVariant("beit-tiny", aliases=("beit-t",)),
    ),
    output_strides=(),
    models=tuple(
        NamedModel(
            f"timm_beit_{size}_patch16_224",
            f"beit-{size}",
            (("out_indices", "all"),),
            aliases=tuple(f"timm_beit_{size}_patch16_{side}" for side in (384, 512)),
            listed=False,
        )
        for size in ("base", "large")
    ),
    options=(
        Option(
            "image_size",
            "ints",
            (224, 224),
            "height and width the position tables were trained for",
            minimum=1,
        ),
        Option("out_indices", "ints", None, "blocks whose outputs are given, from 0; 3, 5, 7, 11 for base"),
        Option(
            "position",
            "choice",
            "relative",
            "bias table a layer, one table for all, absolute positions, or none",
            choices=("relative", "shared", "absolute", "none"),
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
    probes=token_probes("segstudio_zoo.backbones.beit"),
    parts=(
        "ViT with relative position bias, layer scale and no bias on keys",
        "pre-training by masked image modelling on visual tokens (Train tab)",
        "tokens from a discrete VAE trained here, or from a loaded tokenizer; pixels as the target",
    ),
    look_at=(
        "Train, Look inside: masked picture, predicted tokens painted, and the tokenizer's own ceiling",
        "Train, Look inside: block against random masks",
        "attention per layer and head, rollout",
    ),
    deviations=(
        "Bias tables are resized bilinearly to other grids; the authors' script resizes them on loading.",
    ),
    reference_checked=True,
)
