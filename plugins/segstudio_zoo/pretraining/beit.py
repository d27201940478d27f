"""BEiT pre-training: masked image modelling on visual tokens.

Bao, Dong, Piao, Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022, arXiv 2106.08254, section
2.3 and algorithm 1: about 40 % of the patches are hidden in blocks behind one learned mask token; the
transformer predicts the visual token of each (cross-entropy over the vocabulary). Ablations of section 3.3
are options: masks at random, pixels in place of tokens, all patches recovered.

Tokens come from a discrete VAE, see `discrete_vae`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import Loss
from segstudio_zoo.backbones.beit import KEY_MAPS as TRUNK_MAPS
from segstudio_zoo.backbones.beit import SIZES, Beit, trunk
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import join_parts
from segstudio_zoo.layers.position import position_for, trained_grid
from segstudio_zoo.pretraining.masking import Masking, draw_mask

VOCABULARY = 8192
MASK_RATIO = 0.4


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
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.norm = nn.LayerNorm(encoder.dim, eps)
        channels = encoder.patch_embed.projection.in_channels
        width = vocabulary if target == "tokens" else encoder.patch**2 * channels
        self.lm_head = nn.Linear(encoder.dim, width)
        nn.init.trunc_normal_(self.lm_head.weight, std=0.02)
        nn.init.zeros_(self.lm_head.bias)

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
        rng = np.random.default_rng(int(torch.randint(0, 2**31 - 1, ())))
        masks = [draw_mask(self.masking, size, self.mask_ratio, rng).ravel() for _ in range(count)]
        return torch.from_numpy(np.stack(masks))

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
    """BEiT-base or -large with one bias table shared by all layers, as the authors pre-train it."""
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
