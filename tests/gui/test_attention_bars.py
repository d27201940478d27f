"""The Attention tab's answers that are no plain map: named bars, hatched cells, counted taps. Real worker."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QImage
from PySide6.QtWidgets import QApplication, QToolTip, QVBoxLayout, QWidget

from segstudio.core.taxonomies import load_taxonomy
from segstudio.runtime.attention import PixelQuery, ProbeResult
from segstudio.ui.attention.bars import chart_of, chart_size, lay_out
from segstudio.ui.attention.figures import paint_vector
from segstudio.ui.attention.multiples import HEAD
from segstudio.ui.attention.room import AttentionRoom
from tests.gui.bars_plugin import BARS
from tests.gui.conftest import whole
from tests.gui.street_project import Bench, make_project, street

WAIT = 180_000
STRIDE = 16
LABELLED = {"Sky", "Building", "Road", "Pavement", "Car"}


@pytest.fixture(scope="module")
def bench(qapp, tmp_path_factory):
    """One project with one worker and one reader for all tests of this file."""
    folder = tmp_path_factory.mktemp("bars")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGSTUDIO_HOME", str(folder / "home"))
        answers = make_project(folder, [street(seed=seed) for seed in range(2)])
        plugin = answers.with_name("bars.py")
        plugin.write_text(BARS, encoding="utf-8")
        made = Bench(plugin)
        made.shelf.refresh()
        made.session.open(folder / "Streets")
        yield made
        made.close()


@pytest.fixture
def room(qtbot, bench):
    session = bench.session
    qtbot.waitUntil(lambda: "bars/net" in {each.key for each in bench.shelf.runnable}, timeout=WAIT)
    qtbot.waitUntil(lambda: bool(session.images), timeout=WAIT)
    session.go(session.images[0].id)
    qtbot.waitUntil(lambda: session.image is not None and session.image.complete, timeout=WAIT)
    qtbot.waitUntil(lambda: session.label_map is not None, timeout=WAIT)
    made = whole(AttentionRoom(bench.services))
    made.inspection.set_models([each for each in bench.shelf.runnable if each.key == "bars/net"])
    window = QWidget()
    column = QVBoxLayout(window)
    column.addWidget(made.option_bar())
    column.addWidget(made.widget(), 1)
    window.resize(1500, 900)
    qtbot.addWidget(window)
    window.show()
    qtbot.waitExposed(window)
    made.activated()
    yield made
    made.deactivated()
    made.setParent(None)
    made.deleteLater()


def enlarge(qtbot, room, probe: str):
    """Presses a small map, as a person does, and waits for its answer."""
    tile = next(t for s, t in room.multiples.tiles.items() if s.spec.id == probe)
    qtbot.waitUntil(lambda: tile.result is not None, timeout=WAIT)
    room.multiples.ensureWidgetVisible(tile)
    qtbot.mouseClick(tile, Qt.MouseButton.LeftButton, pos=QPoint(40, 8))
    assert room.inspection.front_slot.spec.id == probe
    return next(t for s, t in room.multiples.tiles.items() if s.spec.id == probe)


def click(qtbot, room, x: int, y: int):
    """Asks for a pixel by the mouse; gives the answer to it."""
    at = room.view.canvas.to_view(QPointF(x + 0.5, y + 0.5)).toPoint()
    qtbot.mouseClick(room.view.canvas, Qt.MouseButton.LeftButton, pos=at)
    inspection = room.inspection

    def is_there() -> bool:
        pin, result = inspection.active_pin, inspection.result(inspection.front_slot, inspection.active_pin)
        return result is not None and (result.query.x, result.query.y) == (pin.x, pin.y)

    qtbot.waitUntil(is_there, timeout=WAIT)
    return inspection.result(inspection.front_slot, inspection.active_pin)


def pixels(widget) -> np.ndarray:
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)


def place_of(room, name: str):
    """Where the bar of this name lies in the large figure, in the figure's points."""
    figure = room.view.figure
    layout = lay_out(figure.chart, figure.body.size())
    place = next(place for place in layout.places if place.bar.name == name)
    return place, QPointF(figure.body.topLeft())


def test_branch_times_keep_their_order_their_names_and_their_unit(qtbot, room):
    enlarge(qtbot, room, "times")
    chart = room.view.figure.chart
    assert [bar.name for bar in chart.bars] == ["light", "shared", "deep"]
    assert [chart.words(bar) for bar in chart.bars] == ["3.25 ms", "40.5 ms", "12.1 ms"]
    for name, exact in (("light", "3.25 ms"), ("deep", "12.125 ms")):
        place, corner = place_of(room, name)
        qtbot.mouseMove(room.view.figure, (place.row.center() + corner).toPoint())
        qtbot.waitUntil(lambda: room.view.figure.pointed is not None)
        assert (room.view.figure.pointed.title, room.view.figure.pointed.value) == (name, exact)
    drawn = pixels(room.view.figure)
    place, corner = place_of(room, "shared")
    for part in (place.name, place.value):
        area = part.translated(corner).toRect()
        found = drawn[area.top() : area.bottom(), area.left() : area.right()]
        assert np.ptp(found.sum(2)) > 200, "the words are drawn"


