"""SegNeXt and MSCAN: parity with mmsegmentation, the decomposition's formula, probes and switches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.backbones.mscan import branch_probe, branch_switch, product_switch
from segstudio_zoo.segmentors.segnext import MatrixDecomposition, component_probe, steps_switch
from tests.zoo.reference import (
    check_backbone,
    check_segmentor,
    load_reference,
    mean_over_all_pixels,
)


def test_mscan_equals_mmsegmentation() -> None:
    ref, _ = check_backbone("backbone_mscan-t")
    ref.assert_all_seen()


def test_segnext_equals_mmsegmentation_in_outputs_and_losses() -> None:
    ref, model = load_reference("segnext_mscan-t")
    check_segmentor(ref, model, losses=False)
    ref.assert_all_seen()
    ref.assert_losses(model.losses(ref.image(), ref.target(), mean_over_all_pixels))


def _backward(ref, model: nn.Module) -> None:
    named = model.losses(ref.image(), ref.target(), mean_over_all_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in named.values()).backward()


def test_segnext_gradient_norms_equal_the_reference_down_to_the_last_patch_embedding() -> None:
    """Everything the gradient meets before it reaches a patch embedding."""
    ref, model = load_reference("segnext_mscan-t")
    _backward(ref, model)
    stored = ref.manifest["grad_norm"]
    for name, parameter in model.named_parameters():
        if name.startswith(("decode_head", "backbone.block4", "backbone.norm4")):
            norm = float(parameter.grad.norm())
            assert norm == pytest.approx(stored[name], rel=1e-3, abs=1e-4 * max(stored.values())), name


def test_segnext_reference_gradients_above_hold_a_known_mistake() -> None:
    """The reference's gradients above a patch embedding are those of a misread memory layout.

    There the gradient of the embedding's batch norm arrives channels last and was read as if it were
    contiguous: with that done on purpose here, every stored norm is met. The true gradient is the one this
    network computes (see the next test).
    """
    ref, model = load_reference("segnext_mscan-t")

    def misread(gradient: Tensor) -> Tensor:
        return gradient.permute(0, 2, 3, 1).contiguous().view(gradient.shape)

    for stage in range(1, 5):
        embed = model.backbone.get_submodule(f"patch_embed{stage}")
        embed.register_forward_hook(lambda _, arguments, out: out.register_hook(misread) and None)
    _backward(ref, model)
    ref.assert_gradients(model)


def test_segnext_gradient_at_a_patch_embedding_is_the_derivative() -> None:
    ref, model = load_reference("segnext_mscan-t")
    model.double()
    bias = model.backbone.patch_embed4.norm.bias
    image, target = ref.image(torch.float64), ref.target()

    def value() -> Tensor:
        named = model.losses(image, target, mean_over_all_pixels)
        return sum(loss.weight * loss.sum / loss.count for loss in named.values())

    value().backward()
    gradient = bias.grad.clone()
    direction = gradient / gradient.norm()
    with torch.no_grad():
        step = 1e-5
        bias += step * direction
        above = value()
        bias -= 2 * step * direction
        below = value()
    assert float((above - below) / (2 * step)) == pytest.approx(float(gradient.norm()), rel=1e-6)


def _plain_factorisation(x: np.ndarray, bases: np.ndarray, steps: int) -> np.ndarray:
    """Lee and Seung's updates for one picture: x (D, N), bases (D, R)."""
    bases = bases / np.linalg.norm(bases, axis=0)
    scores = x.T @ bases
    coefficients = np.exp(scores - scores.max(1, keepdims=True))
    coefficients /= coefficients.sum(1, keepdims=True)
    for _ in range(steps):
        coefficients = coefficients * (x.T @ bases) / (coefficients @ (bases.T @ bases) + 1e-6)
        bases = bases * (x @ coefficients) / (bases @ (coefficients.T @ coefficients) + 1e-6)
    coefficients = coefficients * (x.T @ bases) / (coefficients @ (bases.T @ bases) + 1e-6)
    return bases @ coefficients.T


