"""Label next: images without labels in the order of a network's doubt, walked with D."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from segstudio.core.errors import UserError
from segstudio.ipc import MappedArray
from segstudio.runtime.label_next import doubt_of
from segstudio.runtime.mask_result import MaskResult, prediction_key
from segstudio.runtime.runnable_models import RunnableModel
from tests.gui.conftest import enter, labels_are_there

MODEL = RunnableModel("test/model", "Test model", {"model": "test/model"}, (), (), "file")
CONFIDENCES = (0.9, 0.4, 0.7, 0.6)
LEFT = Qt.MouseButton.LeftButton
SHIFT = Qt.KeyboardModifier.ShiftModifier


def answer(key: str, image_id: int, confidence: float | None) -> MaskResult:
    shared = MappedArray.create((240, 320), "u1")
    sure = None if confidence is None else np.full((240, 320), round(255 * confidence), np.uint8)
    return MaskResult(key, image_id, shared.array, sure, None, {}, shared, shared)


@pytest.fixture
def window(make_window, make_folder, monkeypatch):
    """Four images without labels; a network that answers at once with the confidences above."""
    window = make_window(make_folder(4))
    predictions, shelf = window.services.predictions, window.services.shelf
    monkeypatch.setattr(type(shelf), "runnable", property(lambda _shelf: (MODEL,)))
    shelf.changed.emit()
    asked: list[int] = []

    def request(model, image_id, **_options) -> str:
        key = prediction_key(model)
        asked.append(image_id)
        place = window.session.images.position(image_id)
        predictions._results[(key, image_id)] = answer(key, image_id, CONFIDENCES[place])
        predictions.ready.emit(key, image_id)
        return key

    monkeypatch.setattr(predictions, "request", request)
    window.asked = asked
    return window


def order(window) -> list[str]:
    return [window.session.images.find(number).path[6:8] for number in window.filmstrip.shown]


def test_the_strip_is_ordered_by_doubt_and_d_walks_it(window, qtbot):
    QTest.mouseClick(window.rooms.current.label_next.button, LEFT)
    qtbot.waitUntil(lambda: order(window) == ["01", "03", "02", "00"])
    assert window.filmstrip._title.text() == "Label next · doubt of Test model"
    assert [window.filmstrip.strip._scores[number] for number in window.filmstrip.shown] == [
        "60.0 %",
        "40.0 %",
        "30.2 %",
        "9.8 %",
    ]
    assert [job.state for job in window.services.jobs.jobs] == ["done"]
    window.session.go(window.filmstrip.shown[0])
    QTest.keyClick(window, Qt.Key.Key_D)
    assert window.session.current.path == "image_03.png"
    QTest.mouseClick(window.rooms.current.label_next.button, LEFT)
    assert order(window) == ["00", "01", "02", "03"]


def test_what_is_labelled_leaves_the_order_when_one_goes_on(window, qtbot):
    QTest.keyClick(window, Qt.Key.Key_F9, SHIFT)
    qtbot.waitUntil(lambda: order(window) == ["01", "03", "02", "00"])
    window.session.go(window.filmstrip.shown[0])
    qtbot.waitUntil(lambda: labels_are_there(window))
    recorder = window.session.edits.begin_stroke()
    recorder.touch(0, 0, 9, 9)
    window.session.label_map.array[:9, :9] = 1
    window.session.edits.finish_stroke("brush", 1)
    assert order(window)[0] == "01", "the strip stays as it is while a person draws"
    QTest.keyClick(window, Qt.Key.Key_D)
    assert window.session.current.path == "image_03.png"
    assert order(window) == ["03", "02", "00"]


def test_doubts_are_kept_with_the_project_and_no_image_is_asked_twice(window, qtbot):
    room = window.rooms.current
    room.label_next.toggle()
    qtbot.waitUntil(lambda: len(order(window)) == 4 and order(window)[0] == "01")
    assert sorted(window.asked) == sorted(record.id for record in window.session.images)
    qtbot.waitUntil(lambda: window.session.saving.saved)
    folder = window.session.project.folder
    window.close_project()
    assert not room.label_next.button.isChecked()
    window.asked.clear()
    window.open(folder)
    qtbot.waitUntil(lambda: labels_are_there(window))
    room.label_next.toggle()
    qtbot.waitUntil(lambda: order(window) == ["01", "03", "02", "00"])
    assert window.asked == []


def test_masks_that_were_measured_are_not_kept(window, qtbot):
    window.rooms.current.label_next.toggle()
    qtbot.waitUntil(lambda: len(window.asked) == 4)
    here = window.session.current.id
    assert {image_id for _key, image_id in window.services.predictions._results} == {here}


def test_where_all_images_have_labels_the_button_says_so_and_stays_off(window):
    for record in list(window.session.images):
        window.session.set_status(record.id, "done")
    told: list[str] = []
    window.status.notice.connect(lambda text, *_: told.append(text))
    button = window.rooms.current.label_next.button
    QTest.mouseClick(button, LEFT)
    assert told == ["Every image has labels"] and not button.isChecked()
    assert window.asked == []


def test_a_network_that_doubts_nothing_gives_no_order_and_says_why(window, monkeypatch):
    monkeypatch.setattr("tests.gui.test_label_next.CONFIDENCES", (1.0, 1.0, 1.0, 1.0))
    told: list[UserError] = []
    window.status.error.connect(told.append)
    window.rooms.current.label_next.toggle()
    assert len(told) == 1 and "sure" in str(told[0])


def test_another_room_gets_the_strip_back_as_it_was(window, qtbot):
    window.rooms.current.label_next.toggle()
    qtbot.waitUntil(lambda: order(window)[0] == "01")
    annotate = window.rooms.current
    enter(qtbot, window, "Train")
    assert order(window) == ["00", "01", "02", "03"] and not annotate.label_next.button.isVisible()
    enter(qtbot, window, "Annotate")
    assert order(window)[0] == "01" and annotate.label_next.button.isVisible()


def test_doubt_is_one_minus_the_mean_confidence():
    confidence = np.zeros((1500, 1400), np.uint8)
    confidence[:750] = 255
    shared = MappedArray.create((4, 4), "u1")
    result = MaskResult("k", 1, shared.array, confidence, None, {}, shared, shared)
    assert doubt_of(result) == pytest.approx(0.5, abs=0.01)
    assert doubt_of(answer("k", 1, None)) == 0.0
