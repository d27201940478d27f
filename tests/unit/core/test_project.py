from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from segstudio.core import file_systems, migrations
from segstudio.core.edits import StrokeRecorder
from segstudio.core.errors import UserError
from segstudio.core.project import Project
from segstudio.core.records import UNLABELLED, LabelClass
from tests.unit.core.conftest import CLASSES


def stroke(project: Project, image_id: int, box: tuple[int, int, int, int], value: int) -> None:
    label_map = project.load_labels(image_id)
    recorder = StrokeRecorder(label_map)
    rect = recorder.touch(*box)
    assert rect is not None
    label_map.array[rect.y0 : rect.y1, rect.x0 : rect.x1] = value
    edit = recorder.finish("brush", value)
    assert edit is not None
    project.commit(image_id, edit)


def first(project: Project, width: int = 600, height: int = 400) -> int:
    image_id = project.images()[0].id
    project.set_size(image_id, width, height)
    return image_id


def test_a_scan_finds_images_in_natural_order_and_keeps_what_is_known(project: Project, folder: Path):
    assert [image.path for image in project.images()] == ["a2.png", "a10.jpg", "sub/b.tif"]
    project.set_status(project.images()[1].id, "done")
    project.set_split(project.images()[1].id, "val")
    (folder / "c.webp").touch()
    (folder / "a2.png").unlink()
    report = project.scan()
    assert report.added == ("c.webp",)
    assert report.missing == ("a2.png",)
    by_path = {image.path: image for image in project.images()}
    assert by_path["a10.jpg"].status == "done" and by_path["a10.jpg"].split == "val"
    assert "gone" in by_path["a2.png"].problem
    (folder / "a2.png").touch()
    assert project.scan().missing == ()
    assert project.image(by_path["a2.png"].id).problem == ""


def test_names_that_are_no_text_round_trip(project: Project, folder: Path):
    raw = os.fsencode(folder) + b"/bad\xff\xfe name.png"
    Path(os.fsdecode(raw)).touch()
    long_name = "\N{FROG FACE}" * 62 + ".png"
    (folder / long_name).touch()
    project.scan()
    paths = {image.path: image for image in project.images()}
    assert os.fsencode(project.image_path(paths["bad\udcff\udcfe name.png"].id)) == raw
    assert paths["bad\udcff\udcfe name.png"].display_name.isprintable()
    assert long_name in paths


def test_folders_of_masks_beside_images_are_told_and_links_in_circles_end(tmp_path: Path):
    for name in ("set/images/1.png", "set/labels/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "set" / "images" / "again").symlink_to(tmp_path / "set")
    project = Project.open(tmp_path / "set")
    report = project.scan()
    assert report.added == ("images/1.png",)
    assert {path for path, _ in report.skipped} == {"labels", "images/again"}
    project.close()


def test_labels_and_history_survive_closing(project: Project, folder: Path):
    image_id = first(project)
    stroke(project, image_id, (10, 10, 300, 300), 1)
    stroke(project, image_id, (200, 200, 500, 390), 5)
    labels = project.load_labels(image_id).array
    project.undo(image_id)
    undone = project.load_labels(image_id).array
    project.close()
    again = Project.open(folder)
    assert np.array_equal(again.load_labels(image_id).array, undone)
    assert [row.undone for row in again.history(image_id)] == [True, False]
    applied = again.redo(image_id)
    assert applied is not None and applied.label == "brush"
    assert np.array_equal(again.load_labels(image_id).array, labels)
    assert again.redo(image_id) is None
    assert again.classes == CLASSES
    assert again.image(image_id).status == "draft"
    again.close()


def test_a_new_edit_ends_the_redo_branch(project: Project):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 10, 10), 1)
    project.undo(image_id)
    stroke(project, image_id, (0, 0, 20, 20), 0)
    assert project.redo(image_id) is None
    assert [row.class_index for row in project.history(image_id)] == [0]


def test_class_pixels_follow_every_step(project: Project):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 100, 10), 1)
    stroke(project, image_id, (50, 0, 150, 10), 0)
    assert project.class_pixels(image_id) == {0: 1000, 1: 500}
    project.undo(image_id)
    assert project.class_pixels(image_id) == {1: 1000}
    project.undo(image_id)
    assert project.class_pixels(image_id) == {}


