"""Small attention networks with drawn, non-zero gammas, on a width that tests can afford."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from segstudio_zoo import create_model


def small(name: str, **options: Any) -> nn.Module:
    """`name` on a narrow MobileNetV2 at output stride 8, 5 classes, gammas 0.7, activations of about 1."""
    torch.manual_seed(3)
    settings: dict[str, Any] = {
        "width": 0.35,
        "num_classes": 5,
        "channels": 32,
        "auxiliary_channels": 16,
    }
    model = create_model(name, backbone="mobilenet-v2-d8", **{**settings, **options})
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("gamma.scale"):
                parameter.fill_(0.7)
            elif parameter.ndim == 4:
                fan_in = parameter[0].numel()
                parameter.normal_(std=(2.0 / fan_in) ** 0.5)
            elif key.endswith("bias"):
                parameter.normal_(std=0.1)
    return model


def picture(height: int = 41, width: int = 57, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(5))
