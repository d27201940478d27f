"""What a run costs is told without its first time, which is mostly that of getting ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from segstudio.core.resources import resource
from segstudio.ipc import MappedArray
from segstudio.runtime.mask_result import MaskResult
from segstudio.runtime.run_costs import RunCost, RunCosts
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.worker_client import WorkerClient

SECONDS = 60_000
REF = {
    "model": "segstudio_zoo/ccnet_mobilenet-v2-d8",
    "weights": str(resource("demo", "checkpoints", "ccnet.safetensors")),
}
CCNET = RunnableModel("demo:ccnet", "CCNet", REF, (), (), "demo")


@pytest.fixture
def worker(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerClient]:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    client = WorkerClient()
    yield client
    client.close()


def run(qtbot: QtBot, worker: WorkerClient, **model: Any) -> MaskResult:
    image, labels = MappedArray.create((64, 96, 4), np.uint8), MappedArray.create((64, 96), np.uint8)
    call = worker.request(
        "predict", model={**REF, **model}, image=image.descriptor(), labels=labels.descriptor(), key="1"
    )
    with qtbot.waitSignal(call.finished, timeout=SECONDS) as found:
        pass
    return MaskResult("demo:ccnet", 1, labels.array, None, None, found.args[0], labels, labels)


def test_a_first_run_is_timed_again_and_its_operations_are_counted(
    qtbot: QtBot, worker: WorkerClient
) -> None:
    costs = RunCosts(worker)
    first = run(qtbot, worker)
    assert first.info["first_of_size"]
    assert costs.of(first, CCNET) == RunCost(None, None)
    with qtbot.waitSignal(costs.changed, timeout=SECONDS) as told:
        pass
    assert told.args == ["demo:ccnet"]
    cost = costs.of(first, CCNET)
    assert cost.flops is not None and cost.flops > 1e6
    assert cost.milliseconds is not None and cost.milliseconds != first.info["forward_ms"]

    second = run(qtbot, worker)
    assert not second.info["first_of_size"]
    assert RunCosts(worker).of(second, CCNET) == RunCost(cost.flops, second.info["forward_ms"])


def test_a_run_with_a_part_replaced_keeps_its_own_time(qtbot: QtBot, worker: WorkerClient) -> None:
    costs = RunCosts(worker)
    result = run(qtbot, worker, switches={"recurrence": 1})
    assert result.info["not_as_trained"]
    with qtbot.waitSignal(costs.changed, timeout=SECONDS):  # its operations are counted all the same
        assert costs.of(result, CCNET).milliseconds == result.info["forward_ms"]
    assert costs.of(result, CCNET).milliseconds == result.info["forward_ms"]


def test_where_it_cannot_be_timed_the_first_time_stays(qtbot: QtBot, worker: WorkerClient) -> None:
    costs = RunCosts(worker)
    result = run(qtbot, worker)
    missing = RunnableModel("demo:ccnet", "CCNet", {**REF, "weights": "/no/such/file"}, (), (), "demo")
    assert costs.of(result, missing) == RunCost(None, None)
    with qtbot.waitSignal(costs.changed, timeout=SECONDS):
        pass
    assert costs.of(result, missing) == RunCost(None, result.info["forward_ms"])
