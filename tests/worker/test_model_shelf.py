"""Plugins are listed by short processes; a bad one costs a sentence, and nothing runs twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shiboken6
import torch
from pytestqt.qtbot import QtBot

from segstudio.core import plugin_sources
from segstudio.core.settings import Settings, cache_folder, plugin_folder
from segstudio.core.weights_facts import WeightsFacts
from segstudio.plugin_api import TaxonomyClass
from segstudio.runtime import model_shelf
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.worker.checkpoints import write_weights
from tests.worker.plugins_for_tests import TINY, write_plugin

SECONDS = 60_000
EXAMPLE = plugin_sources.PluginSource("segstudio_example", "package", "segstudio_example:PLUGIN", "example 1")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))


@pytest.fixture
def shelves() -> Iterator[list[ModelShelf]]:
    made: list[ModelShelf] = []
    yield made
    for shelf in made:
        shelf.close()


def found_in(
    qtbot: QtBot, shelves: list[ModelShelf], files: list[Path], settings: Settings | None = None
) -> ModelShelf:
    """A shelf that has listed these files."""
    shelf = ModelShelf(plugin_files=files, settings=settings or Settings())
    shelves.append(shelf)
    listed = listed_everything(qtbot, shelf)
    assert listed
    return shelf


def listed_everything(qtbot: QtBot, shelf: ModelShelf) -> bool:
    seen: list[bool] = []
    shelf.changed.connect(lambda: seen.append(shelf.is_listing))
    shelf.refresh()
    qtbot.waitUntil(lambda: bool(seen) and not shelf.is_listing, timeout=SECONDS)
    return True


@pytest.fixture
def only_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves installed plugins out: their listing is tried elsewhere and takes seconds."""

    def find(files: tuple[Path, ...]) -> tuple[plugin_sources.PluginSource, ...]:
        given = [plugin_sources.file_source(file, "file") for file in files]
        folder = [plugin_sources.file_source(file, "folder") for file in sorted(plugin_folder().glob("*.py"))]
        return (*given, *folder)

    monkeypatch.setattr(model_shelf, "find_sources", find)


