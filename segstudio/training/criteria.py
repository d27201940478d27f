"""What is minimised: cross entropy as sums and counts, so that ranks and steps can be averaged exactly."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segstudio.plugin_api import Loss


class CrossEntropy:
    """Pixel-wise cross entropy over pixels that are not `ignore`.

    With `class_weights` (K,) every pixel counts as much as its class weighs: sum and count are both
    weighted. With `keep` < 1 only that share of hardest labelled pixels counts, but at least those whose
    probability of the true class is below `threshold` (online hard example mining; Shrivastava et al.,
    CVPR 2016, in the per-pixel form of Wu et al., 2016).
    """

    def __init__(
        self, ignore: int, *, class_weights: Tensor | None = None, keep: float = 1.0, threshold: float = 0.7
    ) -> None:
        self._ignore = ignore
        self._weights = class_weights
        self._keep = keep
        self._threshold = threshold

    def __call__(self, logits: Tensor, target: Tensor) -> Loss:
        """`logits` (N, K, H, W) any float, `target` (N, H, W) int64 -> Loss over the counted pixels."""
        # Sums over a million pixels need full precision whatever the forward pass ran in.
        logits = logits.float()
        weights = None if self._weights is None else self._weights.to(logits.device)
        pixel = F.cross_entropy(logits, target, weight=weights, ignore_index=self._ignore, reduction="none")
        valid = target != self._ignore
        if weights is None:
            worth = valid.to(pixel.dtype)
        else:
            worth = torch.where(valid, weights[torch.where(valid, target, 0)], 0.0)
        if self._keep < 1:
            kept = self._hardest(logits.detach(), target, valid)
            pixel, worth = pixel * kept, worth * kept
        return Loss(pixel.sum(), worth.sum())

    def _hardest(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        safe = torch.where(valid, target, 0)
        probability = F.softmax(logits, 1).gather(1, safe[:, None])[:, 0]
        labelled = probability[valid]
        if not len(labelled):
            return valid
        place = max(1, int(len(labelled) * self._keep))
        edge = torch.kthvalue(labelled, place).values.clamp(min=self._threshold)
        return valid & (probability <= edge)


def frequency_weights(pixels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weights that rise as a class gets rarer: 1 / ln(1.02 + share) (Paszke et al., ENet, 2016, section 5.2).

    Scaled to a mean of 1 over the classes that occur, 1 for those that do not.
    """
    total = max(1, int(pixels.sum()))
    weights = 1 / np.log(1.02 + pixels / total)
    present = pixels > 0
    weights = weights / (weights[present].mean() if present.any() else 1)
    return np.where(present, weights, 1).astype(np.float32)
