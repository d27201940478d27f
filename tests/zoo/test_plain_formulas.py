"""Forms of heads that no reference holds, against what their papers write, term by term."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio_zoo import create_model
from segstudio_zoo.segmentors.bisenetv2 import BilateralGuidedAggregation, PlainAggregation
from segstudio_zoo.segmentors.upernet import MultiLevelNeck


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _drawn(model: nn.Module) -> nn.Module:
    """With norms that do something: freshly made ones scale by one and shift by nothing."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, std=0.3)
    return model.eval()


def _convolved(x: Tensor, layer: nn.Module, act: bool = True) -> Tensor:
    """Convolution, (x - mean) / deviation * scale + shift, ReLU."""
    conv, norm = layer.conv, layer.bn
    out = F.conv2d(x, conv.weight, conv.bias, padding=conv.padding)
    mean, deviation = norm.running_mean, (norm.running_var + norm.eps).sqrt()
    scaled = (out - mean[:, None, None]) / deviation[:, None, None]
    out = scaled * norm.weight[:, None, None] + norm.bias[:, None, None]
    return out.clamp(min=0) if act else out


def _enlarged(x: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    return F.interpolate(x, size=size, mode=mode)


@pytest.mark.parametrize("concat", [False, True])
@torch.no_grad()
def test_bisenetv2_adds_or_joins_the_enlarged_semantic_branch(concat: bool) -> None:
    module = _drawn(PlainAggregation(6, concat=concat))
    detail, semantic = torch.randn(2, 6, 16, 20), torch.randn(2, 6, 4, 5)
    up = _enlarged(semantic, (16, 20))
    both = torch.cat([detail, up], 1) if concat else detail + up
    torch.testing.assert_close(module(detail, semantic), _convolved(both, module.conv))


@torch.no_grad()
def test_bisenetv2_may_enlarge_its_gates_to_the_nearest() -> None:
    bilinear, nearest = BilateralGuidedAggregation(4), BilateralGuidedAggregation(4, nearest=True)
    nearest.load_state_dict(_drawn(bilinear).state_dict())
    nearest.eval()
    detail, semantic = torch.randn(1, 4, 16, 20), torch.randn(1, 4, 4, 5)
    left = nearest.detail_dwconv(detail) * torch.sigmoid(
        _enlarged(nearest.semantic_conv(semantic), (16, 20), "nearest")
    )
    right = nearest.detail_down(detail) * torch.sigmoid(nearest.semantic_dwconv(semantic))
    expected = _convolved(left + _enlarged(right, (16, 20), "nearest"), nearest.conv)
    torch.testing.assert_close(nearest(detail, semantic), expected)
    assert not torch.allclose(bilinear(detail, semantic), expected)


@torch.no_grad()
def test_segmenter_s_linear_decoder_is_one_layer_on_every_patch() -> None:
    model = _drawn(create_model("segmenter_vit-t_linear", num_classes=5, image_size=(64, 64)))
    image = torch.randn(1, 3, 64, 96)
    (patches,) = model.backbone(image)
    weight, bias = model.decode_head.conv_seg.weight[:, :, 0, 0], model.decode_head.conv_seg.bias
    expected = torch.empty(1, 5, 4, 6)
    for row in range(4):
        for column in range(6):
            expected[0, :, row, column] = weight @ patches[0, :, row, column] + bias
    torch.testing.assert_close(model.scores(image).logits, expected, atol=1e-5, rtol=1e-5)
    tokens = patches[0].flatten(1).T
    norm = model.backbone.ln1
    plain = (tokens - norm.bias) / norm.weight  # a last layer norm: no mean, variance one
    torch.testing.assert_close(plain.mean(1), torch.zeros(24), atol=1e-4, rtol=0)
    torch.testing.assert_close(plain.var(1, unbiased=False), torch.ones(24), atol=1e-3, rtol=0)


@torch.no_grad()
def test_lr_aspp_of_the_figure_gates_classifies_and_adds() -> None:
    model = _drawn(
        create_model("lraspp_mobilenet-v3-small-d8", num_classes=4, skip="classifier", channels=16)
    )
    image = torch.randn(1, 3, 64, 96)
    head = model.decode_head
    features = model.backbone(image)
    low, high = (features[index] for index in head.indices)
    pooled = high.mean(dim=(2, 3))
    gate = torch.sigmoid(pooled @ head.image_pool[1].conv.weight[:, :, 0, 0].T)
    gated = _convolved(high, head.aspp_conv) * gate[:, :, None, None]
    enlarged = _enlarged(gated, (low.shape[2], low.shape[3]))
    expected = F.conv2d(enlarged, head.conv_seg.weight, head.conv_seg.bias)
    expected += F.conv2d(low, head.low_seg.weight, head.low_seg.bias)
    torch.testing.assert_close(model.scores(image).logits, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_upernet_s_neck_of_levels_is_a_1x1_a_resizing_and_a_3x3_each() -> None:
    neck = MultiLevelNeck(6).eval()
    maps = [torch.randn(1, 6, 8, 12) for _ in range(4)]
    found = neck(maps)
    for level, (size, x) in enumerate(zip(((32, 48), (16, 24), (8, 12), (4, 6)), maps, strict=True)):
        lateral, conv = neck.lateral_convs[level].conv, neck.convs[level].conv
        mixed = torch.einsum("oc,nchw->nohw", lateral.weight[:, :, 0, 0], x) + lateral.bias[:, None, None]
        expected = F.conv2d(_enlarged(mixed, size), conv.weight, conv.bias, padding=1)
        torch.testing.assert_close(found[level], expected, atol=1e-5, rtol=1e-5)
