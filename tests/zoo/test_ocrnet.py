"""OCRNet: parity, its equations written out, GT-OCR, levels, the authors' layout, probes."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, load_checkpoint
from segstudio_zoo.probes.ocrnet import region_probe, relation_map_probe, relation_probe, use_true_regions
from segstudio_zoo.segmentors.ocrnet import (
    ObjectContextBlock,
    infer_options,
    region_representations,
    true_membership,
)
from tests.zoo.reference import check_reference, mean_over_all_pixels


def small(name: str = "ocrnet_r18-d8", **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model(name, num_classes=4, channels=16, ocr_channels=8, **options)


def test_equals_the_reference_coarse_and_final() -> None:
    ref, model = check_reference("ocrnet_hr18")
    with torch.no_grad():
        features = model.extract(ref.image())
        coarse = model.decode_head[0](features)
        ref.assert_close("decode_head.0", coarse)
        ref.assert_close("decode_head.1", model.decode_head[1](features, coarse))
    ref.assert_all_seen()
    assert infer_options(ref.manifest["state_dict"])["levels"] == "all"


def test_object_context_equals_its_equations() -> None:
    torch.manual_seed(1)
    block = ObjectContextBlock(8, 4).double().eval()
    x = torch.randn(1, 8, 3, 5, dtype=torch.float64)
    scores = torch.randn(1, 4, 3, 5, dtype=torch.float64)
    with torch.no_grad():
        regions = []
        for k in range(4):
            m = scores[0, k].flatten().softmax(0)
            regions.append(sum(m[i] * x[0].flatten(1)[:, i] for i in range(15)))
        f = torch.stack(regions)
        assert torch.allclose(region_representations(x, scores)[0], f, atol=1e-12)

        def transform(layer: torch.nn.Module, vector: Tensor) -> Tensor:
            return layer(vector[None, :, None, None])[0, :, 0, 0]

        y = torch.zeros(1, 4, 3, 5, dtype=torch.float64)
        for r in range(3):
            for c in range(5):
                query = transform(block.query_project, x[0, :, r, c])
                w = torch.stack([query @ transform(block.key_project, f_k) / 2 for f_k in f]).softmax(0)
                y[0, :, r, c] = sum(
                    w_k * transform(block.value_project, f_k) for w_k, f_k in zip(w, f, strict=True)
                )
        expected = block.bottleneck(torch.cat([block.out_project(y), x], 1))
        assert torch.allclose(block(x, f[None], soft_regions=scores), expected, atol=1e-12)


def test_membership_is_one_class_a_cell_and_none_where_ignored() -> None:
    target = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1], [255, 255, 3, 3], [255, 255, 3, 3]]])
    member = true_membership(target, 4, (2, 2))
    assert member.sum(1).tolist() == [[[1, 1], [0, 1]]]
    assert member[0, :, 1, 1].tolist() == [0, 0, 0, 1]


def test_true_regions_need_labels_and_change_the_output() -> None:
    model, image = small(), torch.randn(1, 3, 64, 64)
    with pytest.raises(ValueError, match="labels"), use_true_regions(model, "truth"):
        pass
    model.region_truth = torch.randint(0, 4, (1, 64, 64))
    with torch.no_grad():
        normal = model(image)
        with use_true_regions(model, "truth"):
            better = model(image)
        assert torch.equal(model(image), normal)
    assert not torch.allclose(better, normal)
    assert torch.isfinite(better).all()


def test_levels_are_joined_for_hrnet_and_last_for_resnet() -> None:
    joined = create_model("ocrnet_hr18s", num_classes=3)
    single = small()
    assert joined.decode_head[0].levels.indices == joined.decode_head[1].levels.indices == (0, 1, 2, 3)
    assert joined.decode_head[0].convs[0].conv.weight.shape == (270, 270, 1, 1)
    assert single.decode_head[0].levels.indices == (2,)
    assert single.decode_head[1].levels.indices == (3,)
    assert single.decode_head[0].convs[0].conv.weight.shape == (256, 256, 3, 3)
    with torch.no_grad():
        assert single.scores(torch.zeros(1, 3, 64, 96)).logits.shape == (1, 4, 8, 12)


def test_losses_weigh_the_soft_regions_by_four_tenths() -> None:
    model = small()
    target = torch.randint(0, 4, (1, 64, 64))
    losses = model.losses(torch.randn(1, 3, 64, 64), target, mean_over_all_pixels)
    assert {key: loss.weight for key, loss in losses.items()} == {
        "decode_0.loss_ce": 0.4,
        "decode_1.loss_ce": 1.0,
    }


def test_relations_and_regions_are_those_the_network_used() -> None:
    model, image = small(), torch.randn(1, 3, 64, 96)
    with torch.no_grad(), relation_probe().attach(model) as captured:
        model.scores(image)
        features = model.extract(image)
        coarse, head = model.decode_head[0](features), model.decode_head[1]
        block = head.object_context_block
        x = head.bottleneck(head.levels(features))
        points = region_representations(x, coarse).transpose(1, 2)[..., None]
        query = block.query_project(x)[0].flatten(1).T
        full = (query @ block.key_project(points)[0, :, :, 0] / 8**0.5).softmax(1)
    bars = relation_probe().map(captured, Query(y=20, x=50))
    assert bars.query_cell == (2, 6)
    assert np.abs(bars.values - full[2 * 12 + 6].numpy()).max() < 1e-5
    column = relation_map_probe().map(captured, Query(kind="class", index=2))
    assert np.abs(column.values.ravel() - full[:, 2].numpy()).max() < 1e-5
    region = region_probe().map(captured, Query(kind="class", index=1))
    assert np.abs(region.values.ravel() - coarse[0, 1].flatten().softmax(0).numpy()).max() < 1e-6
    with pytest.raises(ValueError, match="4 classes"):
        region_probe().map(captured, Query(kind="class", index=4))


def test_with_true_regions_the_probes_show_the_truth() -> None:
    model = small()
    model.region_truth = torch.full((1, 64, 64), 2)
    model.region_truth[:, :32] = 1
    with torch.no_grad(), use_true_regions(model, "truth"), relation_probe().attach(model) as captured:
        model.scores(torch.randn(1, 3, 64, 64))
    assert relation_probe().map(captured, Query(y=10, x=10)).values.tolist() == [0, 1, 0, 0]
    below = relation_map_probe().map(captured, Query(kind="class", index=2)).values
    assert (below[:4] == 0).all() and (below[4:] == 1).all()
    region = region_probe().map(captured, Query(kind="class", index=2)).values
    assert region.sum() == pytest.approx(1) and (region[:4] == 0).all()


def _as_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our keys under the names of the authors' repository, with the two biases that it has."""
    table = [
        (r"decode_head\.1\.object_context_block\.(query|key)_project\.(\d)\.conv\.", 0),
        (r"decode_head\.1\.object_context_block\.(query|key)_project\.(\d)\.bn\.", 1),
    ]
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key
        for pattern, shift in table:
            match = re.match(pattern, key)
            if match:
                part = {"query": "f_pixel", "key": "f_object"}[match.group(1)]
                place = f"{2 * int(match.group(2)) + shift}{'.0' if shift else ''}"
                name = f"ocr_distri_head.object_context_block.{part}.{place}.{key[match.end() :]}"
        ocb = "decode_head.1.object_context_block."
        for ours, theirs in (
            (f"{ocb}value_project.conv.", "ocr_distri_head.object_context_block.f_down.0."),
            (f"{ocb}value_project.bn.", "ocr_distri_head.object_context_block.f_down.1.0."),
            (f"{ocb}out_project.conv.", "ocr_distri_head.object_context_block.f_up.0."),
            (f"{ocb}out_project.bn.", "ocr_distri_head.object_context_block.f_up.1.0."),
            (f"{ocb}bottleneck.conv.", "ocr_distri_head.conv_bn_dropout.0."),
            (f"{ocb}bottleneck.bn.", "ocr_distri_head.conv_bn_dropout.1.0."),
            ("decode_head.1.bottleneck.conv.", "conv3x3_ocr.0."),
            ("decode_head.1.bottleneck.bn.", "conv3x3_ocr.1."),
            ("decode_head.1.conv_seg.", "cls_head."),
            ("decode_head.0.convs.0.conv.", "aux_head.0."),
            ("decode_head.0.convs.0.bn.", "aux_head.1."),
            ("decode_head.0.conv_seg.", "aux_head.3."),
            ("backbone.", ""),
        ):
            if key.startswith(ours):
                name = theirs + key.removeprefix(ours)
        out[f"model.{name}"] = value
    for name in ("conv3x3_ocr.0", "aux_head.0"):
        bias = torch.randn(len(out[f"model.{name}.weight"]))
        out[f"model.{name}.bias"] = bias
        mean = f"model.{name.removesuffix('.0')}.1.running_mean"
        out[mean] = out[mean] + bias
    return out


def test_the_authors_layout_loads_with_nothing_left_and_biases_folded() -> None:
    source = small("ocrnet_hr18s")
    for value in source.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.0)
    target = small("ocrnet_hr18s")
    report = load_checkpoint(target, _as_authors(source.state_dict()))
    assert report.layout == "authors (HRNet-OCR)"
    assert not report.unused
    for key, value in source.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, target.state_dict()[key], atol=1e-5), key


@pytest.mark.parametrize("name", ["ocrnet_r18-d8", "ocrnet_hr18s"])
def test_every_parameter_gets_a_gradient_and_options_are_inferred(name: str) -> None:
    model = small(name).train()
    target = torch.randint(0, 4, (2, 65, 81))
    losses = model.losses(torch.randn(2, 3, 65, 81), target, mean_over_all_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    for key, p in model.named_parameters():
        assert p.grad is not None, key
        assert p.grad.abs().sum() > 0, key
    found = infer_options({key: tuple(value.shape) for key, value in model.state_dict().items()})
    create_model(name, num_classes=4, **found).load_state_dict(model.state_dict())
