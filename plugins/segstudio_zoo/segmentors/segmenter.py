"""Segmenter: class tokens and patches through a transformer, masks as their products.

Strudel, Garcia, Laptev, Schmid, "Segmenter: Transformer for Semantic Segmentation", ICCV 2021, arXiv
2105.05633: section 3.1 (the ViT or DeiT encoder), section 3.2.1 (linear decoder), section 3.2.2 and figure 2
(mask transformer: K class embeddings join the N patches in two blocks; masks are the scalar products of
normalised patches (N x D) and class embeddings (D x K)).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.attention import AttentionRecord, recording
from segstudio_zoo.layers.attention_cost import attention_cost
from segstudio_zoo.layers.fcn_head import FCNHead
from segstudio_zoo.layers.segmentor import EncoderDecoder, SegmentationHead
from segstudio_zoo.layers.tokens import to_tokens
from segstudio_zoo.layers.transformer import TransformerBlock

HEAD_WIDTH = 64


class MaskTransformer(SegmentationHead):
    """Section 3.2.2. Keys as published: dec_proj, cls_emb, layers, decoder_norm, patch_proj, classes_proj."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        depth: int = 2,
        dim: int | None = None,
        align_corners: bool = False,
        drop_path_rate: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        dim = dim or in_channels
        super().__init__(dim, num_classes, align_corners=align_corners, dropout=0.0)
        del self.conv_seg  # the masks are the logits
        self.dec_proj = nn.Linear(in_channels, dim)
        self.cls_emb = nn.Parameter(torch.zeros(1, num_classes, dim))
        heads = max(dim // HEAD_WIDTH, 1)
        self.layers = nn.ModuleList(
            TransformerBlock(dim, heads, 4 * dim, eps=eps, drop_path=drop_path_rate) for _ in range(depth)
        )
        self.decoder_norm = nn.LayerNorm(dim, eps)
        self.patch_proj = nn.Linear(dim, dim, bias=False)
        self.classes_proj = nn.Linear(dim, dim, bias=False)
        self.mask_norm = nn.LayerNorm(num_classes, eps)
        self.norm_masks = True
        self.recorders: list[list[Tensor]] = []
        nn.init.trunc_normal_(self.cls_emb, std=0.02)
        for projection in (self.patch_proj, self.classes_proj):
            nn.init.normal_(projection.weight, std=dim**-0.5)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The last map (N, C, h, w) -> masks (N, K, h, w)."""
        x = features[-1]
        size = (x.shape[2], x.shape[3])
        tokens = self.dec_proj(to_tokens(x))
        tokens = torch.cat([tokens, self.cls_emb.expand(tokens.shape[0], -1, -1)], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = self.decoder_norm(tokens)
        patches, classes = tokens.split([size[0] * size[1], self.num_classes], dim=1)
        patches = F.normalize(self.patch_proj(patches), dim=2)
        classes = F.normalize(self.classes_proj(classes), dim=2)
        with torch.autocast(x.device.type, enabled=False):  # the norm below magnifies small differences
            products = _exact(patches) @ _exact(classes).transpose(1, 2)  # (N, h w, K), cosines
            normed = self._normed(products)
        for kept in self.recorders:
            kept[:] = [products[0].detach().clone(), normed[0].detach().clone()]
        masks = (normed if self.norm_masks else products).to(x.dtype)
        return masks.transpose(1, 2).unflatten(2, size)

    def _normed(self, products: Tensor) -> Tensor:
        norm = self.mask_norm
        return F.layer_norm(products, norm.normalized_shape, _exact(norm.weight), _exact(norm.bias), norm.eps)


def _exact(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    decoder: str = "mask",
    decoder_depth: int = 2,
    dropout: float = 0.0,
) -> EncoderDecoder:
    """Segmenter on the last block of a plain transformer, or the last map of any backbone.

    `decoder` is "mask" or "linear"; raises ValueError for another.
    """
    if decoder not in ("mask", "linear"):
        raise ValueError(f"decoder is {decoder!r}; it is 'mask' or 'linear'")
    take = getattr(backbone, "take", None)
    if take is not None:
        take((-1,), final_norm=True)
    width = backbone.features[-1].channels
    head: SegmentationHead
    if decoder == "mask":
        head = MaskTransformer(width, num_classes, depth=decoder_depth, align_corners=align_corners)
    else:
        head = FCNHead(
            width,
            width,
            num_classes,
            num_convs=0,
            concat_input=False,
            align_corners=align_corners,
            dropout=dropout,
        )
    return EncoderDecoder(backbone, head, num_classes=num_classes, align_corners=align_corners)


_BLOCK = r"decoder\.blocks\.(\d+)\."

KEY_MAPS = (
    KeyMap(
        layout="authors",
        telltale=(r"encoder\.blocks\.0\.attn\.qkv\.weight", r"decoder\.(cls_emb|head\.weight)"),
        rules=(
            (r"encoder\.(head|pre_logits\.fc)\.(weight|bias)", None),
            (r"encoder\.(.+)", r"backbone.\1"),
            (r"decoder\.head\.(weight|bias)", r"decode_head.conv_seg.\1"),
            (r"decoder\.cls_emb", r"decode_head.cls_emb"),
            (r"decoder\.proj_dec\.(.+)", r"decode_head.dec_proj.\1"),
            (r"decoder\.proj_patch", r"decode_head.patch_proj.weight"),
            (r"decoder\.proj_classes", r"decode_head.classes_proj.weight"),
            (r"decoder\.(decoder_norm|mask_norm)\.(.+)", r"decode_head.\1.\2"),
            (rf"{_BLOCK}norm([12])\.(.+)", r"decode_head.layers.\1.ln\2.\3"),
            (rf"{_BLOCK}attn\.qkv\.(.+)", r"decode_head.layers.\1.attn.attn.in_proj_\2"),
            (rf"{_BLOCK}attn\.proj\.(.+)", r"decode_head.layers.\1.attn.attn.out_proj.\2"),
            (rf"{_BLOCK}mlp\.fc1\.(.+)", r"decode_head.layers.\1.ffn.layers.0.0.\2"),
            (rf"{_BLOCK}mlp\.fc2\.(.+)", r"decode_head.layers.\1.ffn.layers.1.\2"),
        ),
        transform=lambda state, model: _authors_shapes(state),
        inner="authors",
    ),
)


def _authors_shapes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors multiply by `proj_patch` from the right; a linear layer keeps the transpose."""
    changed = dict(state)
    for key in ("decode_head.patch_proj.weight", "decode_head.classes_proj.weight"):
        if key in changed:
            changed[key] = changed[key].T
    head = changed.get("decode_head.conv_seg.weight")
    if head is not None and head.ndim == 2:
        changed["decode_head.conv_seg.weight"] = head[:, :, None, None]
    return changed


def infer_options(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Which decoder it is, how deep, and for how many classes."""
    embedding = shapes.get("decode_head.cls_emb")
    if embedding is None:
        return {"decoder": "linear"}
    depth = len({key.split(".")[2] for key in shapes if key.startswith("decode_head.layers.")})
    return {"num_classes": int(embedding[1]), "decoder_depth": depth}


# What a person can look at -------------------------------------------------------------------------------


def _decoder(model: nn.Module) -> MaskTransformer:
    head = getattr(model, "decode_head", None)
    if not isinstance(head, MaskTransformer):
        raise ValueError("This Segmenter has the linear decoder: there are no class tokens.")
    return head


@dataclass
class CapturedDecoder:
    """Queries and keys of the decoder's blocks, and the products of patches and classes of the last run."""

    records: list[AttentionRecord | None] = field(default_factory=list)
    products: list[Tensor] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    stride: float = 16.0

    @property
    def nbytes(self) -> int:
        kept = sum(record.nbytes for record in self.records if record is not None)
        return kept + sum(x.nbytes for x in self.products)


class _DecoderProbe:
    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedDecoder]:
        """While open, a run of `model` fills what is returned."""
        decoder = _decoder(model)
        captured = CapturedDecoder(stride=float(model.get_submodule("backbone").features[-1].stride))

        def note_size(module: nn.Module, arguments: tuple[Sequence[Tensor], ...]) -> None:
            captured.size = (arguments[0][-1].shape[2], arguments[0][-1].shape[3])

        handle = decoder.register_forward_pre_hook(note_size)
        decoder.recorders.append(captured.products)
        try:
            with recording(layer.attention for layer in decoder.layers) as records:
                captured.records = records
                yield captured
        finally:
            decoder.recorders[:] = [kept for kept in decoder.recorders if kept is not captured.products]
            handle.remove()


def _class_index(captured: CapturedDecoder, query: Query) -> int:
    if not captured.products:
        raise ValueError("Nothing is kept yet: run the model on the picture first.")
    classes = captured.products[0].shape[1]
    if not 0 <= query.index < classes:
        raise ValueError(f"There is no class {query.index}; classes are 0 to {classes - 1}.")
    return query.index


class ClassTokenProbe(_DecoderProbe):
    """Attention of one class token to the patches, in a block of the mask transformer."""

    def map(self, captured: CapturedDecoder, query: Query, *, block: int = 0, head: int = 0) -> ProbeMap:
        """`block` and `head` count from 1; 0 is the last block, and the mean over heads."""
        index = _class_index(captured, query)
        if not 0 <= block <= len(captured.records):
            raise ValueError(f"There is no block {block}; blocks are 1 to {len(captured.records)}.")
        record = captured.records[block - 1]
        assert record is not None
        if not 0 <= head <= record.heads:
            raise ValueError(f"There is no head {head}; heads are 1 to {record.heads}.")
        patches = captured.size[0] * captured.size[1]
        row = record.row(patches + index, head - 1 if head else None)
        return ProbeMap(
            row[:patches].reshape(captured.size).float().cpu().numpy(),
            stride=(captured.stride, captured.stride),
            extras={
                "class_tokens": row[patches:].float().cpu().numpy(),
                **attention_cost(
                    record.heads * record.query.shape[1] ** 2,
                    record.query.shape[1],
                    record.query,
                    groups=record.heads,
                ),
            },
        )


class MaskProductProbe(_DecoderProbe):
    """The scalar products of one class with all patches, before or after the norm over classes."""

    def map(self, captured: CapturedDecoder, query: Query, *, normed: bool = False) -> ProbeMap:
        """Cosines in [-1, 1], or with `normed` the logits."""
        index = _class_index(captured, query)
        values = captured.products[1 if normed else 0][:, index].reshape(captured.size)
        return ProbeMap(values.float().cpu().numpy(), stride=(captured.stride, captured.stride), signed=True)


def class_token_probe() -> ClassTokenProbe:
    """The probe, for the catalog to name."""
    return ClassTokenProbe()


def mask_product_probe() -> MaskProductProbe:
    """The probe, for the catalog to name."""
    return MaskProductProbe()


@contextmanager
def mask_norm_switch(model: nn.Module, value: str) -> Iterator[None]:
    """Gives masks after the layer norm over classes ("on") or the bare products ("off")."""
    if value not in ("on", "off"):
        raise ValueError(f"The norm over classes can be on or off, not {value!r}.")
    decoder = _decoder(model)
    before = decoder.norm_masks
    try:
        decoder.norm_masks = value == "on"
        yield
    finally:
        decoder.norm_masks = before
