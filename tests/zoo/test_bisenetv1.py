"""BiSeNet: parity, its modules written out, Xception39, gates, switch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.segmentors.bisenetv1 import (
    AttentionRefinementModule,
    FeatureFusionModule,
    SpatialPath,
    channel_probe,
    gate_probe,
    infer_options,
    mute_path,
)
from tests.zoo.reference import check_reference, mean_over_all_pixels


def small(name: str = "bisenetv1_r18-d32", **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model(name, num_classes=3, **{"context_channels": 16, **options})


def test_equals_the_reference() -> None:
    ref, _ = check_reference("bisenetv1_r18-d32")
    ref.assert_all_seen()
    assert identify(ref.state_dict())[0].name == "bisenetv1_r18-d32"


def test_refinement_and_fusion_gate_each_channel_by_its_average() -> None:
    torch.manual_seed(1)
    arm, ffm = AttentionRefinementModule(4, 6).eval(), FeatureFusionModule(6, 6).eval()
    x, other = torch.randn(1, 4, 5, 7), torch.randn(1, 2, 5, 7)
    with torch.no_grad():
        convolved = arm.conv_layer(x)
        average = convolved.flatten(2).mean(2)[..., None, None]
        gate = torch.sigmoid(arm.atten_conv_layer[1].bn(arm.atten_conv_layer[1].conv(average)))
        assert torch.allclose(arm(x), convolved * gate, atol=1e-6)
        joined = ffm.conv1(torch.cat([x, other], 1))
        average = joined.flatten(2).mean(2)[..., None, None]
        gate = torch.sigmoid(ffm.conv_atten[0].bn(ffm.conv_atten[0].conv(average)).relu())
        assert torch.allclose(ffm(x, other), joined + joined * gate, atol=1e-6)


def test_spatial_path_has_three_layers_in_the_paper_and_a_projection_as_published() -> None:
    paper, published = SpatialPath(16, projection=False), SpatialPath(16, projection=True)
    assert [name for name, _ in paper.named_children()] == ["layer1", "layer2", "layer3"]
    assert [name for name, _ in published.named_children()] == ["layer1", "layer2", "layer3", "layer4"]
    image = torch.zeros(1, 3, 64, 96)
    assert paper(image).shape == published(image).shape == (1, 16, 8, 12)


def test_xception39_is_the_papers_context_path() -> None:
    model = create_model("bisenetv1_xception39", num_classes=3)
    assert model.backbone.context_path.arm16.conv_layer.conv.weight.shape[:2] == (128, 128)
    assert model.backbone.context_path.arm32.conv_layer.conv.weight.shape[:2] == (128, 256)
    with torch.no_grad():
        assert model(torch.randn(1, 3, 65, 97)).shape == (1, 3, 65, 97)


def test_widths_follow_the_backbone_as_published() -> None:
    model = create_model("bisenetv1_r50-d32-in1k-pre_4xb4-160k_cityscapes-1024x1024")
    state = model.state_dict()
    assert state["decode_head.convs.0.conv.weight"].shape == (1024, 1024, 3, 3)
    assert state["auxiliary_head.1.convs.0.conv.weight"].shape == (256, 512, 3, 3)
    assert state["backbone.spatial_path.layer1.conv.weight"].shape == (256, 3, 7, 7)
    assert "backbone.context_path.backbone.conv1.weight" in state


def test_losses_all_weigh_one() -> None:
    target = torch.randint(0, 3, (1, 64, 64))
    losses = small().losses(torch.randn(1, 3, 64, 64), target, mean_over_all_pixels)
    assert {key: loss.weight for key, loss in losses.items()} == {
        "decode.loss_ce": 1.0,
        "aux_0.loss_ce": 1.0,
        "aux_1.loss_ce": 1.0,
    }


def test_a_checkpoint_without_its_auxiliary_heads_is_known_and_loads() -> None:
    state = {k: v for k, v in small().state_dict().items() if not k.startswith("auxiliary_head.")}
    found = identify(state)[0]
    assert found.options["auxiliary"] is False
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    load_checkpoint(model, state)
    image, target = torch.randn(1, 3, 64, 96), torch.zeros(1, 64, 96, dtype=torch.long)
    assert not model.side_outputs(image)
    assert not any(key.startswith("aux") for key in model.losses(image, target, mean_over_all_pixels))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("gate", ["ffm", "arm16", "arm32"])
def test_gates_are_shown_sorted_with_their_channels(gate: str) -> None:
    model = small()
    with torch.no_grad(), gate_probe().attach(model) as captured:
        model.scores(torch.randn(1, 3, 64, 96))
    bars = gate_probe().map(captured, Query(), gate=gate)
    assert (np.diff(bars.values) <= 0).all()
    maps = channel_probe().map(captured, Query(), gate=gate, count=3)
    assert maps.values.shape[0] == 3
    best = int(bars.labels[0])
    assert np.array_equal(maps.values[0], captured.features[gate][best].numpy())
    assert maps.stride == {"ffm": (8.0, 8.0), "arm16": (16.0, 16.0), "arm32": (32.0, 32.0)}[gate]
    with pytest.raises(ValueError, match="arm16"):
        gate_probe().map(captured, Query(), gate="arm8")


@pytest.mark.parametrize("path", ["without spatial", "without context"])
def test_muting_a_path_changes_the_output_and_is_put_back(path: str) -> None:
    model, image = small(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        normal = model(image)
        with mute_path(model, path):
            assert not torch.equal(model(image), normal)
        assert torch.equal(model(image), normal)


@pytest.mark.parametrize(
    ("backbone", "given"),
    [
        ("r18b-d8", "64 channels at 4, 128 channels at 8, 256 channels at 8, 512 channels at 8"),
        ("vit-t16", "192 channels at 16, 192 channels at 16"),
    ],
)
def test_a_backbone_is_refused_with_the_strides_it_lacks_and_those_it_gives(
    backbone: str, given: str
) -> None:
    with pytest.raises(ValueError, match="expected features at strides 8, 16, 32") as caught:
        create_model("bisenetv1", backbone=backbone, num_classes=3)
    assert given in str(caught.value)


@pytest.mark.parametrize("backbone", ["mobilenet-v2", "resnest14", "mscan-tiny"])
def test_any_backbone_with_the_three_strides_can_be_the_context_path(backbone: str) -> None:
    model = create_model("bisenetv1", backbone=backbone, num_classes=3)
    with torch.no_grad():
        assert model(torch.randn(1, 3, 65, 97)).shape == (1, 3, 65, 97)


@pytest.mark.parametrize("name", ["bisenetv1_r18-d32", "bisenetv1_xception39"])
@pytest.mark.parametrize("projection", [True, False])
def test_every_parameter_gets_a_gradient_and_options_are_inferred(name: str, projection: bool) -> None:
    model = small(name, spatial_projection=projection).train()
    target = torch.randint(0, 3, (3, 65, 97))
    losses = model.losses(torch.randn(3, 3, 65, 97), target, mean_over_all_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    for key, p in model.named_parameters():
        assert p.grad is not None, key
        assert p.grad.abs().sum() > 0, key
    found = infer_options({key: tuple(value.shape) for key, value in model.state_dict().items()})
    assert found == {"context_channels": 16, "spatial_projection": projection, "auxiliary": True}


def test_a_batch_of_one_can_be_trained_on() -> None:
    model = small().train()
    model.scores(torch.randn(1, 3, 65, 97)).logits.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
