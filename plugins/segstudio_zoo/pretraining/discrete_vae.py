"""The discrete VAE that turns patches into visual tokens.

Ramesh et al., "Zero-Shot Text-to-Image Generation", ICML 2021, arXiv 2102.12092, section 2.1 and appendix A:
a convolutional encoder of stride 8 gives logits over 8,192 codes, a decoder paints the picture from them;
training relaxes the choice by Gumbel-softmax with falling temperature and adds beta times the
Kullback-Leibler divergence from the uniform distribution. BEiT (arXiv 2106.08254, section 2.1, equation 2)
uses its arg max as targets: 112 x 112 pixels give the 14 x 14 tokens of a 224 x 224 picture.

The encoder has the layout published as "flava-image-codebook", which holds the same network as the original.
Deviation: the reconstruction term is the mean squared error; the paper's logit-Laplace term is an option.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import Loss
from segstudio_zoo.key_map import KeyMap

VOCABULARY = 8192
STRIDE = 8
LAPLACE_EPS = 0.1


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


class DiscreteVAE(nn.Module):
    """Tokenizer and painter, trained together on the evidence bound.

    `beta` weighs the divergence; `temperature` is set by the schedule (1 falling to 1/16 in the paper).
    """

    network_files = ("segstudio_zoo.pretraining.discrete_vae", "")

    def __init__(
        self,
        *,
        hidden: int = 256,
        vocabulary: int = VOCABULARY,
        blocks: int = 2,
        beta: float = 6.6,
        reconstruction: str = "squared",
    ) -> None:
        super().__init__()
        if reconstruction not in ("squared", "laplace"):
            raise ValueError(f"reconstruction is {reconstruction!r}; it is squared or laplace")
        self.vocabulary, self.beta, self.reconstruction = vocabulary, beta, reconstruction
        self.temperature = 1.0
        self.encoder = TokenEncoder(hidden=hidden, vocabulary=vocabulary, blocks=blocks)
        channels = 6 if reconstruction == "laplace" else 3
        self.decoder = TokenDecoder(
            hidden=hidden, first=hidden // 2, vocabulary=vocabulary, blocks=blocks, channels=channels
        )

    def tokens(self, image: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] -> (N, h, w) int64, the most likely codes."""
        return self.encoder(image).argmax(dim=1)

    def paint(self, tokens: Tensor) -> Tensor:
        """Tokens (N, h, w) -> pictures (N, 3, 8 h, 8 w) in [0, 1]."""
        codes = F.one_hot(tokens, self.vocabulary).permute(0, 3, 1, 2)
        return self._picture(self.decoder(codes.to(next(self.parameters()).dtype)))

    def forward(self, image: Tensor) -> Bound:
        """One step on pictures (N, 3, H, W) in [0, 1], sides divisible by 8: the bound's two terms.

        "reconstruction" is averaged over pixels and channels, "kl" over tokens and weighed by beta per
        pixel, as the bound of a whole picture divided by its number of pixel values.
        """
        logits = self.encoder(image)
        codes = F.gumbel_softmax(logits, tau=self.temperature, dim=1)
        painted = self.decoder(codes)
        error = self._error(painted, image)
        divergence = kl_from_uniform(logits)
        values = torch.tensor(float(image.numel()), device=image.device)
        losses = {
            "reconstruction": Loss(error.sum(), values),
            "kl": Loss(divergence.sum(), values, self.beta),
        }
        return Bound(logits, self._picture(painted), losses)

    def losses(self, image: Tensor) -> dict[str, Loss]:
        """The two terms of the bound."""
        return self(image).losses

    def _error(self, painted: Tensor, image: Tensor) -> Tensor:
        target = squeeze_pixels(image)
        if self.reconstruction == "squared":
            return (painted - target).square()
        # Equation 3 of the appendix: minus the log density of the logit-Laplace distribution.
        mean, log_scale = painted.chunk(2, dim=1)
        logit = torch.log(target) - torch.log1p(-target)
        return (logit - mean).abs() * torch.exp(-log_scale) + log_scale + torch.log(2 * target * (1 - target))

    def _picture(self, painted: Tensor) -> Tensor:
        values = painted if self.reconstruction == "squared" else painted[:, :3].sigmoid()
        return ((values - LAPLACE_EPS) / (1 - 2 * LAPLACE_EPS)).clamp(0, 1)


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


def tokenizer_from(state: dict[str, Tensor]) -> TokenEncoder:
    """The encoder of a loaded tokenizer, of any width, vocabulary and depth, frozen and in evaluation mode.

    `state` has the layout "flava-image-codebook", or is a `DiscreteVAE`'s own. Raises ValueError otherwise.
    """
    prefixes = ("image_codebook.", "encoder.", "")
    prefix = next((p for p in prefixes if f"{p}blocks.input.weight" in state), None)
    if prefix is None:
        raise ValueError("This file holds no tokenizer: blocks.input.weight is missing.")
    own = {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(f"{prefix}blocks.")
    }
    group = "blocks.group_1.group.block_"
    blocks = len({key.removeprefix(group).split(".")[0] for key in own if key.startswith(group)})
    encoder = TokenEncoder(
        hidden=own["blocks.input.weight"].shape[0],
        vocabulary=own["blocks.output.conv.weight"].shape[0],
        blocks=blocks,
    )
    try:
        encoder.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(f"This file's tokenizer has another layout: {error}") from error
    return encoder.requires_grad_(False).eval()
