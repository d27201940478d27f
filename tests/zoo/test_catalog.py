"""What the catalog declares is there: builders, probes that answer, switches that act and let go."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from segstudio.plugin_api import Query
from segstudio_zoo import catalog, create_model, list_models
from segstudio_zoo.building import option_names
from segstudio_zoo.plugin import PLUGIN

ENTRIES = {f"{type(entry).__name__}-{entry.id}": entry for entry in catalog.entries()}
SEGMENTORS = {entry.id: entry for entry in catalog.segmentors()}


def found(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
def test_everything_named_by_a_string_exists(entry: catalog.Entry) -> None:
    parts = [entry.build, *(p.build for p in entry.probes), *(s.apply for s in entry.switches)]
    assert all(callable(found(part)) for part in parts)
    declared = {option.name for option in entry.options}
    assert declared <= option_names(entry.build), declared - option_names(entry.build)
    for switch in entry.switches:
        assert switch.trained in switch.choices


def test_ids_of_entries_and_specs_are_unique() -> None:
    for kind in (catalog.segmentors(), catalog.backbones()):
        ids = [entry.id for entry in kind]
        assert len(ids) == len(set(ids))
    names = [spec.id for spec in PLUGIN.models]
    assert len(names) == len(set(names)) and not PLUGIN.notes
    titles = [spec.title for spec in PLUGIN.models]
    assert len(titles) == len(set(titles))
    for spec in PLUGIN.models:
        assert len({probe.id for probe in spec.probes}) == len(spec.probes), spec.id
        assert len({switch.id for switch in spec.switches}) == len(spec.switches), spec.id


@pytest.fixture(scope="module", params=SEGMENTORS.keys())
def network(request: pytest.FixtureRequest) -> nn.Module:
    """The first listed model of a family, with drawn weights that spread its activations."""
    model = create_model(list_models(request.param)[0], num_classes=5)
    torch.manual_seed(0)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "gamma.scale" in key:
                p.fill_(0.7)
            elif p.ndim >= 2:
                p.normal_(std=(1.5 / p[0].numel()) ** 0.5)
    return model


def queried(kind: str) -> Query:
    return Query(kind, y=10.0, x=20.0, index=1)  # type: ignore[arg-type]


def test_probes_answer(network: nn.Module) -> None:
    spec = next(s for s in PLUGIN.models if s.name == network.zoo_name)
    image = torch.randn(1, 3, 64, 96)
    for probe_spec in spec.probes:
        probe = found(probe_spec.build)()
        with torch.no_grad(), probe.attach(network) as captured:
            network.scores(image)
        result = probe.map(captured, queried(probe_spec.query))
        assert result.values.dtype == np.float32 and result.values.size, probe_spec.id
        assert np.isfinite(result.values).all(), probe_spec.id
        assert captured.nbytes >= 0
        if result.kind == "map":
            assert result.values.ndim == 2
            if result.rows_sum_to_one and "other_tokens" not in result.extras:
                assert result.values.sum() == pytest.approx(1.0, abs=1e-3), probe_spec.id


def test_switches_act_and_let_go(network: nn.Module) -> None:
    spec = next(s for s in PLUGIN.models if s.name == network.zoo_name)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        before = network.scores(image).logits
    for switch in spec.switches:
        for choice in switch.values(network.num_classes):
            try:
                with torch.no_grad(), found(switch.apply)(network, choice):
                    during = network.scores(image).logits
            except ValueError as error:
                # an upper bound that needs the annotation
                assert "labels" in str(error), switch.id
                assert choice != switch.trained, switch.id
                continue
            assert bool(during.isfinite().all()), (switch.id, choice)
            if choice == switch.trained:
                assert torch.allclose(during, before, atol=1e-5), (switch.id, choice)
        with torch.no_grad():
            assert torch.equal(network.scores(image).logits, before), switch.id


def test_side_outputs_are_those_declared(network: nn.Module) -> None:
    spec = next(s for s in PLUGIN.models if s.name == network.zoo_name)
    with torch.no_grad():
        outputs = network.side_outputs(torch.randn(1, 3, 64, 96))
    assert set(outputs) == set(spec.side_outputs)
    for name, scores in outputs.items():
        assert scores.logits.shape[:2] == (1, 5), name
