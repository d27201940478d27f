"""Vision Transformer: facts."""

from segstudio.plugin_api import Option, Preprocess
from segstudio_zoo.catalog.entry import IMAGENET, BackboneEntry, BackboneVariant, NamedModel, Paper
from segstudio_zoo.shared_probes import token_probes

_LONG = {"t": "tiny", "s": "small", "b": "base", "l": "large", "h": "huge"}


_SIZES = (*((size, patch) for patch in (16, 8, 32) for size in "tsbl"), ("h", 14))


def _aliases(size: str, patch: int) -> tuple[str, ...]:
    names = [f"vit-{_LONG[size]}-patch{patch}-224", f"vit-{_LONG[size]}-patch{patch}-224.mae"]
    names += [f"vit-{_LONG[size]}-p{patch}", f"vit-{_LONG[size]}{patch}", f"deit-{size}{patch}"]
    names += [f"vit-{_LONG[size]}-patch{patch}-384"]
    names += [f"deit-{_LONG[size]}-patch{patch}-{side}" for side in (224, 384)]
    if patch == 16:
        names += [f"vit-{size}", f"vit-{_LONG[size]}", f"deit-{size}", f"deit-{_LONG[size]}"]
    return tuple(names)


def _timm(size: str, patch: int, method: str) -> NamedModel:
    """timm's classifiers. DeiT and MAE were trained with ImageNet's mean and deviation, ViT with 127.5."""
    name = f"timm_{'deit' if method == 'deit' else 'vit'}_{_LONG[size]}_patch{patch}"
    ending = "_224_mae" if method == "mae" else "_224"
    return NamedModel(
        f"{name}{ending}",
        backbone=f"vit-{size}{patch}",
        settings=(("out_indices", "all"),),
        aliases=(f"{name}_224.mae",) if method == "mae" else (f"{name}_384",),
        preprocess=None if method == "vit" else IMAGENET,
        listed=False,
    )


ENTRY = BackboneEntry(
    id="vit",
    title="Vision Transformer (ViT)",
    paper=Paper(
        title="An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        authors="Dosovitskiy, Beyer, Kolesnikov, Weissenborn, Zhai, Unterthiner, Dehghani and others",
        venue="ICLR",
        year=2021,
        arxiv="2010.11929",
    ),
    build="segstudio_zoo.backbones.vit:build",
    variants=tuple(
        BackboneVariant(f"vit-{size}{patch}", aliases=_aliases(size, patch)) for size, patch in _SIZES
    ),
    output_strides=(),
    models=(
        *(_timm(size, patch, method) for size, patch in _SIZES for method in ("vit", "deit", "mae")),
        *(
            NamedModel(
                f"torchvision_vit_{size}_{patch}",
                backbone=f"vit-{size}{patch}",
                settings=(("out_indices", "all"),),
                listed=False,
            )
            for size, patch in (("b", 16), ("b", 32), ("l", 16), ("l", 32), ("h", 14))
        ),
        # mmsegmentation's trunks have no bias in the patch embedding
        *(
            NamedModel(
                f"backbone_vit-{size}16",
                backbone=f"vit-{size}16",
                settings=(("patch_bias", False), ("image_size", (512, 512))),
                listed=False,
            )
            for size in "tsbl"
        ),
    ),
    options=(
        Option(
            "image_size", "ints", (224, 224), "height and width the position table was trained for", minimum=1
        ),
        Option(
            "out_indices",
            "ints",
            None,
            "blocks whose outputs are given, from 0; four at equal distances if empty",
        ),
        Option("final_norm", "bool", False, "layer norm behind the last block"),
        Option("patch_bias", "bool", True, "bias of the patch embedding"),
        Option(
            "interpolation",
            "choice",
            "bicubic",
            "how positions are resized to the picture",
            choices=("bicubic", "bilinear"),
        ),
        Option(
            "drop_path_rate",
            "float",
            0.1,
            "stochastic depth of the last block in training",
            minimum=0,
            maximum=1,
        ),
        Option("eps", "float", 1e-6, "epsilon of the layer norms", minimum=0),
    ),
    probes=token_probes("segstudio_zoo.backbones.vit"),
    parts=(
        "patches of 8, 14, 16 or 32 pixels, class token, learned positions",
        "pre-norm blocks of self-attention and MLP",
        "outputs of chosen blocks as maps of one stride",
    ),
    look_at=("attention per layer and head", "attention rollout"),
    search_aliases=("DeiT", "VisionTransformer"),
    preprocess=Preprocess((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    reference_checked=True,
)
