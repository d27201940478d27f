"""MAE's encoder as a segmentation backbone.

He, Chen, Xie, Li, Dollár, Girshick, "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022,
arXiv 2111.06377, section 4 and appendix A.4: a plain ViT with fixed sine-cosine positions, fine-tuned under
UPerNet "with relative position bias (only during transfer learning)". As published by mmsegmentation it also
has two layer scales a block. Pre-training itself is in `segstudio_zoo.pretraining.mae`.
"""

from __future__ import annotations

from functools import partial

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import join_parts
from segstudio_zoo.layers.attention_probe import AttentionProbe, RolloutProbe, find_module
from segstudio_zoo.layers.drop_path import linear_rates
from segstudio_zoo.layers.patch_transformer import PatchTransformer
from segstudio_zoo.layers.position import sine_cosine_table, square_positions, trained_size
from segstudio_zoo.layers.relative_transformer import LayerScaleBlock
from segstudio_zoo.vit_keys import (
    DECODER,
    HF_BLOCK,
    HF_EMBEDDINGS,
    LAST_NORM,
    LAST_NORM_RULE,
    TRANSFORMERS_RULES,
    timm_rules,
)

SIZES: dict[str, tuple[int, int, int, int, tuple[int, ...]]] = {
    "mae-tiny": (192, 12, 3, 16, (3, 5, 7, 11)),
    "mae-base": (768, 12, 12, 16, (3, 5, 7, 11)),
    "mae-large": (1024, 24, 16, 16, (7, 11, 15, 23)),
    "mae-huge": (1280, 32, 16, 14, (7, 15, 23, 31)),
}
"""Channels, blocks, heads, patch, taps. The paper has no tiny size: it is for pre-training without a GPU."""


class MaeEncoder(PatchTransformer):
    """The encoder with positions, bias tables and layer scales; see `PatchTransformer` for what it gives."""

    layer_decay = 0.65
    cuts_patches = True


def build(
    variant: str,
    *,
    output_stride: int | None = None,
    in_channels: int = 3,
    image_size: tuple[int, ...] = (224, 224),
    out_indices: tuple[int, ...] | str | None = None,
    drop_path_rate: float = 0.1,
) -> MaeEncoder:
    """`image_size` (height, width) is what the position tables were trained for; taps count blocks from 0.

    Raises ValueError for an output stride that is not the patch size.
    """
    dim, depth, heads, patch, taps = SIZES[variant]
    if output_stride not in (None, patch):
        raise ValueError(f"{variant} has features at stride {patch} only, not {output_stride}")
    height, width = trained_size(image_size, patch)
    size = (height // patch, width // patch)
    return MaeEncoder(
        [
            LayerScaleBlock(dim, heads, 4 * dim, size, key_bias=True, layer_scale=1.0, drop_path=rate)
            for rate in linear_rates(drop_path_rate, depth)
        ],
        dim=dim,
        patch=patch,
        taps=tuple(range(depth)) if out_indices == "all" else tuple(out_indices or taps),
        in_channels=in_channels,
        positions=sine_cosine_table(dim, size),
        image_size=(height, width),
    )


def attention_probe() -> AttentionProbe:
    """Attention per layer and head, over the patches."""
    return AttentionProbe(partial(find_module, kind=MaeEncoder))


def rollout_probe() -> RolloutProbe:
    """Attention composed over the layers."""
    return RolloutProbe(partial(find_module, kind=MaeEncoder))


def _packed(rules: tuple[tuple[str, str | None], ...]) -> tuple[tuple[str, str | None], ...]:
    """Rules of the plain transformer with this one's names of the attention's two projections."""
    names = (("attn.attn.in_proj_", "attn.qkv."), ("attn.attn.out_proj.", "attn.proj."))
    changed = []
    for pattern, to in rules:
        for theirs, ours in names:
            to = to and to.replace(theirs, ours)
        changed.append((pattern, to))
    return tuple(changed)


KEY_MAPS = (
    KeyMap(
        layout="timm",
        telltale=(r"blocks\.0\.attn\.qkv\.weight", r"patch_embed\.proj\.weight", r"pos_embed"),
        rules=(
            *_packed(timm_rules()),
            LAST_NORM_RULE,
            (r"(fc_norm|head|head_dist|pre_logits\.fc)\.(weight|bias)", None),
            (DECODER, None),
        ),
        optional=LAST_NORM,
        identifies=False,
    ),
    KeyMap(
        layout="transformers",
        telltale=(rf"{HF_EMBEDDINGS}cls_token", rf"{HF_BLOCK}layernorm_before\.weight"),
        rules=(LAST_NORM_RULE, *_packed(TRANSFORMERS_RULES)),
        transform=join_parts,
        optional=LAST_NORM,
        identifies=False,
    ),
    KeyMap(
        layout="pre-training",
        telltale=(r"encoder\.layers\.0\.attn\.attn\.in_proj_weight", r"decoder_pred\.weight"),
        rules=(
            (r"encoder\.(layers\.\d+\.attn)\.attn\.in_proj_(weight|bias)", r"\1.qkv.\2"),
            (r"encoder\.(layers\.\d+\.attn)\.attn\.out_proj\.(weight|bias)", r"\1.proj.\2"),
            (r"encoder\.(.+)", r"\1"),
            (DECODER, None),
        ),
        transform=square_positions,
        optional=LAST_NORM,
        identifies=False,
    ),
)
"""Encoders before fine-tuning, to start from: bias tables and layer scales are missing and stay as drawn.

The authors' repository and timm share their names; the last is the encoder of our own `pretraining.mae`.
"""
