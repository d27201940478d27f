"""Exports: first aside, then in one go; nothing of the project is ever replaced."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segstudio.core import palette_png
from segstudio.core.errors import UserError
from segstudio.core.formats import find_format
from segstudio.core.label_export import deliver, export_labels, look_at_delivery, stage_labels
from segstudio.core.project import Project
from segstudio.core.records import LabelClass
from segstudio.core.staging import make_staging, staging_path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Three pictures; "a" and "b" have labels, one with a hole and one plain."""
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    folder = tmp_path / "set"
    folder.mkdir()
    for name in "abc":
        Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(folder / f"{name}.png")
    project = Project.open(folder)
    project.scan()
    project.set_classes([LabelClass(0, "sky", (10, 20, 30)), LabelClass(1, "road", (40, 50, 60))])
    for record in project.images()[:2]:
        project.set_size(record.id, 40, 30)
        labels = np.full((30, 40), 255, np.uint8)
        labels[5:25, 5:30] = 1
        labels[10:14, 10:14] = 255 if record.path == "a.png" else 0
        project.import_labels(record.id, labels)
    yield project
    project.close()


def staging(target: Path) -> Path:
    path = staging_path(target)
    make_staging(path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_only_images_with_labels_are_written_unless_all_are_asked_for(project: Project, tmp_path: Path):
    entry = find_format("png")
    assert export_labels(project, tmp_path / "some", entry).done == 2
    assert names(tmp_path / "some") == ["a.png", "b.png", "classes.txt"]
    assert export_labels(project, tmp_path / "all", entry, unlabelled=True).done == 3
    empty, _palette = palette_png.read(tmp_path / "all" / "c.png")
    assert empty.shape == (30, 40) and (empty == 255).all()


def test_chosen_images_alone_are_written(project: Project, tmp_path: Path):
    second = project.images()[1]
    report = export_labels(project, tmp_path / "out", find_format("npy"), images={second.id})
    assert report.done == 1
    assert names(tmp_path / "out") == ["b.npy", "classes.txt"]


def test_pictures_of_the_project_are_never_replaced(project: Project):
    before = {path: path.read_bytes() for path in project.folder.glob("*.png")}
    with pytest.raises(UserError, match=r"would replace the picture a\.png"):
        export_labels(project, project.folder, find_format("png"))
    assert {path: path.read_bytes() for path in project.folder.glob("*.png")} == before
    assert names(project.folder / ".segstudio") == names(project.home)
    assert not list(project.folder.glob(".segstudio-export-*"))


def test_label_pictures_do_not_land_where_pictures_are_looked_for(project: Project):
    with pytest.raises(UserError, match="taken for pictures to label"):
        export_labels(project, project.folder / "out", find_format("png"))
    assert not (project.folder / "out").exists()
    assert export_labels(project, project.folder / "out", find_format("coco")).done == 2
    assert names(project.folder / "out") == ["annotations.json"]


def test_what_a_format_cannot_hold_is_told_before_anything_is_written(project: Project, tmp_path: Path):
    target = tmp_path / "cityscapes"
    aside = staging(target)
    report = stage_labels(project, aside, find_format("cityscapes"))
    assert report.done == 2 and not report.notes, "sky and road are classes of Cityscapes"
    project.set_classes([*project.classes[:1], LabelClass(1, "lawn mower", (1, 2, 3))])
    aside = staging(target)
    report = stage_labels(project, aside, find_format("cityscapes"))
    assert [str(note) for note in report.notes] == [
        "lawn mower: Cityscapes has no such class: 968 px become unlabelled (images: 2)"
    ]
    assert not target.exists()


def test_a_delivery_says_what_it_replaces_and_moves_everything(project: Project, tmp_path: Path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "a.npy").write_bytes(b"old")
    aside = staging(target)
    stage_labels(project, aside, find_format("npy"))
    found = look_at_delivery(project, aside, target)
    assert (found.files, found.replaced) == (3, ("a.npy",))
    assert found.bytes == sum(path.stat().st_size for path in aside.iterdir())
    heard: list[int] = []
    assert deliver(aside, target, heard.append) == 3
    assert heard == [1, 2, 3]
    assert np.load(target / "a.npy").shape == (30, 40)
    assert names(aside) == []


def test_what_a_killed_export_left_is_swept_after_a_day(tmp_path: Path):
    old, fresh = staging(tmp_path / "out"), staging(tmp_path / "out")
    (old / "a.npy").write_bytes(b"half")
    os.utime(old, (1, 1))
    third = staging(tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == sorted([fresh, third])


def test_a_folder_that_cannot_be_written_is_one_sentence(project: Project, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="could not be written"):
        export_labels(project, tmp_path / "file", find_format("npy"))
    assert not list(tmp_path.glob(".segstudio-export-*"))
