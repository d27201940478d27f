"""The Attention tab with the real worker: queries by mouse and keys, maps, pins, figures, export."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from segstudio.core.attention_measures import dependence, entropy_bits, mass_by_class, mean_distance
from segstudio.runtime.attention import PixelQuery, ProbeResult
from segstudio.runtime.mask_result import prediction_key
from segstudio.ui.attention.multiples import spread_words
from segstudio.ui.attention.room import AttentionRoom
from segstudio.ui.canvas.heat_layer import HeatScale
from tests.gui.conftest import whole
from tests.gui.looking_plugin import LOOKING
from tests.gui.street_project import Bench, make_project, street

WAIT = 180_000
STRIDE = 16


@pytest.fixture(scope="module")
def bench(qapp, tmp_path_factory):
    """One project with one worker and one reader for all tests of this file."""
    folder = tmp_path_factory.mktemp("attention")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGSTUDIO_HOME", str(folder / "home"))
        answers = make_project(folder, [street(seed=seed) for seed in range(2)])
        looking = answers.with_name("looking.py")
        looking.write_text(LOOKING, encoding="utf-8")
        made = Bench(answers, looking)
        made.shelf.refresh()
        made.session.open(folder / "Streets")
        yield made
        made.close()


@pytest.fixture
def room(qtbot, bench):
    session = bench.session
    qtbot.waitUntil(lambda: "looking/net" in {each.key for each in bench.shelf.runnable}, timeout=WAIT)
    qtbot.waitUntil(lambda: bool(session.images), timeout=WAIT)
    session.go(session.images[0].id)
    qtbot.waitUntil(lambda: session.image is not None and session.image.complete, timeout=WAIT)
    qtbot.waitUntil(lambda: session.label_map is not None, timeout=WAIT)
    made = whole(AttentionRoom(bench.services))
    made.inspection.set_models([each for each in bench.shelf.runnable if each.key == "looking/net"])
    window = QWidget()
    column = QVBoxLayout(window)
    column.addWidget(made.option_bar())
    column.addWidget(made.widget(), 1)
    window.resize(1500, 900)
    qtbot.addWidget(window)
    window.show()
    qtbot.waitExposed(window)
    made.activated()
    inspection = made.inspection
    qtbot.waitUntil(
        lambda: inspection.result(inspection.front_slot, inspection.active_pin) is not None, timeout=WAIT
    )
    yield made
    made.deactivated()
    made.setParent(None)
    made.deleteLater()


def view_point(room, x: float, y: float) -> QPoint:
    return room.view.canvas.to_view(QPointF(x + 0.5, y + 0.5)).toPoint()


def answered(qtbot, room, x: int, y: int):
    """The front map's answer to exactly this pixel."""
    inspection = room.inspection

    def is_there() -> bool:
        result = inspection.result(inspection.front_slot, inspection.active_pin)
        return result is not None and (result.query.x, result.query.y) == (x, y)

    qtbot.waitUntil(is_there, timeout=WAIT)
    return inspection.result(inspection.front_slot, inspection.active_pin)


def test_a_map_is_seen_before_anybody_clicks(room):
    inspection = room.inspection
    result = inspection.result(inspection.front_slot, inspection.active_pin)
    assert result.values.shape == (128 // STRIDE, 192 // STRIDE)
    assert result.values.sum() == pytest.approx(1.0, abs=1e-4)
    assert room.view.grid_text == f"stride {STRIDE} · {192 // STRIDE} × {128 // STRIDE} cells"
    assert room.view.detail_text == "row of q1 · sums to 1.000"


def test_a_click_moves_the_query_and_the_cell_is_the_one_clicked(qtbot, room):
    target = view_point(room, 150, 20)
    qtbot.mouseClick(room.view.canvas, Qt.MouseButton.LeftButton, pos=target)
    pin = room.inspection.active_pin
    assert abs(pin.x - 150) <= 1 and abs(pin.y - 20) <= 1
    result = answered(qtbot, room, pin.x, pin.y)
    assert result.query_cell == (pin.y // STRIDE, pin.x // STRIDE)


def test_dragging_ends_on_the_last_pixel_without_asking_for_all_of_them(qtbot, room, bench):
    canvas = room.view.canvas
    asked: list[PixelQuery] = []
    original = bench.worker.request

    def counted(op, **arguments):
        if op == "probe" and arguments["probe"] == "row":
            asked.append(arguments["query"])
        return original(op, **arguments)

    bench.worker.request = counted
    try:
        qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=view_point(room, 20, 100))
        for x in range(20, 180, 2):
            qtbot.mouseMove(canvas, view_point(room, x, 100))
        qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=view_point(room, 178, 100))
        pin = room.inspection.active_pin
        result = answered(qtbot, room, pin.x, pin.y)
    finally:
        del bench.worker.request
    assert abs(pin.x - 178) <= 1
    assert result.query_cell == (pin.y // STRIDE, pin.x // STRIDE)
    assert 0 < len(asked) < 80, "queries that nobody waits for any longer are never asked"


def test_shift_click_pins_and_arrows_move_by_one_cell(qtbot, room):
    canvas, inspection = room.view.canvas, room.inspection
    qtbot.mouseClick(
        canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, view_point(room, 40, 60)
    )
    assert [pin.name for pin in inspection.pins] == ["q1", "q2"]
    assert inspection.active_pin.number == 2
    before = inspection.active_pin
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key.Key_Right)
    assert inspection.active_pin.x - before.x in (1, STRIDE)
    answered(qtbot, room, inspection.active_pin.x, inspection.active_pin.y)
    before = inspection.active_pin
    qtbot.keyClick(canvas, Qt.Key.Key_Down)
    assert inspection.active_pin.y - before.y == STRIDE
    table = room.pins.table
    qtbot.waitUntil(lambda: len(table.table_model.rows) == 2)
    rect = table.visualRect(table.table_model.index(0, 1))
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=rect.center())
    assert inspection.active_pin.number == 1
    qtbot.keyClick(canvas, Qt.Key.Key_Delete)
    assert [pin.number for pin in inspection.pins] == [2]


