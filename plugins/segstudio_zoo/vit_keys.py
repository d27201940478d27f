"""How others name the keys of a vision transformer's trunk: shared by the plain and the hybrid one."""

from __future__ import annotations

from segstudio_zoo.key_transforms import (
    HF_KEY,
    HF_MLP_IN,
    HF_MLP_OUT,
    HF_OUT,
    HF_QUERY,
    HF_VALUE,
)


def timm_rules(source: str = "", target: str = "") -> tuple[tuple[str, str | None], ...]:
    """The keys that timm, DeiT and the authors of Segmenter use for the trunk, behind a prefix."""
    block = rf"{source}blocks\.(\d+)\."
    to = rf"{target}layers.\1."
    return (
        (rf"{source}(cls_token|pos_embed)", rf"{target}\1"),
        (rf"{source}patch_embed\.proj\.(weight|bias)", rf"{target}patch_embed.projection.\1"),
        (rf"{block}norm([12])\.(weight|bias)", rf"{to}ln\2.\3"),
        (rf"{block}attn\.qkv\.(weight|bias)", rf"{to}attn.attn.in_proj_\2"),
        (rf"{block}attn\.proj\.(weight|bias)", rf"{to}attn.attn.out_proj.\2"),
        (rf"{block}mlp\.fc1\.(weight|bias)", rf"{to}ffn.layers.0.0.\2"),
        (rf"{block}mlp\.fc2\.(weight|bias)", rf"{to}ffn.layers.1.\2"),
    )


HF_BLOCK = r"(?:vit\.)?(?:encoder\.layer|layers)\.(\d+)\."
HF_EMBEDDINGS = r"(?:vit\.)?embeddings\."
TRANSFORMERS_RULES: tuple[tuple[str, str | None], ...] = (
    (rf"{HF_EMBEDDINGS}cls_token", "cls_token"),
    (rf"{HF_EMBEDDINGS}position_embeddings", "pos_embed"),
    (rf"{HF_EMBEDDINGS}patch_embeddings\.projection\.(.+)", r"patch_embed.projection.\1"),
    (rf"{HF_BLOCK}layernorm_before\.(.+)", r"layers.\1.ln1.\2"),
    (rf"{HF_BLOCK}layernorm_after\.(.+)", r"layers.\1.ln2.\2"),
    (rf"{HF_BLOCK}{HF_QUERY}\.(.+)", r"layers.\1.attn.attn.in_proj_\2#0"),
    (rf"{HF_BLOCK}{HF_KEY}\.(.+)", r"layers.\1.attn.attn.in_proj_\2#1"),
    (rf"{HF_BLOCK}{HF_VALUE}\.(.+)", r"layers.\1.attn.attn.in_proj_\2#2"),
    (rf"{HF_BLOCK}{HF_OUT}\.(.+)", r"layers.\1.attn.attn.out_proj.\2"),
    (rf"{HF_BLOCK}{HF_MLP_IN}\.(.+)", r"layers.\1.ffn.layers.0.0.\2"),
    (rf"{HF_BLOCK}{HF_MLP_OUT}\.(.+)", r"layers.\1.ffn.layers.1.\2"),
    (r"(?:vit\.)?(?:layernorm|pooler\.dense)\.(weight|bias)", None),
    (r"decoder\..+|classifier\.(weight|bias)", None),  # MAE's pre-training decoder
)
TORCHVISION_BLOCK = r"encoder\.layers\.encoder_layer_(\d+)\."
TORCHVISION_RULES: tuple[tuple[str, str | None], ...] = (
    (r"class_token", "cls_token"),
    (r"encoder\.pos_embedding", "pos_embed"),
    (r"conv_proj\.(.+)", r"patch_embed.projection.\1"),
    (rf"{TORCHVISION_BLOCK}ln_([12])\.(.+)", r"layers.\1.ln\2.\3"),
    (rf"{TORCHVISION_BLOCK}self_attention\.(.+)", r"layers.\1.attn.attn.\2"),
    (rf"{TORCHVISION_BLOCK}mlp\.(?:0|linear_1)\.(.+)", r"layers.\1.ffn.layers.0.0.\2"),
    (rf"{TORCHVISION_BLOCK}mlp\.(?:3|linear_2)\.(.+)", r"layers.\1.ffn.layers.1.\2"),
    (r"encoder\.ln\.(weight|bias)", r"ln1.\1"),
    (r"heads\.(?:head|pre_logits)\.(weight|bias)", None),
)
LAST_NORM = (r"ln1\.(weight|bias)",)
"""The norm behind the last block, which a trunk that gives the blocks' own outputs lacks."""

LAST_NORM_RULE = (r"(?:(?:vit\.)?layernorm|norm|encoder\.ln1)\.(weight|bias)", r"ln1.\1")
"""It by others' names, for networks to be trained that have one."""

DECODER = r"mask_token|decoder_(embed|norm|pred)\..+|decoder_pos_embed|decoder_(blocks|layers)\..+"
"""What belongs to MAE's pre-training alone, in its authors' names and in ours."""
