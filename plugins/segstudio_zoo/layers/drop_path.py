"""Stochastic depth: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016, 1603.09382, section 3."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """In training, drops a residual branch for whole samples with probability `rate`; else the identity."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        if keep == 0.0:
            return torch.zeros_like(x)
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return x * torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


def linear_rates(rate: float, count: int) -> list[float]:
    """Rates that rise linearly from 0 at the first block to `rate` at the last."""
    return [rate * i / max(count - 1, 1) for i in range(count)]
