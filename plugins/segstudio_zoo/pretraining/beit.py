"""BEiT pre-training: masked image modelling on visual tokens.

Bao, Dong, Piao, Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022, arXiv 2106.08254, section
2.3 and algorithm 1: about 40 % of the patches are hidden in blocks behind one learned mask token; the
transformer predicts the visual token of each (cross-entropy over the vocabulary). Ablations of section 3.3
are options: masks at random, pixels in place of tokens, all patches recovered.

Tokens come from a discrete VAE, see `discrete_vae`; both together are trained by `visual_tokens`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import Loss
from segstudio_zoo.backbones.beit import KEY_MAPS as TRUNK_MAPS
from segstudio_zoo.backbones.beit import SIZES, Beit, trunk
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import join_parts
from segstudio_zoo.layers.position import position_for, trained_grid
from segstudio_zoo.pretraining.masking import Masking
from segstudio_zoo.pretraining.patches import drawn_masks

VOCABULARY = 8192
MASK_RATIO = 0.4
SPREAD = 0.02
"""Weights are drawn with this deviation and from within it."""


@dataclass(frozen=True)
class Prediction:
    """`logits` (N, L, V) of every patch, or its pixels (N, L, p p 3) where these are the target."""

    logits: Tensor
    mask: Tensor


class MaskedImageModel(nn.Module):
    """BEiT's trunk with a mask token and a linear layer over the vocabulary (figure 1)."""

    network_files = ("segstudio_zoo.pretraining.beit", "")

    def __init__(
        self,
        encoder: Beit,
        *,
        vocabulary: int = VOCABULARY,
        target: str = "tokens",
        recover: str = "masked",
        masking: Masking = "block",
        mask_ratio: float = MASK_RATIO,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if target not in ("tokens", "pixels"):
            raise ValueError(f"target is {target!r}; it is tokens or pixels")
        if recover not in ("masked", "all"):
            raise ValueError(f"recover is {recover!r}; it is masked or all")
        self.target, self.recover = target, recover
        self.masking, self.mask_ratio = masking, mask_ratio
        self.encoder = encoder
        self.mask_token = nn.Parameter(torch.zeros(1, 1, encoder.dim))
        self.norm = nn.LayerNorm(encoder.dim, eps)
        channels = encoder.patch_embed.projection.in_channels
        width = vocabulary if target == "tokens" else encoder.patch**2 * channels
        self.lm_head = nn.Linear(encoder.dim, width)
        draw_weights(self)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Prediction:
        """`image` (N, 3, H, W) normalised; `mask` (N, L) bool, True = hidden, drawn unless given."""
        encoder = self.encoder
        patches, size = encoder.patch_embed(image)
        if mask is None:
            mask = self.draw_masks(len(image), size).to(image.device)
        patches = torch.where(mask[:, :, None], self.mask_token, patches)
        x = torch.cat([encoder.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        if encoder.pos_embed is not None:
            trained = None
            if encoder.pos_embed.shape[1] != x.shape[1]:
                trained = trained_grid(encoder.pos_embed.shape[1] - 1, encoder.image_size, encoder.patch)
            x = x + position_for(encoder.pos_embed, size, trained)
        shared = () if encoder.rel_pos_bias is None else (encoder.rel_pos_bias(size),)
        for block in encoder.layers:
            x = block(x, size, *shared)
        return Prediction(self.lm_head(self.norm(x)[:, 1:]), mask)

    def completed(self, tokens: Tensor, found: Prediction) -> Tensor:
        """`tokens` (N, L) with those of hidden patches replaced by the predicted ones, to be painted."""
        return torch.where(found.mask, found.logits.argmax(dim=-1), tokens)

    def draw_masks(self, count: int, size: tuple[int, int]) -> Tensor:
        """(count, L) bool on the CPU."""
        seed = int(torch.randint(0, 2**31 - 1, ()))
        return drawn_masks(self.masking, size, self.mask_ratio, count, seed).flatten(1)

    def losses(self, image: Tensor, target: Tensor, mask: Tensor | None = None) -> dict[str, Loss]:
        """`target` (N, L) int64 tokens of all patches, or with target "pixels" their values (N, L, p p 3).

        Equation 1 for tokens (cross-entropy); mean squared error for pixels.
        """
        found = self(image, mask)
        chosen = found.mask if self.recover == "masked" else torch.ones_like(found.mask)
        count = chosen.sum().to(found.logits.dtype)
        if self.target == "pixels":
            error = (found.logits - target).square().mean(-1)
            return {"mim": Loss((error * chosen).sum(), count)}
        return {"mim": Loss(F.cross_entropy(found.logits[chosen], target[chosen], reduction="sum"), count)}


def draw_weights(model: MaskedImageModel) -> None:
    """First weights (section 2.5): all within [-0.02, 0.02], tables zero; then the last projection of both
    branches of block l is divided by sqrt(2 l)."""
    encoder = model.encoder
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            _draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for token in (encoder.cls_token, model.mask_token, encoder.pos_embed):
        if token is not None:
            _draw(token)
    with torch.no_grad():
        for place, block in enumerate(encoder.layers, start=1):
            for weight in (block.attn.proj.weight, block.ffn.layers[1].weight):
                weight.div_(math.sqrt(2 * place))


def _draw(weight: Tensor) -> None:
    nn.init.trunc_normal_(weight, std=SPREAD, a=-SPREAD, b=SPREAD)


def build(
    size: str = "base",
    *,
    image_size: tuple[int, int] = (224, 224),
    vocabulary: int = VOCABULARY,
    target: str = "tokens",
    recover: str = "masked",
    masking: Masking = "block",
    mask_ratio: float = MASK_RATIO,
    drop_path_rate: float = 0.1,
) -> MaskedImageModel:
    """A BEiT with one bias table shared by all layers, as the authors pre-train it."""
    dim, depth, heads, _, layer_scale = SIZES[f"beit-{size}"]
    encoder = trunk(
        dim,
        depth,
        heads,
        hidden=4 * dim,
        patch=16,
        image_size=image_size,
        taps=(-1,),
        position="shared",
        layer_scale=layer_scale,
        drop_path_rate=drop_path_rate,
    )
    return MaskedImageModel(
        encoder,
        vocabulary=vocabulary,
        target=target,
        recover=recover,
        masking=masking,
        mask_ratio=mask_ratio,
    )


def _into_encoder(layout: str) -> tuple[tuple[str, str | None], ...]:
    """The trunk's rules of `layout`, with what belongs to pre-training in front."""
    trunk_map = next(item for item in TRUNK_MAPS if item.layout == layout)
    own: tuple[tuple[str, str | None], ...] = (
        (r"(?:beit\.embeddings\.)?mask_token", "mask_token"),
        (r"(?:layernorm|norm)\.(weight|bias)", r"norm.\1"),
        (r"lm_head\.(weight|bias)", r"lm_head.\1"),
    )
    inside = tuple((rule, None if to is None else f"encoder.{to}") for rule, to in trunk_map.rules)
    return (*own, *inside)


KEY_MAPS = (
    KeyMap(
        layout="transformers",
        telltale=(r"beit\.embeddings\.mask_token", r"lm_head\.weight"),
        rules=_into_encoder("transformers"),
        transform=join_parts,
        optional=(r"encoder\.ln1\..+",),
    ),
    KeyMap(
        layout="authors",
        telltale=(r"mask_token", r"blocks\.0\.gamma_1", r"lm_head\.weight"),
        rules=_into_encoder("timm"),
    ),
)
