from __future__ import annotations

import contextlib
import io
import json
import shutil
import sqlite3
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segstudio import cli
from segstudio.core import palette_png
from segstudio.core.label_exchange import ImageMatcher
from segstudio.core.project import Project
from segstudio.core.records import ImageRecord


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))


def project(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs the command line in this process, as `python -m segstudio project ...` would."""
    out, err = io.StringIO(), io.StringIO()
    words = ["project", *map(str, arguments)]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(words)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "set"
    (path / "images").mkdir(parents=True)
    (path / "labels").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (30, 40, 3)).astype(np.uint8)).save(
            path / "images" / f"{name}.jpg"
        )
        labels = np.full((30, 40), 255, np.uint8)
        labels[5:20, 5:30] = 1
        labels[10:12, 10:12] = 0
        palette_png.write(path / "labels" / f"{name}.png", labels)
    return path


def test_a_project_is_made_filled_copied_out_and_checked(folder: Path, tmp_path: Path):
    (tmp_path / "names.txt").write_text("sky\nroad\n", "utf-8")
    made = project("new", folder, "--classes", tmp_path / "names.txt", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["images"] == 2 and json.loads(made.stdout)["classes"] == 2
    assert "labels: a folder of label pictures beside the images" in made.stderr
    filled = project("import", folder, "--from", folder / "labels", "--json")
    assert filled.returncode == 0, filled.stderr
    assert json.loads(filled.stdout) == {"done": 2, "unchanged": 0, "added": [], "notes": []}
    again = project("import", folder, "--from", folder / "labels", "--json")
    assert json.loads(again.stdout)["unchanged"] == 2
    for name in ("labelme", "coco", "cvat", "labelstudio", "tiff"):
        out = project("export", folder, "--format", name, "--to", tmp_path / name)
        assert out.returncode == 0, out.stderr
        other = tmp_path / f"again_{name}"
        (other / "images").mkdir(parents=True)
        for file in (folder / "images").iterdir():
            (other / "images" / file.name).write_bytes(file.read_bytes())
        project("new", other, "--classes", tmp_path / "names.txt")
        back = project("import", other, "--format", name, "--from", tmp_path / name)
        assert back.returncode == 0, back.stderr
        opened = Project.open(other)
        for image in opened.images():
            stem = Path(image.path).stem
            expected, _ = palette_png.read(folder / "labels" / f"{stem}.png")
            assert np.array_equal(opened.load_labels(image.id).array, expected), name
        opened.close()
    checked = project("check", folder)
    assert checked.returncode == 0 and "no damage" in checked.stdout


def test_an_archive_is_imported_like_the_folder_in_it(folder: Path, tmp_path: Path):
    packed = shutil.make_archive(str(tmp_path / "labels"), "zip", folder / "labels")
    filled = project("import", folder, "--from", packed, "--json")
    assert json.loads(filled.stdout)["done"] == 2, filled.stderr


def test_values_can_be_mapped_on_the_way_in(folder: Path):
    filled = project(
        "import", folder, "--from", folder / "labels", "--map", "0=-1", "--map", "255=4", "--json"
    )
    assert json.loads(filled.stdout)["added"] == ["class 1", "class 4"]
    opened = Project.open(folder)
    assert opened.class_pixels(1) == {1: 371, 4: 825}
    opened.close()
    wrong = project("import", folder, "--from", folder / "labels", "--map", "x=y")
    assert wrong.returncode == 2 and "VALUE=CLASS" in wrong.stderr


def test_check_names_the_damaged_tile_of_an_image_and_repairs_it(folder: Path):
    project("new", folder)
    project("import", folder, "--from", folder / "labels")
    connection = sqlite3.connect(folder / ".segstudio" / "project.db")
    connection.execute("UPDATE tiles SET data = substr(data, 1, length(data) - 1) WHERE image = 2")
    connection.commit()
    connection.close()
    checked = project("check", folder, "--json")
    assert checked.returncode == 1
    assert json.loads(checked.stdout)["damages"][0]["image"] == "images/b.jpg"
    assert "images/b.jpg: tile (0, 0)" in checked.stderr
    assert project("check", folder, "--repair").returncode == 0
    assert project("check", folder).returncode == 0


def test_new_classes_of_an_import_join_the_project_and_are_told(folder: Path):
    filled = project("import", folder, "--from", folder / "labels", "--json")
    assert filled.returncode == 1
    assert json.loads(filled.stdout)["added"] == ["class 0", "class 1"]
    opened = Project.open(folder)
    assert [entry.id for entry in opened.classes] == [0, 1]
    opened.close()


def test_wrong_words_are_one_sentence_and_code_2(folder: Path, tmp_path: Path):
    for arguments, sentence in (
        (("check", tmp_path), "There is no project"),
        (("new", tmp_path / "none"), "There is no folder"),
        (("import", folder), "--from"),
        (("import", folder, "--from", folder / "labels", "--format", "psd"), "Known are png, labelme"),
        (("import", folder, "--from", tmp_path / "nothing"), "no label picture"),
    ):
        done = project(*arguments)
        assert done.returncode == 2 and done.stdout == "", arguments
        assert sentence in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_project_that_is_open_elsewhere_is_not_changed(folder: Path):
    opened = Project.open(folder)
    done = project("import", folder, "--from", folder / "labels")
    opened.close()
    assert done.returncode == 2 and "has this project open" in done.stderr


def test_names_find_their_image_by_path_end_or_stem():
    paths = ["x/a.jpg", "y/a.jpg", "y/b.png", "c.tif"]
    matcher = ImageMatcher(
        [ImageRecord(number, path, "none", None, None, "", "") for number, path in enumerate(paths)]
    )
    found = {name: matcher.find(name) for name in ("x/a.jpg", "deep/x/a.png", "a.jpg", "B.PNG", "c", "d.jpg")}
    numbers = {name: None if record is None else record.id for name, record in found.items()}
    assert numbers == {"x/a.jpg": 0, "deep/x/a.png": 0, "a.jpg": None, "B.PNG": 2, "c": 3, "d.jpg": None}
