from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.core.settings import Settings, config_folder


def test_an_error_reads_as_one_sentence_and_survives_json_and_pickle():
    error = UserError("The file is empty", where="(a\udcff.png)", action="Copy it again.", details="0 bytes")
    assert str(error) == "The file is empty (a?.png). Copy it again."
    for copy in (UserError.from_json(error.to_json()), pickle.loads(pickle.dumps(error))):
        assert copy.to_json() == error.to_json()
    assert str(UserError("Nothing was done.")) == "Nothing was done."


def test_replacing_keeps_the_old_file_when_writing_fails(tmp_path: Path):
    target = tmp_path / "a.txt"
    atomic_file.write_bytes(target, b"old")
    with pytest.raises(RuntimeError, match="stopped"):
        with atomic_file.replacing(target) as temporary:
            temporary.write_bytes(b"half of the n")
            raise RuntimeError("stopped")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.txt"]


def test_replacing_takes_names_of_full_length(tmp_path: Path):
    target = tmp_path / ("n" * 251 + ".txt")
    atomic_file.write_bytes(target, b"new")
    assert target.read_bytes() == b"new"


def test_settings_come_back_and_wrong_types_count_as_absent():
    settings = Settings()
    settings.set("view.theme", "dark")
    settings.set("view.opacity", 0.5)
    settings.set("recent", ["/a", "/b"])
    settings.flush()
    again = Settings()
    assert again.get("view.theme", "light") == "dark"
    assert again.get("view.opacity", 1.0) == 0.5
    assert again.get("recent") == ["/a", "/b"]
    assert again.get("view.theme", 3) == 3
    assert again.get("view.none.deeper", "x") == "x"
    again.set("view.theme", None)
    again.flush()
    assert Settings().get("view.theme") is None


def test_broken_settings_are_kept_aside_and_told():
    (config_folder() / "settings.toml").write_text("theme = [[[", "utf-8")
    settings = Settings()
    assert settings.problem is not None
    assert "could not be read" in str(settings.problem)
    assert (config_folder() / "settings.broken.toml").read_text("utf-8") == "theme = [[["
    settings.set("view.theme", "dark")
    settings.flush()
    assert Settings().problem is None


def test_settings_are_written_by_a_thread_the_newest_last(monkeypatch: pytest.MonkeyPatch):
    """Nobody waits for the disk; what is outdated before its turn is left out; the last value stays."""
    free, written = threading.Event(), []
    write = atomic_file.write_bytes

    def slow(path: Path, data: bytes) -> None:
        assert free.wait(10)
        written.append((threading.get_ident(), data))
        write(path, data)

    monkeypatch.setattr(atomic_file, "write_bytes", slow)
    settings = Settings()
    for number in range(50):
        settings.set("view.number", number)
    assert settings.get("view.number") == 49 and not written
    free.set()
    settings.flush()
    assert Settings().get("view.number") == 49
    assert 1 <= len(written) <= 2 and threading.get_ident() not in {thread for thread, _ in written}


def test_settings_reach_the_disk_when_the_interpreter_ends_without_a_word(tmp_path: Path):
    code = "from segstudio.core.settings import Settings\nSettings().set('view.theme', 'light')\n"
    environment = {**os.environ, "SEGSTUDIO_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert Settings(tmp_path / "config" / "settings.toml").get("view.theme") == "light"


def test_a_process_that_is_killed_while_it_writes_leaves_the_old_settings_or_the_new(tmp_path: Path):
    path = tmp_path / "config" / "settings.toml"
    code = (
        "from segstudio.core.settings import Settings\n"
        "settings = Settings()\n"
        "for number in range(10**9):\n"
        "    settings.set('view.text', [str(number) * 1000, number])\n"
        "    if number % 20 == 0: settings.flush(); print(number, flush=True)\n"
    )
    environment = {**os.environ, "SEGSTUDIO_HOME": str(tmp_path)}
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(3)]
        process.kill()
        told += [int(line) for line in process.stdout.read().split()]
        process.wait(60)
        process.stdout.close()
        text, number = Settings(path).get("view.text")
        assert text == str(number) * 1000 and number >= told[-1]


def test_settings_that_cannot_be_written_are_told(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    told: list[UserError] = []
    settings = Settings(tmp_path / "file" / "settings.toml", on_problem=told.append)
    settings.set("view.theme", "dark")
    settings.flush()
    assert [str(error).startswith("The settings could not be saved") for error in told] == [True]
    assert settings.get("view.theme") == "dark"
