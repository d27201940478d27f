"""Importing and exporting labels by the window's own dialogs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from segstudio.core import palette_png
from segstudio.core.formats import FORMATS
from segstudio.core.label_map import LabelMap
from segstudio.core.records import LabelClass
from segstudio.ui.dialogs.export_labels import ExportDialog
from segstudio.ui.dialogs.import_labels import ImportDialog

LEFT = Qt.MouseButton.LeftButton
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def window(make_window, make_folder, qtbot):
    """A project of four images, of which the first two have labels (one pixel block of class Road each)."""
    window = make_window(make_folder(4))
    session = window.session
    for record in session.images[:2]:
        labels = LabelMap.unlabelled(320, 240).array
        labels[20:40, 30:60] = 3
        session.write(session.project.set_size, record.id, 320, 240)
        session.write(session.project.import_labels, record.id, labels)
    session.write(lambda: None, then=lambda _done: session.reload())
    qtbot.waitUntil(lambda: session.images[1].status == "draft")
    qtbot.waitUntil(lambda: session.label_map is not None)
    return window


def export(window, **choices: str) -> ExportDialog:
    """Open the dialog by its key and choose."""
    QTest.keyClick(window, Qt.Key.Key_E, CONTROL)
    dialog = window.findChild(ExportDialog)
    for name, text in choices.items():
        control = dialog.images if name == "images" else getattr(dialog.form, name)
        if name == "place":
            control.setText(text)
        else:
            place = next(at for at in range(control.count()) if text in control.itemText(at))
            control.setCurrentIndex(place)
    return dialog


def press(dialog, button) -> None:
    QTest.mouseClick(button, LEFT)


def test_an_export_without_losses_needs_one_press_and_is_a_job(window, tmp_path, qtbot):
    dialog = export(window, format="Index PNG", place=str(tmp_path / "out"))
    assert dialog.images.currentText() == "Images with labels · 2"
    assert not dialog.isModal()
    with qtbot.waitSignal(dialog.destroyed):
        press(dialog, dialog.form.act)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["classes.txt", "image_00.png", "image_01.png"]
    stored, _palette = palette_png.read(tmp_path / "out" / "image_00.png")
    assert (stored[20:40, 30:60] == 3).all() and (stored == 3).sum() == 600
    assert [job.state for job in window.services.jobs.jobs] == ["done", "done"]
    assert not list(tmp_path.glob(".segstudio-export-*"))


def test_losses_are_said_before_anything_is_written(window, tmp_path, qtbot):
    session = window.session
    session.set_classes([*session.classes[:3], LabelClass(3, "Lawn mower", (9, 9, 9))])
    dialog = export(window, format="Cityscapes", place=str(tmp_path / "out"))
    press(dialog, dialog.form.act)
    qtbot.waitUntil(dialog.losses.isVisible)
    told = dialog.losses._notes.toPlainText()
    assert told == "Lawn mower: Cityscapes has no such class: 1200 px become unlabelled (images: 2)"
    assert not (tmp_path / "out").exists()
    press(dialog, dialog.losses.back)
    qtbot.waitUntil(lambda: not list(tmp_path.glob(".segstudio-export-*")))
    press(dialog, dialog.form.act)
    qtbot.waitUntil(dialog.losses.isVisible)
    with qtbot.waitSignal(dialog.destroyed):
        press(dialog, dialog.losses.write)
    assert len(list((tmp_path / "out").glob("*_labelTrainIds.png"))) == 2


def test_files_that_would_be_replaced_are_named_first(window, tmp_path, qtbot):
    (tmp_path / "image_01.json").write_text("{}")
    dialog = export(window, format="labelme", place=str(tmp_path))
    press(dialog, dialog.form.act)
    qtbot.waitUntil(dialog.losses.isVisible)
    assert "image_01.json" in dialog.losses._replaced.text()
    assert (tmp_path / "image_01.json").read_text() == "{}"
    dialog.close()
    qtbot.waitUntil(lambda: not list(tmp_path.glob(".segstudio-export-*")))
    assert (tmp_path / "image_01.json").read_text() == "{}"


def test_pictures_are_not_overwritten_and_the_dialog_says_why(window, qtbot):
    folder = window.session.project.folder
    before = (folder / "image_00.png").read_bytes()
    dialog = export(window, format="Index PNG", place=str(folder))
    press(dialog, dialog.form.act)
    qtbot.waitUntil(lambda: dialog.form.problems == 1)
    assert dialog.form.act.isEnabled()
    assert (folder / "image_00.png").read_bytes() == before
    dialog.close()


@pytest.mark.parametrize("choice, expected", [("Only image_00", 1), ("All images", 4)])
def test_which_images_go_out_can_be_chosen(window, tmp_path, qtbot, choice, expected):
    dialog = export(window, format="NumPy", images=choice, place=str(tmp_path / "out"))
    with qtbot.waitSignal(dialog.destroyed):
        press(dialog, dialog.form.act)
    assert len(list((tmp_path / "out").glob("*.npy"))) == expected


def test_a_stroke_drawn_just_before_is_in_the_files(window, tmp_path, qtbot):
    session = window.session
    recorder = session.edits.begin_stroke()
    recorder.touch(0, 0, 10, 10)
    session.label_map.array[:10, :10] = 1
    session.edits.finish_stroke("brush", 1)
    dialog = export(window, format="NumPy", images="Only", place=str(tmp_path / "out"))
    with qtbot.waitSignal(dialog.destroyed):
        press(dialog, dialog.form.act)
    assert (np.load(tmp_path / "out" / "image_00.npy")[:10, :10] == 1).all()


def test_closing_the_project_ends_the_export(window, tmp_path, qtbot):
    dialog = export(window, format="labelme", place=str(tmp_path / "out"))
    press(dialog, dialog.form.act)
    with qtbot.waitSignal(dialog.destroyed):
        window.close_project()
    qtbot.waitUntil(lambda: not list(tmp_path.glob(".segstudio-export-*")))


def test_all_formats_can_be_chosen_and_a_second_key_press_opens_no_second_dialog(window):
    dialog = export(window)
    assert dialog.form.format.count() == len([entry for entry in FORMATS if entry.exports])
    QTest.keyClick(window, Qt.Key.Key_E, CONTROL)
    assert window.findChildren(ExportDialog) == [dialog]
    dialog.close()


def test_a_zip_of_labels_is_imported_like_its_folder(window, tmp_path, qtbot):
    inner = tmp_path / "packed" / "labels of mine"
    inner.mkdir(parents=True)
    document = {
        "version": "5.0.0",
        "flags": {},
        "imagePath": "image_02.png",
        "imageData": None,
        "imageWidth": 320,
        "imageHeight": 240,
        "shapes": [{"label": "Sky", "shape_type": "rectangle", "points": [[10, 10], [60, 40]]}],
    }
    (inner / "image_02.json").write_text(json.dumps(document))
    packed = shutil.make_archive(str(tmp_path / "labels"), "zip", tmp_path / "packed")
    window.import_labels()
    dialog = window.findChild(ImportDialog)
    place = [dialog.form.format.itemText(at) for at in range(dialog.form.format.count())].index("labelme")
    dialog.form.format.setCurrentIndex(place)
    dialog.form.place.setText(packed)
    press(dialog, dialog.form.act)
    qtbot.waitUntil(lambda: hasattr(dialog, "write_button"))
    folder = dialog._work._folder
    assert folder.is_dir()
    with qtbot.waitSignal(dialog.destroyed):
        press(dialog, dialog.write_button)
    third = window.session.images[2]
    assert window.session.project.class_pixels(third.id)[0] > 0
    qtbot.waitUntil(lambda: not folder.exists())


def test_a_failed_import_can_be_tried_again_with_another_choice(window, tmp_path, qtbot):
    labels = np.full((240, 320), 255, np.uint8)
    labels[:50] = 2
    folder = tmp_path / "labels"
    folder.mkdir()
    palette_png.write(folder / "image_02.png", labels)
    window.import_labels()
    dialog = window.findChild(ImportDialog)
    dialog.form.choose("coco")
    dialog.form.place.setText(str(folder))
    press(dialog, dialog.form.act)
    qtbot.waitUntil(lambda: dialog.form.problems == 1)
    dialog.form.choose("png")
    press(dialog, dialog.form.act)
    assert dialog.form.problems == 0
    qtbot.waitUntil(lambda: hasattr(dialog, "write_button"))
    with qtbot.waitSignal(dialog.destroyed):
        press(dialog, dialog.write_button)
    assert window.session.project.class_pixels(window.session.images[2].id)[2] == 50 * 320


def test_an_import_that_is_cancelled_in_the_job_drawer_can_be_tried_again(window, tmp_path, qtbot):
    (tmp_path / "image_02.json").write_text("{}")
    window.import_labels()
    dialog = window.findChild(ImportDialog)
    dialog.form.choose("labelme")
    dialog.form.place.setText(str(tmp_path))
    press(dialog, dialog.form.act)
    assert dialog.form.is_working and not dialog.form.act.isEnabled()
    window.services.jobs.jobs[-1].cancel()
    qtbot.waitUntil(lambda: not dialog.form.is_working)
    assert dialog.form.act.isEnabled()
    dialog.close()
