"""The strip of images: filters, order, clicks, folding, ranking by a room."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from segstudio.ui.remembered import settings

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


def paths(window) -> list[str]:
    return [window.session.images.find(number).path for number in window.filmstrip.shown]


def filter_by(window, index: int) -> None:
    control = window.filmstrip._filter
    QTest.mouseClick(control, LEFT, NONE, control.rect_of(index).center())


def test_a_click_brings_the_image_to_the_front(make_window, make_folder):
    window = make_window(make_folder(4))
    strip = window.filmstrip.strip
    QTest.mouseClick(strip.viewport(), LEFT, NONE, strip.rect_of(2).center())
    assert window.session.current.path == "image_02.png"


def test_filters_show_only_images_of_that_status_with_their_counts(make_window, make_folder):
    window = make_window(make_folder(4))
    session = window.session
    session.set_status(session.images[1].id, "done")
    session.set_status(session.images[3].id, "done")
    filter_by(window, 1)
    assert paths(window) == ["image_01.png", "image_03.png"]
    assert [segment.text for segment in window.filmstrip._filter._segments] == [
        "All",
        "Done 2",
        "Draft 0",
        "None 2",
        "Check 0",
    ]
    filter_by(window, 0)
    assert len(paths(window)) == 4


def test_shift_d_goes_on_to_the_next_image_without_labels(make_window, make_folder):
    window = make_window(make_folder(4))
    session = window.session
    session.set_status(session.images[1].id, "done")
    QTest.keyClick(window, Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
    assert session.current.path == "image_02.png"


def test_an_image_leaves_the_filter_when_its_status_changes(make_window, make_folder):
    window = make_window(make_folder(3))
    filter_by(window, 3)
    assert len(paths(window)) == 3
    QTest.keyClick(window, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)
    assert paths(window) == ["image_01.png", "image_02.png"]


def test_the_class_filter_shows_images_that_have_the_class_and_its_cross_clears_it(
    make_window, make_folder, qtbot
):
    window = make_window(make_folder(3))
    session, strip = window.session, window.filmstrip
    recorder = session.edits.begin_stroke()
    recorder.touch(0, 0, 20, 20)
    session.label_map.array[:20, :20] = 2
    session.edits.finish_stroke("brush", 2)
    qtbot.waitUntil(lambda: session.saving.saved)
    next(action for action in strip.class_filter.menu().actions() if action.text() == "Pole").trigger()
    qtbot.waitUntil(lambda: paths(window) == ["image_00.png"])
    cross = QPoint(strip.class_filter.width() - 12, 12)
    QTest.mouseClick(strip.class_filter, LEFT, NONE, cross)
    assert len(paths(window)) == 3


def test_marking_done_twice_takes_the_mark_back(make_window, make_folder):
    window = make_window(make_folder(2))
    control = Qt.KeyboardModifier.ControlModifier
    QTest.keyClick(window, Qt.Key.Key_D, control)
    assert window.session.current.status == "done"
    QTest.keyClick(window, Qt.Key.Key_D, control)
    assert window.session.current.status == "none"


def test_walking_follows_a_ranking_on_screen_and_not_the_file_order(make_window, make_folder):
    window = make_window(make_folder(4))
    ids = [record.id for record in window.session.images]
    window.filmstrip.set_order("Worst first", [ids[2], ids[0], ids[3]], {ids[2]: "41.0"})
    window.session.go(ids[2])
    QTest.keyClick(window, Qt.Key.Key_D)
    assert window.session.current.id == ids[0]
    QTest.keyClick(window, Qt.Key.Key_D)
    assert window.session.current.id == ids[3]
    window.filmstrip.set_order("", None)
    assert window.filmstrip.shown == ids


def test_images_are_sorted_by_status_on_demand(make_window, make_folder):
    window = make_window(make_folder(3))
    session = window.session
    session.set_status(session.images[0].id, "done")
    session.set_status(session.images[2].id, "check")
    window.filmstrip._sort.setCurrentText("Status")
    assert paths(window) == ["image_02.png", "image_01.png", "image_00.png"]


def test_folding_leaves_the_header_and_is_remembered(make_window, make_folder):
    window = make_window(make_folder(2))
    strip = window.filmstrip
    full = strip.height()
    strip.toggle()
    assert not strip.strip.isVisible() and strip.height() < full
    assert settings().get("view.fold.filmstrip.Annotate") is True
    strip.toggle()
    assert strip.strip.isVisible() and strip.height() == full


def test_the_image_in_front_is_scrolled_into_view(make_window, make_folder):
    window = make_window(make_folder(30))
    last = window.session.images[-1]
    window.session.go(last.id)
    strip = window.filmstrip.strip
    box = strip.rect_of(29)
    assert strip.viewport().rect().contains(box)


def test_arrows_walk_the_strip_while_it_has_the_focus(make_window, make_folder):
    window = make_window(make_folder(3))
    QTest.keyClick(window.filmstrip.strip, Qt.Key.Key_Right)
    assert window.session.current.path == "image_01.png"


def test_only_images_near_the_view_are_decoded(make_window, make_folder, qtbot):
    window = make_window(make_folder(30))
    strip = window.filmstrip.strip
    visible = strip._visible()
    first = strip.ids[0]
    qtbot.waitUntil(lambda: window.session.thumbnails.get(first) is not None)
    assert window.session.thumbnails.get(strip.ids[29]) is None
    assert len(visible) < 20


def test_wheel_scrolls_the_strip(make_window, make_folder):
    from PySide6.QtCore import QPointF
    from PySide6.QtGui import QWheelEvent
    from PySide6.QtWidgets import QApplication

    window = make_window(make_folder(30))
    strip = window.filmstrip.strip
    middle = QPointF(strip.viewport().rect().center())
    event = QWheelEvent(
        middle,
        strip.viewport().mapToGlobal(middle),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        NONE,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(strip.viewport(), event)
    assert strip.horizontalScrollBar().value() == 120


def test_the_strip_is_folded_per_room_and_says_where_the_person_is(make_window, make_folder):
    window = make_window(make_folder(3))
    strip = window.filmstrip
    strip.stand_under("Annotate", folded=False)
    assert strip.strip.isVisible()
    strip.stand_under("Attention", folded=True)
    assert not strip.strip.isVisible()
    assert strip._count.text() == "1 of 3 · image_00.png"
    strip.step(1)
    assert strip._count.text() == "2 of 3 · image_01.png"
    QTest.mouseClick(strip._fold, LEFT)
    assert strip.strip.isVisible() and strip._count.text() == "3"
    strip.stand_under("Annotate", folded=False)
    strip.stand_under("Attention", folded=True)
    assert strip.strip.isVisible(), "what a person unfolded stays unfolded"
