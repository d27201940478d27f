"""ConvNeXt V1 and V2: parity with mmpretrain, timm and torchvision, roadmap options, receptive field."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.backbones.convnext import GlobalResponseNorm
from segstudio_zoo.layers.receptive_field import receptive_field_probe
from tests.zoo.reference import check_backbone, reference


@pytest.mark.parametrize("name", ["backbone_convnext-tiny", "backbone_convnextv2-atto"])
def test_pyramid_equals_mmpretrain(name: str) -> None:
    ref, _ = check_backbone(name)
    ref.assert_all_seen()


@pytest.mark.parametrize("name", ["timm_convnext_tiny", "timm_convnextv2_atto", "torchvision_convnext_tiny"])
def test_identified_classifier_gives_the_publishers_pyramid(name: str) -> None:
    ref = reference(name)
    state = ref.state_dict()
    found = identify(state)[0]
    library, family, size = name.split("_")
    assert (found.name, found.layout) == (f"{family}-{size}", library)
    assert found.options["out_norm"] is False
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    report = load_checkpoint(model, state)
    assert not (report.missing or report.unexpected or report.mismatched)
    assert all(key.startswith(("head.", "classifier.")) for key in report.unused) and len(report.unused) == 4
    with torch.no_grad():
        for index, value in enumerate(model(ref.image())):
            ref.assert_close(f"feature.{index}", value)


def test_authors_weights_load() -> None:
    model = create_model("convnextv2-atto", out_norm=False)
    names = {"depthwise_conv": "dwconv", "pointwise_conv": "pwconv"}
    state = {}
    for key, value in model.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        state[key] = value[None, None, None] if ".grn." in key else value
    other = create_model("convnextv2-atto", out_norm=False)
    report = load_checkpoint(other, state)
    assert report.layout == "authors" and not report.unused
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(model(image), other(image), strict=True):
            assert torch.equal(a, b)


def test_grn_equals_its_equations() -> None:
    torch.manual_seed(0)
    module = GlobalResponseNorm(6)
    torch.nn.init.normal_(module.gamma)
    torch.nn.init.normal_(module.beta)
    x = torch.randn(2, 3, 4, 6)
    with torch.no_grad():
        got = module(x).numpy()
    for picture in range(2):
        values = x[picture].numpy()
        size = np.sqrt((values**2).sum((0, 1)))
        weight = size / (size.mean() + 1e-6)
        expected = module.gamma.detach().numpy() * (values * weight) + module.beta.detach().numpy() + values
        np.testing.assert_allclose(got[picture], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        *({"kernel_size": side} for side in (3, 5, 9, 11)),
        {"norm": "batch", "activation": "relu"},
        {"stem": "resnet"},
        {"expansion": 2},
        {"depths": (3, 4, 6, 3)},
        {"layer_scale": 0.5},
    ],
)
def test_steps_of_the_roadmap_build_run_and_learn(options: dict) -> None:
    torch.manual_seed(0)
    model = create_model("convnextv2-atto", **options)
    maps = model(torch.randn(2, 3, 64, 96))
    assert [tuple(x.shape[-2:]) for x in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    sum(x.square().mean() for x in maps).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_receptive_field_is_the_gradient_and_grows_with_depth() -> None:
    torch.manual_seed(0)
    model = create_model("convnextv2-atto")
    image = torch.randn(1, 3, 64, 64)
    probe = receptive_field_probe()
    with torch.no_grad(), probe.attach(model) as captured:
        model(image)
    query = Query("pixel", y=33, x=30)
    first = probe.map(captured, query, stage=1)
    wanted = image.clone().requires_grad_(True)
    model(wanted)[0][0, :, 8, 7].clamp(min=0).sum().backward()
    expected = wanted.grad[0].abs().sum(0)
    np.testing.assert_allclose(first.values, (expected / expected.max()).numpy(), atol=1e-6)
    assert first.query_cell == (8, 7)
    last = probe.map(captured, query)
    assert (last.values > 0).sum() > (first.values > 0).sum()
    with pytest.raises(ValueError, match="outside"):
        probe.map(captured, Query("pixel", y=64, x=0))
    with pytest.raises(ValueError, match="stage 5"):
        probe.map(captured, query, stage=5)


def test_receptive_field_behind_a_layer_norm_lies_around_the_query() -> None:
    """The sum over a layer norm's channels is constant: its gradient is zero but for rounding."""
    torch.manual_seed(0)
    model = create_model("convnext-tiny", depths=(1, 1, 1, 1), layer_scale=1.0)
    image = torch.randn(1, 3, 96, 96)
    probe = receptive_field_probe()
    with torch.no_grad(), probe.attach(model) as captured:
        model(image)
    for stage, stride in enumerate((4, 8, 16, 32), start=1):
        field = probe.map(captured, Query("pixel", y=48, x=48), stage=stage).values
        half = max(stride, 16)
        assert field[48 - half : 48 + half, 48 - half : 48 + half].sum() > 0.2 * field.sum()
