"""Several requests at work when the process dies: each runs again alone, and only the guilty one fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from segstudio.core.errors import UserError
from segstudio.runtime import worker_client
from segstudio.runtime.worker_client import WorkerClient

SECONDS = 60_000

PROGRAM = """
import os, pathlib, sys, time
from segstudio.ipc import messages
from segstudio.worker.dispatch import Dispatcher
from segstudio.worker.streams import FrameWriter, claim_stdin, claim_stdout

folder = pathlib.Path(sys.argv[1])

def note(name):
    with open(folder / name, "a") as file:
        file.write("x")
    return len((folder / name).read_text())

def written(name):
    return (folder / name).exists() and (folder / name).read_text()

def die(arguments, control):
    first = note("die") == 1
    while first and not written("slow"):  # with company, the first time
        time.sleep(0.005)
    os._exit(5)

def slow(arguments, control):
    if note("slow") == 1:
        while True:
            time.sleep(1)
    return {"runs": len((folder / "slow").read_text())}

def echo(arguments, control):
    return arguments

writer = FrameWriter(claim_stdout())
stream = claim_stdin()
writer.send(messages.hello("reader", os.getpid(), "0"))
Dispatcher({"die": die, "slow": slow, "echo": echo}, stream, writer, threads=4).serve()
"""


@pytest.fixture
def client(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerClient]:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    monkeypatch.setattr(worker_client, "program_command", lambda *_: command)
    made = WorkerClient(reader=True)
    yield made
    made.close()


def test_the_guilty_request_is_found_and_the_innocent_ones_are_answered(
    qtbot: QtBot, client: WorkerClient, tmp_path: Path
) -> None:
    crashes: list[str] = []
    ends: dict[str, Any] = {}
    client.crashed.connect(crashes.append)
    for name, op in (("guilty", "die"), ("innocent", "slow"), ("waiting 1", "echo"), ("waiting 2", "echo")):
        call = client.request(op, text=name)
        call.finished.connect(lambda values, name=name: ends.__setitem__(name, values))
        call.failed.connect(lambda error, name=name: ends.__setitem__(name, error))
    qtbot.waitUntil(lambda: len(ends) == 4, timeout=SECONDS)
    assert isinstance(ends["guilty"], UserError)
    assert "exit code 5" in str(ends["guilty"])
    assert ends["innocent"] == {"runs": 2}
    assert ends["waiting 1"] == {"text": "waiting 1"}
    assert ends["waiting 2"] == {"text": "waiting 2"}
    assert len(crashes) == 2  # once with company, once alone
    assert (tmp_path / "die").read_text() == "xx"


def test_a_stray_print_into_the_frames_ends_the_process_and_not_the_window(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", "print('hello', flush=True); import time; time.sleep(60)"]
    monkeypatch.setattr(worker_client, "program_command", lambda *_: command)
    client = WorkerClient(reader=True)
    ends: list[Any] = []
    call = client.request("echo")
    call.failed.connect(ends.append)
    qtbot.waitUntil(lambda: bool(ends), timeout=SECONDS)
    assert "cannot start" in str(ends[0])
    client.close()
