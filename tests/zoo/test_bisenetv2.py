"""BiSeNetV2: parity, its blocks written out, Large, lambda, aggregations, gates, switch, OHEM."""

from __future__ import annotations

import argparse

import pytest
import torch
import torch.nn.functional as F

from segstudio.commands.train import add_arguments
from segstudio.core.recipe import Recipe
from segstudio.plugin_api import Query
from segstudio.training.criteria import CrossEntropy
from segstudio_zoo import catalog, create_model
from segstudio_zoo.catalog.losses import RECIPES
from segstudio_zoo.catalog.pages import page
from segstudio_zoo.names import resolve
from segstudio_zoo.segmentors.bisenetv2 import (
    BilateralGuidedAggregation,
    ContextEmbedding,
    GatherExpansion,
    StemBlock,
    gate_probe,
    infer_options,
    mute_branch,
)
from tests.zoo.reference import check_reference, mean_over_all_pixels


def small(**options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("bisenetv2", num_classes=3, **options)


def test_equals_the_reference() -> None:
    ref, _ = check_reference("bisenetv2")
    ref.assert_all_seen()


def test_gather_and_expansion_is_figure_five() -> None:
    torch.manual_seed(1)
    x = torch.randn(1, 4, 9, 11)
    with torch.no_grad():
        for stride, channels in ((1, 4), (2, 6)):
            layer = GatherExpansion(4, channels, expansion=3, stride=stride).eval()
            assert layer.dwconv[0].conv.weight.shape == (12, 1, 3, 3)
            out = layer.conv1(x)
            out = F.conv2d(out, layer.dwconv[0].conv.weight, stride=stride, padding=1, groups=4)
            out = layer.dwconv[0].bn(out)
            if stride == 1:
                out, shortcut = out.relu(), x
            else:
                out = F.conv2d(out, layer.dwconv[1].conv.weight, padding=1, groups=12)
                out = layer.dwconv[1].bn(out).relu()
                depthwise, point = layer.shortcut[0].depthwise_conv, layer.shortcut[0].pointwise_conv
                shortcut = depthwise.bn(F.conv2d(x, depthwise.conv.weight, stride=2, padding=1, groups=4))
                shortcut = point.bn(F.conv2d(shortcut, point.conv.weight))
            out = layer.conv2[0].bn(F.conv2d(out, layer.conv2[0].conv.weight))
            assert torch.allclose(layer(x), (out + shortcut).relu(), atol=1e-6)


def test_stem_and_context_embedding_are_figure_four() -> None:
    torch.manual_seed(2)
    stem, embedding = StemBlock(8).eval(), ContextEmbedding(8).eval()
    image = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        x = stem.conv_first(image)
        sides = torch.cat([stem.convs[1](stem.convs[0](x)), F.max_pool2d(x, 3, 2, 1)], 1)
        assert torch.equal(stem(image), stem.fuse_last(sides))
        features = torch.randn(1, 8, 5, 7)
        average = embedding.conv_gap(embedding.gap[1](features.mean((2, 3), keepdim=True)))
        assert torch.allclose(embedding(features), embedding.conv_last(features + average), atol=1e-6)


def test_each_branch_gates_the_other() -> None:
    torch.manual_seed(3)
    module = BilateralGuidedAggregation(6).eval()
    detail, semantic = torch.randn(1, 6, 16, 20), torch.randn(1, 6, 4, 5)
    with torch.no_grad():
        up = F.interpolate(module.semantic_conv(semantic), size=(16, 20), mode="bilinear")
        left = module.detail_dwconv(detail) * torch.sigmoid(up)
        right = module.detail_down(detail) * torch.sigmoid(module.semantic_dwconv(semantic))
        expected = module.conv(left + F.interpolate(right, size=(16, 20), mode="bilinear"))
        assert torch.allclose(module(detail, semantic), expected, atol=1e-6)


def test_large_is_twice_as_wide_and_three_times_as_deep() -> None:
    large, plain = create_model("bisenetv2-large", num_classes=3), small()
    assert large.backbone.features[0].channels == 2 * plain.backbone.features[0].channels == 256
    depths = [
        [len(model.backbone.semantic.get_submodule(f"stage{n}")) for n in (2, 3, 4)]
        for model in (plain, large)
    ]
    assert depths == [[2, 2, 4], [4, 4, 10]]


@pytest.mark.parametrize(("ratio", "stem"), [(0.5, 32), (0.25, 16), (0.125, 8)])
def test_lambda_sets_the_semantic_channels(ratio: float, stem: int) -> None:
    model = small(ratio=ratio)
    assert [info.channels for info in model.backbone.features] == [128, stem, 2 * stem, 4 * stem, 128]


def test_published_names_and_only_its_own_branches() -> None:
    for name in (
        "bisenetv2_fcn_4xb4-ohem-160k_cityscapes-1024x1024",
        "bisenetv2_fcn_4xb4-amp-160k_cityscapes",
    ):
        found = resolve(name)
        assert found.name == "bisenetv2"
    with pytest.raises(ValueError, match="own two branches"):
        create_model("bisenetv2", backbone="r18", num_classes=3)


def test_boosters_all_weigh_one_and_are_side_outputs() -> None:
    model, image = small(), torch.randn(1, 3, 64, 96)
    losses = model.losses(image, torch.randint(0, 3, (1, 64, 96)), mean_over_all_pixels)
    assert {loss.weight for loss in losses.values()} == {1.0}
    assert len(losses) == 5
    with torch.no_grad():
        sides = model.side_outputs(image)
    assert [tuple(side.logits.shape[2:]) for side in sides.values()] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("gate", ["fine", "coarse"])
def test_gates_are_those_of_the_aggregation(gate: str) -> None:
    model, image = small(), torch.randn(1, 3, 64, 96)
    with torch.no_grad(), gate_probe().attach(model) as captured:
        model.scores(image)
        semantic = model.backbone.semantic(image)[-1]
        fine, coarse = model.backbone.bga.gates(semantic, (8, 12))
    expected = (fine if gate == "fine" else coarse)[0]
    shown = gate_probe().map(captured, Query(), gate=gate)
    assert torch.allclose(torch.from_numpy(shown.values), expected.mean(0), atol=1e-6)
    one = gate_probe().map(captured, Query(), gate=gate, channel=5)
    assert torch.allclose(torch.from_numpy(one.values), expected[5], atol=1e-6)
    assert shown.stride == ((8.0, 8.0) if gate == "fine" else (32.0, 32.0))
    with pytest.raises(ValueError, match="128 channels"):
        gate_probe().map(captured, Query(), gate=gate, channel=128)


def test_without_guided_aggregation_there_are_no_gates() -> None:
    with pytest.raises(ValueError, match="no gates"), gate_probe().attach(small(aggregation="sum")):
        pass


@pytest.mark.parametrize("branch", ["without detail", "without semantic"])
def test_muting_a_branch_changes_the_output_and_is_put_back(branch: str) -> None:
    model, image = small(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        normal = model(image)
        with mute_branch(model, branch):
            assert not torch.equal(model(image), normal)
        assert torch.equal(model(image), normal)


@pytest.mark.parametrize("aggregation", ["bga", "sum", "concat"])
def test_every_parameter_gets_a_gradient_and_options_are_inferred(aggregation: str) -> None:
    model = small(aggregation=aggregation, ratio=0.5).train()
    target = torch.randint(0, 3, (3, 65, 97))
    losses = model.losses(torch.randn(3, 3, 65, 97), target, mean_over_all_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    for key, p in model.named_parameters():
        assert p.grad is not None, key
        assert p.grad.abs().sum() > 0, key
    found = infer_options({key: tuple(value.shape) for key, value in model.state_dict().items()})
    assert found == {"ratio": 0.5, "expansion": 6, "aggregation": aggregation}


def test_a_batch_of_one_can_be_trained_on() -> None:
    model = small().train()
    model.scores(torch.randn(1, 3, 65, 97)).logits.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_ohem_recipe_keeps_the_pixels_of_the_published_sampler() -> None:
    """Of a crop of 1024 x 1024 at least 10,000 pixels, and all whose class gets less than 0.7."""
    (recipe,) = RECIPES["bisenetv2"]
    share = dict(recipe.values)["ohem"]
    assert share * 1024 * 1024 == pytest.approx(10_000, rel=0.05)
    assert Recipe("segstudio_zoo/bisenetv2", (), **dict(recipe.values)).ohem == share
    criterion = CrossEntropy(255, keep=share)
    torch.manual_seed(0)
    for spread, few in ((1.0, False), (40.0, True)):  # hardly sure of anything; sure of nearly all
        target = torch.randint(0, 3, (1, 50, 60))
        logits = torch.randn(1, 3, 50, 60)
        logits += spread * torch.nn.functional.one_hot(target, 3).permute(0, 3, 1, 2)
        target[0, :5] = 255
        pixels = sorted(
            (float(logits[0, :, y, x].softmax(0)[target[0, y, x]]), y, x)
            for y in range(5, 50)
            for x in range(60)
        )
        least = pixels[: int(share * len(pixels))]
        hard = [pixel for pixel in pixels if pixel[0] < 0.7]
        assert (len(hard) < len(least)) == few
        expected = sum(
            float(torch.nn.functional.cross_entropy(logits[:, :, y, x], target[:, y, x]))
            for _, y, x in max(least, hard, key=len)
        )
        loss = criterion(logits, target)
        if not few:
            assert int(loss.count) == len(hard)
        assert float(loss.sum) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_page_says_how_to_train_with_it() -> None:
    text = page(next(entry for entry in catalog.segmentors() if entry.id == "bisenetv2"))
    line = next(line for line in text.splitlines() if line.startswith("segstudio train"))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(line.removeprefix("segstudio train ").split())
    assert (arguments.model, arguments.ohem) == ("bisenetv2", 0.01)
