from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from segstudio.core.errors import UserError
from segstudio.core.project import Project
from segstudio.core.project_check import check_project
from tests.unit.core.test_project import first, stroke


def break_tile(project: Project, image_id: int, tx: int, ty: int, table: str = "tiles") -> None:
    column = "data" if table == "tiles" else "after"
    where = "image = ? AND" if table == "tiles" else "edit IN (SELECT id FROM edits WHERE image = ?) AND"
    connection = sqlite3.connect(project.database_path)
    rowid, data = connection.execute(
        f"SELECT rowid, {column} FROM {table} WHERE {where} tx = ? AND ty = ?", (image_id, tx, ty)
    ).fetchone()
    broken = bytearray(data)
    broken[len(broken) // 2] ^= 0x10
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (bytes(broken), rowid))
    connection.commit()
    connection.close()


def test_a_sound_project_has_no_damage(project: Project, folder: Path):
    image_id = first(project)
    stroke(project, image_id, (100, 100, 400, 300), 1)
    report = check_project(folder)
    assert report.sound and report.damages == ()
    assert (report.images, report.tiles, report.edits) == (3, 4, 1)


def test_a_damaged_tile_is_named_and_put_back_from_the_log(project: Project, folder: Path):
    image_id = first(project)
    stroke(project, image_id, (100, 100, 400, 300), 1)
    stroke(project, image_id, (150, 150, 420, 310), 0)
    project.undo(image_id)
    labels = project.load_labels(image_id).array
    break_tile(project, image_id, 1, 0)
    damages = check_project(folder).damages
    assert [(damage.image, damage.tile) for damage in damages] == [("a2.png", (1, 0))]
    assert "a2.png: tile (1, 0): the stored labels are damaged" in str(damages[0])
    report = check_project(folder, repair=True)
    assert report.sound and report.damages[0].repaired
    assert np.array_equal(project.load_labels(image_id).array, labels)
    assert check_project(folder).damages == ()


def test_a_damaged_step_of_the_history_is_named(project: Project, folder: Path):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 300, 300), 1)
    break_tile(project, image_id, 1, 1, "edit_tiles")
    report = check_project(folder)
    assert not report.sound
    assert [(damage.image, damage.tile) for damage in report.damages] == [("a2.png", (1, 1))]
    assert "step 1 of the history" in str(report.damages[0])


def content(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump())


def test_random_damage_is_noticed_wherever_it_changes_anything(project: Project, folder: Path):
    """64 bytes anywhere in the file; SQLite's own check misses most damage inside tiles."""
    image_id = first(project, 1500, 1200)
    rng = np.random.default_rng(1)
    for number in range(12):
        x, y = int(rng.integers(0, 1000)), int(rng.integers(0, 1000))
        labels = project.load_labels(image_id).array
        labels[y : y + 200, x : x + 300][rng.random(labels[y : y + 200, x : x + 300].shape) < 0.7] = 1
        project.import_labels(image_id, labels, f"noise {number}")
    project.close()
    path = folder / ".segstudio" / "project.db"
    sound, wanted = path.read_bytes(), content(path)
    noticed = 0
    for _ in range(60):
        at = int(rng.integers(0, len(sound) - 64))
        path.write_bytes(sound[:at] + rng.bytes(64) + sound[at + 64 :])
        try:
            damaged = bool(check_project(folder).damages)
        except UserError:
            damaged = True
        noticed += damaged
        assert damaged or content(path) == wanted, f"damage at byte {at} was not noticed"
    assert noticed > 40


def test_a_database_that_cannot_be_read_is_told_with_a_way_out(folder: Path, tmp_path: Path):
    Project.open(folder).close()
    (folder / ".segstudio" / "project.db").write_bytes(b"\0" * 8192)
    with pytest.raises(UserError, match=r"cannot be read at all .*backups"):
        check_project(folder)
    with pytest.raises(UserError, match="no project"):
        check_project(tmp_path)
