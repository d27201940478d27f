"""PSANet: parity, the plain offset loops, probes against the full matrices, switches, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, load_checkpoint
from segstudio_zoo.catalog.psanet import ENTRY
from segstudio_zoo.plugin import absent_parts
from segstudio_zoo.probes import psanet as psanet_probes
from segstudio_zoo.segmentors import psanet
from segstudio_zoo.segmentors.psanet import by_offset_on_grid, collect_logits, distribute_logits
from tests.zoo.attention_nets import picture, small
from tests.zoo.reference import (
    check_segmentor,
    load_reference,
    mean_over_valid_pixels,
)


@pytest.mark.parametrize("name", ["psanet_r50-d8", "psanet_r50-d8_769"])
def test_outputs_losses_and_gradients_equal_the_reference(name: str) -> None:
    ref, model = load_reference(name)
    check_segmentor(ref, model, precise=True)
    ref.assert_all_seen()


def plain(mask: Tensor, mask_size: tuple[int, int], direction: str) -> Tensor:
    """Logits (sources, targets) by loops over cells and offsets; what no offset names stays 0."""
    high, wide = mask_size
    h, w = mask.shape[-2:]
    half_h, half_w = (high - 1) // 2, (wide - 1) // 2
    maps = mask[0].reshape(high, wide, h, w)
    logits = torch.zeros(h, w, h, w)
    for y in range(h):
        for x in range(w):
            for my in range(high):
                for mx in range(wide):
                    v, u = y + my - half_h, x + mx - half_w
                    if 0 <= v < h and 0 <= u < w:
                        if direction == "collect":
                            logits[v, u, y, x] = maps[my, mx, y, x]
                        else:
                            logits[y, x, v, u] = maps[my, mx, y, x]
    return logits.reshape(h * w, h * w)


@pytest.mark.parametrize("mask_size", [(9, 13), (5, 5), (4, 6), (15, 15)])
def test_over_completed_maps_equal_loops_over_offsets(mask_size: tuple[int, int]) -> None:
    mask = torch.randn(1, mask_size[0] * mask_size[1], 5, 7)
    for direction, function in (("collect", collect_logits), ("distribute", distribute_logits)):
        got = function(mask, mask_size).reshape(35, 35)
        assert torch.equal(got, plain(mask, mask_size, direction)), direction


@pytest.mark.parametrize("mask_size", [(9, 13), (5, 5), (4, 6), (15, 15), (3, 17)])
def test_offsets_that_leave_the_grid_are_not_needed(mask_size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 8, 5, 7)
    kernels = torch.randn(mask_size[0] * mask_size[1], 8, 1, 1)
    got = by_offset_on_grid(features, kernels, mask_size)
    for sample, found in zip(torch.nn.functional.conv2d(features, kernels), got, strict=True):
        expected = plain(sample[None], mask_size, "distribute")
        assert torch.allclose(found.reshape(35, 35), expected, atol=1e-4)


@pytest.mark.parametrize("direction", ["both", "collect", "distribute"])
@pytest.mark.parametrize("compact", [False, True])
def test_head_equals_the_plain_sum(direction: str, compact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("psanet", direction=direction, compact=compact, grid_size=(4, 5), shrink_factor=1)
    head, image = model.decode_head, picture()
    monkeypatch.setattr(psanet, "CHUNK_SCORES", 60)  # one row of targets at a time
    with torch.no_grad():
        x = model.extract(image)[-1]
        got = head([x])
        parts = []
        for name, reduced, mask in head.branches(x):
            if compact:
                flat = mask[0].reshape(20, 20)
                logits = flat if name == "collect" else flat.T
            else:
                logits = plain(mask, head.mask_size, name)
            parts.append((reduced[0].flatten(1) @ logits.softmax(0)).reshape(1, -1, 4, 5))
        out = head.proj(torch.cat(parts, 1))
        out = torch.nn.functional.interpolate(out, size=x.shape[-2:], mode="bilinear")
        expected = head.conv_seg(head.bottleneck(torch.cat([x, out], 1)))
    assert torch.allclose(got, expected, atol=1e-5)


def test_compact_resizes_any_picture_to_its_trained_grid() -> None:
    model = small("psanet", compact=True, grid_size=(4, 5))
    for height, width in ((33, 47), (64, 64), (9, 120)):
        with torch.no_grad():
            assert model(picture(height, width)).shape == (1, 5, height, width)


def test_probes_equal_the_full_matrices() -> None:
    model, image = small("psanet", mask_size=(9, 13)), picture(90, 122)
    collect, to_here, from_here = (
        psanet_probes.collect(),
        psanet_probes.distribute_to(),
        psanet_probes.distribute_from(),
    )
    with torch.no_grad(), collect.attach(model) as captured:
        model.scores(image)
        head = model.decode_head
        masks = {name: mask for name, _, mask in head.branches(model.extract(image)[-1])}
    matrices = {name: plain(mask, (9, 13), name).softmax(0) for name, mask in masks.items()}
    width = captured.grid("collect").size[1]
    for y, x in ((0.0, 0.0), (45.0, 61.0), (89.0, 121.0)):
        query = Query(y=y, x=x)
        result = collect.map(captured, query)
        cell = result.query_cell
        index = cell[0] * width + cell[1]
        assert np.allclose(result.values.ravel(), matrices["collect"][:, index].numpy(), atol=1e-5)
        to_values = to_here.map(captured, query).values.ravel()
        assert np.allclose(to_values, matrices["distribute"][:, index].numpy(), atol=1e-5)
        from_values = from_here.map(captured, query).values.ravel()
        assert np.allclose(from_values, matrices["distribute"][index].numpy(), atol=1e-5)


def test_raw_map_window_is_where_the_grid_lies() -> None:
    model = small("psanet", grid_size=(6, 8), shrink_factor=1)
    probe = psanet_probes.raw_map()
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(picture(48, 64))
    result = probe.map(captured, Query(y=0.0, x=63.0))
    assert result.values.shape == (11, 15)
    assert result.query_cell == (0, 7)
    assert result.extras["window"] == [5, 0, 11, 8]
    collected = psanet_probes.collect().map(captured, Query(y=0.0, x=63.0)).values
    y0, x0, y1, x1 = result.extras["window"]
    window = result.values[y0:y1, x0:x1]
    weights = np.exp(window - window.max())
    assert np.allclose(collected, weights / weights.sum(), atol=1e-5)


def test_reach_names_the_cells_that_the_map_holds() -> None:
    model = small("psanet", mask_size=(4, 6), shrink_factor=1)
    with torch.no_grad(), psanet_probes.collect().attach(model) as captured:
        model.scores(picture(80, 96))
    ones = torch.ones(1, 24, 10, 12)
    query = Query(y=40.0, x=40.0)
    for name, probe in (
        ("collect", psanet_probes.collect()),
        ("distribute", psanet_probes.distribute_to()),
    ):
        result = probe.map(captured, query)
        cell = result.query_cell[0] * 12 + result.query_cell[1]
        held = plain(ones, (4, 6), name)[:, cell].reshape(10, 12)
        y0, x0, y1, x1 = result.extras["reach"]
        expected = torch.zeros(10, 12)
        expected[y0:y1, x0:x1] = 1
        assert torch.equal(held, expected)


def test_map_size_is_read_off_a_loaded_kernel() -> None:
    published, image = small("psanet", mask_size=(8, 8)), picture()
    model = small("psanet", mask_size=(5, 7))
    report = load_checkpoint(model, published.state_dict())
    assert not report.missing and model.decode_head.mask_size == (8, 8)
    with torch.no_grad():
        assert torch.equal(model(image), published(image))
    kernel = model.decode_head.attention[1]
    kernel.weight.data = kernel.weight.data[:60]
    with pytest.raises(ValueError, match="60 offsets is not square"):
        model(image)


def test_branch_switch_silences_the_other_and_is_taken_back() -> None:
    model, image = small("psanet"), picture()
    with torch.no_grad():
        before = model(image)
        with psanet.branch(model, "collect"):
            only_collect = model(image)
        with psanet.branch(model, "distribute"):
            only_distribute = model(image)
        assert torch.equal(model(image), before)
    assert not torch.allclose(only_collect, before) and not torch.allclose(only_collect, only_distribute)


@pytest.mark.parametrize(("direction", "other"), [("collect", "distribute"), ("distribute", "collect")])
def test_branch_switch_refuses_a_branch_that_is_not_there(direction: str, other: str) -> None:
    model, image = small("psanet", direction=direction), picture()
    with torch.no_grad():
        before = model(image)
        for own in ("both", direction):
            with psanet.branch(model, own):
                assert torch.equal(model(image), before)
        with pytest.raises(ValueError, match=f"only the {direction} branch"), psanet.branch(model, other):
            pass
    with pytest.raises(ValueError, match="must be"), psanet.branch(small("psanet"), "neither"):
        pass


@pytest.mark.parametrize(
    ("direction", "absent"),
    [
        ("both", set()),
        ("collect", {"branch", "distribute_to", "distribute_from"}),
        ("distribute", {"branch", "collect"}),
    ],
)
def test_parts_are_declared_for_the_branches_there_are(direction: str, absent: set[str]) -> None:
    assert absent_parts(ENTRY, {"direction": direction}) == absent


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("factor", [None, 0.0])
def test_without_a_factor_the_context_is_divided_by_the_number_of_cells(
    softmax: bool, factor: float | None
) -> None:
    options = {"direction": "collect", "psa_softmax": softmax}
    model = small("psanet", normalization_factor=factor, **options)
    for image in (picture(), picture(65, 97)):
        height, width = model.decode_head.shrunk(model.extract(image)[-1].shape[-2:])[0]
        fixed = small("psanet", normalization_factor=float(height * width), **options)
        fixed.load_state_dict(model.state_dict())
        with torch.no_grad():
            assert torch.allclose(model(image), fixed(image), atol=1e-6)


@pytest.mark.parametrize("direction", ["both", "collect", "distribute"])
def test_every_parameter_gets_a_gradient(direction: str) -> None:
    model = small("psanet", direction=direction, grid_size=(5, 6))
    target = torch.randint(0, 5, (2, 65, 81))
    losses = model.losses(picture(65, 81, 2), target, mean_over_valid_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_unknown_direction_is_refused() -> None:
    with pytest.raises(ValueError, match=r"direction.*sideways"):
        create_model("psanet_r50-d8", direction="sideways")
