"""One bad image or plugin costs one error: the process comes back, and the next request is answered."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pytestqt.qtbot import QtBot

from segstudio.core.errors import UserError
from segstudio.ipc import MappedArray
from segstudio.runtime.worker_client import Call, WorkerClient
from tests.worker.plugins_for_tests import HOSTILE, write_plugin

SECONDS = 60_000
Ask = Callable[..., Any]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 30:] = (250, 10, 20)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def reader(qtbot: QtBot) -> Iterator[WorkerClient]:
    client = WorkerClient(reader=True)
    yield client
    client.close()


@pytest.fixture
def worker(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerClient]:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    client = WorkerClient(plugin_files=[write_plugin(tmp_path, "hostile", HOSTILE)], memory_limit=6 * 2**30)
    yield client
    client.close()


def end_of(qtbot: QtBot, call: Call) -> Any:
    """The call's result (dict), UserError, or None where it was cancelled."""
    ends: list[Any] = []
    call.finished.connect(ends.append)
    call.failed.connect(ends.append)
    call.cancelled.connect(lambda: ends.append(None))
    qtbot.waitUntil(lambda: bool(ends), timeout=SECONDS)
    assert len(ends) == 1
    return ends[0]


class Prediction:
    """A predict request on a small image, with its arrays."""

    def __init__(self, client: WorkerClient, way: str, **arguments: Any) -> None:
        self.image = MappedArray.create((20, 30, 4), np.uint8)
        self.image.array[:, 15:, 2] = 200  # the red channel of BGRA
        self.labels = MappedArray.create((20, 30), np.uint8)
        self.confidence = MappedArray.create((20, 30), np.uint8)
        self.call = client.request(
            "predict",
            model={"model": f"hostile/{way}"},
            image=self.image.descriptor(),
            labels=self.labels.descriptor(),
            confidence=self.confidence.descriptor(),
            key="1",
            **arguments,
        )


def outcome(qtbot: QtBot, client: WorkerClient, way: str) -> Any:
    """The end of one predict request."""
    prediction = Prediction(client, way)  # its arrays have to live for as long as the request
    return end_of(qtbot, prediction.call)


def test_the_reader_reads_headers_and_pyramids_and_refuses_in_one_sentence(
    qtbot: QtBot, reader: WorkerClient, picture: Path, tmp_path: Path
) -> None:
    header = end_of(qtbot, reader.request("header", path=str(picture), page=0))
    assert (header["width"], header["height"]) == (60, 40)
    out = MappedArray.create((60 * 40 * 4,), np.uint8)
    values = end_of(
        qtbot, reader.request("levels", path=str(picture), page=0, out=out.descriptor(), range=None)
    )
    assert values["sizes"] == [[60, 40]]
    assert out.array.reshape(40, 60, 4)[5, 45].tolist() == [20, 10, 250, 255]
    small = end_of(qtbot, reader.request("thumbnail", path=str(picture), size=30, out=out.descriptor()))
    assert (small["width"], small["height"]) == (30, 20)
    rgb = end_of(qtbot, reader.request("rgb", path=str(picture), page=0, out=out.descriptor(), view=None))
    assert (rgb["width"], rgb["height"]) == (60, 40)
    assert out.array[: 60 * 40 * 3].reshape(40, 60, 3)[5, 45].tolist() == [250, 10, 20]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n no more")
    error = end_of(qtbot, reader.request("header", path=str(broken), page=0))
    assert isinstance(error, UserError)
    assert "\n" not in str(error)


def test_the_reader_counts_a_confusion_matrix(qtbot: QtBot, reader: WorkerClient) -> None:
    truth, prediction = MappedArray.create((4, 4), np.uint8), MappedArray.create((4, 4), np.uint8)
    truth.array[...] = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2], [255, 255, 255, 255]]
    prediction.array[...] = [[0, 1, 1, 1], [0, 0, 1, 0], [2, 2, 2, 0], [0, 1, 2, 0]]
    values = end_of(
        qtbot,
        reader.request(
            "confusion",
            truth=truth.descriptor(),
            prediction=prediction.descriptor(),
            num_classes=3,
            ignore=255,
        ),
    )
    assert values["confusion"] == [[3, 1, 0, 0], [1, 3, 0, 0], [1, 0, 3, 0]]


def test_the_reader_counts_what_is_predicted_as_no_class_as_missed(
    qtbot: QtBot, reader: WorkerClient
) -> None:
    truth, prediction = MappedArray.create((2, 4), np.uint8), MappedArray.create((2, 4), np.uint8)
    truth.array[...] = [[0, 0, 1, 1], [0, 255, 255, 1]]
    prediction.array[...] = [[0, 255, 1, 9], [0, 255, 9, 1]]
    values = end_of(
        qtbot,
        reader.request(
            "confusion", truth=truth.descriptor(), prediction=prediction.descriptor(), num_classes=2
        ),
    )
    assert values["confusion"] == [[2, 0, 1], [0, 2, 1]]


def test_an_operation_nobody_knows_is_one_error(qtbot: QtBot, reader: WorkerClient) -> None:
    error = end_of(qtbot, reader.request("nonsense"))
    assert "nonsense" in str(error)