@pytest.mark.usefixtures("only_files")
def test_a_listed_plugin_is_read_from_the_cache_until_it_changes(
    qtbot: QtBot, shelves: list[ModelShelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_plugin(tmp_path, "tiny", TINY)
    shelf = found_in(qtbot, shelves, [file])
    assert "tiny/plain" in [spec.id for spec in shelf.specs]
    cached = json.loads((cache_folder() / "plugins" / "tiny.json").read_bytes())
    assert cached["key"] == plugin_sources.file_digest(file.read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(ModelShelf, "_list", lambda *_: pytest.fail("a cached plugin was run"))
        assert found_in(qtbot, shelves, [file]).find("tiny/plain") is not None
    file.write_text(TINY.replace("Tiny networks", "Changed"))
    assert [plugin.title for plugin in found_in(qtbot, shelves, [file]).plugins] == ["Changed"]


@pytest.mark.usefixtures("only_files")
@pytest.mark.parametrize(
    "code",
    [
        "raise KeyError('x')",
        "import os; os._exit(4)",
        "import ctypes; ctypes.string_at(0)",
        "PLUGIN = 3",
        "x = [",
    ],
    ids=["raises", "exits", "segfaults", "is no plugin", "is no python"],
)
def test_a_bad_plugin_is_one_problem_and_the_others_are_listed(
    qtbot: QtBot, shelves: list[ModelShelf], tmp_path: Path, code: str
) -> None:
    good = write_plugin(tmp_path, "tiny", TINY)
    shelf = found_in(qtbot, shelves, [write_plugin(tmp_path, "bad", code), good])
    assert list(shelf.problems) == ["bad"]
    assert "\n" not in str(shelf.problems["bad"])
    assert shelf.find("tiny/plain") is not None


@pytest.mark.usefixtures("only_files")
def test_an_endless_plugin_is_stopped(
    qtbot: QtBot, shelves: list[ModelShelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_shelf, "LISTING_SECONDS", 2)
    monkeypatch.setattr(model_shelf, "PATIENT_SECONDS", 3)
    shelf = found_in(qtbot, shelves, [write_plugin(tmp_path, "endless", "while True: pass")])
    assert "within 3 seconds" in str(shelf.problems["endless"])


@pytest.mark.usefixtures("only_files")
def test_a_plugin_that_a_busy_computer_slows_down_gets_a_second_try(
    qtbot: QtBot, shelves: list[ModelShelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_shelf, "LISTING_SECONDS", 3)
    marker = tmp_path / "tried"
    slow = f"import os\nif not os.path.exists({str(marker)!r}):\n    open({str(marker)!r}, 'w').close()\n"
    shelf = found_in(qtbot, shelves, [write_plugin(tmp_path, "tiny", f"{slow}    while True: pass\n{TINY}")])
    assert marker.exists()
    assert not shelf.problems
    assert shelf.find("tiny/plain") is not None


@pytest.mark.usefixtures("only_files")
def test_a_file_in_the_plugin_folder_runs_only_after_consent_to_these_bytes(
    qtbot: QtBot, shelves: list[ModelShelf], tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    code = f"open({str(marker)!r}, 'w').close()\n" + TINY
    file = write_plugin(plugin_folder(), "tiny", code)
    asked: list[plugin_sources.PluginSource] = []
    shelf = ModelShelf(settings=Settings())
    shelves.append(shelf)
    shelf.consent_needed.connect(asked.append)
    listed_everything(qtbot, shelf)
    assert [source.name for source in asked] == ["tiny"]
    assert shelf.specs == () and not marker.exists()
    shelf.allow(asked[0])
    qtbot.waitUntil(lambda: bool(shelf.specs), timeout=SECONDS)
    assert marker.exists()
    file.write_text(code + "\n# changed\n")
    listed_everything(qtbot, shelf)
    assert [source.name for source in shelf.unapproved] == ["tiny"]


@pytest.mark.usefixtures("only_files")
def test_runs_and_opened_files_are_runnable_with_their_classes(
    qtbot: QtBot, shelves: list[ModelShelf], tmp_path: Path
) -> None:
    settings = Settings()
    shelf = found_in(qtbot, shelves, [write_plugin(tmp_path, "tiny", TINY)], settings)
    classes = (TaxonomyClass("sky", (1, 2, 3)), TaxonomyClass("sea", (4, 5, 6)))
    facts = WeightsFacts(model="tiny/plain", num_classes=2, options={"width": 4}, classes=classes)
    path = tmp_path / "runs" / "0001" / "checkpoints" / "best.safetensors"
    path.parent.mkdir(parents=True)
    write_weights(path, {"x": torch.zeros(1)}, facts)

    def of(shelf: ModelShelf, origin: str) -> list[RunnableModel]:
        return [model for model in shelf.runnable if model.origin == origin]

    shelf.set_run_folders([tmp_path / "runs"])
    qtbot.waitUntil(lambda: bool(of(shelf, "run")), timeout=SECONDS)
    (run,) = of(shelf, "run")
    assert run.class_names == ("sky", "sea")
    assert run.ref["weights"] == str(path)
    assert run.ref["options"] == {"width": 4}
    titles: list[str] = []
    shelf.add_file(
        path, run.ref, "By hand", then=lambda: titles.extend(model.title for model in of(shelf, "file"))
    )
    qtbot.waitUntil(lambda: titles == ["By hand"], timeout=SECONDS)
    settings.flush()
    again = found_in(qtbot, shelves, [tmp_path / "tiny.py"])
    assert [model.title for model in of(again, "file")] == ["By hand"]
    path.unlink()
    again.weights_changed()
    qtbot.waitUntil(lambda: of(again, "file") == [], timeout=SECONDS)


@pytest.mark.usefixtures("only_files")
def test_weights_that_come_while_the_shelf_looks_are_seen_by_one_more_look(
    qtbot: QtBot, shelves: list[ModelShelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are read in another thread than the window's; `then` comes when its weights are on the shelf."""
    shelf = found_in(qtbot, shelves, [write_plugin(tmp_path, "tiny", TINY)])
    seen, free, threads = threading.Event(), threading.Event(), []
    find = model_shelf.find_runnable

    def slow(*arguments: Any) -> list[RunnableModel]:
        found = list(find(*arguments))
        threads.append(threading.get_ident())
        seen.set()
        assert free.wait(SECONDS / 1000)
        return found

    monkeypatch.setattr(model_shelf, "find_runnable", slow)
    shelf.weights_changed()
    assert seen.wait(SECONDS / 1000)
    path = tmp_path / "net.safetensors"
    write_weights(path, {"x": torch.zeros(1)}, WeightsFacts(model="tiny/plain", num_classes=2))
    told: list[list[str]] = []
    ref = {"model": "tiny/plain", "weights": str(path), "num_classes": 2}
    for name in ("first", "second"):
        shelf.add_file(path, ref, name, then=lambda: told.append([model.title for model in shelf.runnable]))
    free.set()
    qtbot.waitUntil(lambda: len(told) == 2, timeout=SECONDS)
    assert all("second" in titles and "first" not in titles for titles in told)
    assert len(threads) == 2 and threading.get_ident() not in threads


def test_installed_plugins_are_found_without_importing_them() -> None:
    sources = {source.name: source for source in plugin_sources.find_sources()}
    assert {"segstudio_zoo", "segstudio_example", "segstudio_torchvision"} <= set(sources)
    assert sources["segstudio_example"].location == EXAMPLE.location
    again = {source.name: source for source in plugin_sources.find_sources()}
    assert again == sources


def test_installed_plugins_list_their_models(qtbot: QtBot, shelves: list[ModelShelf]) -> None:
    shelf = found_in(qtbot, shelves, [])
    assert shelf.problems == {}
    assert shelf.find("segstudio_example/grey-levels") is not None
    assert [model.key for model in shelf.runnable if model.origin == "plugin"] == [
        "segstudio_example/grey-levels"
    ]


def test_a_shelf_that_is_deleted_while_it_lists_ends_its_processes_in_silence(
    qtbot: QtBot, tmp_path: Path, only_files: None
) -> None:
    shelf = ModelShelf(plugin_files=[write_plugin(tmp_path, "tiny", TINY)], settings=Settings())
    shelf.refresh()
    qtbot.waitUntil(lambda: bool(shelf._listing), timeout=SECONDS)
    (process,) = shelf._listing.values()
    ended: list[int] = []
    process.stateChanged.connect(lambda _state: ended.append(1))
    with qtbot.captureExceptions() as errors:
        shiboken6.delete(shelf)
    assert not errors and not ended