@pytest.mark.parametrize("steps", [0, 3, 7])
def test_decomposition_equals_the_plain_updates(steps: int) -> None:
    module = MatrixDecomposition(12, 4, steps=steps).double().eval()
    x = torch.rand(2, 12, 5, 6, dtype=torch.float64)
    start = np.random.RandomState(0).random_sample((1, 12, 4)).astype(np.float32).astype(np.float64)[0]
    out = module(x).numpy()
    for picture in range(2):
        expected = _plain_factorisation(x[picture].flatten(1).numpy(), start, steps)
        np.testing.assert_allclose(out[picture].reshape(12, 30), expected, rtol=1e-6)


def test_evaluation_is_repeatable_and_training_draws_new_bases() -> None:
    torch.manual_seed(0)
    module = MatrixDecomposition(12, 4)
    x = torch.rand(1, 12, 5, 6)
    assert not torch.equal(module.train()(x), module(x))
    assert torch.equal(module.eval()(x), module(x))


def test_switches_change_the_mask_and_put_it_back() -> None:
    torch.manual_seed(0)
    model = create_model("segnext_mscan-t", num_classes=3)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        trained = model(image)
        results = []
        for switch, value in ((branch_switch, "no 1x21"), (product_switch, "off"), (steps_switch, 0)):
            with switch(model, value):
                results.append(model(image))
        assert torch.equal(model(image), trained)
    assert all(not torch.equal(result, trained) for result in results)
    with pytest.raises(ValueError, match="1x9"), branch_switch(model, "no 1x9"):
        pass


def test_branch_probe_shows_each_strip_pairs_response() -> None:
    torch.manual_seed(0)
    model = create_model("mscan-t")
    gate = model.block2[0].attn.spatial_gating_unit
    seen: list[Tensor] = []
    gate.conv2_2.register_forward_hook(lambda _, arguments, out: seen.append(out))
    probe = branch_probe()
    with torch.no_grad(), probe.attach(model) as captured:
        model(torch.randn(1, 3, 64, 96))
    answer = probe.map(captured, Query("pixel", y=20, x=40), stage=2, block=1)
    assert answer.labels == ("5x5", "1x7", "1x11", "1x21")
    assert answer.values.shape == (4, 8, 12) and answer.stride == (8.0, 8.0)
    assert answer.query_cell == (2, 5)
    np.testing.assert_allclose(answer.values[3], seen[0][0].abs().mean(0).numpy(), rtol=1e-6)


def test_component_probe_gives_the_coefficients() -> None:
    torch.manual_seed(0)
    model = create_model("segnext_mscan-t", num_classes=3)
    probe = component_probe()
    with torch.no_grad(), probe.attach(model) as captured:
        model(torch.randn(1, 3, 64, 96))
    answer = probe.map(captured, Query("pixel", y=9, x=17))
    assert answer.values.shape == (16, 8, 12) and answer.query_cell == (1, 2)
    assert sum(answer.extras["at_pixel"]) == pytest.approx(1.0)
    assert captured.nbytes == answer.values.nbytes


def test_identify_authors_layout_and_odd_sizes() -> None:
    torch.manual_seed(0)
    model = create_model("segnext_mscan-t", num_classes=7)
    state = {
        key.replace(".mlp.dwconv.", ".mlp.dwconv.dwconv."): value for key, value in model.state_dict().items()
    }
    found = identify(state)[0]
    assert (found.name, found.num_classes, found.layout) == ("segnext_mscan-t", 7, "authors")
    other = create_model(found.name, num_classes=7, **found.options)
    report = load_checkpoint(other, state)
    assert not (report.missing or report.unexpected or report.mismatched)
    image = torch.randn(3, 3, 33, 47)
    with torch.no_grad():
        torch.testing.assert_close(other(image), model(image))
        assert model(torch.randn(1, 3, 1, 1)).shape == (1, 7, 1, 1)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    model = create_model("segnext_mscan-t", num_classes=3)
    model(torch.randn(1, 3, 129, 161)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
