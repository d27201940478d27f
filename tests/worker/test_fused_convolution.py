"""Convolutions that apply their activation: the same scores, in the cases that matter, and no others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from segstudio.plugin_api import Scores
from segstudio.worker.folding import fold_batch_norms
from segstudio.worker.fused_convolution import fuse_activations
from segstudio.worker.winograd import Winograd, transformed_bytes


class Net(nn.Module):
    """A residual block whose one activation reads a convolution and a sum, and one of each other kind."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.last = nn.Conv2d(16, 16, 1)
        self.act = activation

    def scores(self, image: Tensor) -> Scores:
        x = self.act(self.stem(image))
        y = self.last(self.act(self.depthwise(x)))
        y += x
        return Scores(self.act(y), False)


class InPlace(Net):
    """Changes a convolution's output before the activation, on large images only."""

    def scores(self, image: Tensor) -> Scores:
        x = self.stem(image)
        if image.shape[-1] > 100:
            x.sub_(0.5)
        return Scores(self.act(x), False)


KINDS = [nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardswish(), nn.GELU(), nn.GELU(approximate="tanh")]


@pytest.mark.parametrize("activation", KINDS, ids=str)
def test_the_scores_stay(activation: nn.Module) -> None:
    torch.manual_seed(0)
    model, example, image = Net(activation).eval(), torch.randn(1, 3, 96, 96), torch.randn(2, 3, 120, 88)
    with torch.no_grad():
        expected = model.scores(image).logits
        assert fuse_activations(model, example).fused == 2  # the third call reads a sum
        assert torch.allclose(model.scores(image).logits, expected, atol=1e-5)


def test_an_output_that_was_changed_in_place_is_activated_again() -> None:
    torch.manual_seed(0)
    model, image = InPlace(nn.ReLU()).eval(), torch.randn(1, 3, 128, 128)
    assert fuse_activations(model, torch.randn(1, 3, 96, 96)).fused == 1
    with torch.no_grad():
        got = model.scores(image).logits
    assert float(got.min()) >= 0.0


def test_gradients_and_half_precision_go_the_plain_way() -> None:
    torch.manual_seed(0)
    model, image = Net(nn.ReLU()).eval(), torch.randn(1, 3, 96, 96)
    expected = model.scores(image).logits
    expected.sum().backward()
    gradient = model.stem.weight.grad
    assert gradient is not None
    kept = gradient.clone()
    fuse_activations(model, image)
    model.zero_grad()
    model.scores(image).logits.sum().backward()
    assert model.stem.weight.grad is not None
    assert torch.allclose(model.stem.weight.grad, kept, rtol=1e-4, atol=1e-4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model.scores(image).logits.dtype is torch.bfloat16


def test_a_pair_that_is_named_is_folded_though_no_run_shows_it() -> None:
    class Sliced(nn.Module):
        norm_pairs = (("conv", "bn"),)

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)

        def scores(self, image: Tensor) -> Scores:
            left, right = self.conv.weight.chunk(2, dim=1)
            x = torch.cat([image, image[:, :1]], dim=1)
            out = nn.functional.conv2d(x[:, :2], left, self.conv.bias)
            return Scores(self.bn(out + nn.functional.conv2d(x[:, 2:], right)), False)

    torch.manual_seed(0)
    model = Sliced().eval()
    model.bn.running_mean = torch.randn(5)
    report = fold_batch_norms(model, torch.randn(1, 3, 8, 8))
    assert (report.folded, report.kept) == (1, 0) and report.difference < 1e-5


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("size", [(16, 24), (13, 31), (1, 1)])
def test_the_transformed_convolution_equals_the_direct_one(dilation: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(128, 136, 3, padding=dilation, dilation=dilation)
    x = torch.randn(2, 128, *size)
    with torch.no_grad():
        expected = conv(x)
        assert float((Winograd(conv)(x) - expected).abs().max()) <= 1e-3 * float(expected.std())


def test_changed_weights_are_transformed_anew() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(128, 128, 3, padding=1), torch.randn(1, 128, 8, 8)
    fast = Winograd(conv)
    with torch.no_grad():
        fast(x)
        conv.weight.mul_(2)
        assert torch.allclose(fast(x), conv(x), atol=1e-3)


def test_what_the_transform_does_not_suit() -> None:
    assert transformed_bytes(nn.Conv2d(128, 128, 3, padding=1)) == 36 * 4 * 128 * 128
    assert not transformed_bytes(nn.Conv2d(128, 128, 3, padding=1, stride=2))
    assert not transformed_bytes(nn.Conv2d(128, 128, 3, padding=1, groups=2))
    assert not transformed_bytes(nn.Conv2d(16, 128, 3, padding=1))
    wide = Winograd(nn.Conv2d(128, 128, 3, padding=12, dilation=12))
    assert not wide.suits(torch.empty(1, 128, 32, 64))


def test_the_budget_limits_transformed_weights() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 128, 1), nn.Conv2d(128, 128, 3, padding=1)

        def scores(self, image: Tensor) -> Scores:
            return Scores(self.b(self.a(image)), False)

    nbytes = 36 * 4 * 128 * 128
    for budget, transformed in ((nbytes - 1, 0), (nbytes, 1)):
        report = fuse_activations(Wide().eval(), torch.randn(1, 3, 32, 32), budget=budget)
        assert (report.transformed, report.nbytes) == (transformed, transformed * nbytes)


