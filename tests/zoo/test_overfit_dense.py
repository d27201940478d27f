"""Variants without a reference learn one small picture by heart, with their paper's own losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from segstudio_zoo import create_model
from tests.zoo.reference import mean_over_all_pixels

TINY = {"backbone": "vit-t16", "image_size": (64, 64), "drop_path_rate": 0.0}
NARROW = {"backbone": "mobilenet-v2-d8", "width": 0.35, "channels": 32}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gaussian": ("nonlocal", {**NARROW, "instantiation": "gaussian"}),
    "dot product": ("nonlocal", {**NARROW, "instantiation": "dot_product"}),
    "concatenation": ("nonlocal", {**NARROW, "instantiation": "concatenation"}),
    "max anchors": ("ann", {**NARROW, "sampling": "max", "project_channels": 16}),
    "random anchors": ("ann", {**NARROW, "sampling": "random", "project_channels": 16}),
    "second encoding": ("encnet", {**NARROW, "second_encoding": True, "lateral": True, "num_codes": 8}),
    "squeeze excitation": ("gcnet", {**NARROW, "preset": "se"}),
    "context blocks": ("gcnet", {"backbone": "r18-d8", "placement": "blocks", "channels": 32}),
    "regions of the last level": ("ocrnet", {**NARROW, "levels": "last", "ocr_channels": 16}),
    "paper's guidance": (
        "icnet",
        {"backbone": "r18-d8", "label_guidance": "paper", "psp_channels": 16, "channels": 32},
    ),
    "points on DeepLabV3": (
        "pointrend",
        {"backbone": "r18", "coarse": "deeplabv3", "point_channels": 32, "training_points": 128},
    ),
    "Xception39": ("bisenetv1", {"backbone": "xception39", "spatial_projection": False}),
    "branches added": ("bisenetv2", {"aggregation": "sum", "ratio": 0.125}),
    "simplified non-local": ("gcnet", {**NARROW, "preset": "snl"}),
    "added and multiplied context": ("gcnet", {**NARROW, "preset": "gc_add_multiply"}),
    "branches joined": ("bisenetv2", {"aggregation": "concat", "ratio": 0.125}),
    "Large": ("bisenetv2-large", {"ratio": 0.125}),
    "read-out added": ("dpt", {**TINY, "readout": "add", "auxiliary": True, "channels": 16}),
    "read-out ignored": ("dpt", {**TINY, "readout": "ignore", "channels": 16}),
    "linear decoder": ("segmenter", {**TINY, "decoder": "linear"}),
    "paper's projection": (
        "segformer",
        {"backbone": "mit-b0", "projection": "linear", "fusion_order": "coarse_to_fine", "channels": 32},
    ),
    "neck of levels": ("upernet", {**TINY, "neck": "levels", "channels": 16}),
    "figure's skip": (
        "lraspp",
        {"backbone": "mobilenet-v3-small-d8", "skip": "classifier", "channels": 16},
    ),
    "group norm": ("sem_fpn", {"backbone": "r18", "norm": "group", "channels": 32, "pyramid_channels": 32}),
    "pyramid pooling": ("pspnet", NARROW),
    "feature pyramid": ("sem_fpn", {"backbone": "xception39"}),
    "one branch of HRNet": (
        "nonlocal",
        {"backbone": "hrnet-w18-small", "representation": "top", "channels": 16},
    ),
    "split attention": (
        "nonlocal",
        {"backbone": "resnest14-d8", "radix": 4, "cardinality": 2, "channels": 32},
    ),
}


HEAVY = {
    "context blocks",
    "paper's guidance",
    "points on DeepLabV3",
    "branches added",
    "branches joined",
    "Large",
    "feature pyramid",
    "split attention",
}


@pytest.mark.parametrize(
    "variant", [pytest.param(key, marks=[pytest.mark.long] if key in HEAVY else []) for key in VARIANTS]
)
def test_loss_on_one_picture_falls_to_less_than_half(variant: str) -> None:
    torch.manual_seed(0)
    name, options = VARIANTS[variant]
    model = create_model(name, num_classes=3, **options).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
    target = torch.zeros(2, 64, 64, dtype=torch.long)
    target[:, :, 32:], target[:, 32:, :32] = 1, 2
    colors = torch.tensor([[1.0, -1, 0], [-1, 1, 0], [0, 0, 1.5]])
    image = colors[target].permute(0, 3, 1, 2) + 0.1 * torch.randn(2, 3, 64, 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(15):
        losses = model.losses(image, target, mean_over_all_pixels)
        total = sum(loss.weight * loss.sum / loss.count for loss in losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(float(total.detach()))
    assert min(history[-3:]) < 0.5 * history[0], history
