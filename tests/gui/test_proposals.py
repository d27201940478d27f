"""Model proposals: which regions are proposed, and what accepting and rejecting them does."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from segstudio.core.label_map import LabelMap
from segstudio.ipc import MappedArray
from segstudio.runtime.mask_result import MaskResult, prediction_key
from segstudio.runtime.proposals import find_regions
from segstudio.runtime.runnable_models import RunnableModel

MODEL = RunnableModel("test/model", "Test model", {"model": "test/model"}, (), (), "file")


def test_only_unlabelled_pixels_the_model_is_sure_of_are_proposed():
    labels = LabelMap.unlabelled(60, 40)
    labels.array[:, :20] = 0
    predicted = np.full((40, 60), 1, np.uint8)
    confidence = np.full((40, 60), 200, np.uint8)
    confidence[:, 50:] = 90
    proposal = find_regions(predicted, confidence, labels, [0, 1], threshold=0.5)
    assert [(region.class_index, region.pixels) for region in proposal.regions] == [(1, 40 * 30)]
    assert proposal.regions[0].confidence == pytest.approx(200 / 255, abs=1e-3)
    assert (proposal.numbers[:, 20:50] == 1).all() and (proposal.numbers[:, :20] == 0).all()


def test_pieces_of_a_class_are_regions_of_their_own_and_specks_are_left_out():
    labels = LabelMap.unlabelled(60, 40)
    predicted = np.full((40, 60), 255, np.uint8)
    predicted[2:12, 2:12] = 1
    predicted[20:35, 20:40] = 1
    predicted[0:2, 58:60] = 1
    predicted[25:30, 25:30] = 0
    proposal = find_regions(predicted, None, labels, [0, 1])
    assert [(region.class_index, region.pixels) for region in proposal.regions] == [
        (1, 15 * 20 - 25),
        (1, 100),
        (0, 25),
    ]


def test_over_labels_proposes_what_differs_and_never_what_agrees():
    labels = LabelMap(np.zeros((40, 60), np.uint8))
    predicted = np.zeros((40, 60), np.uint8)
    predicted[:20] = 1
    assert find_regions(predicted, None, labels, [0, 1]).regions == ()
    found = find_regions(predicted, None, labels, [0, 1], over_labels=True)
    assert [(region.class_index, region.pixels) for region in found.regions] == [(1, 20 * 60)]


@pytest.fixture
def room(make_window, make_folder, qtbot):
    window = make_window(make_folder(2))
    session, predictions = window.session, window.services.predictions
    height, width = session.label_map.array.shape
    shared = MappedArray.create((height, width), "u1")
    shared.array[...] = 255
    shared.array[20:60, 20:80] = 3
    shared.array[100:130, 100:160] = 1
    shared.array[150:160, 200:220] = 3
    confidence = np.full((height, width), 250, np.uint8)
    confidence[150:160, 200:220] = 160
    key = prediction_key(MODEL)
    result = MaskResult(key, session.current.id, shared.array, confidence, None, {"ms": 12.0}, shared, shared)
    predictions._results[(key, session.current.id)] = result
    window.rooms.current.proposals.run(MODEL)
    qtbot.waitUntil(lambda: len(window.rooms.current.proposals.regions) == 3)
    window.rooms.current.canvas.setFocus()
    return window.rooms.current


def test_y_writes_the_region_in_hand_as_one_step_and_goes_on(room, qtbot):
    session = room._session
    assert (room.proposals.current.class_index, room.proposals.current.pixels) == (3, 2400)
    QTest.keyClick(room.canvas, Qt.Key.Key_Y)
    assert (session.label_map.array[20:60, 20:80] == 3).all()
    assert int((session.label_map.array != 255).sum()) == 2400
    assert room.proposals.current.class_index == 1
    qtbot.waitUntil(lambda: session.saving.saved)
    row = session.edits.history()[0]
    assert (row.tool, row.class_index, row.pixels) == ("proposal", 3, 2400)


def test_a_click_on_the_chip_answers_and_paints_nothing(room):
    canvas = room.canvas
    box = canvas.chip_rect()
    accept, _reject = canvas._chip.answers(box)
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, accept.center())
    assert int((room._session.label_map.array != 255).sum()) == 2400
    box = canvas.chip_rect()
    _accept, reject = canvas._chip.answers(box)
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, reject.center())
    assert len(room.proposals.regions) == 1
    assert int((room._session.label_map.array != 255).sum()) == 2400


def test_n_drops_the_region_and_writes_nothing(room):
    QTest.keyClick(room.canvas, Qt.Key.Key_N)
    assert len(room.proposals.regions) == 2
    assert (room._session.label_map.array == 255).all()


def test_accept_class_takes_every_region_of_it_and_accept_all_the_rest(room):
    QTest.mouseClick(room.proposal_dock.class_button, Qt.MouseButton.LeftButton)
    labels = room._session.label_map.array
    assert int((labels == 3).sum()) == 2400 + 200
    assert [region.class_index for region in room.proposals.regions] == [1]
    QTest.mouseClick(room.proposal_dock.all_button, Qt.MouseButton.LeftButton)
    assert int((labels == 1).sum()) == 1800
    assert room.proposals.current is None


def test_the_confidence_slider_drops_unsure_regions(room, qtbot):
    room.proposal_dock.confidence.setValue(70)
    qtbot.waitUntil(lambda: len(room.proposals.regions) == 2)
    room.proposal_dock.confidence.setValue(50)
    qtbot.waitUntil(lambda: len(room.proposals.regions) == 3)


def test_a_locked_class_is_not_written(room):
    room.state.set_locked(frozenset({3}))
    QTest.keyClick(room.canvas, Qt.Key.Key_Y)
    assert (room._session.label_map.array == 255).all()


def test_undo_brings_the_region_back_as_a_proposal(room, qtbot):
    QTest.keyClick(room.canvas, Qt.Key.Key_Y)
    with qtbot.waitSignal(room._session.undone):
        room._session.edits.undo()
    qtbot.waitUntil(lambda: len(room.proposals.regions) == 3)


def test_the_ghost_goes_with_the_image(room):
    QTest.keyClick(room.canvas, Qt.Key.Key_D)
    assert room.proposals.current is None and room.proposals.numbers is None


def test_the_ghost_is_drawn_over_the_region_and_nowhere_else(room):
    canvas = room.canvas
    room._services.viewport.fit()
    with_ghost = canvas.grab().toImage()
    room.proposals.clear()
    without = canvas.grab().toImage()

    def differs(x0: int, y0: int, x1: int, y1: int) -> bool:
        box = canvas.view_rect(_rect(x0, y0, x1, y1)).toRect()
        return with_ghost.copy(box) != without.copy(box)

    assert differs(30, 30, 70, 50)
    assert not differs(250, 30, 300, 100)


def _rect(x0: int, y0: int, x1: int, y1: int):
    from PySide6.QtCore import QRectF

    return QRectF(x0, y0, x1 - x0, y1 - y0)
