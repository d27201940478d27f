"""BEiT pre-training as one network: a frozen tokenizer beside the model that predicts its tokens.

Bao, Dong, Piao, Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022, arXiv 2106.08254, section
2.3: a picture is seen twice, as patches by the transformer and as tokens by the discrete VAE's encoder, here
on the picture at half its size, so that patches of 16 meet tokens of stride 8 (section 2.5: 112 for 224).
Deviation: the half is averaged from the pixels that the transformer sees; the authors resize the crop itself.

The tokenizer is part of the state ("tokenizer."), so that a file of weights can be painted later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import Loss, Pictures, Preprocess
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.param_groups import transformer_groups
from segstudio_zoo.pretraining.beit import KEY_MAPS as MODEL_MAPS
from segstudio_zoo.pretraining.beit import MASK_RATIO, VOCABULARY, MaskedImageModel, Prediction, build
from segstudio_zoo.pretraining.discrete_vae import STRIDE, Tokenizer, whole_tokenizer
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

NO_TOKENIZER = (
    "BEiT predicts visual tokens and has no tokenizer: choose a file of one, trained here as dvae or in the "
    "layout of flava-image-codebook, or the target pixels."
)
NO_DECODER = "This tokenizer has no decoder, so that predicted tokens cannot be painted."


class BeitPretraining(nn.Module):
    """`model` learns what `tokenizer` (None for the target "pixels") says. A `PretrainingModel`."""

    network_files = ("segstudio_zoo.pretraining.visual_tokens", "")

    def __init__(
        self,
        model: MaskedImageModel,
        tokenizer: Tokenizer | None,
        *,
        image_size: tuple[int, int],
        preprocess: Preprocess,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.cell = model.encoder.patch
        self.image_size = image_size
        self.size = grid_of(image_size, self.cell)
        self.register_buffer("grid", torch.tensor(self.size))
        mean, deviation = (torch.tensor(values) for values in (preprocess.mean, preprocess.std))
        self.register_buffer("mean", mean.view(3, 1, 1) / 255, persistent=False)
        self.register_buffer("deviation", deviation.view(3, 1, 1) / 255, persistent=False)

    def train(self, mode: bool = True) -> BeitPretraining:
        super().train(mode)
        if self.tokenizer is not None:
            self.tokenizer.eval()
        return self

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Takes tokenizer, vocabulary and target from the file where this was built without a tokenizer."""
        if self.tokenizer is None:
            self._prepare_for(state_dict)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def _prepare_for(self, state: Mapping[str, Tensor]) -> None:
        own = {k.removeprefix("tokenizer."): v for k, v in state.items() if k.startswith("tokenizer.")}
        head = self.model.lm_head
        if own:
            self.tokenizer = whole_tokenizer(own).to(head.weight.device)
        width = len(state.get("model.lm_head.bias", head.bias))
        if not own and width == self.cell**2 * 3:
            self.model.target = "pixels"
        if width != head.out_features:
            self.model.lm_head = nn.Linear(head.in_features, width, device=head.weight.device)

    def tokens(self, image: Tensor) -> Tensor:
        """Normalised pictures (N, 3, H, W) -> the tokens of their patches (N, L) int64."""
        if self.tokenizer is None:
            raise ValueError(NO_TOKENIZER)
        with torch.no_grad():
            whole = (image * self.deviation + self.mean).clamp(0, 1)
            return self.tokenizer.tokens(F.avg_pool2d(whole, self.cell // STRIDE)).flatten(1)

    def painted(self, tokens: Tensor) -> Tensor:
        """Tokens (N, L) -> normalised pictures (N, 3, H, W), at twice the size the decoder paints them."""
        assert self.tokenizer is not None
        small = self.tokenizer.paint(tokens.unflatten(1, self.size))
        large = F.interpolate(small, size=self.image_size, mode="bilinear", align_corners=False)
        return (large - self.mean) / self.deviation

    def target(self, image: Tensor) -> Tensor:
        """What is predicted: (N, L) int64 tokens, or (N, L, p p 3) normalised pixels."""
        return self.tokens(image) if self.model.target == "tokens" else patchify(image, self.cell)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Prediction:
        """What the model predicts of `image` (N, 3, H, W) behind `mask` (N, L), drawn unless given."""
        return self.model(image, mask)

    def losses(self, image: Tensor) -> dict[str, Loss]:
        """ "mim": cross-entropy over the vocabulary (equation 1), or squared error of pixels."""
        return self.model.losses(image, self.target(image))

    def pictures(
        self,
        image: Tensor,
        hidden: Tensor | None = None,
        *,
        ratio: float | None = None,
        masking: Masking | None = None,
        seed: int = 0,
    ) -> Pictures:
        """Views "masked", "predicted" (the visible tokens and those predicted, painted) and "tokenizer" (the
        true tokens painted: the best there can be); for pixels "masked" and "reconstruction".

        `error` is the loss of each hidden patch, 0 of the others.
        """
        model = self.model
        if hidden is None:
            wanted = model.mask_ratio if ratio is None else ratio
            hidden = drawn_masks(masking or model.masking, self.size, wanted, len(image), seed)
        hidden = checked_mask(hidden, len(image), self.size).to(image.device)
        with looking(self):
            target = self.target(image)
            found = model(image, hidden.flatten(1))
            views, notes = self._views(image, target, found)
            if model.target == "tokens":
                error = F.cross_entropy(found.logits.transpose(1, 2), target, reduction="none")
            else:
                error = (found.logits - target).square().mean(-1)
        views = {"masked": covered(image, hidden, self.cell), **views}
        return Pictures(views, hidden, (error * found.mask).unflatten(1, self.size), notes)

    def _views(
        self, image: Tensor, target: Tensor, found: Prediction
    ) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        if self.model.target == "pixels":
            pixels = torch.where(found.mask[:, :, None], found.logits, target)
            return {"reconstruction": unpatchify(pixels, self.cell, self.size)}, ()
        assert self.tokenizer is not None
        right = (found.logits.argmax(-1) == target) & found.mask
        said = f"{int(right.sum())} of {int(found.mask.sum())} hidden tokens are predicted exactly."
        if self.tokenizer.decoder is None:
            return {}, (said, NO_DECODER)
        completed = self.model.completed(target, found)
        return {"predicted": self.painted(completed), "tokenizer": self.painted(target)}, (said,)

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """One rate; norms, biases, tokens, tables and layer scales are not decayed.

        Raises ValueError where there is nothing to predict: no tokenizer for the target "tokens".
        """
        if self.model.target == "tokens" and self.tokenizer is None:
            raise ValueError(NO_TOKENIZER)
        return transformer_groups(self.model, lr)

    def advance(self, fraction: float) -> None:
        """Nothing here changes while training goes on."""


def build_named(
    name: str,
    *,
    image_size: tuple[int, ...] = (224, 224),
    tokenizer: Mapping[str, Tensor] | None = None,
    target: str = "tokens",
    recover: str = "masked",
    masking: Masking = "block",
    mask_ratio: float = MASK_RATIO,
) -> BeitPretraining:
    """ "beit-pretraining-<size>" of the catalog. `tokenizer`: the tensors of a discrete VAE or codebook.

    Without one the vocabulary is the published one until a state with a tokenizer is loaded.
    Raises ValueError for tensors that are no tokenizer.
    """
    height, width = image_size if len(image_size) == 2 else (image_size[0], image_size[0])
    grid_of((height, width), 16)
    found = None
    if tokenizer is not None and target == "tokens":
        found = whole_tokenizer(tokenizer).requires_grad_(False)
    size = name.rpartition("-")[2]
    model = build(
        size,
        image_size=(height, width),
        vocabulary=VOCABULARY if found is None else found.vocabulary,
        target=target,
        recover=recover,
        masking=masking,
        mask_ratio=mask_ratio,
        drop_path_rate=0.0 if size == "tiny" else 0.1,
    )
    return BeitPretraining(model, found, image_size=(height, width), preprocess=Preprocess())


KEY_MAPS: tuple[KeyMap, ...] = tuple(
    replace(
        key_map,
        rules=tuple((rule, None if to is None else f"model.{to}") for rule, to in key_map.rules),
        optional=tuple(f"model\\.{pattern}" for pattern in key_map.optional),
    )
    for key_map in MODEL_MAPS
)
"""Published masked image models, to go on from with a tokenizer of one's own."""
