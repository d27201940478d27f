"""Masked autoencoder pre-training.

He, Chen, Xie, Li, Dollár, Girshick, "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022,
arXiv 2111.06377, section 3: the encoder sees the visible patches only; a light decoder gets their codes and
mask tokens, with positions, and predicts pixels; the loss is the mean squared error on masked patches, of raw
or of per-patch normalised pixels.

The encoder's keys are those of `vit-*` (prefix "encoder."), so that what was learned loads there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segstudio.plugin_api import Loss, Pictures
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
from segstudio_zoo.layers.param_groups import transformer_groups
from segstudio_zoo.layers.patch_transformer import PatchTransformer
from segstudio_zoo.layers.position import sine_cosine_table
from segstudio_zoo.layers.transformer import TransformerBlock
from segstudio_zoo.pretraining.masking import Masking
from segstudio_zoo.pretraining.patches import (
    checked_mask,
    covered,
    drawn_masks,
    grid_of,
    looking,
    patchify,
    unpatchify,
)

EPS = 1e-6

SIZES: dict[str, tuple[int, int, int, int]] = {
    "tiny": (192, 12, 3, 16),
    "base": (768, 12, 12, 16),
    "large": (1024, 24, 16, 16),
    "huge": (1280, 32, 16, 14),
}
"""Channels, blocks, heads, patch of the encoders (section 4); the tiny one is for training without a GPU."""

DECODERS: dict[str, tuple[int, int]] = {"tiny": (128, 2)}
"""Channels and blocks of decoders other than the paper's (512, 8)."""

HEAD = 32
"""Channels of a head of the decoder."""


NORMALISED = (
    "Hidden patches are painted with the originals' mean and contrast, which the network does not predict."
)


@dataclass(frozen=True)
class Reconstruction:
    """`prediction` (N, L, p p 3) for every patch, `mask` (N, L) float with 1 = masked, `loss` over these.

    `error` (N, L): each patch's mean squared error, whether it was masked or not.
    """

    prediction: Tensor
    mask: Tensor
    loss: Loss
    error: Tensor


