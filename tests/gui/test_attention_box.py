"""Attention about a box drawn on the picture: by mouse, in the classes' colours, beside the picture."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, QSize, Qt
from PySide6.QtWidgets import QVBoxLayout, QWidget

from segstudio.runtime.attention import PixelQuery, ProbeResult
from segstudio.ui.attention.figures import Look, paint_images
from segstudio.ui.attention.room import AttentionRoom
from tests.gui.conftest import whole
from tests.gui.looking_plugin import LOOKING
from tests.gui.street_project import Bench, make_project, street

WAIT = 180_000
BOX = """
class BoxProbe(RowProbe):
    def map(self, kept, query, height=32, width=32):
        import numpy as np

        values = np.stack([np.full((4, 4), index, np.float32) for index in (3, 4)])
        return ProbeMap(
            values, kind="images", stride=(height / 4, width / 4),
            offset=(query.y - height / 2, query.x - width / 2), labels=("2x2", "4x4"),
            extras={"classes": True},
        )


def box():
    return BoxProbe()


PROBES = (
    ProbeSpec(
        "box", "Box", "looking:box", kind="images", group="Box", rows_sum_to_one=False,
        options=(Option("height", "int", 32, "", (), 7, 999), Option("width", "int", 32, "", (), 7, 999)),
    ),
"""
PLUGIN = LOOKING.replace("PROBES = (\n", BOX, 1).replace("import ModelSpec,", "import ModelSpec, Option,", 1)


@pytest.fixture(scope="module")
def bench(qapp, tmp_path_factory):
    folder = tmp_path_factory.mktemp("box")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGSTUDIO_HOME", str(folder / "home"))
        answers = make_project(folder, [street(seed=0)])
        looking = answers.with_name("looking.py")
        looking.write_text(PLUGIN, encoding="utf-8")
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
    made = whole(AttentionRoom(bench.services))
    made.inspection.set_models([each for each in bench.shelf.runnable if each.key == "looking/net"])
    made.inspection.set_front(made.inspection.models[0], "box")
    window = QWidget()
    column = QVBoxLayout(window)
    column.addWidget(made.option_bar())
    column.addWidget(made.widget(), 1)
    window.resize(1500, 900)
    qtbot.addWidget(window)
    window.show()
    qtbot.waitExposed(window)
    made.activated()
    qtbot.waitUntil(lambda: answer(made) is not None, timeout=WAIT)
    yield made
    made.deactivated()
    made.setParent(None)
    made.deleteLater()


def answer(room: AttentionRoom) -> ProbeResult | None:
    return room.inspection.result(room.inspection.front_slot, room.inspection.active_pin)


def at(room: AttentionRoom, x: float, y: float) -> QPoint:
    return room.view.canvas.to_view(QPointF(x, y)).toPoint()


def chosen(room: AttentionRoom) -> dict[str, object]:
    return dict(room.inspection.front_slot.options)


def drag(qtbot, room: AttentionRoom, start: tuple[float, float], end: tuple[float, float]) -> None:
    canvas = room.view.canvas
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=at(room, *start))
    qtbot.mouseMove(canvas, at(room, (start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
    qtbot.mouseMove(canvas, at(room, *end))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=at(room, *end))


def test_a_drag_draws_the_box_beside_its_answer(qtbot, room):
    assert room.view.canvas.isVisible() and room.view.figure.isVisible()
    assert "drag draws the box" in room.view.detail_text
    drag(qtbot, room, (20, 10), (80, 50))
    scale = room.view.canvas.viewport.scale
    assert chosen(room)["width"] == pytest.approx(60, abs=1 + 2 / scale)
    assert chosen(room)["height"] == pytest.approx(40, abs=1 + 2 / scale)
    pin = room.inspection.active_pin
    assert (pin.x, pin.y) == (pytest.approx(50, abs=2), pytest.approx(30, abs=2))
    qtbot.waitUntil(lambda: answer(room) is not None, timeout=WAIT)
    assert answer(room).stride == pytest.approx((chosen(room)["height"] / 4, chosen(room)["width"] / 4))
    assert room.view.tool.box == (chosen(room)["height"], chosen(room)["width"])
    size = f"{chosen(room)['width']} × {chosen(room)['height']} pixels"
    qtbot.waitUntil(lambda: size in room.view.detail_text, timeout=WAIT)


def test_a_press_alone_moves_the_box_as_it_is(qtbot, room):
    before = room.view.tool.box
    qtbot.mouseClick(room.view.canvas, Qt.MouseButton.LeftButton, pos=at(room, 30.5, 40.5))
    pin = room.inspection.active_pin
    assert (pin.x, pin.y) == (pytest.approx(30, abs=1), pytest.approx(40, abs=1))
    assert room.view.tool.box == before


def test_a_drag_moves_the_query_where_the_map_is_about_a_pixel(qtbot, room):
    room.inspection.set_front(room.inspection.front, "row")
    assert room.view.tool.box is None and not room.view.figure.isVisible()
    drag(qtbot, room, (20.5, 10.5), (70.5, 40.5))
    pin = room.inspection.active_pin
    assert (pin.x, pin.y) == (pytest.approx(70, abs=1), pytest.approx(40, abs=1))


def _images(**changes) -> ProbeResult:
    values = np.stack([np.full((4, 4), index, np.float32) for index in (1, 0)])
    facts = {"stride": (1.0, 1.0), "labels": ("first", "second"), "extras": {"classes": True}} | changes
    return ProbeResult(
        PixelQuery(1, 0, 0), values, "images", facts["stride"], (0.0, 0.0), facts["labels"], False, False,
        None, (), facts["extras"], None, 0.0,
    )  # fmt: skip


def test_images_of_classes_have_the_classes_colours_names_and_the_box_s_shape(qapp):
    look = Look(classes=((200, 10, 20), (30, 140, 50)))
    drawn = paint_images(_images(), QSize(400, 220), look)
    assert drawn.pixelColor(100, 120).getRgb()[:3] == (30, 140, 50)
    assert drawn.pixelColor(300, 120).getRgb()[:3] == (200, 10, 20)
    background = drawn.pixelColor(0, 0)
    named = [drawn.pixelColor(x, y) for y in range(18) for x in range(60, 140)]
    assert any(color != background for color in named), "its name stands over an image"
    unnamed = paint_images(_images(labels=()), QSize(400, 200), look)
    assert unnamed.pixelColor(100, 5).getRgb()[:3] == (30, 140, 50), "no room is kept for no names"
    wide = paint_images(_images(stride=(1.0, 4.0)), QSize(400, 400), look)
    rows = [y for y in range(400) if wide.pixelColor(200, y).getRgb()[:3] == (30, 140, 50)]
    columns = [
        x for x in range(400) if wide.pixelColor(x, rows[len(rows) // 2]).getRgb()[:3] == (30, 140, 50)
    ]
    assert len(columns) / len(rows) == pytest.approx(4, rel=0.1)
