"""ResNeSt: parity with mmsegmentation and timm, the split-attention formula, probe and switch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.backbones.resnest import SplitAttention, average_splits, split_weight_probe
from segstudio_zoo.catalog.resnest import DESIGNS
from tests.zoo.reference import check_backbone, reference


@pytest.mark.parametrize("name", ["backbone_resnest50-d32", "backbone_resnest50-d8"])
def test_pyramid_equals_the_reference(name: str) -> None:
    ref, _ = check_backbone(name)
    ref.assert_all_seen()


def test_timm_weights_load_and_give_the_same_features_and_logits() -> None:
    ref = reference("timm_resnest50d")
    model = create_model("timm_resnest50d")
    report = load_checkpoint(model, ref.state_dict())
    assert report.layout == "timm"
    assert report.unused == ("fc.weight", "fc.bias")
    with torch.no_grad():
        ref.assert_close("feature.0", model.stem(ref.image()))
        pyramid = model(ref.image())
    for index, value in enumerate(pyramid, start=1):
        ref.assert_close(f"feature.{index}", value)
    state = ref.state_dict()
    ref.assert_close("logits", pyramid[-1].mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"])
    ref.assert_all_seen()


@pytest.mark.parametrize(("radix", "cardinality"), [(1, 1), (1, 4), (2, 1), (4, 2)])
def test_split_attention_equals_a_loop_over_groups_and_splits(radix: int, cardinality: int) -> None:
    torch.manual_seed(1)
    channels = 16
    block = SplitAttention(channels, radix=radix, cardinality=cardinality).double().eval()
    x = torch.randn(2, channels, 5, 7, dtype=torch.float64)
    group = channels // cardinality
    with torch.no_grad():
        features = F.relu(block.bn0(block.conv(x)))
        splits = [features[:, r * channels : (r + 1) * channels] for r in range(radix)]
        pooled = sum(splits).mean((2, 3))
        hidden = F.relu(block.bn1(block.fc1(pooled[..., None, None])))
        scores = block.fc2(hidden)[..., 0, 0]
        expected = torch.zeros_like(x)
        for k in range(cardinality):
            inside = scores[:, k * group * radix : (k + 1) * group * radix].reshape(2, radix, group)
            weights = torch.sigmoid(inside) if radix == 1 else inside.softmax(1)
            for r in range(radix):
                part = splits[r][:, k * group : (k + 1) * group]
                expected[:, k * group : (k + 1) * group] += weights[:, r, :, None, None] * part
        assert torch.allclose(block(x), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "radix", "cardinality", "width"),
    [
        ("resnest50-se", 1, 1, 64),
        ("resnest50-1s1x64d", 1, 1, 64),
        ("resnest50-resnext", 2, 2, 40),
        ("resnest50-2s2x40d", 2, 2, 40),
        ("resnest50-1s2x40d", 1, 2, 40),
        ("resnest50-4s1x64d", 4, 1, 64),
        ("resnest50-4s2x40d", 4, 2, 40),
        ("resnest50-1s4x24d", 1, 4, 24),
    ],
)
def test_presets_are_built_by_name(name: str, radix: int, cardinality: int, width: int) -> None:
    with torch.device("meta"):
        state = create_model(name).state_dict()
        system = create_model(f"fcn_{name}-d8", num_classes=3).state_dict()
    channels = width * cardinality  # of the first stage's 3x3
    weight = state["layer1.0.conv2.conv.weight"]
    assert tuple(weight.shape) == (channels * radix, channels // (cardinality * radix), 3, 3)
    found = identify(state)[0]
    with torch.device("meta"):
        again = create_model(found.name, **found.options).state_dict()
    assert {key: value.shape for key, value in again.items()} == {k: v.shape for k, v in state.items()}
    assert found.options == {} and DESIGNS[found.name].pool_first
    assert system["backbone.layer1.0.conv2.conv.weight"].shape == weight.shape


def test_the_squeeze_excite_preset_gates_every_channel_alone() -> None:
    """R = 1: no softmax over splits, one sigmoid of the pooled channels (section 3.1, Eq. 2)."""
    torch.manual_seed(0)
    block = create_model("resnest50-se").layer1[0].conv2
    x = torch.randn(2, 64, 5, 6)
    with torch.no_grad():
        features = F.relu(block.bn0(F.conv2d(x, block.conv.weight, padding=1)))
        squeezed = F.relu(block.bn1(F.conv2d(features.mean((2, 3), True), block.fc1.weight, block.fc1.bias)))
        gate = torch.sigmoid(F.conv2d(squeezed, block.fc2.weight, block.fc2.bias))
        torch.testing.assert_close(block(x), features * gate, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnest14", "resnest50-se", "resnest50-1s4x24d", "resnest50-4s2x40d"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = create_model(name, output_stride=16).train()
    sum(value.square().mean() for value in model(torch.randn(3, 3, 65, 81))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert tuple(info.stride for info in model.features) == (4, 8, 16, 16)


def test_depths_and_stems_are_the_published_ones() -> None:
    blocks = {name: create_model(name) for name in ("resnest26", "resnest101")}
    assert [len(blocks["resnest26"].get_submodule(f"layer{n}")) for n in (1, 2, 3, 4)] == [2, 2, 2, 2]
    assert blocks["resnest101"].stem[0].out_channels == 64
    assert create_model("s101-d8").features[-1].stride == 8


def test_probe_shows_the_weights_the_block_used_and_the_switch_averages() -> None:
    torch.manual_seed(2)
    model = create_model("nonlocal", backbone="resnest14", num_classes=3)
    probe = split_weight_probe()
    image = torch.randn(1, 3, 64, 96)
    used: list[torch.Tensor] = []
    block = model.backbone.layer4[0].conv2
    original = block.weights
    block.weights = lambda pooled: used.append(original(pooled)) or used[-1]
    with torch.no_grad(), probe.attach(model) as captured:
        normal = model(image)
        shown = probe.map(captured, Query(kind="global"))
        with average_splits(model, "mean"):
            averaged = model(image)
        assert torch.equal(model(image), normal)
    assert shown.values.shape == (2, 512)
    assert torch.allclose(torch.from_numpy(shown.values), used[0][0], atol=1e-6)
    assert not torch.allclose(averaged, normal)
    with pytest.raises(ValueError, match="4 split-attention blocks"):
        probe.map(captured, Query(kind="global"), block=9)


def test_a_batch_of_one_can_be_trained_on() -> None:
    model = create_model("resnest14").train()
    model(torch.randn(1, 3, 65, 97))[-1].square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_radix_that_does_not_divide_the_channels_is_refused_with_those_that_do() -> None:
    with pytest.raises(
        ValueError, match="64 channels do not divide into radix 3 x cardinality 1 groups; a rad"
    ):
        create_model("resnest14", radix=3)