@pytest.mark.qt_log_ignore("This plugin does not support")  # of the screen that is none, about tips
def test_presence_names_classes_and_marks_those_that_are_labelled(qtbot, room):
    tile = enlarge(qtbot, room, "presence")
    chart = room.view.figure.chart
    names = [entry.name for entry in load_taxonomy("street").classes]
    assert [bar.name for bar in chart.bars] == names
    assert {bar.name for bar in chart.bars if bar.present} == LABELLED
    assert all(bar.present is not None for bar in chart.bars)
    place, corner = place_of(room, "Car")
    qtbot.mouseMove(room.view.figure, (place.track.center() + corner).toPoint())
    pointed = room.view.figure.pointed
    assert (pointed.title, pointed.detail) == ("Car", "labelled here")
    dots = {}
    drawn = pixels(room.view.figure)
    for name in ("Car", "Tree"):
        at = (place_of(room, name)[0].row.topLeft() + corner).toPoint() + QPoint(5, 0)
        middle = at.y() + round(place.row.height() / 2)
        dots[name] = drawn[middle, at.x()]
    ground = drawn[3, 3]
    assert abs(dots["Car"] - ground).sum() > 60, "a dot is filled"
    assert abs(dots["Tree"] - ground).sum() < 20, "a ring is empty"
    small = lay_out(chart, QSize(tile.width(), tile.height() - HEAD))
    assert small.foot_words in ("", f"first {len(small.places)} of 11")
    row = lay_out(chart, QSize(tile.width(), tile.height() - HEAD)).places[0].row
    at = (row.center() + QPointF(0, HEAD)).toPoint()
    QApplication.sendEvent(tile, QHelpEvent(QEvent.Type.ToolTip, at, tile.mapToGlobal(at)))
    qtbot.waitUntil(lambda: QToolTip.text() == f"{names[0]}: 0.95")


def test_a_class_painted_in_is_marked_as_present_at_once(qtbot, room, bench):
    enlarge(qtbot, room, "presence")
    session = bench.session
    tree = next(each.id for each in session.classes if each.name == "Tree")
    recorder = session.edits.begin_stroke()
    recorder.touch(0, 0, 8, 8)
    session.label_map.array[:8, :8] = tree
    session.edits.finish_stroke("brush", tree)

    def is_tree_present() -> bool:
        return next(bar for bar in room.view.figure.chart.bars if bar.name == "Tree").present

    qtbot.waitUntil(is_tree_present, timeout=WAIT)
    session.edits.undo()
    qtbot.waitUntil(lambda: not is_tree_present(), timeout=WAIT)


def test_of_many_channels_the_largest_come_first_and_the_strip_tells_the_others(qtbot, room):
    enlarge(qtbot, room, "gates")
    figure = room.view.figure
    values = room.inspection.result(room.inspection.front_slot, None).values
    layout = lay_out(figure.chart, figure.body.size())
    shown = [place.bar for place in layout.places]
    assert shown[0].place == int(values.argmax()) and shown[0].name == str(shown[0].place)
    assert [bar.value for bar in shown] == sorted(values.tolist(), reverse=True)[: len(shown)]
    assert layout.foot_words == f"largest {len(shown)} of 512"
    corner = QPointF(figure.body.topLeft())
    at = layout.strip.center() + corner
    qtbot.mouseMove(figure, at.toPoint())
    pointed = figure.pointed
    assert pointed is not None and float(pointed.value) == pytest.approx(values[int(pointed.title)])
    assert int(pointed.title) not in {bar.place for bar in shown}


def test_signed_values_leave_zero_on_both_sides(qtbot, room):
    enlarge(qtbot, room, "signed")
    figure = room.view.figure
    assert figure.chart.words(figure.chart.bars[0]) == "\u22122"
    drawn = pixels(figure)
    (first, corner), (second, _) = place_of(room, "a"), place_of(room, "b")

    def color_at(place, share: float):
        point = QPointF(place.track.x() + share * place.track.width(), place.track.center().y()) + corner
        return drawn[round(point.y()), round(point.x())]

    ground = drawn[3, 3]
    assert abs(color_at(first, 0.3) - ground).sum() > 60, "-2 reaches left of zero"
    assert abs(color_at(first, 0.9) - ground).sum() < 20
    assert abs(color_at(second, 0.9) - ground).sum() > 60, "1 reaches right of zero"
    assert abs(color_at(second, 0.3) - ground).sum() < 20


