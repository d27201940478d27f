"""Files of weights are read without running anything in them."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from segstudio.core.errors import UserError
from segstudio.core.weights_facts import WeightsFacts, read_facts
from segstudio.plugin_api import Preprocess, TaxonomyClass
from segstudio.worker import restricted_zip
from segstudio.worker.checkpoints import read_weights, write_weights
from tests.shared_data import needs_shared, shared

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2, 3])}


class History:
    """Something a training loop keeps beside the tensors."""

    def __init__(self) -> None:
        self.values = [1, 2]
        self.more = {"x": 1}


class Attack:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return set(found) == set(expected) and all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_is_found_however_it_is_wrapped(tmp_path: Path, wrap: Any, legacy: bool) -> None:
    path = tmp_path / "weights.pth"
    torch.save(wrap(TENSORS), path, _use_new_zipfile_serialization=not legacy)
    assert same(read_weights(path).tensors, TENSORS)


def test_objects_beside_the_tensors_become_placeholders(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    view = torch.arange(24.0).reshape(4, 6)
    state = {
        **TENSORS,
        "transposed": view.t(),
        "part": view[1:3, 2:5],
        "half": view.half(),
        "brain": view.bfloat16(),
        "empty": torch.zeros((0, 3)),
        "scalar": torch.tensor(4.5),
        "parameter": torch.nn.Parameter(view.clone()),
    }
    history = [History(), argparse.Namespace(lr=0.1), np.float64(3.0), Path("x"), {History(): 1}]
    torch.save({"state_dict": state, "history": history, "config": History()}, path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    weights = read_weights(path)
    assert weights.format == "torch, placeholders"
    assert same(weights.tensors, {key: value.detach() for key, value in state.items()})


def test_nothing_in_a_hostile_file_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": TENSORS, "extra": Attack(f"touch {marker}")}, path)
    assert same(read_weights(path).tensors, TENSORS)
    assert not marker.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_of_code_alone_is_refused_in_a_sentence(tmp_path: Path, legacy: bool) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "weights.pth"
    torch.save(Attack(f"touch {marker}"), path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError) as refused:
        read_weights(path)
    assert "weights.pth" in str(refused.value)
    assert not marker.exists()


def rewritten(path: Path, change: Any) -> None:
    """Every entry of the archive through `change(name, data)`, which may give several or none."""
    with zipfile.ZipFile(path) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries:
            for new_name, new_data in change(name, data):
                archive.writestr(new_name, new_data)


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A file that only the reader with placeholders takes."""
    path = tmp_path / "strange.pth"
    torch.save({"state_dict": TENSORS, "history": History()}, path)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "change",
    [
        lambda name, data: [(name, data), (name, data)] if name.endswith("data.pkl") else [(name, data)],
        lambda name, data: [(name, data), (name.upper(), data)] if name.endswith(".pkl") else [(name, data)],
        lambda name, data: [(name, data[:4])] if "/data/" in name else [(name, data)],
        lambda name, data: [] if "/data/" in name else [(name, data)],
        lambda name, data: [(name, b"big")] if name.endswith("byteorder") else [(name, data)],
    ],
    ids=["two pickles", "two cases", "short storages", "no storages", "byte order"],
)
def test_an_archive_with_tricks_is_refused(strange: Path, change: Any) -> None:
    assert same(read_weights(strange).tensors, TENSORS)
    rewritten(strange, change)
    with pytest.raises(UserError):
        restricted_zip.read_bytes(strange, restricted_zip.places(strange))


def test_a_tensor_larger_than_its_storage_is_refused(strange: Path) -> None:
    found = restricted_zip.places(strange)
    dtype, storage, count, offset, _shape, _stride = found["tensors"]["a.weight"]
    for shape, stride in (([10**9], [0]), ([7], [1]), ([2, 3], [3, 2])):
        places = {"tensors": {"a.weight": [dtype, storage, count, offset, shape, stride]}}
        with pytest.raises(UserError):
            restricted_zip.read_bytes(strange, places)


