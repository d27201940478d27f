"""Variants without a reference learn: the summed losses of two small pictures fall to a fraction."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from segstudio_zoo import create_model
from tests.zoo.reference import mean_over_valid_pixels

NARROW: dict[str, Any] = {"backbone": "mobilenet-v2-d8", "width": 0.35, "channels": 16}
SHALLOW: dict[str, Any] = {"backbone": "r18-d16"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ccnet", {**NARROW, "recurrence": 3}),
        ("ccnet", {**NARROW, "recurrence": 1, "category_consistent": True}),
        ("danet", {**NARROW, "branches": "position"}),
        ("danet", {**NARROW, "branches": "channel"}),
        ("psanet", {**NARROW, "direction": "collect", "grid_size": (4, 4)}),
        ("psanet", {**NARROW, "direction": "distribute", "grid_size": (4, 4)}),
        ("psanet", {**NARROW, "compact": True, "grid_size": (4, 4)}),
        ("deeplabv3", {**SHALLOW, "arrangement": "cascaded", "cascade_grid": (1, 2, 1)}),
        ("deeplabv3", {**NARROW, "projection": "1x1", "image_pool": False}),
        ("deeplabv3plus", {**NARROW, "separable_aspp": False, "separable_decoder": False}),
        ("lraspp", {"backbone": "mobilenet-v3-small-d8", "channels": 16}),
    ],
)
def test_losses_fall(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(1)
    model = create_model(name, num_classes=3, **options).train()
    target = torch.zeros(2, 48, 48, dtype=torch.int64)
    target[0, :, 24:], target[1, 16:, :] = 1, 2
    image = torch.randn(2, 3, 48, 48) * 0.3 + torch.stack([target == k for k in range(3)], 1) * 2.0
    optimiser = torch.optim.Adam(model.param_groups(3e-3))

    def total() -> torch.Tensor:
        losses = model.losses(image, target, mean_over_valid_pixels).values()
        return sum(loss.weight * loss.sum / loss.count for loss in losses)

    first = float(total().detach())
    for _ in range(25):
        optimiser.zero_grad()
        total().backward()
        optimiser.step()
    assert float(total().detach()) < 0.4 * first
