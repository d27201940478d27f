"""The discrete VAE that turns patches into visual tokens.

Ramesh et al., "Zero-Shot Text-to-Image Generation", ICML 2021, arXiv 2102.12092, section 2.1 and appendix A:
a convolutional encoder of stride 8 gives logits over 8,192 codes, a decoder paints the picture from them;
training relaxes the choice by Gumbel-softmax with falling temperature and adds beta times the
Kullback-Leibler divergence from the uniform distribution. BEiT (arXiv 2106.08254, section 2.1, equation 2)
uses its arg max as targets: 112 x 112 pixels give the 14 x 14 tokens of a 224 x 224 picture.

The encoder has the layout published as "flava-image-codebook", which holds the same network as the original.
Deviation: the temperature falls over the first half of training, not over 150,000 of 3,000,000 steps, and
beta is its last value from the start. The squared error is an option in place of the paper's logit-Laplace
term; it is no likelihood and wants a beta of about 0.3.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import Loss, Pictures
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.param_groups import transformer_groups
from segstudio_zoo.pretraining.masking import Masking
from segstudio_zoo.pretraining.patches import grid_of, looking

VOCABULARY = 8192
STRIDE = 8
LAPLACE_EPS = 0.1
COOLEST = 1 / 16
COOLING = 0.5
"""Last temperature, and the share of training over which it falls to that."""

SIZES: dict[str, tuple[int, int, int]] = {"dvae-tiny": (32, 512, 1), "dvae": (256, VOCABULARY, 2)}
"""Channels of the first group, vocabulary, blocks a group; the tiny one is for training without a GPU."""


class ResidualBlock(nn.Module):
    """id(x) + gain * path(x); the path is ReLU and convolution four times, a quarter as wide inside."""

    def __init__(self, in_channels: int, channels: int, layers: int, *, widest_first: bool = False) -> None:
        super().__init__()
        hidden = channels // 4
        same = in_channels == channels
        self.gain = 1.0 / layers**2
        self.id_path = nn.Identity() if same else nn.Conv2d(in_channels, channels, 1)
        kernels = (1, 3, 3, 3) if widest_first else (3, 3, 3, 1)
        widths = (in_channels, hidden, hidden, hidden, channels)
        path: OrderedDict[str, nn.Module] = OrderedDict()
        for place, kernel in enumerate(kernels):
            path[f"relu_{place + 1}"] = nn.ReLU()
            path[f"conv_{place + 1}"] = nn.Conv2d(
                widths[place], widths[place + 1], kernel, padding=kernel // 2
            )
        self.res_path = nn.Sequential(OrderedDict(path=nn.Sequential(path)))

    def forward(self, x: Tensor) -> Tensor:
        return self.id_path(x) + self.gain * self.res_path(x)


def _group(
    widths: tuple[int, int], blocks: int, layers: int, last: nn.Module | None, *, decoder: bool
) -> nn.Module:
    """`blocks` residual blocks and, where given, a step to another size; key `group`."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for place in range(blocks):
        start = widths[0] if place == 0 else widths[1]
        parts[f"block_{place + 1}"] = ResidualBlock(start, widths[1], layers, widest_first=decoder)
    if last is not None:
        parts["upsample" if decoder else "pool"] = last
    return nn.Sequential(OrderedDict(group=nn.Sequential(parts)))


class TokenEncoder(nn.Module):
    """Pictures (N, 3, H, W) in [0, 1] -> logits (N, V, H / 8, W / 8)."""

    def __init__(self, *, hidden: int = 256, vocabulary: int = VOCABULARY, blocks: int = 2) -> None:
        super().__init__()
        layers = 4 * blocks
        widths = (hidden, hidden, 2 * hidden, 4 * hidden, 8 * hidden)
        parts: OrderedDict[str, nn.Module] = OrderedDict(input=nn.Conv2d(3, hidden, 7, padding=3))
        for place in range(4):
            pool = nn.MaxPool2d(2) if place < 3 else None
            parts[f"group_{place + 1}"] = _group(
                (widths[place], widths[place + 1]), blocks, layers, pool, decoder=False
            )
        output = OrderedDict(relu=nn.ReLU(), conv=nn.Conv2d(widths[4], vocabulary, 1))
        parts["output"] = nn.Sequential(output)
        self.blocks = nn.Sequential(parts)

    def forward(self, image: Tensor) -> Tensor:
        return self.blocks(squeeze_pixels(image))


class TokenDecoder(nn.Module):
    """Codes (N, V, h, w), one-hot or relaxed -> pictures (N, 3, 8 h, 8 w): the encoder turned around."""

    def __init__(
        self,
        *,
        hidden: int = 256,
        first: int = 128,
        vocabulary: int = VOCABULARY,
        blocks: int = 2,
        channels: int = 3,
    ) -> None:
        super().__init__()
        layers = 4 * blocks
        widths = (first, 8 * hidden, 4 * hidden, 2 * hidden, hidden)
        parts: OrderedDict[str, nn.Module] = OrderedDict(input=nn.Conv2d(vocabulary, first, 1))
        for place in range(4):
            grow = nn.Upsample(scale_factor=2, mode="nearest") if place < 3 else None
            parts[f"group_{place + 1}"] = _group(
                (widths[place], widths[place + 1]), blocks, layers, grow, decoder=True
            )
        output = OrderedDict(relu=nn.ReLU(), conv=nn.Conv2d(widths[4], channels, 1))
        parts["output"] = nn.Sequential(output)
        self.blocks = nn.Sequential(parts)

    def forward(self, codes: Tensor) -> Tensor:
        return self.blocks(codes)