def test_figures_follow_the_map(qtbot, room, bench):
    target = view_point(room, 100, 10)
    qtbot.mouseClick(room.view.canvas, Qt.MouseButton.LeftButton, pos=target)
    pin = room.inspection.active_pin
    result = answered(qtbot, room, pin.x, pin.y)

    def row():
        return next(each for each in room.pins.table.table_model.rows if each.number == pin.number)

    qtbot.waitUntil(lambda: row().entropy == pytest.approx(entropy_bits(result.values)), timeout=WAIT)
    labels = bench.session.label_map.array
    space = bench.services.predictions.space
    mass = mass_by_class(result.values, result.stride, result.offset, labels, space.size)
    own = mass[int(labels[pin.y, pin.x])]
    qtbot.waitUntil(lambda: row().own_share == pytest.approx(own), timeout=WAIT)
    rows = room.mass.table.table_model
    qtbot.waitUntil(lambda: rows.rows[0].shares[0] == pytest.approx(mass.max()), timeout=WAIT)


def test_small_multiples_show_every_probe_and_a_press_enlarges(qtbot, room):
    tiles = list(room.multiples.tiles.values())
    assert [tile.slot.spec.id for tile in tiles] == ["row", "channels"]
    qtbot.waitUntil(lambda: all(tile.result is not None for tile in tiles), timeout=WAIT)
    assert tiles[1].result.values.shape == (3, 3) and tiles[1].result.signed
    qtbot.mouseClick(tiles[1], Qt.MouseButton.LeftButton, pos=QPoint(30, 60))
    assert room.inspection.front_slot.spec.id == "channels"
    assert room.view.figure.isVisible() and not room.view.canvas.isVisible()
    room.inspection.set_front(room.inspection.front, "row")
    assert room.view.canvas.isVisible()


def test_the_scale_changes_colours_and_marks_the_value_under_the_cursor(qtbot, room):
    canvas = room.view.canvas
    pictures = []
    for place in range(3):
        room.scale.kinds.set_current(place)
        pictures.append(picture(canvas))
    assert (pictures[0] != pictures[1]).any()
    qtbot.mouseMove(canvas, view_point(room, 100, 60))
    cell = room.view.heat.cell_at(*[value + 0.5 for value in canvas.viewport.cursor_pixel])
    value = float(room.view.heat.cells[cell])
    expected = room.view.heat.scale.position(value, room.view.heat.top)
    assert room.scale.bar.mark == pytest.approx(expected)


def picture(widget) -> np.ndarray:
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].copy()


def test_a_switch_is_asked_for_and_marked_as_not_trained(qtbot, room):
    inspection = room.inspection
    pin = inspection.active_pin
    trained = answered(qtbot, room, pin.x, pin.y)
    inspection.set_switches({"sharpness": 0})
    flat = answered(qtbot, room, pin.x, pin.y)
    assert flat is not trained
    assert flat.values.max() == pytest.approx(flat.values.min()), "sharpness 0 attends to all cells alike"
    assert entropy_bits(flat.values) == pytest.approx(math.log2(flat.values.size), abs=1e-3)
    assert room.view.is_marked_changed
    inspection.set_switches({})
    assert not room.view.is_marked_changed


def test_export_writes_the_values_and_the_picture(qtbot, room, tmp_path):
    pin = room.inspection.active_pin
    result = answered(qtbot, room, pin.x, pin.y)
    room.maps.export_to(tmp_path / "map.npy")
    assert (np.load(tmp_path / "map.npy") == result.values).all()
    room.maps.export_to(tmp_path / "map.png")
    written = QImage(str(tmp_path / "map.png"))
    assert (written.width(), written.height()) == (192, 128)


def test_the_cost_badge_tells_scores_and_bytes_beside_full_attention(qtbot, room):
    room.inspection.move_query(40, 90)
    answered(qtbot, room, 40, 90)
    texts = [tag.text() for tag in room.cost.findChildren(QLabel) if tag.isVisible()]
    assert "scores 27\u202f552 a hop · 108 KiB" in texts  # 287 scores for each of 8 x 12 cells
    assert "full 9\u202f216 · 36.0 KiB" in texts


