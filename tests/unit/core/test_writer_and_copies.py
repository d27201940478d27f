from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segstudio.core import palette_png
from segstudio.core.errors import UserError
from segstudio.core.label_copies import copy_names
from segstudio.core.project import Project
from segstudio.core.writer import ProjectWriter
from tests.unit.core.conftest import CLASSES
from tests.unit.core.test_project import first, stroke


def test_names_drop_the_suffix_unless_two_would_clash():
    images = ["a.jpg", "a.png", "b.tif", "sub/A.jpg", "B.jpg", "c.jpg"]
    names = copy_names(enumerate(images))
    expected = ["a.jpg.png", "a.png.png", "b.tif.png", "sub/A.png", "B.jpg.png", "c.png"]
    assert [names[number] for number in range(6)] == expected


def test_a_name_with_suffix_never_meets_another_image():
    names = copy_names(enumerate(["a.jpg", "a.png", "a.jpg.tif"]))
    assert names == {0: "a.jpg~0.png", 1: "a.png.png", 2: "a.jpg.png"}


def test_names_of_full_length_are_cut():
    names = copy_names([(7, "x" * 251 + ".jpg"), (8, "x" * 251 + ".png")])
    assert len(set(names.values())) == 2
    assert all(len(os.fsencode(name)) <= 255 for name in names.values())


def test_a_copy_holds_the_labels_with_the_projects_colours(project: Project):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 100, 100), 5)
    path = project.export_copy(image_id)
    assert path == project.home / "labels" / "a2.png"
    with Image.open(path) as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), project.load_labels(image_id).array)
        assert tuple(image.getpalette()[15:18]) == CLASSES[2].color


def test_a_copy_that_another_program_changed_is_kept_and_offered(project: Project):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 100, 100), 5)
    path = project.export_copy(image_id)
    assert path is not None and project.changed_copies() == []
    theirs = np.zeros((400, 600), np.uint8)
    palette_png.write(path, theirs)
    assert project.changed_copies() == [(image_id, path)]
    stroke(project, image_id, (0, 0, 50, 50), 1)
    assert project.export_copy(image_id) is None
    assert np.array_equal(palette_png.read(path)[0], theirs)
    project.import_labels(image_id, palette_png.read(path)[0])
    assert project.export_copy(image_id, overwrite=True) == path
    assert project.changed_copies() == [] and project.stale_copies() == []
    project.undo(image_id)
    assert project.class_pixels(image_id) == {1: 2500, 5: 7500}


def test_a_picture_that_lies_there_already_is_not_overwritten(project: Project):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 100, 100), 5)
    path = project.copy_path(image_id)
    path.parent.mkdir()
    palette_png.write(path, np.zeros((3, 3), np.uint8))
    assert project.export_copy(image_id) is None
    assert palette_png.read(path)[0].shape == (3, 3)


def test_a_copy_moves_when_a_second_image_takes_its_name(project: Project, folder: Path):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 100, 100), 5)
    old = project.export_copy(image_id)
    (folder / "a2.jpg").touch()
    project.scan()
    new = project.export_copy(image_id)
    assert old is not None and new is not None
    assert (old.name, new.name) == ("a2.png", "a2.png.png")
    assert new.exists() and not old.exists()


def test_the_writer_works_in_order_and_hands_errors_to_the_future(project: Project):
    writer = ProjectWriter(project)
    seen: list[int] = []
    futures = [writer.submit(seen.append, number) for number in range(50)]
    failing = writer.submit(project.set_status, 1, "no such status")
    with pytest.raises(ValueError, match="none of"):
        failing.result(10)
    futures[-1].result(10)
    assert seen == list(range(50))
    writer.close()
    with pytest.raises(RuntimeError, match="closed"):
        writer.submit(seen.append, 1)


def test_copies_follow_within_two_seconds_also_under_steady_work(project: Project):
    image_id = first(project)
    writer = ProjectWriter(project)
    path = project.copy_path(image_id)
    writer.submit(stroke, project, image_id, (0, 0, 50, 50), 1).result(10)
    started = time.monotonic()
    while not path.exists() and time.monotonic() - started < 10:
        writer.submit(lambda: None).result(10)  # never idle
    assert time.monotonic() - started < 2
    writer.submit(stroke, project, image_id, (0, 0, 60, 60), 0).result(10)
    writer.flush()
    assert np.array_equal(palette_png.read(path)[0], project.load_labels(image_id).array)
    assert project.stale_copies() == []
    writer.close()


def test_copies_that_were_due_at_a_crash_are_written_at_the_next_start(project: Project):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 50, 50), 1)
    assert project.stale_copies() == [image_id]
    writer = ProjectWriter(project)
    writer.close()
    assert project.stale_copies() == []


def test_a_copy_that_cannot_be_written_is_reported(project: Project):
    image_id = first(project)
    (project.home / "labels").write_text("in the way", "utf-8")
    problems: list[UserError] = []
    writer = ProjectWriter(project, problems.append)
    writer.submit(stroke, project, image_id, (0, 0, 50, 50), 1).result(10)
    writer.close()
    assert "could not be written" in str(problems[0])
    assert project.class_pixels(image_id) == {1: 2500}
