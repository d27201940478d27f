"""MobileNetV2: parity with mmsegmentation, torchvision and timm, widths, the extra ReLU6, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, load_checkpoint
from segstudio_zoo.backbones.mobilenet_v2 import make_divisible, nonlinear_bottleneck
from segstudio_zoo.plugin import PLUGIN
from segstudio_zoo.probes import mobilenet_v2 as mobilenet_v2_probes
from tests.shared_data import shared
from tests.zoo.reference import check_backbone, needs_shared, reference


def test_pyramid_equals_mmsegmentation() -> None:
    ref, _ = check_backbone("backbone_mobilenet-v2-d8")
    ref.assert_all_seen()


def test_pyramid_and_class_logits_equal_torchvision() -> None:
    ref, model = check_backbone("torchvision_mobilenet_v2")
    state = ref.state_dict()
    with torch.no_grad():
        pooled = model(ref.image())[-1].mean((2, 3))
    ref.assert_close("logits", pooled @ state["classifier.1.weight"].T + state["classifier.1.bias"])
    ref.assert_all_seen()


def test_pyramid_equals_timm() -> None:
    ref, _ = check_backbone("timm_mobilenetv2_100")
    with_head = create_model("mobilenet-v2", last_conv=True)
    state = ref.state_dict()
    assert load_checkpoint(with_head, state).unused == ("classifier.weight", "classifier.bias")
    with torch.no_grad():
        pooled = with_head(ref.image())[-1].mean((2, 3))
    ref.assert_close("logits", pooled @ state["classifier.weight"].T + state["classifier.bias"])
    ref.assert_all_seen()


@needs_shared
def test_imagenet_weights_leave_the_last_convolution_and_classifier_unused() -> None:
    model = create_model("mobilenet-v2")
    report = load_checkpoint(model, shared("data/weights/mobilenetv2_imagenet/mobilenet_v2_imagenet.pth"))
    assert {key.split(".")[0] + "." + key.split(".")[1] for key in report.unused} == {
        "features.18",
        "classifier.1",
    }
    assert not (report.missing or report.unexpected or report.mismatched)


def test_reference_that_draws_other_names_is_not_taken_for_this_one() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        load_checkpoint(create_model("mobilenet-v2"), reference("torchvision_resnet50").state_dict())


@pytest.mark.parametrize(("width", "stem", "last"), [(0.35, 16, 112), (0.5, 16, 160), (1.4, 48, 448)])
def test_width_multiplier_rounds_channels_to_multiples_of_eight(width: float, stem: int, last: int) -> None:
    assert (make_divisible(32 * width), make_divisible(320 * width)) == (stem, last)
    model = create_model("mobilenet-v2", width=width)
    assert model.conv1.conv.out_channels == stem
    assert model.features[-1].channels == last


def test_which_blocks_of_a_dilated_layer_take_its_rate() -> None:
    def rates(**options: str) -> list[int]:
        model = create_model("mobilenet-v2-d16", **options)
        return [block.conv[1].conv.dilation[0] for block in (*model.layer6, *model.layer7)]

    assert rates() == [2, 1, 1, 2]
    assert rates(dilated_blocks="rest") == [1, 2, 2, 2]
    assert rates(dilated_blocks="all") == [2, 2, 2, 2]


def test_the_extra_relu6_changes_the_output_and_is_taken_back() -> None:
    model = create_model("mobilenet-v2")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(image)[0]
        with nonlinear_bottleneck(model, True):
            during = model(image)[0]
        after = model(image)[0]
    assert not torch.allclose(before, during)
    assert torch.equal(before, after)


def test_a_bottleneck_built_with_the_extra_relu6_clips_what_is_added_to_the_shortcut() -> None:
    torch.manual_seed(0)
    linear, clipped = (
        create_model("mobilenet-v2", width=0.35, projection_act=act) for act in ("linear", "relu6")
    )
    clipped.load_state_dict(linear.state_dict())
    for block in (*clipped.layer2, *clipped.layer7):
        x = 3 * torch.randn(1, block.conv[0].conv.in_channels, 9, 11)
        with torch.no_grad():
            projected = block.conv(x)
            expected = projected.clamp(0, 6) + (x if block.shortcut else 0)
            assert (projected < 0).any() and torch.equal(block(x), expected)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        with nonlinear_bottleneck(linear, True):
            during = linear(image)
        built = clipped(image)
        with nonlinear_bottleneck(clipped, False):
            assert all(torch.equal(a, b) for a, b in zip(clipped(image), built, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(built, during, strict=True))
    with pytest.raises(ValueError, match="built and trained with"), nonlinear_bottleneck(clipped, True):
        pass


def test_every_system_on_it_can_be_built_with_the_extra_relu6() -> None:
    specs = [spec for spec in PLUGIN.models if spec.backbone == "mobilenet-v2"]
    assert {spec.family for spec in specs} >= {
        "deeplabv3",
        "deeplabv3plus",
        "fcn",
        "pspnet",
        "danet",
        "ccnet",
    }
    for spec in specs:
        option = next(option for option in spec.options if option.name == "projection_act")
        assert option.default == "linear"
        model = create_model(spec.name, num_classes=2, width=0.25, projection_act="relu6")
        assert model.backbone.layer3[0].clip_output


@pytest.mark.parametrize("act", ["linear", "relu6"])
def test_every_parameter_gets_a_gradient(act: str) -> None:
    model = create_model("mobilenet-v2-d8", width=0.35, projection_act=act).train()
    sum(value.square().mean() for value in model(torch.randn(3, 3, 65, 81))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_the_spiral_comes_back_better_from_more_dimensions() -> None:
    model = create_model("mobilenet-v2", width=0.35)
    probe = mobilenet_v2_probes.spiral_probe()
    with torch.no_grad(), probe.attach(model) as captured:
        with pytest.raises(ValueError, match="run the model"):
            probe.map(captured, Query("global"))
        model(torch.zeros(1, 3, 64, 96))

    def error(dimensions: int) -> float:
        """The mean over twenty random matrices."""
        maps = (probe.map(captured, Query("global"), dimensions=dimensions, seed=seed) for seed in range(20))
        return sum(result.extras["error"] for result in maps) / 20

    assert error(2) > error(5) > error(15) > 1.3 * error(30)
    points = probe.map(captured, Query("global"), dimensions=30).values
    assert points.shape == (mobilenet_v2_probes.POINTS, 3)
    assert points[:, 0].min() >= 0 and points[:, 0].max() <= 64


def test_there_and_back_is_the_half_space_formula() -> None:
    points = mobilenet_v2_probes.spiral(7)
    matrix = np.random.RandomState(4).standard_normal((3, 2))
    expected = [np.linalg.pinv(matrix) @ np.array([max(v, 0.0) for v in matrix @ p]) for p in points]
    assert np.allclose(mobilenet_v2_probes.there_and_back(points, 3, seed=4), expected)
