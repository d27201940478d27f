"""What holds for every segmentor family alike, on its smallest network."""

from __future__ import annotations

import pytest
import torch

from segstudio.plugin_api import Loss
from segstudio_zoo import create_model
from segstudio_zoo.catalog import segmentors
from tests.zoo.reference import mean_over_valid_pixels
from tests.zoo.smallest import NUM_CLASSES, SMALLEST, build, picture

FAMILIES = sorted(SMALLEST)


def test_every_family_of_the_catalog_is_tested_here() -> None:
    assert sorted(entry.id for entry in segmentors()) == FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_resized_are_the_forward_and_pictures_of_a_batch_do_not_mix(family: str) -> None:
    model = build(family)
    images = picture(3, 129, 161)
    with torch.no_grad():
        together = model(images)
        alone = model(images[1:2])
        scores = model.scores(images[1:2])
    assert together.shape == (3, NUM_CLASSES, 129, 161)
    assert torch.isfinite(together).all()
    assert scores.logits.shape[:2] == (1, NUM_CLASSES)
    scale = float(together.std())
    assert scale > 0
    # PointRend chooses its points by rank: rounding may swap a few at the border of the choice.
    differs = (together[1:2] - alone).abs() > 1e-3 * scale
    assert float(differs.float().mean()) <= (0.002 if family == "pointrend" else 0.0)
    resized = torch.nn.functional.interpolate(
        scores.logits, (129, 161), mode="bilinear", align_corners=scores.align_corners
    )
    torch.testing.assert_close(resized, alone, atol=1e-5 * max(scale, 1.0), rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_receives_a_gradient(family: str) -> None:
    model = build(family).train()
    torch.manual_seed(1)
    images = picture(3, 97, 129)
    target = (
        torch.randint(0, NUM_CLASSES, (3, 4, 5))
        .repeat_interleave(25, 1)
        .repeat_interleave(26, 2)[:, :97, :129]
    )
    target = target.contiguous()
    target[:, :3] = 255
    losses = model.losses(images, target, mean_over_valid_pixels)
    assert losses
    assert all(isinstance(loss, Loss) for loss in losses.values())
    total = sum(loss.weight * loss.sum / loss.count for loss in losses.values())
    assert torch.isfinite(total)
    total.backward()
    silent = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and (parameter.grad is None or not bool(torch.isfinite(parameter.grad).all()))
    ]
    assert silent == []


@pytest.mark.parametrize("family", FAMILIES)
def test_the_optimiser_gets_every_parameter_once(family: str) -> None:
    model = build(family)
    groups = model.param_groups(0.01)
    given = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = [id(parameter) for parameter in model.parameters() if parameter.requires_grad]
    assert len(given) == len(set(given))
    assert set(given) == set(trainable)


@pytest.mark.parametrize(
    ("family", "backbone"),
    [
        ("danet", "convnext-tiny"),
        ("ccnet", "hrnet-w18"),
        ("psanet", "mit-b0"),
        ("deeplabv3plus", "resnest14"),
        ("upernet", "mscan-t"),
        ("ocrnet", "r18-d8"),
        ("segformer", "convnextv2-atto"),
    ],
)
def test_a_segmentor_stands_on_any_backbone_that_suits(family: str, backbone: str) -> None:
    model = create_model(family, backbone=backbone, num_classes=7)
    with torch.no_grad():
        assert model(picture(1, 96, 128)).shape == (1, 7, 96, 128)


@pytest.mark.parametrize(("family", "backbone"), [("dpt", "r18"), ("icnet", "mit-b0"), ("lraspp", "vit-t16")])
def test_a_wrong_pair_says_what_was_expected(family: str, backbone: str) -> None:
    with pytest.raises(ValueError, match=r"cannot stand on .*: .{20,}"):
        create_model(family, backbone=backbone, num_classes=7)
