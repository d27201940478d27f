"""Ways of training on pictures without labels: facts."""

from __future__ import annotations

from segstudio.plugin_api import Option, PretrainingSpec
from segstudio_zoo.catalog import mae
from segstudio_zoo.catalog.entry import Paper

_PREFIX = "segstudio_zoo/"

IMAGE_SIZE = Option("image_size", "ints", (224, 224), "height and width of the pictures it is trained on")


def _ratio(default: float) -> Option:
    return Option(
        "mask_ratio", "float", default, "share of the patches that is hidden", minimum=0.1, maximum=0.95
    )


def _spec(
    paper: Paper,
    name: str,
    title: str,
    system: str,
    build: str,
    options: tuple[Option, ...],
    **more: object,
) -> PretrainingSpec:
    return PretrainingSpec(
        id=f"{_PREFIX}{name}",
        title=title,
        system=system,
        paper=paper.address,
        year=paper.year,
        build=build,
        options=options,
        paper_title=paper.title,
        authors=paper.authors,
        venue=paper.venue,
        **more,  # type: ignore[arg-type]
    )


def _mae(size: str, patch: int, backbones: tuple[str, ...], decoder: tuple[int, int]) -> PretrainingSpec:
    return _spec(
        mae.ENTRY.paper,
        f"mae-pretraining-{size}",
        f"MAE · {size}",
        mae.ENTRY.title,
        "segstudio_zoo.pretraining.mae:build_named",
        (
            IMAGE_SIZE,
            _ratio(0.75),
            Option(
                "masking",
                "choice",
                "random",
                "hidden patches lie at random, in blocks or on a grid",
                choices=("random", "block", "grid"),
            ),
            Option("normalise_pixels", "bool", True, "predict each patch less its mean, over its deviation"),
            Option("decoder_dim", "int", decoder[0], "channels of the decoder, a multiple of 32", minimum=32),
            Option("decoder_depth", "int", decoder[1], "blocks of the decoder", minimum=1),
        ),
        size_divisor=patch,
        rate=1.5e-4,
        backbones=backbones,
        parts=(
            "encoder on the visible patches only",
            "light decoder with mask tokens",
            "fixed sine-cosine positions",
            "loss on the hidden patches, of normalised or raw pixels",
        ),
        search_aliases=("masked autoencoder", "MIM"),
    )


SPECS: tuple[PretrainingSpec, ...] = (
    _mae("tiny", 16, ("mae-tiny", "vit-t16"), (128, 2)),
    _mae("base", 16, ("mae-base", "vit-b16"), (512, 8)),
    _mae("large", 16, ("mae-large", "vit-l16"), (512, 8)),
    _mae("huge", 14, ("mae-huge", "vit-h14"), (512, 8)),
)
