"""Forms of the backbones that no reference stands for learn: the loss of two small pictures falls."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from segstudio_zoo import create_model
from tests.zoo.reference import mean_over_valid_pixels

FORMS: dict[str, dict[str, Any]] = {
    "new branches from all scales": {"backbone": "hrnet-w18-small", "transition": "all"},
    "squeeze-excite": {"backbone": "resnest14", "radix": 1},
    "cardinal groups": {"backbone": "resnest14", "cardinality": 4},
    "ReLU6 behind the projection": {
        "backbone": "mobilenet-v2-d8",
        "width": 0.35,
        "projection_act": "relu6",
    },
    "no gates, no h-swish": {"backbone": "mobilenet-v3-small-minimal-d8"},
    "absolute positions": {"backbone": "beit-tiny", "position": "absolute", "image_size": (64, 64)},
    "one bias table": {"backbone": "beit-tiny", "position": "shared", "image_size": (64, 64)},
    "ResNet's stem": {"backbone": "convnextv2-atto", "stem": "resnet"},
    "batch norm and ReLU": {"backbone": "convnextv2-atto", "norm": "batch", "activation": "relu"},
    "small kernels": {"backbone": "convnextv2-atto", "kernel_size": 3},
    "Xception39": {"backbone": "xception39"},
    "Xception65": {"backbone": "xception65-d16"},
    "multi-grid of factors": {
        "backbone": "r18-d8",
        "multi_grid": (1, 2),
        "multiply_multi_grid": True,
    },
    "stride in the first 1x1": {"backbone": "r50-d16", "stride_first": True},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_falls(form: str) -> None:
    torch.manual_seed(1)
    model = create_model("fcn", num_classes=3, channels=16, **FORMS[form]).train()
    target = torch.zeros(2, 64, 64, dtype=torch.int64)
    target[0, :, 32:], target[1, 32:, :] = 1, 2
    image = torch.randn(2, 3, 64, 64) * 0.3 + torch.stack([target == k for k in range(3)], 1) * 2.0
    optimiser = torch.optim.Adam(model.param_groups(2e-3))
    values = []
    for _ in range(16):
        optimiser.zero_grad()
        losses = model.losses(image, target, mean_over_valid_pixels).values()
        total = sum(loss.weight * loss.sum / loss.count for loss in losses)
        total.backward()
        optimiser.step()
        values.append(float(total.detach()))
    assert min(values[-3:]) < 0.6 * values[0], values
