"""The stored signatures are those of the networks, and a listed network is found by building few others."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from segstudio_zoo import create_model, identify, identifying, list_models, signatures


def test_every_listed_name_has_a_signature() -> None:
    stored = json.loads(signatures.FILE.read_text())
    assert set(stored["models"]) == set(list_models())


@pytest.mark.long
def test_signatures_are_those_of_the_networks_as_they_are() -> None:
    # anew: python -m segstudio_zoo.signatures
    assert signatures.FILE.read_text() == signatures.text(signatures.written())


@pytest.mark.parametrize("name", ["fcn_hr48", "deeplabv3_r101-d8", "segformer_mit-b5", "hrnet-w48"])
def test_a_listed_network_is_identified_almost_without_building(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    build = identifying._built

    def counted(what: str, **arguments: object) -> nn.Module:
        built.append(what)
        return build(what, **arguments)

    with torch.device("meta"):
        state = create_model(name, num_classes=23).state_dict()
    monkeypatch.setattr(identifying, "_built", counted)
    found = identify(state)
    assert found[0].name == name and found[0].options == {}
    assert found[0].num_classes == (None if name == "hrnet-w48" else 23)
    assert len(built) <= 2
