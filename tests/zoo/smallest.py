"""The smallest network of every segmentor family: what generic tests build."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import nn

from segstudio_zoo import create_model

NUM_CLASSES = 5

_NARROW = {"backbone": "mobilenet-v2", "width": 0.35}
SMALLEST: dict[str, dict[str, Any]] = {
    "ann": _NARROW,
    "bisenetv1": {"backbone": "r18"},
    "bisenetv2": {},
    "ccnet": {**_NARROW, "channels": 32, "initial_gamma": 0.5},
    "danet": _NARROW,
    "deeplabv3": _NARROW,
    "deeplabv3plus": _NARROW,
    "dpt": {"backbone": "vit-t16"},
    "encnet": _NARROW,
    "fcn": _NARROW,
    "gcnet": _NARROW,
    "icnet": {"backbone": "r18-d8"},
    "lraspp": {"backbone": "mobilenet-v3-small-d8"},
    "nonlocal": _NARROW,
    "ocrnet": _NARROW,
    "pointrend": _NARROW,
    "psanet": _NARROW,
    "pspnet": _NARROW,
    "segformer": {"backbone": "mit-b0"},
    "segmenter": {"backbone": "vit-t16"},
    "segnext": {"backbone": "mscan-t"},
    "sem_fpn": _NARROW,
    "upernet": _NARROW,
}


def build(family: str, **more: Any) -> nn.Module:
    """The family's smallest network with drawn, lively weights in evaluation mode.

    Scalars that start at zero (attention gammas) are drawn too: with them a part would be silent.
    """
    torch.manual_seed(zlib.crc32(family.encode()))
    model = create_model(family, num_classes=NUM_CLASSES, **{**SMALLEST[family], **more})
    with torch.no_grad():
        for parameter in model.parameters():
            if not bool(parameter.any()):
                parameter.normal_(0, 0.1)
    return model.eval()


def picture(batch: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """A normalised image with structure: smooth shapes and some noise, (N, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn((batch, 3, 5, 7), generator=generator)
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return smooth + 0.1 * torch.randn((batch, 3, height, width), generator=generator)
