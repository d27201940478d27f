"""Rectangle, ellipse and lasso with a real mouse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QPolygonF
from PySide6.QtTest import QTest

from segstudio.ui.canvas.tools.dragged_shape import ellipse
from tests.gui.test_annotate import CTRL, LEFT, SHIFT, Hand

RIGHT = Qt.MouseButton.RightButton
NONE = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def hand(make_window, make_folder, qtbot) -> Hand:
    """The person with class Road in hand; one image pixel is one pixel of the screen."""
    hand = Hand(make_window(make_folder()), qtbot)
    hand.choose("Road")
    hand.window.services.viewport.set_scale(1.0, QPointF(160, 120))
    return hand


def pixels(hand: Hand, value: int) -> tuple[int, int, int, int, int]:
    """(left, top, right, bottom, count) of a value; right and bottom inclusive."""
    rows, columns = np.nonzero(hand.labels == value)
    return columns.min(), rows.min(), columns.max(), rows.max(), len(rows)


def test_a_rectangle_fills_whole_pixels_from_corner_to_corner(hand):
    hand.key(Qt.Key.Key_M)
    hand.drag((150.2, 100.2), (120.2, 90.2), (60.2, 40.2))
    assert pixels(hand, 3) == (60, 40, 150, 100, 91 * 61)
    hand.saved()
    row = hand.session.edits.history()[0]
    assert (row.tool, row.class_index, row.pixels) == ("rectangle", 3, 91 * 61)


def test_shift_makes_a_square_towards_the_pointer(hand):
    hand.key(Qt.Key.Key_M)
    start, end = hand.at(100.2, 100.2), hand.at(60.2, 90.2)
    QTest.mousePress(hand.canvas, LEFT, SHIFT, start)
    QTest.mouseMove(hand.canvas, end)
    QTest.mouseRelease(hand.canvas, LEFT, SHIFT, end)
    assert pixels(hand, 3) == (60, 60, 100, 100, 41 * 41)


def test_an_ellipse_fills_the_pixels_whose_centres_it_holds(hand):
    hand.key(Qt.Key.Key_O)
    hand.drag((60.2, 40.2), (100.2, 90.2), (160.2, 100.2))
    left, top, right, bottom, _count = pixels(hand, 3)
    assert (left, top, right, bottom) == (60, 40, 160, 100)
    rows, columns = np.mgrid[:240, :320] + 0.5
    away = ((columns - 110.5) / 50.5) ** 2 + ((rows - 70.5) / 30.5) ** 2
    filled = hand.labels == 3
    assert filled[away < 0.998].all() and not filled[away > 1.0].any()


@pytest.mark.parametrize("radius", [3, 40, 4000])
def test_the_outline_of_an_ellipse_misses_the_curve_by_less_than_a_twentieth_of_a_pixel(radius):
    points = ellipse([QPointF(0.5, 0.5), QPointF(2 * radius - 0.5, 2 * radius - 0.5)], True)
    middles = [(points[i] + points[(i + 1) % len(points)]) / 2 for i in range(len(points))]
    gaps = [radius - math.hypot(p.x() - radius, p.y() - radius) for p in middles]
    assert min(gaps) >= 0 and max(gaps) < 0.05
    assert isinstance(points, QPolygonF)


def test_a_lasso_fills_what_it_goes_round_also_where_the_hand_overshoots_its_start(hand):
    hand.key(Qt.Key.Key_L)
    turns = np.linspace(0, 2 * math.pi * 1.2, 150)
    hand.drag(*[(150 + 60 * math.cos(t), 120 + 60 * math.sin(t)) for t in turns])
    filled = hand.labels == 3
    rows, columns = np.mgrid[:240, :320] + 0.5
    away = np.hypot(columns - 150, rows - 120)
    assert filled[away < 57].all(), "the part gone round twice has no hole"
    assert not filled[away > 62].any()
    assert len(hand.session.edits.history()) in (0, 1)
    hand.saved()
    assert hand.session.edits.history()[0].tool == "lasso"


def test_control_while_letting_go_erases(hand):
    hand.key(Qt.Key.Key_M)
    hand.drag((60.2, 40.2), (150.2, 100.2))
    hand.drag((80.2, 60.2), (100.2, 80.2), modifiers=CTRL)
    assert pixels(hand, 3)[4] == 91 * 61 - 21 * 21
    assert hand.labels[70, 90] == 255


@pytest.mark.parametrize("key", [Qt.Key.Key_M, Qt.Key.Key_O, Qt.Key.Key_L])
def test_escape_and_the_right_button_drop_the_shape_without_a_trace(hand, key):
    hand.key(key)
    name = {Qt.Key.Key_M: "rectangle", Qt.Key.Key_O: "ellipse", Qt.Key.Key_L: "lasso"}[key]
    for drop in ("escape", "right"):
        QTest.mousePress(hand.canvas, LEFT, NONE, hand.at(60, 40))
        for point in ((120, 60), (150, 100)):
            QTest.mouseMove(hand.canvas, hand.at(*point))
        assert hand.room.tools[name].is_drawing
        if drop == "escape":
            hand.key(Qt.Key.Key_Escape)
        else:
            QTest.mouseClick(hand.canvas, RIGHT, NONE, hand.at(150, 100))
        QTest.mouseRelease(hand.canvas, LEFT, NONE, hand.at(150, 100))
        assert not hand.room.tools[name].is_drawing
    assert (hand.labels == 255).all()
    assert hand.session.edits.history() == []


def test_a_click_that_moves_nowhere_fills_nothing(hand):
    for key in (Qt.Key.Key_M, Qt.Key.Key_O, Qt.Key.Key_L):
        hand.key(key)
        hand.click(100, 100)
    assert (hand.labels == 255).all()


def test_a_shape_over_the_border_is_cut_at_it(hand):
    hand.key(Qt.Key.Key_M)
    outside = hand.canvas.to_view(QPointF(-30.2, -20.2)).toPoint()
    inside = hand.canvas.to_view(QPointF(20.2, 10.2)).toPoint()
    QTest.mousePress(hand.canvas, LEFT, NONE, outside)
    QTest.mouseMove(hand.canvas, QPoint(inside.x() - 5, inside.y() - 5))
    QTest.mouseRelease(hand.canvas, LEFT, NONE, inside)
    assert pixels(hand, 3) == (0, 0, 20, 10, 21 * 11)


def test_other_labels_are_preserved_and_locked_classes_refuse(hand):
    hand.key(Qt.Key.Key_M)
    hand.drag((60.2, 40.2), (100.2, 100.2))
    hand.choose("Sky")
    hand.room.state.set_preserve(True)
    hand.drag((80.2, 40.2), (150.2, 100.2))
    assert pixels(hand, 3)[4] == 41 * 61
    assert pixels(hand, 0)[4] == 50 * 61
    hand.room.state.set_locked(frozenset({0}))
    refused: list[int] = []
    hand.room.state.refused.connect(refused.append)
    hand.drag((10.2, 10.2), (30.2, 30.2))
    assert refused == [0] and hand.labels[20, 20] == 255


def test_the_preview_is_painted_where_the_shape_will_be(hand):
    hand.key(Qt.Key.Key_M)
    before = hand.canvas.grab().toImage()
    QTest.mousePress(hand.canvas, LEFT, NONE, hand.at(60.2, 40.2))
    QTest.mouseMove(hand.canvas, hand.at(150.2, 100.2))
    during = hand.canvas.grab().toImage()
    inside, outside = hand.at(100, 70), hand.at(200, 150)
    assert during.pixel(inside) != before.pixel(inside)
    assert during.pixel(outside) == before.pixel(outside)
    QTest.mouseRelease(hand.canvas, LEFT, NONE, hand.at(150.2, 100.2))
