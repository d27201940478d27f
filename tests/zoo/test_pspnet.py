"""PSPNet: pyramid pooling against averages taken by hand, published key names, switch, gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from segstudio_zoo import create_model
from segstudio_zoo.layers.ppm import PyramidPooling
from segstudio_zoo.segmentors.pspnet import infer_options, mute_scales


@pytest.mark.parametrize("align_corners", [False, True])
def test_each_scale_is_the_average_of_its_boxes_projected_and_enlarged(align_corners: bool) -> None:
    torch.manual_seed(0)
    pooling = PyramidPooling(4, 3, align_corners=align_corners).double().eval()
    x = torch.randn(1, 4, 7, 10, dtype=torch.float64)
    with torch.no_grad():
        for scale, got, branch in zip((1, 2, 3, 6), pooling(x), pooling, strict=True):
            cells = torch.zeros(1, 4, scale, scale, dtype=torch.float64)
            for r in range(scale):
                for c in range(scale):
                    rows = slice(r * 7 // scale, -(-(r + 1) * 7 // scale))
                    columns = slice(c * 10 // scale, -(-(c + 1) * 10 // scale))
                    cells[0, :, r, c] = x[0, :, rows, columns].mean((1, 2))
            expected = F.interpolate(
                branch[1](cells), size=(7, 10), mode="bilinear", align_corners=align_corners
            )
            assert torch.allclose(got, expected, atol=1e-12)


def test_head_joins_the_feature_first_then_the_scales() -> None:
    model = create_model("pspnet_r18-d8", num_classes=3)
    head = model.decode_head
    assert head.bottleneck.conv.weight.shape == (128, 512 + 4 * 128, 3, 3)
    assert model.auxiliary_head.convs[0].conv.weight.shape[0] == 64
    assert {"decode_head.psp_modules.3.1.conv.weight", "decode_head.psp_modules.0.1.bn.weight"} <= set(
        model.state_dict()
    )
    with torch.no_grad():
        features = model.extract(torch.randn(1, 3, 64, 64))
        joined = torch.cat([features[-1], *head.psp_modules(features[-1])], 1)
        assert torch.equal(head(features), head.conv_seg(head.bottleneck(joined)))


@pytest.mark.parametrize(
    "name",
    [
        "pspnet_r50-d8-rsb_4xb2-adamw-80k_cityscapes-512x1024",
        "resnest_s101-d8_pspnet_4xb2-80k_cityscapes512x1024",
        "mobilenet-v2-d8_pspnet_4xb4-160k_ade20k-512x512",
    ],
)
def test_published_names_are_known(name: str) -> None:
    from segstudio_zoo.names import resolve

    found = resolve(name)
    assert found.segmentor is not None
    assert found.segmentor.id == "pspnet"
    assert found.output_stride == 8


def test_muting_scales_changes_the_output_and_is_put_back() -> None:
    model, image = create_model("pspnet_r18-d8", num_classes=3), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        normal = model(image)
        for value in ("", "6"):
            with mute_scales(model, value):
                assert not torch.equal(model(image), normal)
        with mute_scales(model, "all"):
            assert torch.equal(model(image), normal)
        assert torch.equal(model(image), normal)


def test_every_parameter_gets_a_gradient_and_options_are_inferred() -> None:
    model = create_model("pspnet_r18-d8", num_classes=3).train()
    image = torch.randn(3, 3, 65, 81)
    model.scores(image).logits.square().mean().backward()
    model.side_outputs(image)["auxiliary"].logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    found = infer_options({key: tuple(value.shape) for key, value in model.state_dict().items()})
    assert found == {"channels": 128, "auxiliary_channels": 64}


def test_a_batch_of_one_can_be_trained_on() -> None:
    model = create_model("pspnet_r18-d8", num_classes=3).train()
    model.scores(torch.randn(1, 3, 65, 97)).logits.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
