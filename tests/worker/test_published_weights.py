"""Published weights in the window's hands: real https, real processes, a network that runs in the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from segstudio.core import plugin_sources
from segstudio.core.downloaded_weights import checkpoint_folder
from segstudio.core.settings import Settings
from segstudio.core.weights_facts import read_facts
from segstudio.runtime import model_shelf
from segstudio.runtime.jobs import JobQueue
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.published_weights import Offer, PublishedWeights
from segstudio.runtime.worker_client import WorkerClient
from tests.worker.https_server import HttpsServer, https_server, published_plugin

SECONDS = 120_000


class Bench:
    """A shelf over one plugin with checkpoints at a server, a worker, and the list of what is published."""

    def __init__(self, server: HttpsServer, plugin: Path) -> None:
        self.server = server
        self.shelf = ModelShelf(plugin_files=[plugin], settings=Settings())
        self.worker = WorkerClient(plugin_files=[plugin])
        self.jobs = JobQueue()
        self.weights = PublishedWeights(self.shelf, self.worker, self.jobs)

    def offer(self, name: str) -> Offer:
        found = self.weights.find("tiny/plain", name)
        assert found is not None
        return found

    def kind(self, name: str) -> str:
        return self.weights.standing(self.offer(name)).kind

    def close(self) -> None:
        self.weights.close()
        self.worker.close()
        self.shelf.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpsServer]:
    with https_server(monkeypatch) as made:
        yield made


@pytest.fixture
def bench(
    qtbot: QtBot, server: HttpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(
        model_shelf,
        "find_sources",
        lambda files: tuple(plugin_sources.file_source(file, "file") for file in files),
    )
    made = Bench(server, published_plugin(tmp_path, server))
    made.shelf.refresh()
    qtbot.waitUntil(lambda: bool(made.shelf.specs), timeout=SECONDS)
    yield made
    made.close()


def test_a_fetched_network_can_be_run_at_once_and_keeps_a_copy_that_knows_its_classes(
    qtbot: QtBot, bench: Bench
) -> None:
    assert bench.kind("good") == "absent"
    seen: list[tuple[str, float | None]] = []

    def note(key: str) -> None:
        standing = bench.weights.standing(bench.offer("good"))
        seen.append((standing.kind, standing.fraction))

    bench.weights.standing_changed.connect(note)
    with qtbot.waitSignal(bench.weights.arrived, timeout=SECONDS) as arrived:
        job = bench.weights.fetch(bench.offer("good"))
    assert job is not None and job.state == "done"
    assert [kind for kind, _ in dict.fromkeys((kind, None) for kind, _ in seen)] == [
        "waiting",
        "fetching",
        "checking",
        "here",
    ]
    assert any(fraction is not None and 0 < fraction <= 1 for kind, fraction in seen if kind == "fetching")
    runnable = arrived.args[0]
    assert runnable.title == "Tiny plain · Pascal VOC 2012"
    assert (len(runnable.class_names), runnable.class_names[15]) == (21, "person")
    facts = read_facts(checkpoint_folder() / "good.safetensors")
    assert (facts.model, facts.num_classes, facts.classes[15].name) == ("tiny/plain", 21, "person")
    assert facts.preprocess is not None and facts.preprocess.mean == (127.5, 127.5, 127.5)
    with qtbot.waitSignal(bench.worker.request("model_info", model=runnable.ref).finished, timeout=SECONDS):
        pass
    bench.weights.remove(bench.offer("good"))
    assert bench.kind("good") == "absent"
    assert list(checkpoint_folder().iterdir()) == []


def test_a_cancelled_download_goes_on_where_it_stopped(
    qtbot: QtBot, bench: Bench, server: HttpsServer
) -> None:
    server.hold_after = 1_000_000
    job = bench.weights.fetch(bench.offer("good"))
    assert job is not None
    qtbot.waitUntil(lambda: (job.fraction or 0) > 0.2, timeout=SECONDS)
    assert "MB of" in job.text
    assert bench.weights.fetch(bench.offer("good")) is job, "a second press starts nothing new"
    job.cancel()
    qtbot.waitUntil(lambda: job.is_over, timeout=SECONDS)
    assert job.state == "cancelled"
    standing = bench.weights.standing(bench.offer("good"))
    assert standing.kind == "part" and standing.done >= 900_000
    server.hold_after = None
    with qtbot.waitSignal(bench.weights.arrived, timeout=SECONDS):
        again = bench.weights.fetch(bench.offer("good"))
    assert again is not None
    assert server.ranges == [None, f"bytes={standing.done}-"]


def test_a_killed_download_goes_on_by_itself_and_a_killed_window_s_the_next_time(
    qtbot: QtBot, bench: Bench, server: HttpsServer
) -> None:
    server.hold_after = 1_000_000
    job = bench.weights.fetch(bench.offer("good"))
    assert job is not None
    qtbot.waitUntil(lambda: (job.fraction or 0) > 0.2, timeout=SECONDS)
    bench.weights.close()  # what the end of the window does to its processes
    assert bench.kind("good") == "part"
    server.hold_after = None
    fresh = PublishedWeights(bench.shelf, bench.worker, bench.jobs)
    with qtbot.waitSignal(fresh.arrived, timeout=SECONDS):
        fresh.fetch(bench.offer("good"))
    assert server.ranges[-1] is not None and int(server.ranges[-1].strip("bytes=-")) >= 900_000
    fresh.close()


def test_a_wrong_file_and_a_missing_one_say_so_in_one_sentence_and_leave_nothing(
    qtbot: QtBot, bench: Bench, server: HttpsServer
) -> None:
    for name, words in (("wrong", "not the published file"), ("good", "404")):
        if name == "good":
            del server.files["good.pth"]
        job = bench.weights.fetch(bench.offer(name))
        assert job is not None
        qtbot.waitUntil(lambda job=job: job.is_over, timeout=SECONDS)
        standing = bench.weights.standing(bench.offer(name))
        assert standing.kind == "failed" and standing.error is not None and words in str(standing.error)
        assert "\n" not in str(standing.error)
    assert list(checkpoint_folder().iterdir()) == []
    assert [model for model in bench.shelf.runnable if model.origin == "checkpoint"] == []


def test_weights_of_another_network_are_told_apart_after_the_download(qtbot: QtBot, bench: Bench) -> None:
    job = bench.weights.fetch(bench.offer("other"))
    assert job is not None
    qtbot.waitUntil(lambda: job.is_over, timeout=SECONDS)
    assert job.state == "failed" and "does not fit Tiny plain" in str(job.error)
    assert not (checkpoint_folder() / "other.safetensors").exists()


def test_without_a_connection_the_way_by_hand_is_told_and_works(
    qtbot: QtBot, bench: Bench, server: HttpsServer
) -> None:
    content = server.files["good.pth"]
    server.shutdown()
    server.server_close()
    job = bench.weights.fetch(bench.offer("good"))
    assert job is not None
    qtbot.waitUntil(lambda: job.is_over, timeout=SECONDS)
    path = checkpoint_folder() / "good.pth"
    words = str(bench.weights.standing(bench.offer("good")).error)
    assert "no connection" in words and str(path) in words and server.address("good.pth") in words
    path.write_bytes(content)
    bench.weights.refresh()
    assert bench.kind("good") == "checking", "nobody compared it with its checksum yet"
    qtbot.waitUntil(lambda: bench.kind("good") == "here", timeout=SECONDS)
    assert bench.weights.runnable(bench.offer("good")).class_names[0] == "background"
    assert read_facts(checkpoint_folder() / "good.safetensors").model == "tiny/plain"


def test_a_wrong_file_put_there_by_hand_is_told_apart_kept_and_not_offered(
    qtbot: QtBot, bench: Bench, server: HttpsServer
) -> None:
    path = checkpoint_folder() / "wrong.pth"
    path.write_bytes(server.files["wrong.pth"])
    bench.weights.refresh()
    qtbot.waitUntil(lambda: bench.kind("wrong") == "failed", timeout=SECONDS)
    words = str(bench.weights.standing(bench.offer("wrong")).error)
    assert "not the published checkpoint" in words and str(path) in words and "Remove it" in words
    assert path.read_bytes() == server.files["wrong.pth"] and not path.with_suffix(".safetensors").exists()
    qtbot.waitUntil(lambda: bench.weights.runnable(bench.offer("wrong")) is None, timeout=SECONDS)
    again = PublishedWeights(bench.shelf, bench.worker, bench.jobs)
    assert again.standing(bench.offer("wrong")).kind == "failed", "known from the last time"
    again.close()
    path.write_bytes(path.read_bytes()[:-1] + server.files["good.pth"][-1:])  # the right one in its place
    bench.weights.refresh()
    qtbot.waitUntil(lambda: bench.kind("wrong") == "here", timeout=SECONDS)


def test_compare_takes_a_file_put_there_by_hand_only_after_its_check(
    qtbot: QtBot, bench: Bench, server: HttpsServer
) -> None:
    for name in ("good", "wrong"):
        (checkpoint_folder() / f"{name}.pth").write_bytes(server.files[f"{name}.pth"])
    bench.shelf.weights_changed()
    keys = {"tiny/plain@good", "tiny/plain@wrong"}
    qtbot.waitUntil(lambda: keys <= {model.key for model in bench.shelf.runnable}, timeout=SECONDS)
    offered = {model.key: model for model in bench.shelf.runnable}
    call = bench.worker.request("model_info", model=offered["tiny/plain@wrong"].ref)
    with qtbot.waitSignal(call.failed, timeout=SECONDS) as failed:
        pass
    assert "not the published checkpoint" in str(failed.args[0])
    call = bench.worker.request("model_info", model=offered["tiny/plain@good"].ref)
    with qtbot.waitSignal(call.finished, timeout=SECONDS):
        pass
    assert read_facts(checkpoint_folder() / "good.safetensors").num_classes == 21
    assert not (checkpoint_folder() / "wrong.safetensors").exists()


def test_the_process_for_downloads_ends_when_there_is_nothing_to_fetch(qtbot: QtBot, bench: Bench) -> None:
    job = bench.weights.fetch(bench.offer("wrong"))
    assert job is not None
    client = bench.weights._client
    assert client is not None
    qtbot.waitUntil(lambda: client.state == "busy", timeout=SECONDS)
    process = client._process
    assert process is not None
    os.kill(process.processId(), signal.SIGKILL)  # once: the download is taken up again, or is told to fail
    qtbot.waitUntil(lambda: job.is_over and bench.weights._client is None, timeout=SECONDS)
    assert job.state == "failed"
    assert client.state == "stopped"


def test_a_server_nobody_vouches_for_is_not_believed(
    qtbot: QtBot, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")  # its certificate is known to nobody now
    job = bench.weights.fetch(bench.offer("good"))
    assert job is not None
    qtbot.waitUntil(lambda: job.is_over, timeout=SECONDS)
    assert "its certificate is not trusted" in str(job.error)
    assert list(checkpoint_folder().iterdir()) == []
