"""A file of weights that says what it is gets believed, and looked into where it is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import segstudio_zoo
from segstudio.core.errors import UserError
from segstudio.worker.engine import Engine
from segstudio.worker.model_ref import ModelRef
from segstudio_zoo import create_model

NAME = "segstudio_zoo/ccnet_mobilenet-v2-d8"
OPTIONS = {"width": 0.5, "channels": 16, "auxiliary": False}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one each time the zoo looks at the keys of a file."""
    seen: list[int] = []
    identify = segstudio_zoo.identify

    def counted(tensors: dict[str, torch.Tensor]) -> object:
        seen.append(len(tensors))
        return identify(tensors)

    monkeypatch.setattr(segstudio_zoo, "identify", counted)
    return seen


def weights(folder: Path, **facts: object) -> Path:
    path = folder / "weights.safetensors"
    model = create_model(NAME.rpartition("/")[2], num_classes=5, **OPTIONS)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    path.with_suffix(".json").write_text(json.dumps(facts))
    return path


def test_a_file_that_says_what_it_is_is_not_looked_into(tmp_path: Path, looks: list[int]) -> None:
    path = weights(tmp_path, model=NAME, num_classes=5, options=OPTIONS)
    assert Engine(device="cpu").load(ModelRef(NAME, weights=path)).num_classes == 5
    assert looks == []


@pytest.mark.parametrize(
    "facts",
    [{}, {"num_classes": 5}, {"model": NAME, "num_classes": 5}],
    ids=["says nothing", "no network", "options forgotten"],
)
def test_a_file_that_does_not_is(tmp_path: Path, looks: list[int], facts: dict[str, object]) -> None:
    loaded = Engine(device="cpu").load(ModelRef(NAME, weights=weights(tmp_path, **facts)))
    assert loaded.num_classes == 5
    assert dict(loaded.options) == OPTIONS
    assert len(looks) == 1


def test_a_file_of_another_network_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = weights(tmp_path, model="segstudio_zoo/danet_mobilenet-v2-d8", num_classes=5, options=OPTIONS)
    with pytest.raises(UserError, match=r"weights\.safetensors does not fit DANet"):
        Engine(device="cpu").load(ModelRef("segstudio_zoo/danet_mobilenet-v2-d8", weights=path))