def test_mass_of_a_map_with_both_signs_says_that_it_is_of_magnitudes(qtbot, room):
    room.inspection.move_query(40, 90)
    answered(qtbot, room, 40, 90)
    inspection = room.inspection
    slot, pin = inspection.front_slot, inspection.active_pin
    result = inspection.result(slot, pin)
    room._show_figures()
    assert "|w|" not in room.mass._count.text()
    both = replace(result, values=result.values - result.values.mean(), signed=True, rows_sum_to_one=False)
    inspection._take((slot, pin.number), both)
    room._show_figures()
    assert "of mass (|w|) by ground truth" in room.mass._count.text()
    assert room.mass.table.table_model.heads[0].endswith("(|w|)")


def test_classes_of_an_unlabelled_picture_come_from_the_final_mask_and_not_from_a_side_output(
    qtbot, bench, room
):
    session, predictions, front = bench.session, bench.services.predictions, room.inspection.front
    session.go(session.images[1].id)  # has no labels
    qtbot.waitUntil(
        lambda: predictions.get(prediction_key(front), session.current.id) is not None, timeout=WAIT
    )
    final = predictions.get(prediction_key(front), session.current.id)
    seen = prediction_key(front.with_output("auxiliary"))
    assert seen.startswith(front.key)
    other = replace(final, key=seen, labels=np.full_like(final.labels, 7))
    kept = dict(predictions._results)
    predictions._results.clear()
    predictions._results.update({(seen, session.current.id): other, **kept})
    labels, source = room._labels()
    assert source == "its own mask" and labels is final.labels
    del predictions._results[(seen, session.current.id)]


def test_entropy_distance_and_mass_of_known_maps():
    one = np.zeros((4, 6), np.float32)
    one[1, 2] = 5.0
    flat = np.ones((4, 6), np.float32)
    assert entropy_bits(one) == 0.0
    assert entropy_bits(flat) == pytest.approx(math.log2(24))
    assert mean_distance(one, (8, 8), (0, 0), x=20.0, y=12.0) == pytest.approx(0.0)
    assert mean_distance(one, (8, 8), (0, 0), x=20.0, y=20.0) == pytest.approx(8.0)
    labels = np.zeros((32, 48), np.uint8)
    labels[:, 24:] = 1
    labels[:4] = 255
    mass = mass_by_class(flat, (8, 8), (0, 0), labels, 2)
    assert mass.sum() == pytest.approx(1.0)
    assert mass[2] == pytest.approx(4 / 32)
    assert mass[0] == pytest.approx(mass[1])
    signed = np.array([[1.0, -1.0]], np.float32)
    assert mass_by_class(signed, (32, 24), (0, 0), labels, 2)[:2] == pytest.approx([0.4375, 0.4375])
    assert dependence([one, flat]) == pytest.approx(1 - 1 / 24)
    assert dependence([flat, flat]) == 0.0


def test_a_map_with_all_its_weight_in_one_cell_lights_one_cell_and_says_so():
    values = np.full((30, 40), 1e-7, np.float32)
    values[4, 5] = 1.0
    scale = HeatScale("clip")
    lit = scale.indices(values, scale.top_of(values)) > 8
    assert np.argwhere(lit).tolist() == [[4, 5]], "the percentile lies among weights of nothing"
    assert spread_words(values, entropy_bits(values)) == "99.9 % in one cell"
    flat = np.ones((4, 4), np.float32)
    assert spread_words(flat, entropy_bits(flat)) == "4.00 bits"
    assert scale.top_of(flat) == 1.0
    broad = np.linspace(0.5, 1, 1000, dtype=np.float32).reshape(20, 50)
    assert scale.top_of(broad) == pytest.approx(np.percentile(broad, 99.4)), "as before"


def test_the_entropy_of_a_row_counts_what_goes_to_a_class_token():
    row = np.array([[0.25, 0.25], [0.125, 0.125]], np.float32)
    facts = {
        "query": PixelQuery(0, 0, 0), "kind": "map", "stride": (8.0, 8.0), "offset": (0.0, 0.0), "labels": (),
        "signed": False, "query_cell": (0, 0), "notes": (), "tile": None, "ms": 0.0,
    }  # fmt: skip
    told = {"other_tokens": 0.25, "entropy_bits": 2.25}
    whole = ProbeResult(values=row, rows_sum_to_one=False, extras=told, **facts)
    assert whole.entropy == 2.25 and spread_words(row, whole.entropy) == "2.25 bits"
    assert ProbeResult(values=row, rows_sum_to_one=False, extras={}, **facts).entropy is None
    alone = np.array([[0.004, 0.0]], np.float32)
    assert spread_words(alone, 0.04) == "0.04 bits", "the class token has the rest, not the cell"
    plain = ProbeResult(values=row / 0.75, rows_sum_to_one=True, extras={}, **facts)
    assert plain.entropy == pytest.approx(entropy_bits(row))
