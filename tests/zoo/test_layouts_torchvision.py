"""The adapter to torchvision's own networks: its facts, how it loads, and the networks where they run."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch import nn

import segstudio_torchvision as adapter
from segstudio.core.program import child_environment, program_command
from segstudio.plugin_api import ModelSpec, conformance, plugin_from_json

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


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder with a torchvision that fits torch by its metadata, and whose native library does not load."""
    package = tmp_path / "torchvision"
    package.mkdir()
    package.joinpath("__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    facts = tmp_path / "torchvision-9.9.0.dist-info"
    facts.mkdir()
    _, plus, build = metadata.version("torch").partition("+")
    version = f"9.9.0{plus}{build}"
    facts.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: torchvision\nVersion: {version}\n")
    return tmp_path


def test_a_broken_native_library_is_listed_as_the_reason(broken: Path) -> None:
    found = subprocess.run(
        [*program_command("worker", "--list", adapter.NAME, "--memory-limit", str(4 * 2**30))],
        env={**child_environment(), "PYTHONPATH": str(broken)},
        capture_output=True,
        timeout=120,
        check=True,
    )
    plugin = plugin_from_json(json.loads(found.stdout)["plugin"])
    assert len(plugin.models) == 6
    for spec in plugin.models:
        assert "does not load" in spec.unavailable and "torchvision::nms" in spec.unavailable


def test_a_broken_native_library_is_named_where_a_network_is_built(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(broken))
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    assert adapter.unavailable_reason() == "", "metadata do not tell"
    with pytest.raises(ImportError, match=r"torchvision 9\.9\.0.* does not load beside torch .*nms"):
        adapter.build("fcn_resnet50")


@pytest.mark.skipif(not RUNS, reason=adapter.unavailable_reason())
@pytest.mark.parametrize("spec", adapter.PLUGIN.models, ids=lambda spec: spec.name)
def test_the_key_layout_is_that_of_torchvisions_own_network(spec: ModelSpec) -> None:
    from torchvision.models import get_model, get_model_weights

    (checkpoint,) = spec.checkpoints
    (weights,) = [entry for entry in get_model_weights(spec.name) if entry.url == checkpoint.url]
    keywords = {} if spec.family == "lraspp" else {"aux_loss": True}
    number = len(weights.meta["categories"])
    own = get_model(spec.name, weights=None, weights_backbone=None, num_classes=number, **keywords)
    model = adapter.build(spec.name)
    assert checkpoint.layout_checked and number == checkpoint.num_classes == model.num_classes
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        key: value.shape for key, value in own.state_dict().items()
    }
    report = adapter.load(model, own.state_dict())
    assert set(report.loaded) == set(own.state_dict()) and not report.missing
    image = torch.randn(1, 3, 65, 49)
    with torch.no_grad():
        assert torch.equal(model(image), own.eval()(image)["out"])


@pytest.mark.skipif(not RUNS, reason=adapter.unavailable_reason())
@pytest.mark.parametrize("name", [spec.name for spec in adapter.PLUGIN.models])
def test_the_networks_keep_the_interface(name: str) -> None:
    spec = next(spec for spec in adapter.PLUGIN.models if spec.name == name)
    model = adapter.build(name, num_classes=4)
    assert conformance.check_segmentor(model, spec) == []
    image = torch.randn(1, 3, 65, 49)
    with torch.no_grad():
        assert set(model.side_outputs(image)) == set(spec.side_outputs)
