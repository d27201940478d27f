"""MAE: facts."""

from segstudio.plugin_api import Option
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, Paper
from segstudio_zoo.shared_probes import token_probes

ENTRY = BackboneEntry(
    id="mae",
    title="MAE",
    paper=Paper(
        title="Masked Autoencoders Are Scalable Vision Learners",
        authors="He, Chen, Xie, Li, Dollár, Girshick",
        venue="CVPR",
        year=2022,
        arxiv="2111.06377",
    ),
    build="segstudio_zoo.backbones.mae:build",
    variants=(
        BackboneVariant("mae-base", aliases=("mae", "mae-b")),
        BackboneVariant("mae-large", aliases=("mae-l",)),
        BackboneVariant("mae-huge", aliases=("mae-h",)),
        BackboneVariant("mae-tiny", aliases=("mae-t",)),
    ),
    output_strides=(),
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
            "drop_path_rate",
            "float",
            0.1,
            "stochastic depth of the last block in training",
            minimum=0,
            maximum=1,
        ),
    ),
    probes=token_probes("segstudio_zoo.backbones.mae"),
    parts=(
        "encoder on the visible patches only, light decoder with mask tokens (pre-training in the Train tab)",
        "fixed sine-cosine positions; loss on masked patches, normalised or raw pixels",
        "mask ratio 10 to 95 %, random, block and grid masking",
        "as a segmentation backbone: relative position bias and two layer scales a block",
    ),
    look_at=(
        "Train, Look inside: original, masked picture, reconstruction; click or drag hides patches",
        "Train, Look inside: error and milliseconds against the mask ratio; random, block and grid masks",
        "attention per layer and head, rollout",
    ),
    deviations=("The published segmentation backbone has layer scales, which the paper's encoder has not.",),
    search_aliases=("masked autoencoder",),
    reference_checked=True,
)
