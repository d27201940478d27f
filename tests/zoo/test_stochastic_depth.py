"""Stochastic depth of every backbone that has it, at both ends of its range."""

from __future__ import annotations

import pytest
import torch

from segstudio_zoo import catalog, create_model
from segstudio_zoo.layers.drop_path import DropPath

SMALLEST = {"beit": "beit-tiny", "mae": "mae-tiny", "convnextv2": "convnextv2-atto", "vit": "vit-t16"}
NAMES = [
    SMALLEST.get(entry.id, entry.variants[0].name)
    for entry in catalog.backbones()
    if any(option.name == "drop_path_rate" for option in entry.options) and entry.id != "vit_hybrid"
]


def test_a_branch_is_dropped_for_whole_samples_and_its_mean_stays() -> None:
    """Section 3: a branch survives with probability 1 - rate; divided by it, its expectation stays."""
    torch.manual_seed(0)
    x = torch.ones(20_000, 2, 1, 1)
    dropped = DropPath(0.25).train()(x)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    assert dropped.mean() == pytest.approx(1.0, abs=0.02)


def test_a_branch_that_never_survives_is_zero_in_training_and_whole_in_evaluation() -> None:
    x = torch.randn(3, 2, 4, 4)
    assert torch.equal(DropPath(1.0).train()(x), torch.zeros_like(x))
    assert torch.equal(DropPath(1.0).eval()(x), x)


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_range_trains_and_what_lies_outside_is_refused(name: str) -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, 64, 64)
    for rate in (0.0, 1.0):
        model = create_model(name, drop_path_rate=rate).train()
        assert all(torch.isfinite(feature).all() for feature in model(image))
    with pytest.raises(ValueError, match=r"'drop_path_rate' is a number from 0 to 1, not 1\.5\."):
        create_model(name, drop_path_rate=1.5)
