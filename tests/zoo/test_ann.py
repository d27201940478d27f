"""ANN: parity, anchors against their formula, boxes, switches, attention memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segstudio.plugin_api import Query
from segstudio_zoo import create_model
from segstudio_zoo.segmentors.ann import (
    AsymmetricAttention,
    anchor_boxes,
    anchor_probe,
    fusion_off,
    pyramid_sample,
    set_pyramid,
    set_sampling,
)
from tests.zoo.reference import check_reference


def small(**options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("ann_r18-d8", num_classes=3, channels=16, project_channels=8, **options)


def test_equals_the_reference_and_ties_key_and_query() -> None:
    ref, model = check_reference("ann_r50-d8")
    ref.assert_all_seen()
    stage = model.decode_head.context.stages[0]
    assert stage.key_project is stage.query_project


@pytest.mark.parametrize("sampling", ["average", "max"])
def test_anchors_pool_the_cells_of_their_boxes(sampling: str) -> None:
    x = torch.randn(1, 4, 11, 9)
    sampled = pyramid_sample(x, (1, 3, 6, 8), largest=sampling == "max")
    assert sampled.shape == (1, 4, 110)
    for index, (y0, x0, y1, x1) in enumerate(anchor_boxes((1, 3, 6, 8), 11, 9).astype(int)):
        patch = x[0, :, y0:y1, x0:x1].flatten(1)
        expected = patch.amax(1) if sampling == "max" else patch.mean(1)
        assert torch.allclose(sampled[0, :, index], expected, atol=1e-6)


@pytest.mark.parametrize("sampling", ["average", "max", "random"])
def test_attention_equals_its_formula(sampling: str) -> None:
    torch.manual_seed(1)
    block = AsymmetricAttention(6, 5, 8, 6, share=False, pyramid=(1, 2), sampling=sampling).eval()
    x, source = torch.randn(1, 6, 4, 5), torch.randn(1, 5, 7, 3)
    with torch.no_grad():
        key, value, _ = block._sample(block.key_project(source), block.value_project(source))
        query = block.query_project(x)[0].flatten(1).T
        weights = (query @ key[0].T / 8**0.5).softmax(1)
        expected = block.out_project((weights @ value[0]).T.reshape(1, 8, 4, 5))
        assert key.shape == (1, 5, 8)
        assert torch.allclose(block(x, source), expected, atol=1e-6)


def test_random_anchors_are_cells_with_their_own_values_and_the_same_in_each_run() -> None:
    block = AsymmetricAttention(4, 4, 4, 4, share=True, pyramid=(1, 2), sampling="random").eval()
    maps = torch.randn(1, 4, 6, 6)
    key, value, places = block._sample(maps, 2 * maps)
    assert torch.equal(value, 2 * key)
    assert torch.equal(key[0].T, maps[0].flatten(1)[:, places])
    assert torch.equal(places, block._sample(maps, maps)[2])
    block.train()
    drawn = [block._sample(maps, maps)[2] for _ in range(4)]
    assert not all(torch.equal(drawn[0], other) for other in drawn)


@pytest.mark.parametrize("block", ["APNB", "AFNB"])
def test_boxes_carry_the_weights_of_the_clicked_pixel(block: str) -> None:
    model = small()
    probe = anchor_probe()
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(torch.randn(1, 3, 64, 96))
    shown = probe.map(captured, Query(y=20, x=90), block=block)
    record = captured.record(0 if block == "APNB" else 1)
    full = (record.query @ record.key.T / 8**0.5).softmax(1)
    assert shown.query_cell == (2, 11)
    assert np.abs(shown.values[:, 4] - full[2 * 12 + 11].numpy()).max() < 1e-5
    assert shown.values[0, :4].tolist() == [0, 0, 64, 96]
    assert shown.values[:, 4].sum() == pytest.approx(1, abs=1e-5)
    assert sum(shown.extras["mass_by_level"].values()) == pytest.approx(1, abs=1e-5)
    third = probe.map(captured, Query(y=20, x=90), block=block, level=3)
    assert np.array_equal(third.values, shown.values[1:10])
    with pytest.raises(ValueError, match="level 4"):
        probe.map(captured, Query(y=20, x=90), level=4)


def test_switches_change_the_output_and_are_put_back() -> None:
    model, image = small(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        normal = model(image)
        for switch, value in ((set_pyramid, "1"), (set_sampling, "max"), (fusion_off, False)):
            with switch(model, value):
                assert not torch.allclose(model(image), normal)
            assert torch.equal(model(image), normal)


def test_fusion_may_be_left_out_when_built() -> None:
    model = small(fusion=False)
    assert not [key for key in model.state_dict() if "fusion" in key]
    with torch.no_grad():
        assert model(torch.randn(1, 3, 65, 81)).shape == (1, 3, 65, 81)


def test_kept_memory_is_that_of_a_few_anchors() -> None:
    model = small()
    with torch.no_grad(), anchor_probe().attach(model) as captured:
        model.scores(torch.randn(1, 3, 128, 160))
    cells = 16 * 20
    assert captured.nbytes == 4 * 2 * (cells + 110) * 8


@pytest.mark.parametrize("sampling", ["average", "random"])
def test_every_parameter_gets_a_gradient(sampling: str) -> None:
    model = small(sampling=sampling).train()
    image = torch.randn(3, 3, 65, 81)
    model.scores(image).logits.square().mean().backward()
    model.side_outputs(image)["auxiliary"].logits.square().mean().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name
