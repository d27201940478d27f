"""Batch norm behind global pooling, where a batch may hold one value a channel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PooledBatchNorm(nn.BatchNorm2d):
    """Batch norm that uses its stored statistics where a batch has a single value a channel.

    One picture pooled to 1x1 has no variance, and plain batch norm refuses it in training; so a batch of one
    could not be trained on. With more values it is plain batch norm, with the same keys.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(x)
