from __future__ import annotations

import pickle
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
    again = Settings()
    assert again.get("view.theme", "light") == "dark"
    assert again.get("view.opacity", 1.0) == 0.5
    assert again.get("recent") == ["/a", "/b"]
    assert again.get("view.theme", 3) == 3
    assert again.get("view.none.deeper", "x") == "x"
    again.set("view.theme", None)
    assert Settings().get("view.theme") is None


def test_broken_settings_are_kept_aside_and_told():
    (config_folder() / "settings.toml").write_text("theme = [[[", "utf-8")
    settings = Settings()
    assert settings.problem is not None
    assert "could not be read" in str(settings.problem)
    assert (config_folder() / "settings.broken.toml").read_text("utf-8") == "theme = [[["
    settings.set("view.theme", "dark")
    assert Settings().problem is None
