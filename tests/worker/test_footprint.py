"""The memory of a pass is told from small ones: too much means needless tiles, too little no worker."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segstudio.worker import footprint

CHANNELS = 8


def maps(side: int) -> Tensor:
    """Two maps at once: 2 * CHANNELS * 4 bytes a pixel at the peak."""
    return torch.zeros(CHANNELS, side, side) + 1.0


@pytest.mark.parametrize("large_from", [0, 128])
def test_weights_that_a_pass_brings_into_another_form_are_no_activations(large_from: int) -> None:
    weight = torch.ones(1024, 1024)
    kept: list[Tensor] = []

    def run(side: int) -> None:
        if side >= large_from and not kept:
            kept.append(weight * 2.0)  # 4 MB once, at the first pass or at that of the larger size only
        maps(side)

    found = footprint.measure(run, (96, 192))
    assert found.square == 0
    assert found.linear == pytest.approx(2 * CHANNELS * 4)


def test_attention_grows_with_the_square_of_the_pixels() -> None:
    def run(side: int) -> None:
        torch.zeros(side, side).add_(1.0)
        torch.zeros(side * side // 64, side * side // 64)

    found = footprint.measure(run, (96, 192))
    assert found.square == pytest.approx(4 / 64**2, rel=0.2)