def test_a_depthwise_convolution_that_reaches_far_runs_on_interleaved_grids() -> None:
    class Far(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 24, 1)
            self.far = nn.Conv2d(24, 24, 5, padding=8, dilation=4, groups=24)
            self.act = nn.Hardswish()

        def scores(self, image: Tensor) -> Scores:
            return Scores(self.act(self.far(self.act(self.conv(image)))), False)

    torch.manual_seed(0)
    model, image = Far().eval(), torch.randn(2, 3, 97, 121)
    with torch.no_grad():
        expected = model.scores(image).logits
        assert fuse_activations(model, torch.randn(1, 3, 96, 96)).fused == 2
        assert model.far.__dict__["forward"].in_grids
        assert torch.allclose(model.scores(image).logits, expected, atol=1e-5)


def test_weights_that_change_are_packed_anew() -> None:
    torch.manual_seed(0)
    model, image = Net(nn.ReLU()).eval(), torch.randn(1, 3, 96, 96)
    report = fuse_activations(model, image)
    assert report.packed_bytes == sum(m.weight.nbytes for m in model.modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        model.scores(image)
        model.stem.weight.mul_(2)
        plain = Net(nn.ReLU()).eval()
        plain.load_state_dict(model.state_dict())
        assert torch.allclose(model.scores(image).logits, plain.scores(image).logits, atol=1e-5)
        # A picture of another size, and numbers of another precision.
        small = torch.randn(1, 3, 64, 160)
        assert torch.allclose(model.scores(small).logits, plain.scores(small).logits, atol=1e-5)


def test_a_sum_or_product_behind_a_convolution_is_part_of_it() -> None:
    torch.manual_seed(0)
    model, image = Net(nn.ReLU()).eval(), torch.randn(1, 3, 96, 96)
    fuse_activations(model, image)
    stand_in = model.last.__dict__["forward"]
    x, other = torch.randn(1, 16, 90, 40), torch.randn(1, 16, 90, 40)
    with torch.no_grad():
        expected = nn.functional.conv2d(x, model.last.weight, model.last.bias)
        assert torch.allclose(stand_in.combined(x, other, "add"), expected + other, atol=1e-5)
        assert torch.allclose(stand_in.combined(x, other, "mul"), expected * other, atol=1e-5)
        total = other.contiguous(memory_format=torch.channels_last).clone(memory_format=torch.channels_last)
        assert stand_in.combined(x, total, "add", in_place=True).data_ptr() == total.data_ptr()
        assert torch.allclose(total, expected + other, atol=1e-5)
        assert stand_in.combined(x, other[:, :1], "add") is None  # the operator broadcasts nothing
        assert stand_in.combined(x[..., :4, :4], other[..., :4, :4], "add") is None
        assert model.stem.__dict__["forward"].combined(x, other, "add") is None  # it has an activation
    assert stand_in.combined(x, other, "add") is None  # gradients are wanted