def test_merging_stores_no_pixels_and_comes_back_exactly(project: Project):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 100, 100), 1)
    stroke(project, image_id, (100, 0, 200, 100), 0)
    before = project.load_labels(image_id).array
    size = project.database_path.stat().st_size
    merge = project.merge_classes(1, 0)
    assert [entry.id for entry in project.classes] == [0, 5]
    assert project.class_pixels(image_id) == {0: 20_000}
    assert (project.load_labels(image_id).array[:100, :200] == 0).all()
    stroke(project, image_id, (0, 200, 50, 250), 5)
    project.undo_merge(merge.id)
    assert project.classes == CLASSES
    after = project.load_labels(image_id).array
    assert np.array_equal(after[:200], before[:200])
    assert (after[200:250, :50] == 5).all()
    assert project.database_path.stat().st_size == size
    second = project.merge_classes(1, UNLABELLED)
    assert (project.load_labels(image_id).array[:100, :100] == 255).all()
    assert [merge.undone for merge in project.merges()] == [True, False]
    project.undo(image_id)  # the stroke of class 5 between two merges
    assert project.class_pixels(image_id) == {0: 10_000}
    project.undo_merge(second.id)
    assert np.array_equal(project.load_labels(image_id).array, before)


def test_a_class_with_pixels_leaves_only_by_merging(project: Project):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 3, 3), 1)
    with pytest.raises(UserError, match="9 labelled pixels"):
        project.set_classes(CLASSES[:1])
    project.undo(image_id)
    project.set_classes(CLASSES[:1])
    assert project.classes == CLASSES[:1]


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ([LabelClass(0, "a", (0, 0, 0)), LabelClass(1, "A ", (0, 0, 0))], "Two classes are named"),
        ([LabelClass(0, "a", (0, 0, 0)), LabelClass(0, "b", (0, 0, 0))], "have the id 0"),
        ([LabelClass(255, "a", (0, 0, 0))], "255 means unlabelled"),
        ([LabelClass(0, " ", (0, 0, 0))], "no name"),
    ],
)
def test_impossible_class_tables_are_refused(project: Project, classes, sentence):
    with pytest.raises(UserError, match=sentence):
        project.set_classes(classes)
    assert project.classes == CLASSES


def test_more_than_255_classes_widen_the_labels(project: Project):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 10, 10), 1)
    project.set_classes([*CLASSES, LabelClass(300, "many", (1, 1, 1))])
    label_map = project.load_labels(image_id)
    assert label_map.array.dtype == np.uint16 and label_map.ignore == 65535
    stroke(project, image_id, (5, 0, 20, 10), 300)
    assert project.class_pixels(image_id) == {1: 50, 300: 150}
    project.undo(image_id)
    project.undo(image_id)
    assert (project.load_labels(image_id).array == 65535).all()


def test_an_import_is_one_undoable_edit_and_says_what_does_not_fit(project: Project):
    image_id = project.images()[0].id
    labels = np.full((30, 40), 255, np.uint8)
    labels[:10] = 5
    stored = project.import_labels(image_id, labels)
    assert stored is not None and stored.edit.pixels == 400
    assert project.import_labels(image_id, labels) is None
    assert np.array_equal(project.load_labels(image_id).array, labels)
    with pytest.raises(UserError, match=r"Label value 38 \(412 px\) in a2.png"):
        wrong = labels.copy()
        wrong.ravel()[:412] = 38
        project.import_labels(image_id, wrong)
    with pytest.raises(UserError, match="labels are 10x10, but the picture is 40x30"):
        project.import_labels(image_id, np.zeros((10, 10), np.uint8))
    project.undo(image_id)
    assert (project.load_labels(image_id).array == 255).all()


def test_a_picture_that_changed_its_size_is_told(project: Project):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 10, 10), 1)
    with pytest.raises(UserError, match="now 9x9, but its labels are 600x400"):
        project.set_size(image_id, 9, 9)


def test_confusions_are_kept_until_the_labels_change(project: Project):
    image_id = first(project)
    matrix = np.arange(9, dtype=np.int64).reshape(3, 3)
    assert project.confusion(image_id, "m") is None
    project.put_confusion(image_id, "m", matrix)
    kept = project.confusion(image_id, "m")
    assert kept is not None and np.array_equal(kept, matrix)
    stroke(project, image_id, (0, 0, 10, 10), 1)
    assert project.confusion(image_id, "m") is None


def test_settings_of_a_project_come_back(project: Project, folder: Path):
    project.settings.set("range", {"low": 1.5, "high": 7})
    assert project.settings.get("range") == {"low": 1.5, "high": 7}
    assert project.settings.get("none", 3) == 3


def test_a_folder_that_cannot_be_written_gets_a_home_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (folder / ".segstudio").write_text("in the way", "utf-8")
    project = Project.open(folder)
    project.scan()
    assert not project.read_only
    assert project.home.is_relative_to(tmp_path / "home")
    assert "cannot be written to" in project.home_note
    project.close()
    again = Project.open(folder)
    assert len(again.images()) == 3
    again.close()


def test_network_drives_get_the_rollback_journal(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_systems, "on_network", lambda path: True)
    project = Project.open(folder)
    project.scan()
    image_id = first(project)
    stroke(project, image_id, (0, 0, 10, 10), 1)
    project.close()
    connection = sqlite3.connect(folder / ".segstudio" / "project.db")
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    connection.close()