class MaskedAutoencoder(nn.Module):
    """Encoder on visible patches, decoder on all (figure 1). A `PretrainingModel`."""

    network_files = ("segstudio_zoo.pretraining.mae", "")

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        patch: int,
        image_size: tuple[int, int],
        hidden: int | None = None,
        in_channels: int = 3,
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        decoder_hidden: int | None = None,
        mask_ratio: float = 0.75,
        masking: Masking = "random",
        normalise_pixels: bool = True,
    ) -> None:
        super().__init__()
        size = grid_of(image_size, patch)
        self.image_size, self.cell = image_size, patch
        self.size, self.patch, self.in_channels = size, patch, in_channels
        self.mask_ratio, self.masking, self.normalise_pixels = mask_ratio, masking, normalise_pixels
        self.encoder = PatchTransformer(
            [TransformerBlock(dim, heads, hidden or 4 * dim, eps=EPS) for _ in range(depth)],
            dim=dim,
            patch=patch,
            taps=(-1,),
            in_channels=in_channels,
            positions=sine_cosine_table(dim, size),
            train_positions=False,
            final_norm=True,
            eps=EPS,
            image_size=image_size,
        )
        self.decoder_embed = nn.Linear(dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        nn.init.normal_(self.mask_token, std=0.02)
        self.decoder_pos_embed = nn.Parameter(sine_cosine_table(decoder_dim, size), requires_grad=False)
        self.decoder_layers = nn.ModuleList(
            TransformerBlock(decoder_dim, decoder_heads, decoder_hidden or 4 * decoder_dim, eps=EPS)
            for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, EPS)
        self.decoder_pred = nn.Linear(decoder_dim, patch * patch * in_channels)

    def forward(
        self, image: Tensor, *, noise: Tensor | None = None, hidden: Tensor | None = None
    ) -> Reconstruction:
        """`image` (N, 3, H, W) normalised, at the size this network was built for.

        `noise` (N, L) decides which patches stay: those with the smallest values. `hidden` (N, L) bool says
        it outright, with any number that is the same for all pictures. One is drawn unless given.
        Raises ValueError for another image size, or where pictures hide different numbers.
        """
        tokens, size = self.encoder.embed(image)
        if size != self.size:
            raise ValueError(
                f"The picture has {size[0]}x{size[1]} patches, not {self.size[0]}x{self.size[1]}."
            )
        patches = tokens[:, 1:]
        count, length, dim = patches.shape
        shown = int(length * (1.0 - self.mask_ratio))
        if hidden is not None:
            numbers = set(hidden.sum(dim=1).tolist())
            if len(numbers) != 1:
                raise ValueError(f"Pictures of one batch hide {sorted(numbers)} patches; it is one number.")
            shown, noise = length - int(numbers.pop()), hidden.float()
        if noise is None:
            noise = self.draw_noise(count, patches.device)
        order = noise.argsort(dim=1)
        place = order.argsort(dim=1)
        kept = order[:, :shown]
        visible = patches.gather(1, kept[:, :, None].expand(-1, -1, dim))
        mask = torch.ones(count, length, dtype=image.dtype, device=image.device).scatter(1, kept, 0.0)

        x = torch.cat([tokens[:, :1], visible], dim=1)
        for block in self.encoder.layers:
            x = block(x)
        assert self.encoder.ln1 is not None
        x = self.decoder_embed(self.encoder.ln1(x))

        holes = self.mask_token.expand(count, length - shown, -1)
        shuffled = torch.cat([x[:, 1:], holes], dim=1)
        whole = shuffled.gather(1, place[:, :, None].expand(-1, -1, shuffled.shape[2]))
        x = torch.cat([x[:, :1], whole], dim=1) + self.decoder_pos_embed
        for block in self.decoder_layers:
            x = block(x)
        prediction = self.decoder_pred(self.decoder_norm(x))[:, 1:]

        error = (prediction - self.target(image)).square().mean(dim=-1)
        return Reconstruction(prediction, mask, Loss((error * mask).sum(), mask.sum()), error)

    def draw_noise(self, count: int, device: torch.device) -> Tensor:
        """(count, L) whose smallest values are the patches that stay, by this network's way of masking."""
        if self.masking == "random":
            return torch.rand(count, self.size[0] * self.size[1], device=device)
        seed = int(torch.randint(0, 2**31 - 1, ()))
        return (
            drawn_masks(self.masking, self.size, self.mask_ratio, count, seed).flatten(1).float().to(device)
        )

    def target(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> what is predicted, (N, L, p p 3): rows of pixels, channel last."""
        pixels = patchify(image, self.patch)
        if not self.normalise_pixels:
            return pixels
        mean = pixels.mean(dim=-1, keepdim=True)
        return (pixels - mean) / (pixels.var(dim=-1, keepdim=True) + EPS).sqrt()

    def losses(self, image: Tensor) -> dict[str, Loss]:
        """The loss on a batch, with masks drawn."""
        return {"reconstruction": self(image).loss}

    def picture(self, image: Tensor, found: Reconstruction) -> Tensor:
        """The reconstruction as a picture (N, 3, H, W): visible patches as they are, masked ones predicted.

        Where pixels were normalised, each patch's own mean and deviation are put back.
        """
        pixels = patchify(image, self.patch)
        predicted = found.prediction
        if self.normalise_pixels:
            mean = pixels.mean(dim=-1, keepdim=True)
            predicted = predicted * (pixels.var(dim=-1, keepdim=True) + EPS).sqrt() + mean
        return unpatchify(torch.where(found.mask[:, :, None] > 0, predicted, pixels), self.patch, self.size)

    def pictures(
        self,
        image: Tensor,
        hidden: Tensor | None = None,
        *,
        ratio: float | None = None,
        masking: Masking | None = None,
        seed: int = 0,
    ) -> Pictures:
        """Views "masked" and "reconstruction"; `error` is the loss of each hidden patch, 0 of the others.

        `hidden` (N, rows, columns) may hide any number that is the same for all pictures.
        """
        if hidden is None:
            wanted = self.mask_ratio if ratio is None else ratio
            hidden = drawn_masks(masking or self.masking, self.size, wanted, len(image), seed)
        hidden = checked_mask(hidden, len(image), self.size).to(image.device)
        with looking(self):
            found = self(image, hidden=hidden.flatten(1))
            views = {
                "masked": covered(image, hidden, self.patch),
                "reconstruction": self.picture(image, found),
            }
        error = (found.error * found.mask).unflatten(1, self.size)
        return Pictures(views, hidden, error, (NORMALISED,) if self.normalise_pixels else ())

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """One rate; norms, biases and tokens are not decayed; AdamW's betas as in table 8."""
        return [{**group, "betas": (0.9, 0.95)} for group in transformer_groups(self, lr)]

    def advance(self, fraction: float) -> None:
        """Nothing here changes while training goes on."""


def build(
    size: str = "base",
    *,
    image_size: tuple[int, int] = (224, 224),
    mask_ratio: float = 0.75,
    masking: Masking = "random",
    normalise_pixels: bool = True,
    decoder_dim: int = 512,
    decoder_depth: int = 8,
    decoder_heads: int = 16,
) -> MaskedAutoencoder:
    """One of `SIZES`, with the paper's decoder (8 blocks of 512 channels) unless told."""
    dim, depth, heads, patch = SIZES[size]
    return MaskedAutoencoder(
        dim,
        depth,
        heads,
        patch=patch,
        image_size=image_size,
        mask_ratio=mask_ratio,
        masking=masking,
        normalise_pixels=normalise_pixels,
        decoder_dim=decoder_dim,
        decoder_depth=decoder_depth,
        decoder_heads=decoder_heads,
    )


def build_named(
    name: str,
    *,
    image_size: tuple[int, ...] = (224, 224),
    mask_ratio: float = 0.75,
    masking: Masking = "random",
    normalise_pixels: bool = True,
    decoder_dim: int | None = None,
    decoder_depth: int | None = None,
) -> MaskedAutoencoder:
    """ "mae-pretraining-<size>" of the catalog; the decoder's heads have 32 channels as the paper's.

    Raises ValueError where the decoder's channels are no multiple of that.
    """
    size = name.rpartition("-")[2]
    dim, depth = DECODERS.get(size, (512, 8))
    dim, depth = decoder_dim or dim, decoder_depth or depth
    if dim % HEAD:
        raise ValueError(f"decoder_dim is {dim}; it is a multiple of {HEAD}")
    height, width = image_size if len(image_size) == 2 else (image_size[0], image_size[0])
    return build(
        size,
        image_size=(height, width),
        mask_ratio=mask_ratio,
        masking=masking,
        normalise_pixels=normalise_pixels,
        decoder_dim=dim,
        decoder_depth=depth,
        decoder_heads=dim // HEAD,
    )


def _transformers_block(source: str, target: str) -> tuple[tuple[str, str | None], ...]:
    return (
        (rf"{source}layernorm_before\.(.+)", rf"{target}ln1.\2"),
        (rf"{source}layernorm_after\.(.+)", rf"{target}ln2.\2"),
        (rf"{source}{HF_QUERY}\.(.+)", rf"{target}attn.attn.in_proj_\2#0"),
        (rf"{source}{HF_KEY}\.(.+)", rf"{target}attn.attn.in_proj_\2#1"),
        (rf"{source}{HF_VALUE}\.(.+)", rf"{target}attn.attn.in_proj_\2#2"),
        (rf"{source}{HF_OUT}\.(.+)", rf"{target}attn.attn.out_proj.\2"),
        (rf"{source}{HF_MLP_IN}\.(.+)", rf"{target}ffn.layers.0.0.\2"),
        (rf"{source}{HF_MLP_OUT}\.(.+)", rf"{target}ffn.layers.1.\2"),
    )


def _authors_block(source: str, target: str) -> tuple[tuple[str, str | None], ...]:
    return (
        (rf"{source}norm([12])\.(.+)", rf"{target}ln\2.\3"),
        (rf"{source}attn\.qkv\.(.+)", rf"{target}attn.attn.in_proj_\2"),
        (rf"{source}attn\.proj\.(.+)", rf"{target}attn.attn.out_proj.\2"),
        (rf"{source}mlp\.fc1\.(.+)", rf"{target}ffn.layers.0.0.\2"),
        (rf"{source}mlp\.fc2\.(.+)", rf"{target}ffn.layers.1.\2"),
    )


KEY_MAPS = (
    KeyMap(
        layout="transformers",
        telltale=(r"vit\.embeddings\.cls_token", r"decoder\.mask_token"),
        rules=(
            (r"vit\.embeddings\.cls_token", "encoder.cls_token"),
            (r"vit\.embeddings\.position_embeddings", "encoder.pos_embed"),
            (r"vit\.embeddings\.patch_embeddings\.projection\.(.+)", r"encoder.patch_embed.projection.\1"),
            *_transformers_block(r"vit\.(?:encoder\.layer|layers)\.(\d+)\.", r"encoder.layers.\1."),
            (r"vit\.layernorm\.(.+)", r"encoder.ln1.\1"),
            (r"decoder\.(mask_token|decoder_pos_embed)", r"\1"),
            (r"decoder\.(decoder_embed|decoder_norm|decoder_pred)\.(.+)", r"\1.\2"),
            *_transformers_block(r"decoder\.decoder_layers\.(\d+)\.", r"decoder_layers.\1."),
        ),
        transform=join_parts,
    ),
    KeyMap(
        layout="authors",
        telltale=(r"blocks\.0\.attn\.qkv\.weight", r"decoder_blocks\.0\.attn\.qkv\.weight"),
        rules=(
            (r"(cls_token|pos_embed)", r"encoder.\1"),
            (r"patch_embed\.proj\.(.+)", r"encoder.patch_embed.projection.\1"),
            *_authors_block(r"blocks\.(\d+)\.", r"encoder.layers.\1."),
            (r"norm\.(.+)", r"encoder.ln1.\1"),
            (r"(mask_token|decoder_pos_embed)", r"\1"),
            (r"(decoder_embed|decoder_norm|decoder_pred)\.(.+)", r"\1.\2"),
            *_authors_block(r"decoder_blocks\.(\d+)\.", r"decoder_layers.\1."),
        ),
    ),
)
