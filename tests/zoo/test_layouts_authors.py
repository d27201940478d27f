"""The papers' own repositories: files under their names are identified and load whole.

Their names are written down here as renamings of ours; every entry has to land where it belongs.
"""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from segstudio_zoo import create_model, identify, load_checkpoint
from tests.zoo import originals_bisenet, originals_residual
from tests.zoo.originals import Original, theirs

ORIGINALS = {**originals_residual.ORIGINALS, **originals_bisenet.ORIGINALS}


def drawn(model: nn.Module) -> dict[str, Tensor]:
    """Ours, each entry filled with a number of its own (tied ones with one)."""
    with torch.no_grad():
        for place, value in enumerate(model.state_dict().values()):
            if value.is_floating_point():
                value.fill_(0.5 + place / 4096)
    return {key: value.clone() for key, value in model.state_dict().items()}


def own_model(original: Original) -> nn.Module:
    build = dict(original.build)
    return create_model(build.pop("name"), **build)


@pytest.mark.parametrize("name", ORIGINALS)
def test_an_authors_file_is_identified_and_every_entry_lands_where_it_belongs(name: str) -> None:
    original = ORIGINALS[name]
    ours = drawn(own_model(original))
    for key, value in ours.items():
        if re.fullmatch(original.without, theirs(original, key)):
            value.zero_()
    state = {theirs(original, key): value for key, value in ours.items()}
    assert len(state) == len(ours)
    state = {key: value for key, value in state.items() if not re.fullmatch(original.without, key)}
    for key, shape in original.reshaped.items():
        state[key] = state[key].reshape(shape)
    state.update({key: torch.zeros(3) for key in original.extra})
    for bias, mean in original.biased.items():
        state[bias] = torch.full_like(ours[mean], 0.25)
        ours[mean] = ours[mean] - 0.25
    found = identify(state)[0]
    assert (found.name, found.layout, found.num_classes) == (original.found, original.layout, 5)
    assert original.options.items() <= found.options.items()
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    report = load_checkpoint(model, state)
    assert set(report.loaded) | set(report.unused) == set(state), "an entry was dropped silently"
    assert set(original.extra) <= set(report.unused)
    scaled = 1e-5 if name == "CCNet" else 0.0
    norms = {key.removesuffix("running_mean") for key in ours if key.endswith("running_mean")}
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            more = scaled if key.removesuffix("weight") in norms else 0.0
            assert torch.allclose(value, ours[key].reshape(value.shape) + more, atol=1e-7), key
