"""Two processes that share a batch train as one process does, whatever is ignored where."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segstudio.training import program


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


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
    errors = [rank.communicate(timeout=200)[1].decode() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)
    ours, theirs = (load_file(run.checkpoints / "last.safetensors") for run in (alone, shared))
    for key in ours:
        torch.testing.assert_close(theirs[key], ours[key], atol=1e-6, rtol=1e-5)
    ends = [[event for event in run.events()[0] if event["kind"] == "epoch"][-1] for run in (alone, shared)]
    assert ends[0]["train_loss"] == pytest.approx(ends[1]["train_loss"], rel=1e-5)
    assert ends[0]["miou"] == pytest.approx(ends[1]["miou"], abs=0.01)
