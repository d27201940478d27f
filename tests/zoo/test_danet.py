"""DANet: parity, chunked inference, probes against the full matrix, switches, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from segstudio.plugin_api import Query
from segstudio_zoo.catalog.danet import ENTRY
from segstudio_zoo.plugin import absent_parts
from segstudio_zoo.probes import danet as danet_probes
from segstudio_zoo.segmentors import danet
from tests.zoo.attention_nets import picture, small
from tests.zoo.reference import check_reference, mean_over_valid_pixels


def test_outputs_losses_and_gradients_equal_the_reference() -> None:
    ref, model = check_reference("danet_r50-d8")
    with torch.no_grad():
        model.float()
        features = model.extract(ref.image())
        branches = model.decode_head.side_outputs(features)
        ref.assert_close("decode_head.0", model.decode(features))
        ref.assert_close("decode_head.1", branches["position"])
        ref.assert_close("decode_head.2", branches["channel"])
    ref.assert_all_seen()


def test_chunks_of_queries_give_what_the_full_matrix_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = small("danet", inner_channels=8), picture()
    full = model(image).detach()  # with gradients: one matrix
    monkeypatch.setattr(danet, "CHUNK_SCORES", 100)
    with torch.no_grad():
        chunked = model(image)
    assert torch.allclose(full, chunked, atol=1e-5)


def test_position_rows_and_columns_equal_the_full_matrix() -> None:
    model, image = small("danet", inner_channels=8), picture()
    row, column = danet_probes.position_row(), danet_probes.position_column()
    with torch.no_grad(), row.attach(model) as captured:
        model.scores(image)
    pam = model.decode_head.pam
    with torch.no_grad():
        x = model.decode_head.pam_in_conv(model.extract(image)[-1])
        matrix = (pam.query_project(x)[0].flatten(1).T @ pam.key_project(x)[0].flatten(1)).softmax(dim=1)
    assert float(matrix.max()) > 3.0 / matrix.shape[1]  # scores that differ
    for y, x_position in ((0.0, 0.0), (20.0, 33.0), (40.9, 56.9)):
        query = Query(y=y, x=x_position)
        result = row.map(captured, query)
        index = result.query_cell[0] * captured.size[1] + result.query_cell[1]
        assert np.allclose(result.values.ravel(), matrix[index].numpy(), atol=1e-5)
        looked_at = column.map(captured, query).values.ravel()
        assert np.allclose(looked_at, matrix[:, index].numpy(), atol=1e-5)


def test_channel_matrix_equals_the_networks_own() -> None:
    model, image = small("danet"), picture()
    probe, energy_probe = danet_probes.channel_weights(), danet_probes.channel_energy()
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(image)
    with torch.no_grad():
        flat = model.decode_head.cam_in_conv(model.extract(image)[-1])[0].flatten(1)
    energy = np.array([[float(a @ b) for b in flat] for a in flat], dtype=np.float32)
    inverted = np.exp(energy.max(1, keepdims=True) - energy - (energy.max(1) - energy.min(1))[:, None])
    expected = inverted / inverted.sum(1, keepdims=True)
    assert np.allclose(energy_probe.map(captured, Query("global")).values, energy, rtol=1e-4, atol=1e-4)
    got = probe.map(captured, Query("global"))
    assert got.kind == "matrix" and np.allclose(got.values, expected, atol=1e-5)
    assert np.allclose(probe.map(captured, Query("channel", index=4)).values, expected[4], atol=1e-5)
    with pytest.raises(ValueError, match="no channel 32"):
        probe.map(captured, Query("channel", index=32))


def test_channel_attention_stays_finite_in_half_precision() -> None:
    x = 300.0 * torch.randn(1, 8, 64, 64)
    attention = danet.ChannelAttention(initial_gamma=1.0)
    with torch.no_grad():
        full, half = attention(x), attention.half()(x.half())
    assert bool(half.isfinite().all())
    assert torch.allclose(half.float(), full, atol=3e-2 * float(full.std()))


def test_switches_zero_one_gamma_and_put_it_back() -> None:
    model, image = small("danet"), picture()
    with torch.no_grad():
        before = model(image)
        with danet.position_off(model, True):
            no_position = model(image)
        with danet.channel_off(model, True):
            no_channel = model(image)
        assert torch.equal(model(image), before)
    assert not torch.allclose(no_position, before) and not torch.allclose(no_channel, before)
    assert not torch.allclose(no_position, no_channel)


@pytest.mark.parametrize(
    ("branches", "missing", "there"),
    [
        ("channel", danet.position_off, danet.channel_off),
        ("position", danet.channel_off, danet.position_off),
    ],
)
def test_switch_of_an_absent_branch_says_that_it_is_absent(branches: str, missing: Any, there: Any) -> None:
    model, image = small("danet", branches=branches), picture()
    with torch.no_grad():
        before = model(image)
        with pytest.raises(ValueError, match=f"branches='{branches}'"), missing(model, True):
            pass
        with missing(model, False):
            assert torch.equal(model(image), before)
        with there(model, True):
            assert not torch.allclose(model(image), before)
        assert torch.equal(model(image), before)


@pytest.mark.parametrize(
    ("branches", "absent"),
    [
        ("both", set()),
        ("position", {"channel_off", "channel_attention", "channel_energy", "channel"}),
        ("channel", {"position_off", "position_row", "position_column", "position"}),
    ],
)
def test_parts_are_declared_for_the_branches_there_are(branches: str, absent: set[str]) -> None:
    assert absent_parts(ENTRY, {"branches": branches}) == absent
    model = small("danet", branches=branches)
    with torch.no_grad():
        assert set(model.side_outputs(picture())) == set(ENTRY.side_outputs) - absent


@pytest.mark.parametrize("branches", ["position", "channel"])
def test_probes_of_an_absent_branch_leave_those_of_the_other_alone(branches: str) -> None:
    model = small("danet", branches=branches)
    position, channel = danet_probes.position_row(), danet_probes.channel_weights()
    with torch.no_grad(), position.attach(model) as positions, channel.attach(model) as channels:
        model.scores(picture())
    asked = [(position, positions, Query(y=3.0, x=3.0)), (channel, channels, Query("global"))]
    if branches == "channel":
        asked.reverse()
    (there, kept, query), (missing, empty, other) = asked
    assert np.isfinite(there.map(kept, query).values).all() and kept.nbytes > 0
    assert empty.nbytes == 0
    with pytest.raises(ValueError, match=f"branches='{branches}'"):
        missing.map(empty, other)


def test_equation_3_is_the_plain_softmax_of_the_energy() -> None:
    published, plain = small("danet"), small("danet", channel_softmax="energy")
    plain.load_state_dict(published.state_dict())
    image, probe = picture(), danet_probes.channel_weights()
    with torch.no_grad(), probe.attach(plain) as captured:
        got = plain(image)
        assert not torch.allclose(got, published(image))
        head = plain.decode_head
        x = head.cam_in_conv(plain.extract(image)[-1])
        flat = x[0].flatten(1)
        energy = torch.stack([torch.stack([(a * b).sum() for b in flat]) for a in flat])
        weights = torch.exp(energy - energy.max(1, keepdim=True).values)
        weights /= weights.sum(1, keepdim=True)
        expected = 0.7 * (weights @ flat).reshape(x.shape) + x
        assert torch.allclose(head.cam(x), expected, atol=1e-4)
    assert np.allclose(probe.map(captured, Query("global")).values, weights.numpy(), atol=1e-4)
    with pytest.raises(ValueError, match=r"channel_softmax.*maximum"):
        small("danet", channel_softmax="maximum")


@pytest.mark.parametrize("branches", ["both", "position", "channel"])
def test_every_parameter_gets_a_gradient(branches: str) -> None:
    model = small("danet", branches=branches)
    target = torch.randint(0, 5, (2, 65, 81))
    losses = model.losses(picture(65, 81, 2), target, mean_over_valid_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    for key, p in model.named_parameters():
        if key.endswith(("query_project.bias", "key_project.bias")):
            continue  # a key's bias shifts a whole softmax row: its gradient is zero in theory
        assert p.grad is not None and p.grad.abs().sum() > 0, key
