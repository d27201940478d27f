"""Runs that need no labels: which images they take from a project or a folder, and which are held out."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from segstudio.core import new_run
from segstudio.core.errors import UserError
from segstudio.core.project import Project
from segstudio.core.recipe import PRETRAINING_BEGINS_WITH, Recipe, read_recipe

RECIPE = Recipe(model="any/way", classes=(), task="pretraining", crop=(32, 24), **PRETRAINING_BEGINS_WITH)


@pytest.fixture
def project(tmp_path: Path):
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    for index in range(10):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((20 + index, 30, 3), index, np.uint8))
    cv2.imwrite(str(folder / "sub" / "inner.png"), np.zeros((9, 8, 3), np.uint8))
    opened = Project.open(folder)
    opened.scan()
    yield opened
    opened.close()


def test_all_readable_images_of_a_project_are_taken_labelled_or_not(project, tmp_path):
    broken = project.images()[4]
    project.set_problem(broken.id, "It cannot be decoded.")
    project.set_size(project.images()[0].id, 30, 20)
    told = []
    run = new_run.create_pretraining_from_project(
        tmp_path / "run", RECIPE, project, tell=lambda fraction, text: told.append((fraction, text))
    )
    samples = run.samples()
    assert len(samples) == 10 and {sample.label for sample in samples} == {""}
    assert str(project.image_path(broken.id)) not in {sample.image for sample in samples}
    assert sum(sample.split == "val" for sample in samples) == 2
    assert told[-1][0] == 1 and len(told) == 10
    assert (samples[0].width, samples[0].height) == (30, 20)
    assert read_recipe(run.path / "run.toml") == RECIPE
    assert run.state()["state"] == "queued" and not list(run.labels.iterdir())


def test_a_persons_choice_of_validation_images_holds(project, tmp_path):
    chosen = project.images()[7]
    project.set_split(chosen.id, "val")
    run = new_run.create_pretraining_from_project(tmp_path / "run", RECIPE, project)
    held_out = [sample.image for sample in run.samples() if sample.split == "val"]
    assert held_out == [str(project.image_path(chosen.id))]
    for record in project.images():
        project.set_split(record.id, "val")
    with pytest.raises(UserError, match="no images to train on"):
        new_run.create_pretraining_from_project(tmp_path / "other", RECIPE, project)
    with pytest.raises(UserError, match="already a run"):
        project.set_split(chosen.id, "train")
        new_run.create_pretraining_from_project(tmp_path / "run", RECIPE, project)


def test_images_of_a_folder_are_held_out_by_their_names(project, tmp_path):
    images, held_out = new_run.images_in_folder(project.folder, 0.2)
    assert len(images) == 9 and len(held_out) == 2 and not set(images) & set(held_out)
    assert (images, held_out) == new_run.images_in_folder(project.folder, 0.2)
    assert new_run.images_in_folder(project.folder)[1] == []
    run = new_run.create_for_pretraining(tmp_path / "run", RECIPE, images, held_out)
    assert [(Path(s.image), s.split) for s in run.samples()] == [
        *((path, "train") for path in images),
        *((path, "val") for path in held_out),
    ]
    assert next(s for s in run.samples() if s.image.endswith("inner.png")).height == 9
    with pytest.raises(UserError, match="There are no images"):
        new_run.images_in_folder(run.path)


def test_shares_of_the_area_go_up_to_the_whole_picture(tmp_path):
    with pytest.raises(UserError, match="shares of the image of at most 1"):
        replace(RECIPE, scale=(0.5, 2.0)).checked()
    assert replace(RECIPE, scale=(0.5, 1.0)).checked()