def test_the_walker_builds_and_calls_nothing_but_its_own(tmp_path: Path) -> None:
    names = [b"builtins\neval", b"os\nsystem", b"torch\nload", b"torch._utils\n_rebuild_wrapper_subclass"]
    names += [b"builtins\ngetattr", b"segstudio.worker.restricted_zip\nmain", b"operator\nmethodcaller"]
    for name in names:
        stream = b"c" + name + b"\n(S'touch /nowhere'\ntR."
        found = restricted_zip._Walker(io.BytesIO(stream)).load()
        assert isinstance(found, restricted_zip.Placeholder)


def test_endless_and_deep_pickles_end(tmp_path: Path) -> None:
    """A pickle that doubles a list fifty times needs more memory than the process may have."""
    path = tmp_path / "bomb.pth"
    bomb = (
        b"\x80\x02" + b"(cos\nsystem\nq\x00" + b"]q\x01" + b"".join(b"(h\x01h\x01e" for _ in range(1)) + b"0"
    )
    body = b"\x80\x02]" + b"".join(b"(" + b"2" for _ in range(3)) + b"."
    for data in (bomb, body, b"\x80\x02" + b"(" * 3_000_000 + b"l" * 10 + b".", b"", b"\x80\x04\x95"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", data)
            archive.writestr("x/byteorder", "little")
        with pytest.raises(UserError):
            read_weights(path)


def test_mutated_files_give_one_kind_of_error(tmp_path: Path) -> None:
    plain = tmp_path / "plain.pth"
    torch.save({"state_dict": TENSORS}, plain)
    safe = tmp_path / "safe.safetensors"
    save_file(TENSORS, str(safe))
    generator = np.random.default_rng(0)
    outcomes = set()
    for original in (plain, safe):
        content = original.read_bytes()
        for _ in range(60):
            data = bytearray(content[: int(generator.integers(1, len(content) + 1))])
            for place in generator.integers(0, len(data), 3):
                data[place] = int(generator.integers(0, 256))
            path = tmp_path / f"mutated{original.suffix}"
            path.write_bytes(bytes(data))
            try:
                read_weights(path)
                outcomes.add("read")
            except UserError as error:
                assert "\n" not in str(error)
                outcomes.add("refused")
    assert "refused" in outcomes


def test_facts_travel_inside_and_a_file_beside_wins(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    facts = WeightsFacts(
        model="tiny/plain",
        title="Mine",
        num_classes=2,
        options={"width": 4},
        preprocess=Preprocess((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
        classes=(TaxonomyClass("sky", (1, 2, 3)), TaxonomyClass("sea", (4, 5, 6))),
    )
    write_weights(path, TENSORS, facts)
    weights = read_weights(path)
    assert same(weights.tensors, TENSORS)
    assert (weights.facts.model, weights.facts.title, weights.facts.options) == (
        "tiny/plain",
        "Mine",
        {"width": 4},
    )
    assert weights.facts.preprocess == facts.preprocess
    assert weights.facts.preprocess_source == "safetensors header"
    assert weights.facts.classes == facts.classes
    (tmp_path / "weights.json").write_text(json.dumps({"mean": [0, 0, 0], "std": [255, 255, 255]}))
    beside = read_facts(path)
    assert beside.preprocess == Preprocess((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
    assert (beside.preprocess_source, beside.model) == ("file beside", "tiny/plain")
    (tmp_path / "weights.json").write_text("{")
    with pytest.raises(UserError, match="file beside the weights"):
        read_facts(path)


@needs_shared
def test_real_files_of_other_networks_are_read_for_inspection() -> None:
    folder = shared("data", "weights", "foreign_espnet")
    weights = read_weights(folder / "espnet_p_2_q_8_camvid.pth")
    lines = (folder / "keys_espnet_p_2_q_8_camvid.tsv").read_text().splitlines()
    listed = {line.split("\t")[0] for line in lines}
    assert set(weights.tensors) == listed
