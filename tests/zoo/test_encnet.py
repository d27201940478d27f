"""EncNet: parity, the encoding layer against its sums, SE-loss, second encoding, probes, switches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.probes.encnet import codeword_probe, gate_probe, presence_probe
from segstudio_zoo.segmentors.encnet import (
    Encoding,
    class_presence,
    force_absent,
    gate_off,
    infer_options,
)
from tests.zoo.reference import check_reference, mean_over_all_pixels


def small(**options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("encnet_r18-d8", num_classes=5, channels=16, num_codes=8, **options)


def test_equals_the_reference_presence_scores_included() -> None:
    ref, model = check_encnet()
    with torch.no_grad():
        features = model.extract(ref.image())
        ref.assert_close("decode_head.0", model.decode(features))
        ref.assert_close("decode_head.1", model.decode_head.presence(features))
    ref.assert_all_seen()
    assert infer_options(ref.manifest["state_dict"])["num_codes"] == 32


def check_encnet() -> tuple[object, torch.nn.Module]:
    return check_reference("encnet_r50-d8")


def test_encoding_equals_the_sums_of_the_paper() -> None:
    torch.manual_seed(1)
    layer = Encoding(6, 4).double()
    x = torch.randn(2, 9, 6, dtype=torch.float64)
    expected = torch.zeros(2, 4, 6, dtype=torch.float64)
    for n in range(2):
        for cell in x[n]:
            residuals = [cell - codeword for codeword in layer.codewords]
            scores = torch.stack([s * (r @ r) for s, r in zip(layer.scale, residuals, strict=True)])
            for k, weight in enumerate(scores.softmax(0)):
                expected[n, k] += weight * residuals[k]
    assert torch.allclose(layer(x), expected, atol=1e-12)


def test_presence_counts_classes_and_not_ignored_pixels() -> None:
    target = torch.tensor([[[0, 255], [2, 2]], [[255, 255], [255, 255]]])
    assert class_presence(target, 4).tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]


def test_se_losses_are_the_mean_cross_entropy_of_presence_times_their_weight() -> None:
    model = small(second_encoding=True, se_weight=0.3)
    image = torch.randn(2, 3, 64, 64)
    target = torch.randint(0, 3, (2, 64, 64))
    losses = model.losses(image, target, mean_over_all_pixels)
    features = model.extract(image)
    truth = torch.tensor([[1.0, 1, 1, 0, 0]] * 2)
    scores = {
        "loss_se": model.decode_head.presence(features),
        "loss_se_stage3": model.decode_head.second(features[-2]),
    }
    for key, value in scores.items():
        loss = losses[f"decode.{key}"]
        got = float((loss.weight * loss.sum / loss.count).detach())
        assert got == pytest.approx(
            0.3 * float(F.binary_cross_entropy_with_logits(value, truth).detach()), rel=1e-5
        )


def test_a_checkpoint_without_its_auxiliary_head_is_known_and_loads() -> None:
    state = {k: v for k, v in small().state_dict().items() if not k.startswith("auxiliary_head.")}
    found = identify(state)[0]
    assert found.options["auxiliary"] is False
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    load_checkpoint(model, state)
    image, target = torch.randn(1, 3, 64, 96), torch.zeros(1, 64, 96, dtype=torch.long)
    assert not model.side_outputs(image)
    assert not any(key.startswith("aux") for key in model.losses(image, target, mean_over_all_pixels))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_without_se_loss_there_is_neither_layer_nor_loss() -> None:
    model = small(se_loss=False)
    target = torch.zeros(1, 64, 64, dtype=torch.long)
    assert set(model.losses(torch.randn(1, 3, 64, 64), target, mean_over_all_pixels)) == {
        "decode.loss_ce",
        "aux.loss_ce",
    }
    with pytest.raises(ValueError, match="without the SE-loss"), presence_probe().attach(model) as captured:
        presence_probe().map(captured, Query(kind="global"))


def test_probes_show_assignment_presence_and_gate() -> None:
    model = small()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad(), codeword_probe().attach(model) as captured:
        model.scores(image)
        head, features = model.decode_head, model.extract(image)
        encoding = head.enc_module.encoding[0]
        cells = head.enc_module.cells(head.before_encoding(features))[0]
        distance = (cells[:, None] - encoding.codewords).square().sum(-1)
        expected = (encoding.scale * distance).softmax(1)
        presence = head.presence(features).sigmoid()[0]
    bars = codeword_probe().map(captured, Query(y=20, x=50))
    assert bars.query_cell == (2, 6)
    assert np.abs(bars.values - expected[2 * 12 + 6].numpy()).max() < 1e-5
    where = codeword_probe().map(captured, Query(y=20, x=50), codeword=3)
    assert where.stride == (8.0, 8.0)
    assert np.abs(where.values.ravel() - expected[:, 3].numpy()).max() < 1e-5
    assert np.abs(presence_probe().map(captured, Query()).values - presence.numpy()).max() < 1e-6
    assert gate_probe().map(captured, Query()).values.shape == (16,)
    with pytest.raises(ValueError, match="8 codewords"):
        codeword_probe().map(captured, Query(), codeword=8)


def test_switches_gate_of_one_and_a_class_that_is_nowhere() -> None:
    model, image = small(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        normal = model(image)
        winner = int(normal.argmax(1).flatten().mode().values)
        with gate_off(model, False), gate_probe().attach(model) as captured:
            assert not torch.equal(model(image), normal)
        assert (gate_probe().map(captured, Query()).values == 1).all()
        with force_absent(model, winner):
            without = model(image)
        assert torch.equal(model(image), normal)
    assert not (without.argmax(1) == winner).any()


def test_forcing_a_class_absent_moves_the_encoding_until_its_presence_is_denied() -> None:
    model, image, absent = small(), torch.randn(2, 3, 64, 96), 1
    head = model.decode_head
    torch.nn.init.constant_(head.se_layer.bias, 2.0)
    with torch.no_grad():
        features = model.extract(image)
        x = head.before_encoding(features)
        encoded, _ = head.encoded(features)
        with force_absent(model, absent), gate_probe().attach(model) as captured:
            moved, gated = head.encoded(features)
            logits = model(image)
        direction = head.se_layer.weight[absent]
        steps = (encoded - moved) @ direction / (direction @ direction)
        assert (steps > 0).all()
        assert torch.allclose(moved, encoded - steps[:, None] * direction, atol=1e-5)
        scores = head.se_layer(moved)
        assert (scores[:, absent].sigmoid() < 0.01).all()
        gate = head.enc_module.fc(moved)
        assert not torch.allclose(gate, head.enc_module.fc(encoded))
        assert torch.allclose(gated, (x + x * gate[..., None, None]).relu(), atol=1e-5)
        restored, _ = head.encoded(features)
    assert np.abs(gate_probe().map(captured, Query()).values - gate[0].numpy()).max() < 1e-6
    shown = presence_probe().map(captured, Query()).values
    assert np.abs(shown - scores[0].sigmoid().numpy()).max() < 1e-6
    assert not (logits.argmax(1) == absent).any()
    assert torch.equal(restored, encoded)


def test_a_class_that_the_encoding_denies_already_moves_nothing() -> None:
    model = small()
    torch.nn.init.constant_(model.decode_head.se_layer.bias, -50.0)
    with torch.no_grad():
        features = model.extract(torch.randn(1, 3, 64, 96))
        encoded, gated = model.decode_head.encoded(features)
        with force_absent(model, 4):
            again, gated_again = model.decode_head.encoded(features)
    assert torch.equal(again, encoded)
    assert torch.equal(gated_again, gated)


def test_a_class_the_network_does_not_have_cannot_be_absent() -> None:
    with pytest.raises(ValueError, match=r"class 5 .* 5 classes, 0 to 4"), force_absent(small(), 5):
        pass
    with pytest.raises(ValueError, match="SE-loss"), force_absent(small(se_loss=False), 0):
        pass


def test_codewords_are_averaged_as_published_or_summed_as_in_the_paper() -> None:
    published = small(second_encoding=True)
    paper = small(second_encoding=True, aggregation="sum")
    with torch.no_grad():
        features = published.extract(torch.randn(1, 3, 64, 96))
        x = published.decode_head.before_encoding(features)
        each = published.decode_head.enc_module.encoding(published.decode_head.enc_module.cells(x))
        expected = each[:, 0].clone()
        for k in range(1, 8):
            expected += each[:, k]
        assert torch.allclose(paper.decode_head.encoded(features)[0], expected, rtol=1e-4, atol=1e-5)
        assert torch.allclose(published.decode_head.encoded(features)[0] * 8, expected, rtol=1e-4, atol=1e-5)
        second, layer = paper.decode_head.second, paper.decode_head.second.se_layer
        own = published.decode_head.second(features[-2])
        by_eight = (own - layer.bias) * 8 + layer.bias
        assert torch.allclose(second(features[-2]), by_eight, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"mean.*sum"):
        small(aggregation="max")


def test_the_gate_is_added_to_one_as_published_or_multiplies_alone_as_in_the_paper() -> None:
    published, paper = small(), small(gate_residual=False)
    with torch.no_grad():
        features = published.extract(torch.randn(1, 3, 64, 96))
        x = published.decode_head.before_encoding(features)
        encoded, residual = published.decode_head.encoded(features)
        gate = published.decode_head.enc_module.fc(encoded)[..., None, None]
        assert torch.allclose(residual, x * (1 + gate), atol=1e-5)
        assert torch.allclose(paper.decode_head.encoded(features)[1], x * gate, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"lateral": True}, {"second_encoding": True}])
def test_every_parameter_gets_a_gradient_and_options_are_inferred(options: dict[str, bool]) -> None:
    model = small(**options).train()
    torch.nn.init.constant_(model.decode_head.enc_module.encoding[1].bias, 0.1)
    target = torch.randint(0, 5, (3, 65, 81))
    losses = model.losses(torch.randn(3, 3, 65, 81), target, mean_over_all_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name
    found = infer_options({key: tuple(value.shape) for key, value in model.state_dict().items()})
    again = create_model("encnet_r18-d8", num_classes=5, **found)
    again.load_state_dict(model.state_dict())
