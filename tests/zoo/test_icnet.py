"""ICNet: parity, fusion written out, shared early layers, label guidance, switch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.segmentors.icnet import (
    CascadeFeatureFusion,
    branch_time_probe,
    infer_options,
    mute_branch,
)
from tests.zoo.reference import check_reference, mean_over_all_pixels


def small(**options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("icnet_r18-d8", num_classes=3, psp_channels=16, channels=8, **options)


def test_equals_the_reference() -> None:
    ref, _ = check_reference("icnet_r50-d8")
    ref.assert_all_seen()


def test_fusion_enlarges_convolves_with_dilation_and_adds() -> None:
    torch.manual_seed(1)
    fusion = CascadeFeatureFusion(4, 5, 6, align_corners=False).eval()
    low, high = torch.randn(1, 4, 3, 4), torch.randn(1, 5, 7, 9)
    state = fusion.state_dict()

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        parts = (f"{name}.bn.{p}" for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *(state[part] for part in parts)).relu()

    with torch.no_grad():
        big = F.interpolate(low, size=(7, 9), mode="bilinear")
        coarse = norm(F.conv2d(big, state["conv_low.conv.weight"], padding=2, dilation=2), "conv_low")
        fine = norm(F.conv2d(high, state["conv_high.conv.weight"]), "conv_high")
        fused, side = fusion(low, high)
        paper = CascadeFeatureFusion(4, 5, 6, align_corners=False, guided_by="enlarged").eval()
        paper.load_state_dict(state)
        same, enlarged = paper(low, high)
    assert torch.allclose(side, coarse, atol=1e-5)
    assert torch.allclose(fused, coarse + fine, atol=1e-5)
    assert torch.equal(same, fused)
    assert torch.allclose(enlarged, big, atol=1e-6)


def test_the_papers_auxiliary_classifiers_read_before_the_dilated_convolution() -> None:
    model = small(guided_by="enlarged")
    image = torch.randn(1, 3, 128, 160)
    with torch.no_grad():
        light, medium, deep = model.backbone(image)
        quarter, half, _ = model.neck([light, medium, deep])
        big = F.interpolate(deep, size=medium.shape[2:], mode="bilinear")
        assert torch.equal(quarter, big)
        fused, _ = model.neck.cff_24(deep, medium)
        assert torch.equal(half, F.interpolate(fused, size=light.shape[2:], mode="bilinear"))
        published = small()
        published.load_state_dict(
            {k: v for k, v in model.state_dict().items() if not k.startswith("auxiliary_head.0.")},
            strict=False,
        )
        assert torch.equal(published(image), model(image))
    found = identify(model.state_dict())[0]
    assert found.options["guided_by"] == "enlarged"
    again = create_model(found.name, num_classes=found.num_classes, **found.options)
    load_checkpoint(again, model.state_dict())
    with torch.no_grad():
        ours, theirs = again.side_outputs(image), model.side_outputs(image)
    assert all(torch.equal(ours[name].logits, theirs[name].logits) for name in theirs)
    with pytest.raises(ValueError, match=r"convolved.*enlarged"):
        small(guided_by="nothing")


def test_branches_lie_at_strides_8_16_and_32() -> None:
    with torch.no_grad():
        light, medium, deep = small().backbone(torch.randn(1, 3, 256, 320))
    assert [tuple(x.shape[2:]) for x in (light, medium, deep)] == [(32, 40), (17, 21), (8, 10)]


@pytest.mark.parametrize(("guidance", "weight"), [("published", 0.4), ("paper", 0.16)])
def test_label_guidance_weighs_the_coarsest_loss(guidance: str, weight: float) -> None:
    model = small(label_guidance=guidance)
    target = torch.randint(0, 3, (1, 64, 64))
    losses = model.losses(torch.randn(1, 3, 64, 64), target, mean_over_all_pixels)
    assert {key: loss.weight for key, loss in losses.items()} == {
        "decode.loss_ce": 1.0,
        "aux_0.loss_ce": weight,
        "aux_1.loss_ce": 0.4,
    }


def test_side_outputs_are_the_three_resolutions() -> None:
    with torch.no_grad():
        sides = small().side_outputs(torch.randn(1, 3, 128, 160))
    assert {name: tuple(side.logits.shape[2:]) for name, side in sides.items()} == {
        "auxiliary.0": (9, 11),
        "auxiliary.1": (16, 20),
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


@pytest.mark.parametrize("branch", ["without whole", "without half", "without quarter"])
def test_muting_a_branch_changes_the_output_and_is_put_back(branch: str) -> None:
    model, image = small(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        normal = model(image)
        with mute_branch(model, branch):
            assert not torch.equal(model(image), normal)
        assert torch.equal(model(image), normal)


@pytest.mark.parametrize("backbone", ["hrnet-w18-small", "mobilenet-v2", "vit-t16", "mscan-tiny"])
def test_a_backbone_without_a_residual_networks_layers_is_told_what_strides_are_expected(
    backbone: str,
) -> None:
    with pytest.raises(ValueError, match="ResNet") as caught:
        create_model("icnet", backbone=backbone, num_classes=3)
    said = str(caught.value)
    assert "layers 1 to 4 of a ResNet or ResNeSt at strides 4, 8, 8 to 16 and 8 to 32" in said
    given = create_model(backbone).features
    assert f"{given[0].channels} channels at {given[0].stride}" in said


@pytest.mark.parametrize("backbone", ["resnest14", "r18-d16"])
def test_residual_networks_of_both_kinds_and_any_stride_suit(backbone: str) -> None:
    model = create_model("icnet", backbone=backbone, num_classes=3)
    with torch.no_grad():
        assert model(torch.randn(1, 3, 65, 97)).shape == (1, 3, 65, 97)


@pytest.mark.parametrize("guided_by", ["convolved", "enlarged"])
def test_every_parameter_gets_a_gradient_and_options_are_inferred(guided_by: str) -> None:
    model = small(guided_by=guided_by).train()
    target = torch.randint(0, 3, (3, 97, 129))
    losses = model.losses(torch.randn(3, 3, 97, 129), target, mean_over_all_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name
    found = infer_options({key: tuple(value.shape) for key, value in model.state_dict().items()})
    assert found == {"psp_channels": 16, "channels": 8, "auxiliary": True, "guided_by": guided_by}


def test_a_batch_of_one_can_be_trained_on() -> None:
    model = small().train()
    model.scores(torch.randn(1, 3, 65, 97)).logits.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_each_branch_is_timed_on_the_picture_that_was_run() -> None:
    model = small()
    with torch.no_grad(), branch_time_probe().attach(model) as captured:
        model.scores(torch.randn(1, 3, 64, 96))
    shown = branch_time_probe().map(captured, Query(), repeats=1)
    assert [label.split(",")[0] for label in shown.labels] == ["light", "shared", "deep"]
    assert (shown.values > 0).all()
    assert captured.nbytes == 4 * 3 * 64 * 96
