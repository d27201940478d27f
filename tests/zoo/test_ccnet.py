"""CCNet: parity, the plain formula, probes against the full matrix, switches, losses, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from segstudio.plugin_api import Query
from segstudio_zoo.probes import ccnet as ccnet_probes
from segstudio_zoo.segmentors import ccnet
from segstudio_zoo.segmentors.ccnet import CrissCrossAttention, category_consistent_loss
from tests.zoo.attention_nets import picture, small
from tests.zoo.reference import check_reference, mean_over_valid_pixels


def test_outputs_losses_and_gradients_equal_the_reference() -> None:
    ref, _ = check_reference("ccnet_r50-d8")
    ref.assert_all_seen()


def full_matrix(query: Tensor, key: Tensor) -> Tensor:
    """(C', H, W) twice -> the HW x HW attention, zero off the cross: softmax over a mask, cell by cell."""
    height, width = query.shape[1:]
    matrix = torch.zeros(height * width, height * width)
    for y in range(height):
        for x in range(width):
            cells = [(v, x) for v in range(height) if v != y] + [(y, u) for u in range(width)]
            scores = torch.stack([query[:, y, x] @ key[:, v, u] for v, u in cells])
            for (v, u), weight in zip(cells, scores.softmax(0), strict=True):
                matrix[y * width + x, v * width + u] = weight
    return matrix


def test_criss_cross_attention_equals_the_masked_full_matrix() -> None:
    torch.manual_seed(0)
    attention = CrissCrossAttention(16, initial_gamma=0.7)
    x = torch.randn(1, 16, 5, 7)
    with torch.no_grad():
        got = attention(x)
        query, key, value = attention.query_conv(x), attention.key_conv(x), attention.value_conv(x)
        matrix = full_matrix(query[0], key[0])
        expected = 0.7 * (value[0].flatten(1) @ matrix.T).reshape(1, 16, 5, 7) + x
    assert torch.allclose(got, expected, atol=1e-5)


def _hop_matrices(model: torch.nn.Module, image: Tensor) -> list[Tensor]:
    kept: list[tuple[Tensor, Tensor]] = []
    cca = model.decode_head.cca

    def keep(module: CrissCrossAttention, arguments: tuple[Tensor, ...]) -> None:
        kept.append((module.query_conv(arguments[0])[0], module.key_conv(arguments[0])[0]))

    handle = cca.register_forward_pre_hook(keep)
    with torch.no_grad():
        model.scores(image)
    handle.remove()
    return [full_matrix(query, key) for query, key in kept]


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_hops_and_their_product_equal_the_full_matrices(hops: int) -> None:
    model, image = small("ccnet", recurrence=hops), picture()
    matrices = _hop_matrices(model, image)
    probe = ccnet_probes.composed()
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(image)
    height, width = captured.grid.size
    query = Query(y=17.0, x=30.0)
    product, with_residual = torch.eye(height * width), torch.eye(height * width)
    for matrix in matrices:
        product = matrix @ product
        with_residual = (0.7 * matrix + torch.eye(height * width)) @ with_residual
    result = probe.map(captured, query)
    row = result.query_cell[0] * width + result.query_cell[1]
    assert np.allclose(result.values.ravel(), product[row].numpy(), atol=1e-5)
    assert result.values.sum() == pytest.approx(1.0, abs=1e-4)
    residual = probe.map(captured, query, residual=True)
    assert np.allclose(residual.values.ravel(), with_residual[row].numpy(), atol=1e-5)
    assert residual.values.sum() == pytest.approx(1.7**hops, rel=1e-4)
    for number in range(1, min(hops, 2) + 1):
        hop = ccnet_probes.HopProbe(number).map(captured, query)
        assert np.allclose(hop.values.ravel(), matrices[number - 1][row].numpy(), atol=1e-5)


def test_corner_cells_carry_the_whole_link() -> None:
    model, image = small("ccnet"), picture()
    probe = ccnet_probes.composed()
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(image)
    result = probe.map(captured, Query(y=1.0, x=2.0), to_y=38.0, to_x=50.0)
    y, x = result.query_cell
    v, u = result.extras["target_cell"]
    assert result.extras["corners"] == [[y, u], [v, x]]
    assert sum(result.extras["weights"]) == pytest.approx(float(result.values[v, u]), rel=1e-4)
    assert [a * b for a, b in result.extras["legs"]] == pytest.approx(result.extras["weights"])


def test_captured_memory_grows_with_cells_not_with_their_square() -> None:
    model = small("ccnet")
    probe = ccnet_probes.first_hop()
    sizes = []
    for side in (64, 128):
        with torch.no_grad(), probe.attach(model) as captured:
            model.scores(picture(side, side))
        sizes.append(captured.nbytes)
    assert sizes[1] == 4 * sizes[0]


def test_probe_says_where_a_query_is_outside_and_when_nothing_ran() -> None:
    model = small("ccnet")
    probe = ccnet_probes.first_hop()
    with torch.no_grad(), probe.attach(model) as captured:
        with pytest.raises(ValueError, match="run the model"):
            probe.map(captured, Query())
        model.scores(picture())
    with pytest.raises(ValueError, match="outside the 41x57 picture"):
        probe.map(captured, Query(y=41.0))


def test_switches_change_the_output_and_put_it_back() -> None:
    model, image = small("ccnet"), picture()
    with torch.no_grad():
        before = model(image)
        with ccnet.recurrence(model, 2):
            assert torch.equal(model(image), before)
        outputs = []
        for value in (1, 3):
            with ccnet.recurrence(model, value):
                outputs.append(model(image))
        with ccnet.attention_off(model, True):
            outputs.append(model(image))
        assert torch.equal(model(image), before)
    assert all(not torch.allclose(out, before) for out in outputs)


def _plain_consistency(features: Tensor, target: Tensor, classes: int) -> float:
    means, terms = {}, []
    for label in range(classes):
        members = [features[n, :, y, x] for n, y, x in torch.nonzero(target == label).tolist()]
        if not members:
            continue
        mean = torch.stack(members).mean(0)
        means[label] = mean
        pulls = []
        for member in members:
            d = float((member - mean).norm())
            if d > 1.5:
                pulls.append(d - 1.5 + (1.5 - 0.5) ** 2)
            elif d > 0.5:
                pulls.append((d - 0.5) ** 2)
            else:
                pulls.append(0.0)
        terms.append(sum(pulls) / len(pulls))
    variance = sum(terms) / len(terms)
    pushes = [
        max(3.0 - float((means[a] - means[b]).norm()), 0.0) ** 2 for a in means for b in means if a != b
    ]
    regular = sum(float(mean.norm()) for mean in means.values()) / len(means)
    return variance + sum(pushes) / len(pushes) + 0.001 * regular


def test_category_consistent_loss_equals_the_plain_sums() -> None:
    generator = torch.Generator().manual_seed(1)
    features = 1.2 * torch.randn(2, 4, 6, 5, generator=generator)
    target = torch.randint(0, 4, (2, 6, 5), generator=generator)
    target[0, 0] = 255
    got = float(category_consistent_loss(features, target, num_classes=5))
    assert got == pytest.approx(_plain_consistency(features, target, 5), rel=1e-4)


def test_category_consistent_loss_of_one_class_or_none_is_finite() -> None:
    features = torch.zeros(1, 4, 3, 3, requires_grad=True)
    for target in (torch.zeros(1, 3, 3, dtype=torch.int64), torch.full((1, 3, 3), 255)):
        value = category_consistent_loss(features, target, num_classes=2)
        value.backward()
        assert math.isfinite(float(value.detach())) and bool(features.grad.isfinite().all())


@pytest.mark.parametrize("batch", [1, 3])
def test_every_parameter_gets_a_gradient(batch: int) -> None:
    model = small("ccnet", category_consistent=True)
    target = torch.randint(0, 5, (batch, 65, 81))
    losses = model.losses(picture(65, 81, batch), target, mean_over_valid_pixels)
    assert set(losses) == {"decode.loss_ce", "decode.loss_ccl", "aux.loss_ce"}
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
