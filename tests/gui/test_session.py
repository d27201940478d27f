"""The project session behind the window: opening, walking, bad files, saving, importing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from PySide6.QtGui import QImage

from segstudio.core.errors import UserError
from segstudio.core.formats import find_format
from segstudio.core.label_map import LabelMap
from segstudio.core.project import Project
from segstudio.runtime.image_cache import describe, pyramid_bytes
from segstudio.runtime.label_import import LabelImport
from segstudio.runtime.label_thumbnails import small_labels
from segstudio.runtime.session import ProjectSession
from segstudio.runtime.worker_client import WorkerClient
from tests.gui.conftest import picture


@pytest.fixture
def session(qtbot):
    reader = WorkerClient(reader=True)
    made = ProjectSession(reader)
    yield made
    made.shut_down()
    reader.close()


def open_and_wait(qtbot, session: ProjectSession, folder) -> None:
    session.open(folder)
    qtbot.waitUntil(lambda: session.label_map is not None and session.image.complete)


def test_the_pixels_shown_are_those_of_the_file(session, make_folder, qtbot):
    open_and_wait(qtbot, session, make_folder(1, (700, 300)))
    full = session.image.levels[0]
    assert (full.width(), full.height()) == (700, 300)
    assert full.format() == QImage.Format.Format_RGB32
    expected = picture(700, 300)
    for x, y in ((0, 0), (699, 299), (350, 20)):
        color = full.pixelColor(x, y)
        assert (color.red(), color.green(), color.blue()) == tuple(expected[y, x].tolist())
    assert [level.width() for level in session.image.levels] == [700, 350]
    assert session.image.description == "700 × 300 · 8-bit RGB"


def test_pixels_stay_valid_after_the_project_is_closed(session, make_folder, qtbot):
    open_and_wait(qtbot, session, make_folder(1))
    level = session.image.levels[0]
    session.close()
    assert level.pixelColor(3, 5).green() == 5


def test_neighbours_are_decoded_ahead(session, make_folder, qtbot):
    open_and_wait(qtbot, session, make_folder(3))
    second = session.images[1]
    qtbot.waitUntil(
        lambda: any(
            image.complete and image.path.name == "image_01.png"
            for image in session._picture._cache._images.values()
        ),
    )
    session.go(second.id)
    assert session.image.complete


def test_a_broken_file_gives_one_sentence_and_a_mark_and_the_rest_goes_on(session, make_folder, qtbot):
    folder = make_folder(2)
    (folder / "aaa_broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    problems: list[UserError] = []
    session.problem.connect(problems.append)
    session.open(folder)
    qtbot.waitUntil(lambda: bool(problems))
    record = session.current
    assert record.path == "aaa_broken.jpg"
    assert record.status == "check" and record.problem
    assert "\n" not in str(problems[0]) and "Traceback" not in str(problems[0])
    session.go(session.images[1].id)
    qtbot.waitUntil(lambda: session.label_map is not None)
    assert len(problems) == 1


def test_thumbnails_come_for_what_is_in_view_and_mark_broken_files(session, make_folder, qtbot):
    folder = make_folder(3)
    (folder / "zzz_broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    open_and_wait(qtbot, session, folder)
    ids = [record.id for record in session.images]
    session.want_thumbnails(ids)
    qtbot.waitUntil(lambda: all(session.thumbnails.get(number) for number in ids[:3]))
    assert max(session.thumbnails.get(ids[0]).width(), session.thumbnails.get(ids[0]).height()) == 160
    qtbot.waitUntil(lambda: session.images.find(ids[3]).status == "check")


def test_the_image_in_front_comes_first_when_many_are_asked_for(session, make_folder, qtbot):
    open_and_wait(qtbot, session, make_folder(12))
    session.want_thumbnails([record.id for record in session.images])
    last = session.images[-1]
    session.go(last.id)
    qtbot.waitUntil(lambda: session.image.complete)
    assert session.current.id == last.id


def test_saved_tells_when_everything_is_durable(session, make_folder, qtbot):
    open_and_wait(qtbot, session, make_folder())
    states: list[bool] = []
    session.saved_changed.connect(states.append)
    recorder = session.edits.begin_stroke()
    recorder.touch(0, 0, 20, 20)
    session.label_map.array[:20, :20] = 1
    session.edits.finish_stroke("brush", 1)
    assert states == [False] and not session.saving.saved
    qtbot.waitUntil(lambda: session.saving.saved)
    assert states == [False, True]
    assert session.project.load_labels(session.current.id).array[10, 10] == 1


def test_a_stroke_that_cannot_be_written_is_taken_back_on_screen(session, make_folder, qtbot, monkeypatch):
    open_and_wait(qtbot, session, make_folder())

    def refuse(*_arguments):
        raise UserError("The disk is full", action="Free some space.")

    monkeypatch.setattr(Project, "commit", refuse)
    problems: list[UserError] = []
    session.problem.connect(problems.append)
    recorder = session.edits.begin_stroke()
    recorder.touch(0, 0, 20, 20)
    session.label_map.array[:20, :20] = 1
    session.edits.finish_stroke("brush", 1)
    qtbot.waitUntil(lambda: bool(problems))
    qtbot.waitUntil(lambda: session.label_map is not None and bool((session.label_map.array == 255).all()))
    assert "disk is full" in str(problems[0])


def test_equal_class_names_are_refused_and_the_table_stays(session, make_folder, qtbot):
    open_and_wait(qtbot, session, make_folder())
    before = session.classes
    problems: list[UserError] = []
    session.problem.connect(problems.append)
    first = before[0]
    session.set_classes([*before, type(first)(9, first.name, (1, 2, 3))])
    qtbot.waitUntil(lambda: bool(problems))
    qtbot.waitUntil(lambda: session.classes == before)
    assert session.project.classes == before


def test_a_class_id_above_254_widens_the_label_map_and_keeps_its_labels(session, make_folder, qtbot):
    open_and_wait(qtbot, session, make_folder(1))
    recorder = session.edits.begin_stroke()
    recorder.touch(0, 0, 20, 20)
    session.label_map.array[:20, :20] = 1
    session.edits.finish_stroke("brush", 1)
    kind = type(session.classes[0])
    session.set_classes([*session.classes, kind(300, "Many", (9, 9, 9))])
    qtbot.waitUntil(lambda: session.label_map is not None and session.label_map.array.dtype == np.uint16)
    assert session.label_map.array[5, 5] == 1 and session.label_map.array[50, 50] == 65535


def test_opening_a_folder_that_is_gone_is_one_sentence(session, tmp_path, qtbot):
    problems: list[UserError] = []
    session.problem.connect(problems.append)
    session.open(tmp_path / "nowhere")
    qtbot.waitUntil(lambda: bool(problems))
    assert session.project is None


def test_labels_of_labelme_are_read_in_the_reader_and_written_as_undoable_steps(session, make_folder, qtbot):
    folder = make_folder(2)
    open_and_wait(qtbot, session, folder)
    source = folder.parent / "annotations"
    source.mkdir()
    for name, words in (("image_00", "Road"), ("unknown", "Sky")):
        shape = {"label": words, "shape_type": "rectangle", "points": [[10, 10], [60, 40]]}
        kerb = {"label": "Kerb", "shape_type": "polygon", "points": [[100, 100], [150, 100], [150, 160]]}
        document = {
            "version": "5.0.0",
            "flags": {},
            "imagePath": f"{name}.png",
            "imageData": None,
            "imageWidth": 320,
            "imageHeight": 240,
            "shapes": [shape, kerb],
        }
        (source / f"{name}.json").write_text(json.dumps(document))
    work = LabelImport(session, None)
    with qtbot.waitSignal(work.found) as told:
        work.read(find_format("labelme"), source)
    found = told.args[0]
    folder = work._folder
    assert folder.is_dir()
    assert [number for number, _file in found.items] == [session.images[0].id]
    assert [entry.name for entry in found.added] == ["Kerb"]
    assert any("unknown" in file for file, _what in found.notes)
    assert (session.label_map.array == 255).all()
    with qtbot.waitSignal(work.finished):
        work.write()
    qtbot.waitUntil(lambda: session.label_map is not None and session.label_map.array[20, 30] == 3)
    assert [entry.name for entry in session.classes][-1] == "Kerb"
    with qtbot.waitSignal(session.undone):
        session.edits.undo()
    assert (session.label_map.array == 255).all()
    qtbot.waitUntil(lambda: not folder.exists())


def test_small_labels_fit_their_side_and_hold_the_classes():
    rng = np.random.default_rng(4)
    labels = LabelMap(rng.integers(0, 5, (1300, 700)).astype(np.uint8))
    small = small_labels(labels)
    assert max(small.width(), small.height()) <= 160
    assert {small.pixelIndex(x, y) for x in range(small.width()) for y in range(small.height())} == set(
        range(5)
    )


def test_pyramid_bytes_cover_every_level():
    assert pyramid_bytes(512, 512) == 512 * 512 * 4
    assert pyramid_bytes(1025, 3) == 4 * (1025 * 3 + 513 * 2 + 257 * 1)


def test_description_names_depth_and_pages():
    header = {"width": 9, "height": 8, "channels": 1, "bits": 16, "pages": 3}
    assert describe(header) == "9 × 8 · 16-bit grey · page 1 of 3"


def test_a_16_bit_picture_is_shown_and_described(session, tmp_path, qtbot):
    folder = tmp_path / "deep"
    folder.mkdir()
    Image.fromarray(np.linspace(0, 60000, 64 * 48).reshape(48, 64).astype(np.uint16)).save(
        folder / "deep.png"
    )
    open_and_wait(qtbot, session, folder)
    assert "16-bit grey" in session.image.description


def test_a_project_that_was_just_left_is_free_when_the_session_ends_and_when_it_is_opened_again(
    session, make_folder, qtbot
):
    folder = make_folder(1)
    open_and_wait(qtbot, session, folder)
    session.close()
    session.open(folder)  # the closing is before it on the same thread: it is not read-only
    qtbot.waitUntil(lambda: session.project is not None)
    assert session.read_only_reason == ""
    session.close()
    session.shut_down()
    again = Project.open(folder)
    assert not again.read_only
    again.close()
