"""MobileNetV3 and LR-ASPP: parity with mmsegmentation, torchvision and timm, gates, gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.backbones import mobilenet_v3
from segstudio_zoo.probes import mobilenet_v3 as mobilenet_v3_probes
from segstudio_zoo.segmentors import lraspp
from tests.zoo.reference import check_backbone, mean_over_valid_pixels, reference


@pytest.mark.parametrize("name", ["backbone_mobilenet-v3-large-d8", "backbone_mobilenet-v3-small-d8"])
def test_pyramid_equals_mmsegmentation(name: str) -> None:
    ref, _ = check_backbone(name)
    ref.assert_all_seen()


@pytest.mark.parametrize("size", ["large", "small"])
def test_pyramid_and_class_logits_equal_torchvision(size: str) -> None:
    ref, model = check_backbone(f"torchvision_mobilenet_v3_{size}")
    state = ref.state_dict()
    with torch.no_grad():
        pooled = model(ref.image())[-1].mean((2, 3))
    hidden = F.hardswish(pooled @ state["classifier.0.weight"].T + state["classifier.0.bias"])
    ref.assert_close("logits", hidden @ state["classifier.3.weight"].T + state["classifier.3.bias"])
    ref.assert_all_seen()


def test_pyramid_and_class_logits_equal_timm() -> None:
    ref, model = check_backbone("timm_mobilenetv3_large_100")
    state = ref.state_dict()
    with torch.no_grad():
        pooled = model(ref.image())[-1].mean((2, 3), keepdim=True)
        hidden = F.hardswish(F.conv2d(pooled, state["conv_head.weight"], state["conv_head.bias"]))
    logits = hidden.flatten(1) @ state["classifier.weight"].T + state["classifier.bias"]
    ref.assert_close("logits", logits)
    ref.assert_all_seen()


@pytest.mark.parametrize(
    "name", ["torchvision_mobilenet_v3_large", "torchvision_mobilenet_v3_small", "timm_mobilenetv3_large_100"]
)
def test_identified_options_give_the_publishers_function(name: str) -> None:
    ref = reference(name)
    found = identify(ref.state_dict())[0]
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    load_checkpoint(model, ref.state_dict())
    with torch.no_grad():
        last = model(ref.image())[-1]
    ref.assert_close(f"feature.{len([k for k in ref.arrays if k.startswith('feature')]) - 1}", last)


def test_gates_at_one_change_the_output_and_are_taken_back() -> None:
    model = create_model("mobilenet-v3-small")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(image)[1]
        with mobilenet_v3.gates_off(model, True):
            during = model(image)[1]
        assert torch.equal(model(image)[1], before)
    assert not torch.allclose(before, during)


def test_lraspp_gives_scores_at_stride_two_for_odd_and_tiny_pictures() -> None:
    model = create_model("lraspp_mobilenet-v3-small-d8", num_classes=4)
    for size in ((33, 47), (16, 9)):
        image = torch.randn(1, 3, *size)
        with torch.no_grad():
            scores = model.scores(image)
            assert scores.logits.shape[-2:] == (-(-size[0] // 2), -(-size[1] // 2))
            assert model(image).shape == (1, 4, *size)


def test_lraspp_gate_switch_changes_the_output() -> None:
    model = create_model("lraspp_mobilenet-v3-large-d8", num_classes=4)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model.scores(image).logits
        with lraspp.gate_off(model, True):
            during = model.scores(image).logits
    assert not torch.equal(before, during)


@pytest.mark.parametrize(
    "backbone", ["mobilenet-v3-small-d8", "mobilenet-v3-small-minimal", "mobilenet-v3-large-d16"]
)
def test_every_parameter_gets_a_gradient(backbone: str) -> None:
    torch.manual_seed(0)
    model = create_model("lraspp", backbone=backbone, num_classes=4).train()
    losses = model.losses(torch.randn(3, 3, 65, 81), torch.randint(0, 4, (3, 65, 81)), mean_over_valid_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_gates_are_the_factors_between_input_and_output() -> None:
    model = create_model("mobilenet-v3-small")
    probe = mobilenet_v3_probes.gates()
    kept: dict[str, torch.Tensor] = {}

    def keep(_: object, arguments: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        kept["in"], kept["out"] = arguments[0], out

    handle = model.layer5.se.register_forward_hook(keep)
    with torch.no_grad(), probe.attach(model) as captured:
        model(torch.randn(1, 3, 64, 64))
    handle.remove()
    gates = torch.from_numpy(probe.map(captured, Query("global"), layer=5).values)
    assert torch.allclose(kept["in"] * gates[None, :, None, None], kept["out"], atol=1e-6)
    assert probe.map(captured, Query("global")).extras["layer"] == "layer11"
    with pytest.raises(ValueError, match="layers 1, 4, 5"):
        probe.map(captured, Query("global"), layer=2)


@pytest.mark.parametrize(("size", "strides"), [("large", (2, 4, 8)), ("small", (2, 4, 8))])
def test_lraspp_reads_the_published_layers(size: str, strides: tuple[int, ...]) -> None:
    model = create_model(f"lraspp_mobilenet-v3-{size}-d8")
    assert model.backbone.out_indices == {"large": (1, 3, 16), "small": (0, 1, 12)}[size]
    assert tuple(info.stride for info in model.backbone.features) == strides


@pytest.mark.parametrize("size", ["large", "small"])
def test_timms_tensorflow_weights_pad_and_normalise_as_mmsegmentations(size: str) -> None:
    torch.manual_seed(0)
    ours = create_model(f"mobilenet-v3-{size}")
    theirs = create_model(f"timm_tf_mobilenetv3_{size}_100")
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        assert torch.equal(ours(torch.ones(1, 3, 65, 49))[-1], theirs(torch.ones(1, 3, 65, 49))[-1])
