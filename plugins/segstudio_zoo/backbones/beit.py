"""BEiT: a vision transformer pre-trained by predicting visual tokens of masked patches.

Bao, Dong, Piao, Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022, arXiv 2106.08254: the
backbone of section 2.2 with relative position bias, layer scale and no bias on keys (appendix). Pre-training
itself is in `segstudio_zoo.pretraining.beit`.

Published as a segmentation backbone with one bias table a layer; pre-training shares one table among all
layers ("shared"), or uses learned absolute positions ("absolute").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import (
    HF_KEY,
    HF_MLP_IN,
    HF_MLP_OUT,
    HF_OUT,
    HF_QUERY,
    HF_VALUE,
    join_parts,
)
from segstudio_zoo.layers.attention_probe import AttentionProbe, RolloutProbe, find_module
from segstudio_zoo.layers.drop_path import linear_rates
from segstudio_zoo.layers.patch_transformer import PatchTransformer
from segstudio_zoo.layers.position import resized_bias, trained_size
from segstudio_zoo.layers.relative_transformer import LayerScaleBlock, RelativePositionBias
from segstudio_zoo.vit_keys import LAST_NORM

SIZES: dict[str, tuple[int, int, int, tuple[int, ...], float]] = {
    "beit-tiny": (192, 12, 3, (3, 5, 7, 11), 0.1),
    "beit-base": (768, 12, 12, (3, 5, 7, 11), 0.1),
    "beit-large": (1024, 24, 16, (7, 11, 15, 23), 1e-6),
}
"""Channels, blocks, heads, published taps, first value of the layer scales.

The paper has no tiny size: it is for pre-training without a GPU.
"""

POSITIONS = ("relative", "shared", "absolute", "none")


class Beit(PatchTransformer):
    """BEiT's trunk; see `PatchTransformer` for what it gives."""

    layer_decay = 0.9
    cuts_patches = True


