"""PointRend: parity, point sampling and subdivision against plain loops, point loss, probes, switch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from segstudio.plugin_api import Query
from segstudio.worker.folding import fold_batch_norms
from segstudio_zoo import create_model, identify
from segstudio_zoo.probes.pointrend import box_probe, points_probe, set_steps, uncertainty_probe
from segstudio_zoo.segmentors import pointrend
from segstudio_zoo.segmentors.pointrend import (
    infer_options,
    sample_points,
    training_points,
    uncertain_cells,
    uncertainty,
)
from tests.zoo.reference import load_reference, mean_over_all_pixels
from tests.zoo.smallest import picture


def small(**options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model(
        "pointrend_r18",
        num_classes=4,
        point_channels=8,
        **{"subdivision_points": 60, "training_points": 40, **options},
    )


def test_equals_the_reference_but_for_swapped_points() -> None:
    ref, model = load_reference("pointrend_r50")
    with torch.no_grad():
        features = model.extract(ref.image())
        for index, value in enumerate(features):
            ref.assert_close(f"feature.{index}", value)
        ref.assert_close("decode_head.0", model.decode_head[0](features))
        logits = model(ref.image())
    facts = ref.manifest["arrays"]["seg_logits"]
    assert list(logits.shape) == facts["shape"]
    got = logits.numpy()[tuple(slice(None, None, step) for step in facts["step"])]
    far = np.abs(got - ref.arrays["seg_logits"]) > 1e-4 * facts["std"] + 1e-5 * facts["max_abs"]
    assert far.any(axis=1).mean() <= 0.002
    losses = model.losses(ref.image(), ref.target(), mean_over_all_pixels)
    coarse = losses.pop("decode_0.loss_ce")
    assert set(losses) == {"decode_1.pointloss_ce"}
    ref.assert_losses({"decode_0.loss_ce": coarse._replace(sum=coarse.sum.detach())})
    (coarse.sum / coarse.count).backward()
    ref.assert_gradients(model)


def test_folded_it_differs_only_where_points_change_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding moves points over the border of the choice; with the same points the scores are the same."""
    plain = small(subdivision_points=400).eval()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=(2.0 / parameter[0].numel()) ** 0.5)
            elif name.endswith("weight"):
                parameter.uniform_(0.5, 1.5)
    folded = copy.deepcopy(plain)
    image = picture(1, 96, 160)
    assert fold_batch_norms(folded, image).folded > 20
    folded.optimise_for_inference()
    folded.to(memory_format=torch.channels_last)
    chosen: list[list[tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]]] = []

    def run(
        model: torch.nn.Module, given: list[tuple[torch.Tensor, torch.Tensor]] | None = None
    ) -> torch.Tensor:
        steps: list[tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]] = []

        def cells(doubt: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
            own = uncertain_cells(doubt, count)
            steps.append((doubt, own))
            return own if given is None else given[len(steps) - 1]

        monkeypatch.setattr(pointrend, "uncertain_cells", cells)
        with torch.no_grad():
            logits: torch.Tensor = model.scores(image).logits
        chosen.append(steps)
        return logits

    expected = run(plain)
    std = float(expected.std())
    gap = run(folded, [own for _, own in chosen[0]]) - expected
    assert float(gap.abs().max()) <= 1e-3 * std
    for (doubt, (ours, _)), (_, (theirs, _)) in zip(chosen[0], chosen[1], strict=True):
        border = float(doubt.flatten()[ours[0]].min())
        moved = set(ours[0].tolist()) ^ set(theirs[0].tolist())
        assert len(moved) <= 0.02 * ours.shape[1]
        for cell in moved:
            assert abs(float(doubt.flatten()[cell]) - border) <= 2e-3 * std


def test_points_are_read_bilinearly_between_cell_centres() -> None:
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    centres = torch.tensor([[[0.125, 1 / 6], [0.875, 5 / 6], [0.5, 0.5]]])
    assert sample_points(x, centres)[0, 0].tolist() == pytest.approx([0.0, 11.0, 5.5], abs=1e-5)
    assert sample_points(x, centres[:, :2], nearest=True)[0, 0].tolist() == [0.0, 11.0]


def test_uncertainty_is_the_gap_of_the_best_two_and_cells_are_its_largest() -> None:
    logits = torch.randn(1, 3, 4, 5)
    ordered = logits.sort(1, descending=True).values
    doubt = uncertainty(logits)
    assert torch.allclose(doubt, ordered[:, 1] - ordered[:, 0])
    indices, points = uncertain_cells(doubt, 6)
    assert set(indices[0].tolist()) == set(doubt.flatten().argsort(descending=True)[:6].tolist())
    for index, (x, y) in zip(indices[0].tolist(), points[0].tolist(), strict=True):
        assert (int(y * 4), int(x * 5)) == divmod(index, 5)


def test_training_points_are_mostly_uncertain_ones() -> None:
    torch.manual_seed(1)
    logits = torch.zeros(2, 2, 16, 16)
    logits[:, 0, :, 8:] = 9.0  # the left half is uncertain
    points = training_points(logits, 200, oversample=3, importance=0.75, align_corners=False)
    assert points.shape == (2, 200, 2)
    assert (points[:, :150, 0] < 0.55).all()
    assert (points[:, 150:, 0] > 0.6).any()
    assert ((points >= 0) & (points <= 1)).all()


@pytest.mark.parametrize("coarse", ["semantic_fpn", "deeplabv3"])
def test_subdivision_replaces_the_chosen_cells_and_only_those(coarse: str) -> None:
    model = small(coarse=coarse)
    head = model.decode_head[1]
    with torch.no_grad():
        features = model.extract(torch.randn(1, 3, 64, 64))
        first = model.decode_head[0](features)
        refined = head(features, first)
        expected = first
        for _ in range(head.steps):
            expected = torch.nn.functional.interpolate(expected, scale_factor=2, mode="bilinear")
            doubt = uncertainty(expected)[0].flatten()
            height, width = expected.shape[2:]
            chosen = doubt.argsort(descending=True)[:60].tolist()
            values = []
            for index in chosen:
                row, column = divmod(index, width)
                point = torch.tensor([[[(column + 0.5) / width, (row + 0.5) / height]]])
                values.append(head.at(features, first, point)[0, :, 0])
            for index, value in zip(chosen, values, strict=True):
                expected[0, :, index // width, index % width] = value
    assert refined.shape == (1, 4, 64, 64)
    assert torch.allclose(refined, expected, atol=1e-4)


def test_perceptron_sees_the_coarse_prediction_in_every_layer() -> None:
    head = small().decode_head[1]
    fine, coarse = torch.randn(1, 256, 3), torch.randn(1, 4, 3)
    x = fine[0].T
    with torch.no_grad():
        for layer in head.fcs:
            joined = torch.cat([x, coarse[0].T], 1)
            x = (joined @ layer.conv.weight[:, :, 0].T + layer.conv.bias).relu()
        joined = torch.cat([x, coarse[0].T], 1)
        expected = joined @ head.fc_seg.weight[:, :, 0].T + head.fc_seg.bias
        assert torch.allclose(head.classify(fine, coarse)[0].T, expected, atol=1e-5)


def test_probes_show_doubt_and_points_of_each_step() -> None:
    model = small()
    with torch.no_grad(), points_probe().attach(model) as captured:
        model.scores(torch.randn(1, 3, 64, 96))
    first = uncertainty_probe().map(captured, Query(), step=1)
    points = points_probe().map(captured, Query(), step=1)
    assert first.values.shape == (32, 48)
    assert first.stride == (2.0, 2.0)
    assert points.values.shape == (60, 3)
    for y, x, weight in points.values:
        assert first.values[int(y / 2), int(x / 2)] == pytest.approx(weight)
    assert points.values[:, 2].min() >= np.sort(first.values.ravel())[-60]
    assert uncertainty_probe().map(captured, Query()).values.shape == (64, 96)
    with pytest.raises(ValueError, match="2 subdivision steps"):
        points_probe().map(captured, Query(), step=3)


def test_a_box_is_rendered_from_seven_to_two_hundred_and_twenty_four() -> None:
    model = small()
    with torch.no_grad(), box_probe().attach(model) as captured:
        model.scores(torch.randn(1, 3, 64, 96))
        shown = box_probe().map(captured, Query(y=32, x=48), height=28, width=28)
        corner = torch.tensor([[[(48 - 14 + 2) / 96, (32 - 14 + 2) / 64]]])
        direct = sample_points(captured.coarse, corner).argmax(1)
    assert shown.values.shape == (6, 224, 224)
    assert shown.labels == ("7x7", "14x14", "28x28", "56x56", "112x112", "224x224")
    assert shown.offset == (18.0, 34.0)
    assert shown.values[0, 0, 0] == float(direct)
    assert len(np.unique(shown.values[0, :32, :32])) == 1


def test_steps_can_be_switched_and_zero_is_the_coarse_map() -> None:
    model, image = small(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        normal = model.scores(image).logits
        with set_steps(model, 0):
            coarse = model.scores(image).logits
        assert torch.equal(coarse, model.side_outputs(image)["decode.0"].logits)
        assert torch.equal(model.scores(image).logits, normal)
    assert normal.shape[-2:] == (64, 64)


def test_a_backbone_without_stride_four_is_refused() -> None:
    with pytest.raises(ValueError, match="stride"):
        create_model("pointrend", backbone="mobilenet-v2", num_classes=3, out_indices=(4, 6))


@pytest.mark.parametrize("coarse", ["semantic_fpn", "deeplabv3"])
def test_every_parameter_gets_a_gradient_and_options_are_inferred(coarse: str) -> None:
    model = small(coarse=coarse).train()
    target = torch.randint(0, 4, (2, 65, 81))
    losses = model.losses(torch.randn(2, 3, 65, 81), target, mean_over_all_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name
    found = infer_options({key: tuple(value.shape) for key, value in model.state_dict().items()})
    assert found == {"coarse": coarse, "point_channels": 8, "point_layers": 3}


def test_steps_are_automatic_or_as_many_as_asked_for_and_none_gives_the_coarse_map() -> None:
    assert small(subdivision_steps="auto").decode_head[1].steps == small().decode_head[1].steps == 2
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        shapes = {steps: small(subdivision_steps=steps).scores(image).logits.shape[2:] for steps in (0, 1, 3)}
        assert shapes == {0: (16, 24), 1: (32, 48), 3: (128, 192)}
        model = small(subdivision_steps=0)
        assert torch.equal(model.scores(image).logits, model.side_outputs(image)["decode.0"].logits)
        with points_probe().attach(model) as captured:
            model.scores(image)
    with pytest.raises(ValueError, match="no subdivision steps"):
        points_probe().map(captured, Query())
    losses = model.train().losses(image, torch.randint(0, 4, (1, 64, 96)), mean_over_all_pixels)
    assert set(losses) == {"decode_0.loss_ce", "decode_1.pointloss_ce"}


@pytest.mark.parametrize("points", [1, 8096, 8196])
def test_a_step_predicts_as_many_points_as_built_for(points: int) -> None:
    head = small(subdivision_points=points).decode_head[1]
    counts = []
    head.recorders.append(lambda step, doubt, indices: counts.append(indices.shape[1]))
    with torch.no_grad():
        head([torch.randn(1, 256, 32, 48)], torch.randn(1, 4, 32, 48))
    assert counts == [min(points, 64 * 96), min(points, 128 * 192)]


def test_the_named_network_on_deeplabv3_reads_the_pyramid_at_stride_sixteen() -> None:
    model = create_model("pointrend_deeplabv3_r50-d16", num_classes=4, point_channels=8)
    assert [info.stride for info in model.backbone.features] == [4, 8, 16, 16]
    assert isinstance(model.decode_head[0], pointrend.AtrousCoarseHead) and model.neck is None
    assert model.decode_head[1].steps == 4
    assert model.decode_head[1].fcs[0].conv.weight.shape[1] == 256 + 4
    state = model.state_dict()
    found = identify({key: value.to("meta") for key, value in state.items()})[0]
    assert (found.name, found.num_classes) == ("pointrend_deeplabv3_r50-d16", 4)
    assert found.options == {"point_channels": 8}


def test_points_of_a_wide_picture_stay_in_place_in_half_precision() -> None:
    doubt = torch.zeros(1, 2, 512, dtype=torch.bfloat16)
    doubt[0, 1, 301] = 1
    indices, points = uncertain_cells(doubt, 1)
    assert indices.tolist() == [[512 + 301]]
    assert points[0, 0].tolist() == pytest.approx([301.5 / 512, 0.75])
    x = torch.zeros(1, 1, 2, 512, dtype=torch.bfloat16)
    x[0, 0, 1, 301] = 1
    assert sample_points(x, points).dtype is torch.bfloat16
    assert sample_points(x, points).item() == 1


def test_subdivision_of_a_wide_map_in_half_precision_reads_the_same_places() -> None:
    """A map of 64 x 512: bfloat16 cannot number its columns, so points must be placed in float32."""
    torch.manual_seed(0)
    head = small(subdivision_points=2000, subdivision_steps=1).decode_head[1]
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            parameter.normal_(std=0.1) if name.endswith("weight") else parameter.zero_()
    fine, coarse = torch.randn(1, 256, 64, 512), 3 * torch.randn(1, 4, 64, 512)
    chosen: list[torch.Tensor] = []
    head.recorders.append(lambda step, doubt, indices: chosen.append(indices[0]))
    with torch.no_grad():
        exact = head([fine], coarse)
        with torch.autocast("cpu", torch.bfloat16):
            half = head([fine.bfloat16()], coarse.bfloat16())
    assert half.dtype is torch.bfloat16 and half.shape == exact.shape == (1, 4, 128, 1024)
    both = torch.tensor(sorted(set(chosen[0].tolist()) & set(chosen[1].tolist())))
    assert len(both) > 1500
    assert (both % 1024 > 512).sum() > 500
    expected, got = exact.flatten(2)[..., both], half.float().flatten(2)[..., both]
    assert float((got - expected).abs().max()) < 0.1 * float(expected.std())
