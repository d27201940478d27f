"""Which output of a network a pane of Compare shows: chosen by mouse, scored, titled, kept (real worker)."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from segstudio.core.metrics import mean_iou
from segstudio.core.taxonomies import load_taxonomy
from segstudio.plugin_api import SwitchSpec
from segstudio.ui.compare.class_table import signed
from segstudio.ui.compare.pane_header import PaneHeader, _Name
from segstudio.ui.compare.room import CompareRoom
from segstudio.ui.compare.switches import SwitchesCard
from tests.gui.conftest import turns_taken, whole
from tests.gui.side_outputs_plugin import SIDE_OUTPUTS
from tests.gui.street_project import Bench, make_project, street

WAIT = 180_000
LEFT = Qt.MouseButton.LeftButton
pytestmark = pytest.mark.qt_log_ignore(
    "This plugin does not support"
)  # of the screen that is none, about lists


@pytest.fixture(scope="module")
def bench(qapp, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGSTUDIO_HOME", str(folder / "home"))
        make_project(folder, [street(seed=seed) for seed in range(3)])
        plugin = folder / "sides.py"
        colors = [tuple(map(float, entry.color)) for entry in load_taxonomy("street").classes]
        plugin.write_text(SIDE_OUTPUTS.format(colors=colors), encoding="utf-8")
        made = Bench(plugin)
        made.shelf.refresh()
        made.session.open(folder / "Streets")
        yield made
        made.close()


@pytest.fixture
def room(qtbot, bench):
    session = bench.session
    qtbot.waitUntil(lambda: "sides/net" in {each.key for each in bench.shelf.runnable}, timeout=WAIT)
    qtbot.waitUntil(lambda: bool(session.images), timeout=WAIT)
    session.remember("compare.panes", [{"kind": "truth"}])
    session.saving.flush()
    session.go(session.images[0].id)
    qtbot.waitUntil(lambda: session.image is not None and session.image.complete, timeout=WAIT)
    qtbot.waitUntil(lambda: session.label_map is not None, timeout=WAIT)
    made = whole(CompareRoom(bench.services))
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
    made.runs.stop()
    made.scores.close()
    made.setParent(None)
    made.deleteLater()


def add(qtbot, bench, room, name: str):
    """A pane of this model, once it stands on screen."""
    room.bar.add_wanted.emit("model", next(each for each in bench.shelf.runnable if each.key == name))
    number = room.comparison.models[-1].number
    qtbot.waitUntil(lambda: room.stage.view_of(number) is not None, timeout=WAIT)
    turns_taken(qtbot)
    return number


def press_name(room, number: int) -> SwitchesCard | None:
    """Presses a pane's name; gives the card that it opened."""
    name = room.stage.view_of(number).header.findChild(_Name)
    QTest.mouseClick(name, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(8, name.height() // 2))
    cards = [card for card in room.stage.findChildren(SwitchesCard) if card.isVisible()]
    return cards[-1] if cards else None


def choose(qtbot, card: SwitchesCard, output: str) -> None:
    """Opens the list of outputs and presses one."""
    box = card.outputs
    QTest.mouseClick(box, LEFT)
    view = box.view()
    qtbot.waitUntil(view.isVisible)
    rect = view.visualRect(box.model().index(box.findText(output), 0))

    def closed() -> bool:
        if view.isVisible():  # a list that opened just now takes a press for the end of the one before
            QTest.mouseMove(view.viewport(), rect.center())
            QTest.mouseClick(view.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, rect.center())
        return not view.isVisible()

    qtbot.waitUntil(closed, timeout=5000)


def wait_scored(qtbot, bench, room) -> None:
    image = bench.session.current.id
    qtbot.waitUntil(
        lambda: all(
            room.scores.get(pane.key, image) is not None and room.stage.result(pane) is not None
            for pane in room.comparison.models
        ),
        timeout=WAIT,
    )
    turns_taken(qtbot)


def test_one_model_stands_in_two_panes_with_two_outputs(qtbot, bench, room):
    first = add(qtbot, bench, room, "sides/net")
    second = add(qtbot, bench, room, "sides/net")
    card = press_name(room, second)
    assert [card.outputs.itemText(i) for i in range(card.outputs.count())] == ["Final", "coarse", "auxiliary"]
    choose(qtbot, card, "coarse")
    wait_scored(qtbot, bench, room)
    final, side = room.comparison.pane(first), room.comparison.pane(second)
    assert (final.title, side.title) == ("Colour net", "Colour net · output: coarse")
    assert room.stage.view_of(second).header.name_text == "Colour net · output: coarse"
    assert final.key != side.key

    masks = [room.stage.result(pane).labels for pane in (final, side)]
    labels = bench.session.label_map.array
    counted = labels != 255
    assert (masks[0] != masks[1]).any()
    assert (masks[0][counted] == labels[counted]).mean() > 0.9, "the final output knows the colours"
    for pane, mask in zip((final, side), masks, strict=True):
        expected = np.zeros((11, 11), np.int64)
        np.add.at(expected, (labels[counted], mask[counted]), 1)
        matrix = room.scores.get(pane.key, bench.session.current.id)
        assert (matrix[:, :-1] == expected).all()
        header = room.stage.view_of(pane.number).header
        assert header.score_text == f"mIoU {100 * mean_iou(expected, range(11)):.1f}"
        assert not [tag for tag in header.findChildren(QLabel, "Tag") if tag.isVisible()], "it is as trained"
    for table in (room.dock.cost, room.dock.measures):
        assert [row.name for row in table.table_model.rows] == ["Colour net", "Colour net · output: coarse"]
    assert room.dock.table.table_model.rows[0].second is not None
    references = [room.bar.reference.itemText(i) for i in range(room.bar.reference.count())]
    assert references[1:] == ["B · Colour net", "C · Colour net · output: coarse"]


def test_the_card_tells_how_far_the_output_is_from_the_final_one(qtbot, bench, room):
    number = add(qtbot, bench, room, "sides/net")
    card = press_name(room, number)

    def words() -> list[str]:
        return [each.text() for each in card.findChildren(QLabel)]

    assert "As trained" in words()
    choose(qtbot, card, "coarse")
    qtbot.waitUntil(lambda: any(text.startswith("mIoU ") for text in words()), timeout=WAIT)
    assert "Against the final output" in words()
    image = bench.session.current.id
    final, side = (
        mean_iou(room.scores.get(key, image), range(11)) for key in ("sides/net", "sides/net>coarse")
    )
    assert f"mIoU {signed(side - final)}" in words()
    choose(qtbot, card, "Final")
    assert "As trained" in words()
    assert room.comparison.pane(number).title == "Colour net"


def test_an_output_and_a_switch_go_together(qtbot, bench, room):
    number = add(qtbot, bench, room, "sides/net")
    card = press_name(room, number)
    choose(qtbot, card, "coarse")
    control = card.rows["see"]
    off = QPoint(control.width() * 3 // 4, control.height() // 2)
    QTest.mouseClick(control, LEFT, Qt.KeyboardModifier.NoModifier, off)
    pane = room.comparison.pane(number)
    assert (pane.runnable.output, dict(pane.switches)) == ("coarse", {"see": False})
    wait_scored(qtbot, bench, room)
    assert len(np.unique(room.stage.result(pane).labels)) == 1, "the switch blinds this output too"
    assert room.stage.result(pane).info["not_as_trained"]
    qtbot.waitUntil(
        lambda: "Against the trained model" in [each.text() for each in card.findChildren(QLabel)]
    )


def test_an_output_that_the_weights_lack_is_not_offered(qtbot, bench, room):
    number = add(qtbot, bench, room, "sides/net")
    wait_scored(qtbot, bench, room)
    box = press_name(room, number).outputs
    qtbot.waitUntil(
        lambda: [box.itemText(place) for place in range(box.count())] == ["Final", "coarse"], timeout=30_000
    )


def test_a_narrow_header_keeps_the_name_and_gives_up_the_scores_word_and_the_views_title(qtbot):
    window = QWidget()  # a window of its own could not be narrower than its layout wants
    header = PaneHeader()
    header.setParent(window)
    qtbot.addWidget(window)
    header.set_views(("mask", "error"), "error")
    header.set_name("E", "PSANet", opens=True, changed=False)
    header.set_score("mIoU 76.4")
    header.set_scale(0.75)
    header.resize(420, 28)
    window.show()
    assert (header._score.text(), header._view.text()) == ("mIoU 76.4", "Error")
    header.resize(206, 28)
    assert (header._score.text(), header._view.text()) == ("76.4", "")
    assert header.score_text == "mIoU 76.4" and "Error" in header._view.toolTip()


def test_weights_without_that_head_say_so_in_the_pane(qtbot, bench, room):
    number = add(qtbot, bench, room, "sides/net")
    with qtbot.waitSignal(bench.services.predictions.failed, timeout=WAIT) as failed:
        room.comparison.set_output(number, "auxiliary")
        room.run()
    sentence = "Colour net with these weights has no output 'auxiliary'. It has the final one and coarse."
    assert str(failed.args[2]).rstrip(".") == sentence.rstrip(".")
    view = room.stage.view_of(number)
    turns_taken(qtbot)
    assert "no output 'auxiliary'" in view.canvas.sentence


def test_a_network_shows_what_it_has(qtbot, bench, room):
    heads, bare = add(qtbot, bench, room, "sides/heads"), add(qtbot, bench, room, "sides/bare")
    card = press_name(room, heads)
    assert card.outputs is not None and not card.rows
    assert "Switches" not in [each.text() for each in card.findChildren(QLabel)]
    assert press_name(room, heads) is None, "the same press closes it"
    bare_card = press_name(room, bare)
    assert bare_card.outputs is None and not bare_card.rows and bare_card.scales is not None


def test_a_pane_shows_the_network_at_another_input_size(qtbot, bench, room):
    number = add(qtbot, bench, room, "sides/net")
    wait_scored(qtbot, bench, room)
    card = press_name(room, number)
    image = bench.session.image
    half = f"0.5× · {image.width // 2} × {image.height // 2}"
    assert card.scales.currentText() == f"1× · {image.width} × {image.height}"
    card.scales.setFocus()
    for _ in range(2):
        QTest.keyClick(card.scales, Qt.Key.Key_Up)
    assert card.scales.currentText() == half
    pane = room.comparison.pane(number)
    assert pane.title == "Colour net · at 0.5×" and "~0.5" in pane.key
    wait_scored(qtbot, bench, room)
    result = room.stage.result(pane)
    assert result.labels.shape == (image.height, image.width)
    assert any("Ran at 0.5 times" in note for note in result.info["notes"])
    header = room.stage.view_of(number).header
    assert (header.name_text, header.scale_text) == ("Colour net", "0.5×")
    qtbot.waitUntil(lambda: card._against.text() == "Against the own size" and "mIoU" in card._loss.text())
    bench.session.saving.flush()
    assert bench.session.project.settings.get("compare.panes", [])[1]["scale"] == 0.5
    again = CompareRoom(bench.services)
    assert [each.title for each in again.comparison.models] == ["Colour net · at 0.5×"]
    again.scores.close()
    again.setParent(None)
    again.deleteLater()


def test_a_sweep_puts_every_input_size_beside_the_others(qtbot, bench, room):
    number = add(qtbot, bench, room, "sides/net")
    QTest.mouseClick(press_name(room, number).sweep, LEFT)
    assert [pane.scale for pane in room.comparison.models] == [1.0, 0.5, 0.75, 1.25, 1.5, 2.0]
    wait_scored(qtbot, bench, room)
    image = bench.session.current.id
    matrices = [room.scores.get(pane.key, image) for pane in room.comparison.models]
    assert len({matrix.tobytes() for matrix in matrices}) > 2, "sizes differ in what they see"
    QTest.mouseClick(press_name(room, number).sweep, LEFT)
    assert len(room.comparison.models) == 6, "a size that is there already is not added again"


def test_the_output_is_kept_with_the_project(qtbot, bench, room):
    number = add(qtbot, bench, room, "sides/net")
    choose(qtbot, press_name(room, number), "coarse")
    bench.session.saving.flush()
    kept = bench.session.project.settings.get("compare.panes", [])
    assert [entry["output"] for entry in kept] == ["", "coarse"]
    again = CompareRoom(bench.services)
    assert [pane.title for pane in again.comparison.models] == ["Colour net · output: coarse"]
    bench.shelf.changed.emit()
    assert [pane.title for pane in room.comparison.models] == ["Colour net · output: coarse"]
    again.scores.close()
    again.setParent(None)
    again.deleteLater()


def test_scores_of_all_images_are_those_of_the_output(qtbot, bench, room):
    number = add(qtbot, bench, room, "sides/net")
    choose(qtbot, press_name(room, number), "coarse")
    wait_scored(qtbot, bench, room)
    room.run_all()
    labelled = [record.id for record in bench.session.images if record.status == "done"]
    key = room.comparison.pane(number).key
    qtbot.waitUntil(lambda: all(room.scores.get(key, each) is not None for each in labelled), timeout=WAIT)
    assert ">coarse" in key


def test_another_room_comes_to_the_final_output(qtbot, bench, room):
    side = add(qtbot, bench, room, "sides/net")
    room.comparison.set_output(side, "coarse")
    final = add(qtbot, bench, room, "sides/net")
    room.comparison.set_active(side)
    room.show_model(next(each for each in bench.shelf.runnable if each.key == "sides/net"))
    assert room.comparison.active.number == final


def test_a_switch_over_classes_lists_the_classes_of_the_weights(qtbot):
    absent = SwitchSpec("absent", "Class forced absent", "net:absent", (-1,), -1, per_class=True)
    assert absent.values(3) == (-1, 0, 1, 2)
    parent = QWidget()
    parent.resize(400, 300)
    qtbot.addWidget(parent)
    parent.show()
    card = SwitchesCard((absent,), {}, parent, class_names=("road", "sky", "car"))
    card.show()
    told = []
    card.changed.connect(told.append)
    box = card.lists["absent"]
    assert [box.itemText(place) for place in range(box.count())] == ["None", "road", "sky", "car"]
    box.setFocus()
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_Up):
        QTest.keyClick(box, key)
    assert told == [{"absent": 0}, {"absent": 1}, {"absent": 0}, {}]
    again = SwitchesCard((absent,), {"absent": 2}, parent, class_names=("road", "sky", "car"))
    assert again.lists["absent"].currentText() == "car"


def test_no_switch_reaches_beyond_its_card(qtbot):
    """Few choices stand beside the title, some under it, many are a list."""
    specs = tuple(
        SwitchSpec(f"s{number}", f"A part of {number} choices", "net:part", choices, choices[0])
        for number, choices in enumerate(
            ((True, False), ("as built", "1,1,1", "1,2,1", "1,2,4"), tuple("abcdefghijklmnopqrstu"))
        )
    )
    parent = QWidget()
    parent.resize(400, 400)
    qtbot.addWidget(parent)
    parent.show()
    card = SwitchesCard(specs, {"s2": "t"}, parent)
    card.show()
    qtbot.waitUntil(lambda: card.rows["s0"].isVisible())
    assert (set(card.rows), set(card.lists)) == ({"s0", "s1"}, {"s2"})
    assert card.lists["s2"].currentText() == "t"
    for control in (*card.rows.values(), *card.lists.values()):
        assert control.width() >= control.sizeHint().width()
        assert card.rect().contains(control.geometry())