def test_the_kind_of_mount_is_read_from_the_longest_matching_line():
    lines = [
        b"1 0 0:1 / / rw - ext4 /dev/sda rw",
        b"2 1 0:2 / /mnt/with\\040space rw,shared:1 - nfs4 server:/x rw",
        b"3 1 0:3 / /mnt/with\\040space/local rw - tmpfs tmpfs rw",
    ]
    assert file_systems.mount_type(lines, b"/home/me") == "ext4"
    assert file_systems.mount_type(lines, b"/mnt/with space/a") == "nfs4"
    assert file_systems.mount_type(lines, b"/mnt/with space/local") == "tmpfs"
    assert file_systems.mount_type(lines, b"/mnt/with spaces") == "ext4"


def test_a_newer_project_is_refused_and_untouched(project: Project, folder: Path):
    project.close()
    path = folder / ".segstudio" / "project.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    content = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(UserError, match="newer version of SegStudio"):
            Project.open(folder, read_only=read_only)
    assert path.read_bytes() == content


NEXT = migrations.Migration(
    migrations.VERSION + 1, "a note for every image", ("ALTER TABLE images ADD COLUMN note TEXT DEFAULT ''",)
)


def test_migrating_backs_up_first_and_keeps_labels(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    image_id = first(project)
    stroke(project, image_id, (0, 0, 10, 10), 1)
    assert project.backups == ()
    project.close()
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, NEXT))
    monkeypatch.setattr(migrations, "VERSION", NEXT.number)
    with pytest.raises(UserError, match="older version of SegStudio and cannot be updated here"):
        Project.open(folder, read_only=True)
    newer = Project.open(folder)
    assert len(newer.backups) == 1
    backup = sqlite3.connect(newer.backups[0])
    assert backup.execute("PRAGMA user_version").fetchone()[0] == NEXT.number - 1
    assert backup.execute("SELECT count(*) FROM edits").fetchone()[0] == 1
    backup.close()
    assert newer.class_pixels(image_id) == {1: 100}
    newer.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path):
    path = tmp_path / "p.db"
    connection = sqlite3.connect(path, isolation_level=None)
    migrations.migrate(connection, path, tmp_path / "backups")
    broken = migrations.Migration(
        migrations.VERSION + 1, "broken", ("CREATE TABLE more (id INTEGER)", "CREATE TABLE images (x)")
    )
    with pytest.raises(sqlite3.OperationalError):
        migrations.migrate(connection, path, tmp_path / "backups", (*migrations.MIGRATIONS, broken))
    assert migrations.version_of(connection) == migrations.VERSION
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    assert "more" not in tables
    connection.close()


def test_a_foreign_database_is_refused(folder: Path):
    (folder / ".segstudio").mkdir()
    connection = sqlite3.connect(folder / ".segstudio" / "project.db")
    connection.execute("PRAGMA user_version = 1")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(UserError, match="not a SegStudio project"):
        Project.open(folder)
    (folder / ".segstudio" / "project.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(UserError, match="damaged"):
        Project.open(folder)


def test_there_must_be_a_folder(tmp_path: Path):
    with pytest.raises(UserError, match="no folder"):
        Project.open(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no project"):
        Project.open(tmp_path / "empty", read_only=True)


def test_a_damaged_tile_is_named_and_other_images_still_open(project: Project):
    one, two = (image.id for image in project.images()[:2])
    for image_id in (one, two):
        project.set_size(image_id, 600, 400)
        stroke(project, image_id, (250, 250, 300, 300), 1)
    connection = sqlite3.connect(project.database_path)
    data = bytearray(
        connection.execute("SELECT data FROM tiles WHERE image = ? AND tx = 1 AND ty = 1", (one,)).fetchone()[
            0
        ]
    )
    data[-1] ^= 1
    connection.execute("UPDATE tiles SET data = ? WHERE image = ? AND tx = 1 AND ty = 1", (bytes(data), one))
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match=r"tile \(1, 1\) are damaged in a2.png"):
        project.load_labels(one)
    assert project.class_pixels(two) == {1: 2500}
    assert int((project.load_labels(two).array == 1).sum()) == 2500


def test_a_full_disk_is_told_and_loses_nothing(project: Project):
    image_id = first(project, 2000, 2000)
    stroke(project, image_id, (0, 0, 10, 10), 1)
    before = project.load_labels(image_id).array
    connection = project._database.connection()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    noise = np.random.default_rng(0).integers(0, 2, (2000, 2000)).astype(np.uint8)
    with pytest.raises(UserError, match="disk is full"):
        project.import_labels(image_id, noise)
    assert np.array_equal(project.load_labels(image_id).array, before)
    assert len(project.history(image_id)) == 1
    connection.execute("PRAGMA max_page_count = 1000000")
    project.import_labels(image_id, noise)
    assert np.array_equal(project.load_labels(image_id).array, noise)
