"""Mapped arrays are shared, owned by one side, and leave no file behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segstudio.ipc import MappedArray, mapped, sweep_leftovers

WRITER = """
import json, sys
from segstudio.ipc import MappedArray
array = MappedArray.attach(json.loads(sys.argv[1])).array
array[...] = array * 2 + 1
"""


def test_another_process_writes_into_the_same_array() -> None:
    with MappedArray.create((3, 5), np.uint16) as shared:
        shared.array[...] = np.arange(15).reshape(3, 5)
        command = [sys.executable, "-c", WRITER, json.dumps(shared.descriptor())]
        subprocess.run(command, check=True, timeout=60)
        assert (shared.array == np.arange(15).reshape(3, 5) * 2 + 1).all()


def test_the_owner_removes_the_file_and_views_stay_usable() -> None:
    shared = MappedArray.create((4, 4), np.float32)
    view = shared.array[1:]
    shared.close()
    assert not shared.path.exists()
    view[...] = 7
    assert float(view.sum()) == 84


def test_an_attached_array_does_not_remove_the_file() -> None:
    with MappedArray.create((2,), np.uint8) as shared:
        other = MappedArray.attach(shared.descriptor())
        other.close()
        assert shared.path.exists()


def test_a_part_is_attached_at_its_offset() -> None:
    with MappedArray.create((64,), np.uint8) as shared:
        part = shared.part((2, 4), np.uint32, 16)
        part.array[...] = 0x01020304
        again = MappedArray.attach(json.loads(json.dumps(part.descriptor())))
        assert (again.array == 0x01020304).all()
        assert int(shared.array[:16].sum()) == 0
        with pytest.raises(ValueError, match="outside"):
            shared.part((64,), np.uint16, 0)


@pytest.mark.parametrize(
    "change", [{"shape": [100, 100]}, {"offset": 8}, {"offset": -1}, {"dtype": "O"}, {"shape": [-1]}]
)
def test_a_descriptor_beyond_its_file_is_refused(change: dict) -> None:
    with MappedArray.create((8,), np.uint8) as shared:
        with pytest.raises(ValueError):
            MappedArray.attach({**shared.descriptor(), **change})


def test_an_empty_array_can_be_shared() -> None:
    with MappedArray.create((0, 3), np.uint8) as shared:
        assert MappedArray.attach(shared.descriptor()).array.shape == (0, 3)


def test_files_of_processes_that_are_gone_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "_folders", lambda: [tmp_path])
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(60)
    leftover = tmp_path / f"segstudio-{gone.pid}-1.map"
    ours = tmp_path / f"segstudio-{os.getpid()}-1.map"
    other = tmp_path / "segstudio-notes.map"
    for path in (leftover, ours, other):
        path.write_bytes(b"x")
    assert sweep_leftovers() == 1
    assert [path.exists() for path in (leftover, ours, other)] == [False, True, True]
