"""Vision Transformer (ViT) and DeiT.

Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021,
arXiv 2010.11929, section 3.1 and table 1; the small sizes are those of Touvron et al., "Training
data-efficient image transformers", ICML 2021, arXiv 2012.12877, table 1.

As a segmentation backbone it gives the outputs of some blocks ("taps") as maps of one stride, the patch size;
positions are resized to the picture's grid (ViT, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import join_parts
from segstudio_zoo.layers.attention_probe import AttentionProbe, RolloutProbe, find_module
from segstudio_zoo.layers.drop_path import linear_rates
from segstudio_zoo.layers.patch_transformer import PatchTransformer
from segstudio_zoo.layers.position import square_positions, trained_size
from segstudio_zoo.layers.transformer import TransformerBlock
from segstudio_zoo.vit_keys import (
    DECODER,
    HF_BLOCK,
    HF_EMBEDDINGS,
    LAST_NORM,
    LAST_NORM_RULE,
    TORCHVISION_BLOCK,
    TORCHVISION_RULES,
    TRANSFORMERS_RULES,
    timm_rules,
)

SIZES: dict[str, tuple[int, int, int]] = {
    "t": (192, 12, 3),
    "s": (384, 12, 6),
    "b": (768, 12, 12),
    "l": (1024, 24, 16),
    "h": (1280, 32, 16),
}
"""Channels, blocks and heads."""


class VisionTransformer(PatchTransformer):
    """ViT with learned positions; see `PatchTransformer` for what it gives."""


def build(
    variant: str,
    *,
    output_stride: int | None = None,
    in_channels: int = 3,
    image_size: tuple[int, ...] = (224, 224),
    out_indices: tuple[int, ...] | str | None = None,
    final_norm: bool = False,
    patch_bias: bool = True,
    interpolation: str = "bicubic",
    drop_path_rate: float = 0.1,
    eps: float = 1e-6,
) -> VisionTransformer:
    """A ViT named vit-<size><patch>, size one of t, s, b, l, h.

    `image_size` (height, width) is what the position table was trained for; `out_indices` are the blocks
    whose outputs are given, counted from 0: four at equal distances unless told, or "all".
    Raises ValueError for an output stride that is not the patch size.
    """
    dim, depth, heads = SIZES[variant[4]]
    patch = int(variant[5:])
    if output_stride not in (None, patch):
        raise ValueError(f"{variant} has features at stride {patch} only, not {output_stride}")
    height, width = trained_size(image_size, patch)
    positions = torch.empty(1, 1 + (height // patch) * (width // patch), dim)
    torch.nn.init.trunc_normal_(positions, std=0.02)
    rates = linear_rates(drop_path_rate, depth)
    return VisionTransformer(
        [TransformerBlock(dim, heads, 4 * dim, eps=eps, drop_path=rate) for rate in rates],
        dim=dim,
        patch=patch,
        taps=chosen_taps(out_indices, depth),
        in_channels=in_channels,
        patch_bias=patch_bias,
        positions=positions,
        final_norm=final_norm,
        eps=eps,
        image_size=(height, width),
        interpolation=interpolation,
    )


def chosen_taps(wish: tuple[int, ...] | str | None, depth: int) -> tuple[int, ...]:
    """`wish`, every block for "all", or the last blocks of the four quarters: 2, 5, 8, 11 of 12."""
    if wish == "all":
        return tuple(range(depth))
    if wish:
        return tuple(int(place) for place in wish)
    return tuple(depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))


def attention_probe() -> AttentionProbe:
    """Attention per layer and head, over the patches (section 4.5, figure 6)."""
    return AttentionProbe(partial(find_module, kind=VisionTransformer))


def rollout_probe() -> RolloutProbe:
    """Attention composed over the layers."""
    return RolloutProbe(partial(find_module, kind=VisionTransformer))


_LAYOUTS = (
    KeyMap(
        layout="timm",
        telltale=(r"blocks\.0\.attn\.qkv\.weight", r"patch_embed\.proj\.weight", r"pos_embed"),
        rules=(
            *timm_rules(),
            (r"(norm|fc_norm|head|head_dist|pre_logits\.fc)\.(weight|bias)", None),
            (DECODER, None),
        ),
        options={"out_indices": "all"},
    ),
    KeyMap(
        layout="authors",
        telltale=(r"blocks\.0\.attn\.qkv\.weight", r"norm\.weight", r"pos_embed"),
        rules=(*timm_rules(), (r"norm\.(weight|bias)", r"ln1.\1"), (DECODER, None)),
    ),
    KeyMap(
        layout="transformers",
        telltale=(rf"{HF_EMBEDDINGS}cls_token", rf"{HF_BLOCK}layernorm_before\.weight"),
        rules=TRANSFORMERS_RULES,
        transform=join_parts,
    ),
    KeyMap(
        layout="torchvision",
        telltale=(r"class_token", r"conv_proj\.weight", rf"{TORCHVISION_BLOCK}ln_1\.weight"),
        rules=TORCHVISION_RULES,
        options={"out_indices": "all"},
        optional=LAST_NORM,
    ),
    KeyMap(
        layout="pre-training",
        telltale=(r"encoder\.layers\.0\.attn\.attn\.in_proj_weight", r"decoder_pred\.weight"),
        rules=((r"encoder\.ln1\..+", None), (r"encoder\.(.+)", r"\1"), (DECODER, None)),
        transform=square_positions,
    ),
)
"""timm's classifiers and MAE's authors; the trunk of Segmenter's authors, with its last norm; transformers;
torchvision; the encoder of our own `pretraining.mae`."""


def _to_start_from(key_map: KeyMap) -> KeyMap:
    """`key_map` for a network that is trained on: a norm behind its last block begins with the file's, and
    where its patch embedding has no bias positions take that up, the same function."""

    def transform(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        if key_map.transform is not None:
            state = key_map.transform(state, model)
        bias, table = "patch_embed.projection.bias", state.get("pos_embed")
        if bias not in state or table is None or bias in model.state_dict():
            return state
        moved = torch.cat([table[:, :1], table[:, 1:] + state[bias]], dim=1)
        return {**{key: value for key, value in state.items() if key != bias}, "pos_embed": moved}

    return replace(
        key_map,
        rules=(LAST_NORM_RULE, *key_map.rules),
        transform=transform,
        optional=(*key_map.optional, *LAST_NORM),
        identifies=False,
    )


KEY_MAPS = (*_LAYOUTS, *map(_to_start_from, _LAYOUTS))


def infer_options(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the patch embedding has a bias and whether a norm stands behind the last block."""
    options: dict[str, Any] = {"patch_bias": "patch_embed.projection.bias" in shapes}
    if "ln1.weight" in shapes:
        options["final_norm"] = True
    return options
