"""Networks made ready for inference, convolutions over joined maps split among it, give the same scores."""

from __future__ import annotations

import pytest
import torch

from segstudio.worker import folding
from segstudio_zoo.layers.conv import ConvNormAct, fold_batch_norms
from segstudio_zoo.layers.joined_conv import JoinedConv
from segstudio_zoo.layers.resize import resize
from tests.zoo.smallest import SMALLEST, build, picture


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("coarse_first", [False, True])
@pytest.mark.parametrize("size", [(7, 9), (2, 3), (1, 1), (70, 133)])  # the last in several bands
def test_the_split_convolution_equals_the_joined_one(
    size: tuple[int, int], coarse_first: bool, align_corners: bool
) -> None:
    torch.manual_seed(1)
    block = ConvNormAct(10, 6, 3).eval()
    fold_batch_norms(block)
    full = torch.randn(2, 4, *size)
    pooled = [torch.randn(2, 2, 1, 1), torch.randn(2, 2, 3, 3), torch.randn(2, 2, 6, 17)]
    large = [resize(part, size, align_corners=align_corners) for part in pooled]
    split = JoinedConv(block, 6, coarse_first=coarse_first, align_corners=align_corners)
    with torch.no_grad():
        expected = block(torch.cat([*large, full] if coarse_first else [full, *large], dim=1))
        assert torch.allclose(split(full, pooled), expected, atol=1e-5)


@pytest.mark.parametrize("family", ["pspnet", "upernet", "deeplabv3", "deeplabv3plus", "fcn"])
def test_networks_give_the_same_scores_once_optimised(family: str) -> None:
    model, image = build(family), picture(2, 97, 129)
    with torch.no_grad():
        expected = model.scores(image).logits
        model.optimise_for_inference()
        got = model.scores(image).logits
    assert any(isinstance(module, JoinedConv) for module in model.modules()) == (family != "fcn")
    assert float((got - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


@pytest.mark.parametrize("family", sorted(SMALLEST))
def test_every_family_gives_the_same_scores_folded_and_optimised(family: str) -> None:
    model, image = build(family), picture(1, 97, 129)
    with torch.no_grad():
        expected = model.scores(image).logits
        assert not folding.fold_batch_norms(model, image).reason
        model.optimise_for_inference()
        got = model.scores(image).logits
    assert float((got - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


def test_other_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="3x3"):
        JoinedConv(ConvNormAct(4, 4, 1), 2)