def trunk(
    dim: int,
    depth: int,
    heads: int,
    *,
    hidden: int,
    patch: int,
    image_size: tuple[int, int],
    taps: tuple[int, ...],
    position: str = "relative",
    in_channels: int = 3,
    layer_scale: float = 0.1,
    final_norm: bool = False,
    eps: float = 1e-6,
    drop_path_rate: float = 0.1,
) -> Beit:
    """A BEiT of any size. `position` is one of `POSITIONS`; raises ValueError for another."""
    if position not in POSITIONS:
        raise ValueError(f"position is {position!r}; it is one of {', '.join(POSITIONS)}")
    size = (image_size[0] // patch, image_size[1] // patch)
    blocks: list[nn.Module] = [
        LayerScaleBlock(
            dim,
            heads,
            hidden,
            size,
            relative=position == "relative",
            layer_scale=layer_scale,
            eps=eps,
            drop_path=rate,
        )
        for rate in linear_rates(drop_path_rate, depth)
    ]
    absolute = torch.zeros(1, 1 + size[0] * size[1], dim)
    nn.init.trunc_normal_(absolute, std=0.02)
    return Beit(
        blocks,
        dim=dim,
        patch=patch,
        taps=taps,
        in_channels=in_channels,
        positions=absolute if position == "absolute" else None,
        shared_bias=RelativePositionBias(heads, size) if position == "shared" else None,
        final_norm=final_norm,
        eps=eps,
        image_size=image_size,
    )


def build(
    variant: str,
    *,
    output_stride: int | None = None,
    in_channels: int = 3,
    image_size: tuple[int, ...] = (224, 224),
    out_indices: tuple[int, ...] | str | None = None,
    position: str = "relative",
    drop_path_rate: float = 0.1,
) -> Beit:
    """`image_size` (height, width) is what the position tables were trained for; taps count blocks from 0.

    Raises ValueError for an output stride other than 16.
    """
    if output_stride not in (None, 16):
        raise ValueError(f"{variant} has features at stride 16 only, not {output_stride}")
    dim, depth, heads, taps, layer_scale = SIZES[variant]
    height, width = trained_size(image_size, 16)
    return trunk(
        dim,
        depth,
        heads,
        hidden=4 * dim,
        patch=16,
        image_size=(height, width),
        taps=tuple(range(depth)) if out_indices == "all" else tuple(out_indices or taps),
        position=position,
        in_channels=in_channels,
        layer_scale=layer_scale,
        drop_path_rate=drop_path_rate,
    )


def attention_probe() -> AttentionProbe:
    """Attention per layer and head, over the patches (appendix, figure of self-attention maps)."""
    return AttentionProbe(partial(find_module, kind=Beit))


def rollout_probe() -> RolloutProbe:
    """Attention composed over the layers."""
    return RolloutProbe(partial(find_module, kind=Beit))


_TIMM = r"blocks\.(\d+)\."
_HF = r"(?:beit\.)?(?:encoder\.layer|layers)\.(\d+)\."
_EMBEDDINGS = r"(?:beit\.)?embeddings\."
_BIAS = r"(?:attention\.attention\.)?relative_position_bias\.relative_position_"

_LAYOUTS = (
    KeyMap(
        layout="timm",
        telltale=(r"blocks\.0\.gamma_1", r"blocks\.0\.attn\.q_bias", r"patch_embed\.proj\.weight"),
        rules=(
            (r"(cls_token|pos_embed)", r"\1"),
            (r"rel_pos_bias\.relative_position_bias_table", r"rel_pos_bias.relative_position_bias_table"),
            (r"patch_embed\.proj\.(.+)", r"patch_embed.projection.\1"),
            (rf"{_TIMM}(gamma_[12])", r"layers.\1.\2"),
            (rf"{_TIMM}norm([12])\.(.+)", r"layers.\1.ln\2.\3"),
            (rf"{_TIMM}attn\.(q_bias|v_bias|relative_position_bias_table)", r"layers.\1.attn.\2"),
            (rf"{_TIMM}attn\.(qkv|proj)\.(.+)", r"layers.\1.attn.\2.\3"),
            (rf"{_TIMM}mlp\.fc1\.(.+)", r"layers.\1.ffn.layers.0.0.\2"),
            (rf"{_TIMM}mlp\.fc2\.(.+)", r"layers.\1.ffn.layers.1.\2"),
            (r".+relative_position_index", None),
            (r"norm\.(weight|bias)", r"ln1.\1"),
            (r"(fc_norm|head|lm_head)\.(weight|bias)|mask_token", None),
        ),
        options={"out_indices": "all"},
        optional=LAST_NORM,
    ),
    KeyMap(
        layout="transformers",
        telltale=(rf"{_EMBEDDINGS}cls_token", rf"{_HF}lambda_1"),
        rules=(
            (rf"{_EMBEDDINGS}cls_token", "cls_token"),
            (rf"{_EMBEDDINGS}position_embeddings", "pos_embed"),
            (rf"{_EMBEDDINGS}patch_embeddings\.projection\.(.+)", r"patch_embed.projection.\1"),
            (
                r"(?:beit\.)?(?:encoder\.relative|shared)_position_bias\.relative_position_bias_table",
                "rel_pos_bias.relative_position_bias_table",
            ),
            (rf"{_HF}lambda_([12])", r"layers.\1.gamma_\2"),
            (rf"{_HF}layernorm_before\.(.+)", r"layers.\1.ln1.\2"),
            (rf"{_HF}layernorm_after\.(.+)", r"layers.\1.ln2.\2"),
            (rf"{_HF}{HF_QUERY}\.bias", r"layers.\1.attn.q_bias"),
            (rf"{_HF}{HF_VALUE}\.bias", r"layers.\1.attn.v_bias"),
            (rf"{_HF}{HF_QUERY}\.weight", r"layers.\1.attn.qkv.weight#0"),
            (rf"{_HF}{HF_KEY}\.weight", r"layers.\1.attn.qkv.weight#1"),
            (rf"{_HF}{HF_VALUE}\.weight", r"layers.\1.attn.qkv.weight#2"),
            (rf"{_HF}{_BIAS}bias_table", r"layers.\1.attn.relative_position_bias_table"),
            (rf"{_HF}{HF_OUT}\.(.+)", r"layers.\1.attn.proj.\2"),
            (rf"{_HF}{HF_MLP_IN}\.(.+)", r"layers.\1.ffn.layers.0.0.\2"),
            (rf"{_HF}{HF_MLP_OUT}\.(.+)", r"layers.\1.ffn.layers.1.\2"),
            (r".+relative_position_index", None),
            (r"(?:beit\.)?layernorm\.(weight|bias)", r"ln1.\1"),
            (r"((?:beit\.)?pooler\.layernorm|lm_head|classifier)\.(weight|bias)", None),
            (rf"{_EMBEDDINGS}mask_token", None),
        ),
        transform=join_parts,
        optional=LAST_NORM,
    ),
    KeyMap(
        layout="pre-training",
        telltale=(r"(model\.)?encoder\.layers\.0\.attn\.qkv\.weight", r"(model\.)?lm_head\.weight"),
        rules=(
            (r"(?:model\.)?encoder\.(.+)", r"\1"),
            (r"(?:model\.)?norm\.(weight|bias)", r"ln1.\1"),
            (r"(?:model\.)?(?:mask_token|lm_head\.(?:weight|bias))|tokenizer\..+", None),
            (r"grid", "grid"),
        ),
        transform=resized_bias,
        optional=(*LAST_NORM, "grid"),
    ),
)
"""transformers' taps count the embedding as 1: a segmentation model reads two blocks earlier (`upernet`).
The last is the encoder of our own `pretraining.beit`."""


def _spread(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The table that pre-training shares among the layers, copied to each layer that has one of its own."""
    key = "rel_pos_bias.relative_position_bias_table"
    wanted = model.state_dict().keys()
    if key not in state or key in wanted:
        return state
    each = [own for own in wanted if re.fullmatch(r"layers\.\d+\.attn\.relative_position_bias_table", own)]
    rest = {name: value for name, value in state.items() if name != key}
    return {**rest, **dict.fromkeys(each, state[key])} if each else state


_SHARED = (
    r"(?:(?:model\.)?encoder\.)?rel_pos_bias\.relative_position_bias_table"
    r"|(?:beit\.)?(?:encoder\.relative|shared)_position_bias\.relative_position_bias_table"
)


def _to_each_layer(key_map: KeyMap) -> KeyMap:
    """`key_map` for files with one shared table, into a network with a table a layer (section 2.6)."""

    def transform(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        return _spread(key_map.transform(state, model) if key_map.transform else state, model)

    return replace(
        key_map,
        telltale=(*key_map.telltale, _SHARED),
        transform=transform,
        optional=(*key_map.optional, r"rel_pos_bias\.relative_position_bias_table"),
        identifies=False,
    )


KEY_MAPS = (*_LAYOUTS, *map(_to_each_layer, _LAYOUTS))


def infer_options(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Where positions come in."""
    if "layers.0.attn.relative_position_bias_table" in shapes:
        return {}
    if "rel_pos_bias.relative_position_bias_table" in shapes:
        return {"position": "shared"}
    return {"position": "absolute" if "pos_embed" in shapes else "none"}
