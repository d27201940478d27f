"""Xception: facts."""

from __future__ import annotations

from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, NamedModel, Paper

ENTRY = BackboneEntry(
    id="xception",
    title="Xception",
    paper=Paper(
        title="Xception: Deep Learning with Depthwise Separable Convolutions",
        authors="Chollet",
        venue="CVPR",
        year=2017,
        arxiv="1610.02357",
    ),
    build="segstudio_zoo.backbones.xception:build",
    variants=(
        BackboneVariant("xception39", aliases=("x39",)),
        BackboneVariant("xception65", aliases=("x65", "xception65-aligned", "aligned-xception65")),
    ),
    models=(NamedModel("timm_xception65", backbone="xception65", listed=False),),
    parts=(
        "xception39: BiSeNet's context path, blocks of three separable convolutions around a residual",
        "xception65: the aligned form of DeepLabV3+, strided separable convolutions instead of max pooling",
    ),
    look_at=("as the backbone under BiSeNet and DeepLabV3+",),
    search_aliases=("depthwise separable",),
)
