"""Two processes that share a batch train as one process does, whatever is ignored where."""

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segstudio.training import program


def free_port() -> int:
    """Not one that systems hand out by themselves: they would give it away before the ranks take it."""
    ports = random.Random(os.getpid()).sample(range(20_000, 30_000), 50)
    for port in ports:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port between 20000 and 30000")


def ends_of(ranks: list[subprocess.Popen[bytes]]) -> list[str]:
    """What both wrote; where one fails the other, which would wait for it, is ended."""
    ends: dict[int, str] = {}

    def watch(number: int) -> None:
        ends[number] = ranks[number].communicate()[1].decode()
        if ranks[number].returncode:
            for other in ranks:
                other.kill()

    watchers = [threading.Thread(target=watch, args=(number,)) for number in range(len(ranks))]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(200)
    for rank in ranks:
        rank.kill()
    for watcher in watchers:
        watcher.join()
    return [ends[number] for number in range(len(ranks))]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="gloo over the loopback interface")
def test_two_ranks_equal_one_process(make_run, recipe):
    recipe = replace(recipe, options={"norm": False, "dropout": 0.0}, epochs=2)
    alone = make_run(recipe, "alone", batch=4)
    program.train(alone)
    shared = make_run(recipe, "shared", batch=2)
    settings = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "TORCHELASTIC_RUN_ID": "test",
        "GROUP_RANK": "0",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    root = Path(__file__).resolve().parents[2]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "segstudio", "train", str(shared.path)],
            env={**os.environ, **settings, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=root,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    errors = ends_of(ranks)
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)
    ours, theirs = (load_file(run.checkpoints / "last.safetensors") for run in (alone, shared))
    for key in ours:
        torch.testing.assert_close(theirs[key], ours[key], atol=1e-6, rtol=1e-5)
    ends = [[event for event in run.events()[0] if event["kind"] == "epoch"][-1] for run in (alone, shared)]
    assert ends[0]["train_loss"] == pytest.approx(ends[1]["train_loss"], rel=1e-5)
    assert ends[0]["miou"] == pytest.approx(ends[1]["miou"], abs=0.01)
