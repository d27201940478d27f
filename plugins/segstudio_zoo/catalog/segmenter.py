"""Segmenter: facts."""

from segstudio.plugin_api import Option, Preprocess, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

_HALF = Preprocess((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))


def _model(size: str, decoder: str, image: int) -> NamedModel:
    linear = decoder in ("fcn", "linear")
    return NamedModel(
        f"segmenter_vit-{size}_{decoder}",
        backbone=f"vit-{size}16",
        settings=(
            ("decoder", "linear" if linear else "mask"),
            ("patch_bias", False),
            ("image_size", (image, image)),
        ),
        aliases=(
            f"segmenter_vit-{size}16_{decoder}",
            *((f"segmenter_vit-{size}_linear", f"segmenter_vit-{size}16_linear") if decoder == "fcn" else ()),
        ),
        preprocess=_HALF,
    )


ENTRY = SegmentorEntry(
    id="segmenter",
    title="Segmenter",
    paper=Paper(
        title="Segmenter: Transformer for Semantic Segmentation",
        authors="Strudel, Garcia, Laptev, Schmid",
        venue="ICCV",
        year=2021,
        arxiv="2105.05633",
    ),
    build="segstudio_zoo.segmentors.segmenter:build",
    backbones=("vit-t16", "vit-s16", "vit-b16", "vit-l16"),
    models=(
        _model("t", "mask", 512),
        _model("s", "fcn", 512),
        _model("s", "mask", 512),
        _model("b", "mask", 512),
        _model("l", "mask", 640),
        _model("t", "linear", 512),
        _model("b", "linear", 512),
        _model("l", "linear", 640),
    ),
    options=(
        Option(
            "decoder",
            "choice",
            "mask",
            "mask transformer (section 3.2.2) or linear (3.2.1)",
            choices=("mask", "linear"),
        ),
        Option("decoder_depth", "int", 2, "blocks of the mask transformer", minimum=0),
        Option("dropout", "float", 0.0, "dropout before the linear classifier", minimum=0, maximum=1),
    ),
    probes=(
        ProbeSpec(
            id="class_to_patches",
            title="Class token to patches",
            build="segstudio_zoo.segmentors.segmenter:class_token_probe",
            query="class",
            options=(
                Option("block", "int", 0, "block of the decoder, counted from 1; 0 is the last", minimum=0),
                Option("head", "int", 0, "head, counted from 1; 0 is the mean of all", minimum=0),
            ),
            group="Mask transformer",
            help="Attention of one class embedding over the patches; the other classes' share is left out.",
            rows_sum_to_one=False,
        ),
        ProbeSpec(
            id="mask_products",
            title="Products with the class",
            build="segstudio_zoo.segmentors.segmenter:mask_product_probe",
            query="class",
            options=(Option("normed", "bool", False, "after the norm over classes instead of before"),),
            group="Mask transformer",
            help="Scalar products of the normalised class embedding with all patches, in [-1, 1].",
            signed=True,
            rows_sum_to_one=False,
        ),
    ),
    switches=(
        SwitchSpec(
            id="mask_norm",
            title="Norm over classes",
            apply="segstudio_zoo.segmentors.segmenter:mask_norm_switch",
            choices=("on", "off"),
            trained="on",
            help="Off gives the scalar products themselves as logits.",
        ),
    ),
    only_with=tuple((part, "decoder", "mask") for part in ("class_to_patches", "mask_products", "mask_norm")),
    parts=(
        "ViT or DeiT encoder with a last layer norm",
        "mask transformer: K class tokens join N patches, masks are their normalised products",
        "linear decoder",
    ),
    look_at=("class token to patches, products before and after the norm", "linear against mask decoder"),
    search_aliases=("SegFormer #18",),
    expects="one map, best that of a plain transformer",
    preprocess=_HALF,
    reference_checked=True,
)