def test_cells_beyond_the_map_are_hatched(qtbot, room):
    enlarge(qtbot, room, "reach")
    result = click(qtbot, room, 8, 8)
    assert result.extras["reach"] == [0, 0, 4, 4]
    assert "hatched: beyond the map" in room.view.detail_text
    canvas = room.view.canvas
    drawn = pixels(canvas)

    def spread(row: int, column: int) -> float:
        corners = [
            QPointF(column * STRIDE + 2, row * STRIDE + 2),
            QPointF((column + 1) * STRIDE - 2, (row + 1) * STRIDE - 2),
        ]
        first, last = (canvas.to_view(each).toPoint() for each in corners)
        return float(drawn[first.y() : last.y(), first.x() : last.x()].sum(2).std())

    assert spread(1, 9) > 3 * spread(2, 2), "lines over the cells it does not reach, none over the others"
    at = canvas.to_view(QPointF(9.5 * STRIDE, 1.5 * STRIDE)).toPoint()
    qtbot.mouseMove(canvas, at)
    assert any("beyond the map" in plain for _, plain, _ in canvas.cell_lines())
    result = click(qtbot, room, 100, 60)
    assert result.extras["reach"] != [0, 0, 4, 4]


def test_the_raw_map_is_hatched_where_an_offset_leaves_the_picture(qtbot, room):
    enlarge(qtbot, room, "reach")
    click(qtbot, room, 8, 8)
    enlarge(qtbot, room, "raw")
    figure, inspection = room.view.figure, room.inspection
    qtbot.waitUntil(
        lambda: (
            inspection.result(inspection.front_slot, inspection.active_pin).extras["window"] == [3, 3, 7, 7]
        ),
        timeout=WAIT,
    )
    assert figure.isVisible() and "hatched" in room.view.detail_text
    drawn = pixels(figure)
    side = min(figure.body.width(), figure.body.height())
    left, top = (figure.width() - side) // 2, (figure.height() - side) // 2
    cell = side / 7

    def spread(row: int, column: int) -> float:
        y, x = round(top + row * cell + 4), round(left + column * cell + 4)
        return float(drawn[y : y + round(cell) - 8, x : x + round(cell) - 8].sum(2).std())

    assert spread(1, 1) > 20 and spread(5, 1) > 20
    assert spread(5, 5) < 1, "offsets on the picture stay plain"


def test_taps_on_the_map_are_counted_for_each_rate(qtbot, room):
    tile = enlarge(qtbot, room, "taps")
    click(qtbot, room, 8, 8)
    assert room.view.canvas.tap_words() == [
        ("rate 2", "4 of 9 taps on the map"),
        ("rate 6", "4 of 9 taps on the map" if 128 // STRIDE > 6 else "2 of 9 taps on the map"),
    ]
    click(qtbot, room, 100, 60)
    held = room.inspection.result(room.inspection.front_slot, room.inspection.active_pin).extras["valid"]
    assert held["2"] == 9 and held["6"] < 9
    assert tile.note == f"9, {held['6']} of 9 taps"


def test_export_of_bars_writes_every_name(qtbot, room, tmp_path):
    enlarge(qtbot, room, "gates")
    room.maps.export_to(tmp_path / "gates.png")
    written = QImage(str(tmp_path / "gates.png"))
    size = chart_size(room.view.figure.chart)
    assert (written.width(), written.height()) == (size.width(), size.height())
    assert len(lay_out(room.view.figure.chart, size).places) == 512


def vector(values, **other) -> ProbeResult:
    facts = {"labels": (), "signed": False, "rows_sum_to_one": False, "extras": {}} | other
    return ProbeResult(
        query=PixelQuery(1, 0, 0), values=np.asarray(values, np.float32), kind="vector", stride=(1, 1),
        offset=(0, 0), query_cell=None, notes=(), tile=None, ms=1.0, **facts,
    )  # fmt: skip


def test_names_values_and_truth_of_a_vector():
    names, values = ("Sky", "Road", "Car"), (0.25, 0.5, 0.25)
    classes = chart_of(vector(values), class_names=names, present=frozenset({1}))
    assert [(bar.name, bar.present) for bar in classes.bars] == [
        ("Sky", False),
        ("Road", True),
        ("Car", False),
    ]
    labelled = chart_of(vector(values, labels=("a", "b", "c")), class_names=names, present=frozenset({1}))
    assert [(bar.name, bar.present) for bar in labelled.bars] == [("a", None), ("b", None), ("c", None)]
    plain = chart_of(vector((1.0, 2.0)), class_names=names)
    assert [bar.name for bar in plain.bars] == ["0", "1"] and not plain.has_truth
    shares = chart_of(vector(values, rows_sum_to_one=True))
    assert shares.words(shares.bars[1]) == "50 %" and shares.exact_words(shares.bars[1]) == "0.5 (50 %)"
    unit = chart_of(vector(values, extras={"unit": "GFLOPs"}))
    assert unit.words(unit.bars[0]) == "0.25 GFLOPs"
    assert lay_out(chart_of(vector(())), QSize(200, 100)).places == ()


def test_drawing_many_bars_fits_a_frame(qapp):
    result, size, drawn_in = vector(np.random.default_rng(0).random(2048)), QSize(800, 600), []
    for _ in range(5):
        begun = time.thread_time()  # the tests share their cores
        drawn = paint_vector(chart_of(result), size)
        drawn_in.append(time.thread_time() - begun)
    assert drawn.size() == size
    assert min(drawn_in) < 0.016
