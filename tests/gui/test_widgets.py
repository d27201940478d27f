"""Small controls: nothing is cut off, and words keep their distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget

from segstudio.runtime.runnable_models import RunnableModel
from segstudio.ui.status_bar import StatusBar
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.labels import KeyCaps
from segstudio.ui.widgets.number_field import DecimalField, NumberField


def columns_with_ink(widget: QWidget) -> np.ndarray:
    """Which columns inside the border differ from the ground: (width - 4,) bool."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_Grayscale8)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    inside = rows[4:-4, 2 : image.width() - 2].astype(int)
    return (np.abs(inside - inside[0, 0]) > 24).any(axis=0)


def test_a_hint_without_room_leaves_out_whole_clauses_and_tells_them_in_its_tooltip(qtbot):
    hint = KeyCaps("Drag paints · hold [Ctrl] erases · [Shift] straight line")
    qtbot.addWidget(hint)
    hint.resize(hint.text_width() + 2, 20)
    assert hint.shown() == "Drag paints · hold [Ctrl] erases · [Shift] straight line"
    hint.resize(hint.text_width() - 20, 20)
    assert hint.shown() == "Drag paints · hold [Ctrl] erases"
    hint.grab()
    assert hint.toolTip() == "Drag paints · hold Ctrl erases · Shift straight line"


def test_the_hint_keeps_away_from_the_picture_s_description_in_the_narrowest_window(qtbot):
    bar = StatusBar()
    qtbot.addWidget(bar)
    bar.resize(1024, 24)
    bar.set_size("4 000 × 3 000 · 8-bit RGB")
    bar.set_hint("Drag paints · hold [Ctrl] erases · [Shift] straight line · hold [Q] hides overlay")
    bar.show()
    qtbot.waitExposed(bar)
    assert bar._hint.x() - bar._size.geometry().right() >= 16
    assert bar._jobs.x() - bar._hint.geometry().right() >= 16


def test_words_of_a_button_keep_their_distance_from_its_icon(qtbot):
    for right_to_left in (False, True):
        button = push_button("Illl", icon_name="square")
        button.setLayoutDirection(button.layoutDirection().__class__(int(right_to_left)))
        qtbot.addWidget(button)
        button.resize(button.sizeHint())
        ink = np.flatnonzero(columns_with_ink(button))
        gaps = np.diff(ink)
        assert gaps.max() >= 7, "between icon and words"
        assert ink[0] >= 8 and ink[-1] <= button.width() - 12


def test_number_fields_keep_their_words_off_the_border_at_every_height(qtbot):
    for tall in (24, 28):
        for field in (NumberField(0, 999, tall=tall), DecimalField(0, 999, tall=tall)):
            qtbot.addWidget(field)
            field.setValue(444)
            assert field.height() == tall
            assert np.flatnonzero(columns_with_ink(field))[0] >= 4


@dataclass
class Shelf:
    runnable: tuple[RunnableModel, ...]
    specs: tuple = ()


def test_the_first_page_needs_no_scrolling_at_1280_by_800(make_window, qtbot):
    window = make_window(size=(1280, 800))
    names = [f"Network {number}" for number in range(6)]
    models = tuple(RunnableModel(name, name, {"model": "m"}, (), (), "demo") for name in names)
    window.start_page.computer.show_models(Shelf(models))
    window.start_page.set_recent(["/tmp/One", "/tmp/Two"])
    qtbot.wait(10)
    assert window.start_page.verticalScrollBar().maximum() == 0
