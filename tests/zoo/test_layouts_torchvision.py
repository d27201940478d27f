"""The adapter to torchvision's own networks: its facts, how it loads, and the networks where they run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import segstudio_torchvision as adapter
from segstudio.plugin_api import conformance

RUNS = adapter.unavailable_reason() == ""


class Stub(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 1)
        self.classifier = nn.Conv2d(4, 2, 1)
        self.aux_classifier: nn.Module | None = nn.Conv2d(4, 2, 1)


def test_every_network_has_its_official_weights() -> None:
    assert conformance.check_plugin(adapter.PLUGIN) == []
    for spec in adapter.PLUGIN.models:
        (checkpoint,) = spec.checkpoints
        assert checkpoint.url.startswith("https://") and checkpoint.url.endswith(f"-{checkpoint.sha256}.pth")
        assert (checkpoint.num_classes, checkpoint.taxonomy, len(checkpoint.sha256)) == (21, "pascal_voc", 8)
        assert bool(spec.unavailable) != RUNS
        assert ("auxiliary" in spec.side_outputs) == (spec.family != "lraspp")


def test_a_file_with_the_auxiliary_head_loads_whole() -> None:
    source, target = Stub(), Stub()
    report = adapter.load(target, source.state_dict())
    assert set(report.loaded) == set(source.state_dict()) and not report.missing
    assert torch.equal(target.aux_classifier.weight, source.aux_classifier.weight)


def test_a_file_without_it_takes_the_models_away() -> None:
    source, target = Stub(), Stub()
    state = {key: value for key, value in source.state_dict().items() if not key.startswith("aux")}
    assert adapter.load(target, state).missing == ()
    assert target.aux_classifier is None


def test_another_networks_file_is_refused_and_changes_nothing() -> None:
    model = Stub()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = {"backbone.weight": torch.zeros(4, 3, 1, 1), "other": torch.zeros(1)}
    with pytest.raises(ValueError, match="3 missing, 1 unexpected"):
        adapter.load(model, state)
    assert model.aux_classifier is not None
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.skipif(not RUNS, reason=adapter.unavailable_reason())
@pytest.mark.parametrize("name", [spec.name for spec in adapter.PLUGIN.models])
def test_the_networks_keep_the_interface(name: str) -> None:
    spec = next(spec for spec in adapter.PLUGIN.models if spec.name == name)
    model = adapter.build(name, num_classes=4)
    assert conformance.check_segmentor(model, spec) == []
    image = torch.randn(1, 3, 65, 49)
    with torch.no_grad():
        assert set(model.side_outputs(image)) == set(spec.side_outputs)