def test_a_good_plugin_fills_the_window_s_arrays_whatever_it_prints(
    qtbot: QtBot, worker: WorkerClient
) -> None:
    before = set(sys.modules)
    good = Prediction(worker, "good")
    values = end_of(qtbot, good.call)
    assert isinstance(values, dict), values
    assert good.labels.array[:, :15].max() == 0
    assert good.labels.array[:, 15:].min() == 1
    assert np.unique(good.confidence.array).tolist() == [191]
    assert [entry["name"] for entry in values["classes"]] == ["Class 0", "Class 1"]
    brought = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not brought & {"torch", "good"}, "an answer of the worker must not import anything here"


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("raise", "no such thing"),
        ("leave", "SystemExit"),
        ("shape", "label map"),
        ("negative", "class indices"),
        ("memory", "memory"),
    ],
)
def test_a_plugin_that_raises_costs_one_error(
    qtbot: QtBot, worker: WorkerClient, way: str, said: str
) -> None:
    error = outcome(qtbot, worker, way)
    assert isinstance(error, UserError)
    assert said in str(error)
    assert isinstance(outcome(qtbot, worker, "good"), dict)


@pytest.mark.parametrize(("way", "said"), [("exit", "exit code 3"), ("segfault", "segmentation fault")])
def test_a_plugin_that_kills_the_process_costs_one_error_and_others_run_again(
    qtbot: QtBot, worker: WorkerClient, way: str, said: str
) -> None:
    bad, others = Prediction(worker, way), [Prediction(worker, "good") for _ in range(3)]
    answers: list[Any] = []
    for other in others:
        other.call.finished.connect(answers.append)
    with qtbot.waitSignal(worker.crashed, timeout=SECONDS):
        error = end_of(qtbot, bad.call)
    assert isinstance(error, UserError)
    assert said in str(error)
    assert f"hostile/{way}" in str(error)
    qtbot.waitUntil(lambda: len(answers) == 3, timeout=SECONDS)
    assert worker.state in ("ready", "busy")


def test_a_model_that_killed_the_process_three_times_is_switched_off_until_asked(
    qtbot: QtBot, worker: WorkerClient
) -> None:
    switched_off: list[str] = []
    worker.switched_off.connect(switched_off.append)
    for _ in range(3):
        assert "exit code 3" in str(outcome(qtbot, worker, "exit"))
    assert switched_off == ["hostile/exit"] == list(worker.switched_off_models)
    assert "switched off" in str(outcome(qtbot, worker, "exit"))
    assert isinstance(outcome(qtbot, worker, "good"), dict)
    worker.switch_on("hostile/exit")
    assert "exit code 3" in str(outcome(qtbot, worker, "exit"))


def test_an_endless_plugin_ends_by_force_and_the_request_behind_it_runs(
    qtbot: QtBot, worker: WorkerClient
) -> None:
    endless, behind = Prediction(worker, "loop"), Prediction(worker, "good")
    with qtbot.waitSignal(endless.call.started, timeout=SECONDS):
        pass
    endless.call.cancel()
    assert endless.call.cancelling
    endless.call.force_stop()
    assert end_of(qtbot, endless.call) is None
    assert isinstance(end_of(qtbot, behind.call), dict)
    assert worker.switched_off_models == ()


def test_cancel_reaches_a_plugin_that_asks_for_it(qtbot: QtBot, worker: WorkerClient) -> None:
    waiting = Prediction(worker, "wait")
    with qtbot.waitSignal(waiting.call.started, timeout=SECONDS):
        pass
    waiting.call.cancel()
    assert end_of(qtbot, waiting.call) is None


def test_queued_requests_are_cancelled_at_once_and_urgent_ones_go_first(
    qtbot: QtBot, worker: WorkerClient
) -> None:
    waiting = Prediction(worker, "wait")
    with qtbot.waitSignal(waiting.call.started, timeout=SECONDS):
        pass
    order: list[str] = []
    calls = {}
    for name, priority in (("a", 0), ("b", 0), ("urgent", 5), ("c", 0)):
        calls[name] = Prediction(worker, "good", priority=priority)
        calls[name].call.finished.connect(lambda _values, name=name: order.append(name))
    calls["b"].call.cancel()
    assert end_of(qtbot, calls["b"].call) is None
    waiting.call.cancel()
    qtbot.waitUntil(lambda: len(order) == 3, timeout=SECONDS)
    assert order == ["urgent", "a", "c"]


def test_the_heart_beats_while_a_plugin_works(qtbot: QtBot, worker: WorkerClient) -> None:
    waiting = Prediction(worker, "wait")
    with qtbot.waitSignal(waiting.call.started, timeout=SECONDS):
        pass
    with qtbot.waitSignal(worker.heard, timeout=SECONDS) as heard:
        pass
    assert heard.args[0]["running"] == [waiting.call.number]
    assert worker.memory > 0


def test_closing_does_not_wait_for_endless_work(qtbot: QtBot, worker: WorkerClient) -> None:
    endless = Prediction(worker, "loop")
    with qtbot.waitSignal(endless.call.started, timeout=SECONDS):
        pass
    ends: list[str] = []
    endless.call.cancelled.connect(lambda: ends.append("cancelled"))
    worker.close()
    assert ends == ["cancelled"]
    assert worker.state == "stopped"


def test_a_program_that_cannot_start_fails_its_requests_with_a_sentence(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segstudio.runtime import worker_client

    monkeypatch.setattr(
        worker_client, "program_command", lambda *_: [sys.executable, "-c", "raise SystemExit(9)"]
    )
    client = WorkerClient(reader=True)
    error = end_of(qtbot, client.request("header", path="x"))
    assert "cannot start" in str(error)
    assert client.state == "failed"
    client.close()