@dataclass(frozen=True)
class Bound:
    """What one step saw: `logits` (N, V, h, w), `picture` (N, 3, H, W) in [0, 1]."""

    logits: Tensor
    picture: Tensor
    losses: dict[str, Loss]


class Tokenizer(nn.Module):
    """Pictures to tokens and, where there is a decoder, tokens to pictures."""

    def __init__(
        self, encoder: TokenEncoder, decoder: TokenDecoder | None, *, vocabulary: int, laplace: bool = False
    ) -> None:
        super().__init__()
        self.vocabulary, self.laplace = vocabulary, laplace
        self.encoder, self.decoder = encoder, decoder

    def tokens(self, image: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] -> (N, h, w) int64, the most likely codes."""
        return self.encoder(image).argmax(dim=1)

    def paint(self, tokens: Tensor) -> Tensor:
        """Tokens (N, h, w) -> pictures (N, 3, 8 h, 8 w) in [0, 1]. Raises ValueError without a decoder."""
        if self.decoder is None:
            raise ValueError("This tokenizer has no decoder: it cannot paint its tokens.")
        codes = F.one_hot(tokens, self.vocabulary).permute(0, 3, 1, 2)
        return self.picture(self.decoder(codes.to(next(self.parameters()).dtype)))

    def picture(self, painted: Tensor) -> Tensor:
        """What the decoder gives -> (N, 3, H, W) in [0, 1]."""
        values = painted[:, :3].sigmoid() if self.laplace else painted
        return ((values - LAPLACE_EPS) / (1 - 2 * LAPLACE_EPS)).clamp(0, 1)


class DiscreteVAE(Tokenizer):
    """Tokenizer and painter, trained together on the evidence bound. A `PretrainingModel`.

    `beta` weighs the divergence; `temperature` is that of the relaxed choice, which `advance` lowers.
    Pictures are in [0, 1]: mean 0 and deviation 255 on the 8-bit scale.
    """

    network_files = ("segstudio_zoo.pretraining.discrete_vae", "")
    cell = STRIDE

    def __init__(
        self,
        *,
        hidden: int = 256,
        vocabulary: int = VOCABULARY,
        blocks: int = 2,
        beta: float = 6.6,
        reconstruction: str = "laplace",
        image_size: tuple[int, int] = (112, 112),
    ) -> None:
        if reconstruction not in ("squared", "laplace"):
            raise ValueError(f"reconstruction is {reconstruction!r}; it is squared or laplace")
        laplace = reconstruction == "laplace"
        super().__init__(
            TokenEncoder(hidden=hidden, vocabulary=vocabulary, blocks=blocks),
            TokenDecoder(
                hidden=hidden,
                first=hidden // 2,
                vocabulary=vocabulary,
                blocks=blocks,
                channels=6 if laplace else 3,
            ),
            vocabulary=vocabulary,
            laplace=laplace,
        )
        grid_of(image_size, STRIDE)
        self.image_size, self.beta = image_size, beta
        self.temperature = 1.0

    def forward(self, image: Tensor) -> Bound:
        """One step on pictures (N, 3, H, W) in [0, 1], sides divisible by 8: the bound's two terms.

        "reconstruction" is averaged over pixels and channels, "kl" over tokens and weighed by beta per
        pixel, as the bound of a whole picture divided by its number of pixel values.
        """
        logits = self.encoder(image)
        assert self.decoder is not None
        painted = self.decoder(F.gumbel_softmax(logits, tau=self.temperature, dim=1))
        error = self._error(painted, image)
        divergence = kl_from_uniform(logits)
        values = torch.tensor(float(image.numel()), device=image.device)
        losses = {
            "reconstruction": Loss(error.sum(), values),
            "kl": Loss(divergence.sum(), values, self.beta),
        }
        return Bound(logits, self.picture(painted), losses)

    def losses(self, image: Tensor) -> dict[str, Loss]:
        """The two terms of the bound."""
        return self(image).losses

    def pictures(
        self,
        image: Tensor,
        hidden: Tensor | None = None,
        *,
        ratio: float | None = None,
        masking: Masking | None = None,
        seed: int = 0,
    ) -> Pictures:
        """View "reconstruction": what is painted from the most likely codes. Nothing is hidden."""
        with looking(self):
            tokens = self.tokens(image)
            painted = self.paint(tokens)
        used = f"{len(tokens.unique())} of {self.vocabulary} codes are in use here."
        return Pictures({"reconstruction": painted.to(image.dtype)}, notes=(used,))

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """One rate; biases are not decayed."""
        return transformer_groups(self, lr)

    def advance(self, fraction: float) -> None:
        """The temperature falls from 1 to 1/16 along a cosine (appendix A.2)."""
        done = min(max(fraction / COOLING, 0.0), 1.0)
        self.temperature = COOLEST + (1 - COOLEST) * 0.5 * (1 + math.cos(math.pi * done))

    def _error(self, painted: Tensor, image: Tensor) -> Tensor:
        target = squeeze_pixels(image)
        if not self.laplace:
            return (painted - target).square()
        # Equation 3 of the appendix: minus the log density of the logit-Laplace distribution.
        mean, log_scale = painted.chunk(2, dim=1)
        logit = torch.log(target) - torch.log1p(-target)
        return (logit - mean).abs() * torch.exp(-log_scale) + log_scale + torch.log(2 * target * (1 - target))


def squeeze_pixels(image: Tensor) -> Tensor:
    """[0, 1] -> [0.1, 0.9], as the logit-Laplace term needs and the published encoder expects."""
    return (1 - 2 * LAPLACE_EPS) * image + LAPLACE_EPS


def kl_from_uniform(logits: Tensor) -> Tensor:
    """Divergence of softmax(logits) over axis 1 from the uniform distribution, in nats: (N, h, w)."""
    log_probability = logits.log_softmax(dim=1)
    size = torch.tensor(float(logits.shape[1]), device=logits.device).log()
    return (log_probability.exp() * log_probability).sum(dim=1) + size


KEY_MAPS = (
    KeyMap(
        layout="flava-image-codebook",
        telltale=(r"(image_codebook\.)?blocks\.group_1\.group\.block_1\.res_path\.path\.conv_1\.weight",),
        rules=(
            (r"(?:image_codebook\.)?(blocks\..+)", r"encoder.\1"),
            (r"(?:image_model|text_model|multimodal_model|mim_head|mlm_head|itm_head|mmm_.+_head)\..+", None),
        ),
    ),
)
"""The published codebook has no decoder: load it with strict=False, or into `TokenEncoder` itself."""


def tokenizer_from(state: Mapping[str, Tensor]) -> TokenEncoder:
    """The encoder of a loaded tokenizer, of any width, vocabulary and depth, frozen and in evaluation mode.

    `state` has the layout "flava-image-codebook", or is a `DiscreteVAE`'s own. Raises ValueError otherwise.
    """
    prefix = next(
        (p for p in ("image_codebook.", "encoder.", "") if f"{p}blocks.input.weight" in state), None
    )
    if prefix is None:
        raise ValueError("This file holds no tokenizer: blocks.input.weight is missing.")
    own = _below(state, prefix)
    encoder = TokenEncoder(
        hidden=own["blocks.input.weight"].shape[0],
        vocabulary=own["blocks.output.conv.weight"].shape[0],
        blocks=_blocks(own),
    )
    _fill(encoder, own)
    return encoder


def whole_tokenizer(state: Mapping[str, Tensor]) -> Tokenizer:
    """`tokenizer_from` with the decoder that `state` has beside it, where it has one."""
    encoder = tokenizer_from(state)
    own = _below(state, "decoder.")
    decoder, laplace = None, False
    if own:
        first, vocabulary = own["blocks.input.weight"].shape[:2]
        channels, hidden = own["blocks.output.conv.weight"].shape[:2]
        laplace = channels == 6
        decoder = TokenDecoder(
            hidden=hidden, first=first, vocabulary=vocabulary, blocks=_blocks(own), channels=channels
        )
        _fill(decoder, own)
    vocabulary = encoder.blocks.output.conv.out_channels
    return Tokenizer(encoder, decoder, vocabulary=vocabulary, laplace=laplace)


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    wanted = f"{prefix}blocks."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(wanted)}


def _blocks(own: Mapping[str, Tensor]) -> int:
    """Residual blocks a group."""
    group = "blocks.group_1.group.block_"
    return len({key.removeprefix(group).split(".")[0] for key in own if key.startswith(group)})


def _fill(part: nn.Module, own: Mapping[str, Tensor]) -> None:
    """Gives `part` these weights and freezes it. Raises ValueError where they are another layout's."""
    try:
        part.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(f"This file's tokenizer has another layout: {error}") from error
    part.requires_grad_(False).eval()


def build_named(
    name: str,
    *,
    image_size: tuple[int, ...] = (112, 112),
    hidden: int | None = None,
    vocabulary: int | None = None,
    beta: float = 6.6,
    reconstruction: str = "laplace",
) -> DiscreteVAE:
    """One of `SIZES`, with other channels or another vocabulary where told."""
    channels, codes, blocks = SIZES[name]
    height, width = image_size if len(image_size) == 2 else (image_size[0], image_size[0])
    return DiscreteVAE(
        hidden=hidden or channels,
        vocabulary=vocabulary or codes,
        blocks=blocks,
        beta=beta,
        reconstruction=reconstruction,
        image_size=(height, width),
    )
