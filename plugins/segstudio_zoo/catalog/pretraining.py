"""Ways of training on pictures without labels: facts."""

from __future__ import annotations

from segstudio.plugin_api import Option, Preprocess, PretrainingSpec
from segstudio_zoo.catalog import beit, mae
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


def _beit(size: str) -> PretrainingSpec:
    return _spec(
        beit.ENTRY.paper,
        f"beit-pretraining-{size}",
        f"BEiT · {size}",
        beit.ENTRY.title,
        "segstudio_zoo.pretraining.visual_tokens:build_named",
        (
            IMAGE_SIZE,
            Option(
                "tokenizer",
                "weights",
                None,
                "a file of a discrete VAE trained here, or of the flava-image-codebook layout",
                needed_for=("target", "tokens"),
            ),
            Option(
                "target",
                "choice",
                "tokens",
                "what is predicted of hidden patches; pixels need no tokenizer",
                choices=("tokens", "pixels"),
            ),
            Option(
                "recover",
                "choice",
                "masked",
                "the loss counts hidden patches, or all",
                choices=("masked", "all"),
            ),
            Option(
                "masking",
                "choice",
                "block",
                "hidden patches lie in blocks or at random",
                choices=("block", "random"),
            ),
            _ratio(0.4),
        ),
        size_divisor=16,
        rate=5e-4,
        backbones=(f"beit-{size}",),
        parts=(
            "mask token in place of hidden patches",
            "visual tokens from a discrete VAE, or pixels",
            "relative position bias shared by all layers, layer scale",
            "output projections of block l divided by sqrt(2 l) at the start",
        ),
        search_aliases=("masked image modelling", "MIM"),
    )


_DALL_E = Paper(
    title="Zero-Shot Text-to-Image Generation",
    authors="Ramesh, Pavlov, Goh, Gray, Voss, Radford, Chen, Sutskever",
    venue="ICML",
    year=2021,
    arxiv="2102.12092",
)


def _dvae(name: str, title: str, hidden: int, vocabulary: int, rate: float) -> PretrainingSpec:
    return _spec(
        _DALL_E,
        name,
        title,
        "Discrete VAE (BEiT's tokenizer)",
        "segstudio_zoo.pretraining.discrete_vae:build_named",
        (
            Option("image_size", "ints", (112, 112), "height and width of the pictures it is trained on"),
            Option("hidden", "int", hidden, "channels of the first group, a multiple of 4", minimum=4),
            Option("vocabulary", "int", vocabulary, "how many visual tokens there are", minimum=2),
            Option(
                "beta",
                "float",
                6.6,
                "weight of the divergence from the uniform choice; about 0.3 suits the squared error",
                minimum=0,
            ),
            Option(
                "reconstruction",
                "choice",
                "laplace",
                "the paper's logit-Laplace likelihood, or the squared error",
                choices=("laplace", "squared"),
            ),
        ),
        preprocess=Preprocess((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
        size_divisor=8,
        rate=rate,
        parts=(
            "convolutional encoder of stride 8 over a vocabulary of visual tokens",
            "decoder that paints pictures from tokens",
            "Gumbel-softmax of falling temperature",
            "bound of two terms, logged apart: reconstruction and divergence",
        ),
        search_aliases=("tokenizer", "codebook", "dVAE", "VQ", "DALL-E"),
    )


SPECS: tuple[PretrainingSpec, ...] = (
    _mae("tiny", 16, ("mae-tiny", "vit-t16"), (128, 2)),
    _mae("base", 16, ("mae-base", "vit-b16"), (512, 8)),
    _mae("large", 16, ("mae-large", "vit-l16"), (512, 8)),
    _mae("huge", 14, ("mae-huge", "vit-h14"), (512, 8)),
    _beit("tiny"),
    _beit("base"),
    _beit("large"),
    _dvae("dvae-tiny", "Discrete VAE · tiny", 32, 512, 1e-3),
    _dvae("dvae", "Discrete VAE", 256, 8192, 1e-4),
)


def specs_of(entry_id: str) -> tuple[PretrainingSpec, ...]:
    """The ways of pre-training that belong to a backbone's paper; BEiT's with its tokenizer."""
    beginnings = {"mae": ("mae-",), "beit": ("beit-", "dvae")}.get(entry_id)
    return tuple(spec for spec in SPECS if beginnings and spec.name.startswith(beginnings))
