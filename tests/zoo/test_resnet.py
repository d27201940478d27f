"""ResNet: parity with mmsegmentation and torchvision, dilation rates, gradients."""

from __future__ import annotations

import pytest
import torch

from segstudio_zoo import create_model, load_checkpoint
from tests.zoo.reference import check_backbone, load_reference, reference


@pytest.mark.parametrize("name", ["backbone_resnet50-d32", "backbone_resnet50-v1c-d8"])
def test_pyramid_equals_the_reference(name: str) -> None:
    ref, _ = check_backbone(name)
    ref.assert_all_seen()


def test_torchvision_classifier_is_unused_and_the_pyramid_equal() -> None:
    ref = reference("torchvision_resnet50")
    model = create_model("torchvision_resnet50")
    report = load_checkpoint(model, ref.state_dict())
    assert report.unused == ("fc.weight", "fc.bias")
    assert report.layout == "torchvision"
    with torch.no_grad():
        pyramid = model(ref.image())
    for index, value in enumerate(pyramid):
        ref.assert_close(f"feature.{index}", value)
    state = ref.state_dict()
    logits = pyramid[-1].mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    ref.assert_close("logits", logits)
    ref.assert_all_seen()


@pytest.mark.parametrize(
    ("stride", "expected"), [(8, (4, 8, 8, 8)), (16, (4, 8, 16, 16)), (32, (4, 8, 16, 32))]
)
def test_features_state_the_strides_they_have(stride: int, expected: tuple[int, ...]) -> None:
    model = create_model("resnet18", output_stride=stride)
    assert tuple(info.stride for info in model.features) == expected
    with torch.no_grad():
        pyramid = model(torch.zeros(1, 3, 64, 96))
    for value, info in zip(pyramid, model.features, strict=True):
        assert tuple(value.shape[1:]) == (info.channels, 64 // info.stride, 96 // info.stride)


def _rates(model: torch.nn.Module) -> list[int]:
    return [block.conv2.dilation[0] for block in model.layer4]


def test_multi_grid_sets_rates_as_published_or_factors_as_in_the_paper() -> None:
    published = create_model("r50-d16", multi_grid=(1, 2, 4))
    paper = create_model("r50-d16", multi_grid=(1, 2, 4), multiply_multi_grid=True)
    assert _rates(published) == [1, 2, 4]
    assert _rates(paper) == [2, 4, 8]


def test_every_parameter_gets_a_gradient() -> None:
    model = create_model("r18-d8").train()
    sum(value.square().mean() for value in model(torch.randn(3, 3, 65, 81))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_a_reference_state_with_a_missing_key_is_refused_and_the_model_untouched() -> None:
    ref, model = load_reference("backbone_resnet50-d32")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = {key: value + 1 for key, value in ref.state_dict().items() if key != "layer3.2.bn1.weight"}
    with pytest.raises(ValueError, match=r"layer3\.2\.bn1\.weight") as caught:
        load_checkpoint(model, state)
    assert caught.value.report.missing == ("layer3.2.bn1.weight",)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
