"""The look: contrast of the tokens, live switching, icons in every colour, controls that keep their words."""

from __future__ import annotations

import re
import shutil

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFontMetrics, QPalette
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QCheckBox, QLabel, QPushButton

from segstudio.core.errors import UserError
from segstudio.core.resources import resource
from segstudio.ui import theme
from segstudio.ui.icons import icon
from segstudio.ui.widgets import NoticeCard, NumberField, SegmentedControl, Slider
from segstudio.ui.widgets.labels import KeyCaps

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


def luminance(color: str) -> float:
    parts = [QColor(color).redF(), QColor(color).greenF(), QColor(color).blueF()]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("tokens", [theme.DARK, theme.LIGHT], ids=["dark", "light"])
def test_words_have_the_contrast_of_wcag_aa_on_every_ground(tokens):
    for ground in ("rail", "win", "bar", "raised"):
        for ink in ("t1", "t2", "t3"):
            assert contrast(tokens[ink], tokens[ground]) >= 4.5, (ink, ground)
        assert contrast(tokens["accent"], tokens[ground]) >= 4.5
    assert contrast(tokens["on_accent"], tokens["accent_fill"]) >= 4.5
    for ground in ("win", "bar", "raised"):
        assert contrast(tokens["ctl"], tokens[ground]) >= 3.0
    for state in ("ok", "warn", "err"):
        assert contrast(tokens[state], tokens["win"]) >= 4.5
        assert contrast(tokens[state], tokens[f"{state}_tint"]) >= 4.5


def test_both_themes_have_the_same_tokens_and_the_style_sheet_knows_them_all():
    assert theme.DARK.keys() == theme.LIGHT.keys()
    for tokens in (theme.DARK, theme.LIGHT):
        filled = theme.style_sheet(tokens)
        assert "@" not in filled
        for path in re.findall(r'url\("([^"]+)"\)', filled):
            assert resource().joinpath(path).is_file(), path


def test_switching_changes_palette_and_colours_at_once(qapp, qtbot):
    with qtbot.waitSignal(theme.appearance().changed):
        theme.appearance().use("light")
    try:
        assert qapp.palette().color(QPalette.ColorRole.Window) == QColor("#F3F3F3")
        assert theme.color("t1") == QColor("#1B1B1B")
    finally:
        theme.appearance().use("dark")
    assert qapp.palette().color(QPalette.ColorRole.Window) == QColor("#2B2B2B")


def test_a_window_repaints_in_the_other_theme_without_restart(make_window):
    window = make_window()
    dark = window.grab().toImage().pixelColor(10, 300)
    QTest.keyClick(
        window, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    )
    try:
        light = window.grab().toImage().pixelColor(10, 300)
        assert dark == QColor("#232323") and light == QColor("#E6E6E6")
    finally:
        theme.appearance().use("dark")


def test_every_icon_draws_something_in_the_colour_asked_for(qapp):
    for path in sorted(resource("icons").glob("*.svg")):
        if path.stem.startswith(("arrow-dark", "arrow-light", "tick-white")):
            continue
        drawn = icon(path.stem, 22, "err").pixmap(22, 22).toImage()
        inked = [
            drawn.pixelColor(x, y)
            for x in range(drawn.width())
            for y in range(drawn.height())
            if drawn.pixelColor(x, y).alpha() > 100
        ]
        assert inked, path.name
        wanted = theme.color("err")
        assert all(abs(color.red() - wanted.red()) < 16 for color in inked), path.name


def test_unknown_icon_is_an_error():
    with pytest.raises(FileNotFoundError):
        icon("no such icon")


def test_figures_have_equal_widths(qapp):
    metrics = QFontMetrics(theme.font(12))
    assert len({metrics.horizontalAdvance(digit * 8) for digit in "0123456789"}) == 1


def test_segments_are_never_shortened_and_a_click_chooses(qtbot):
    control = SegmentedControl(["Linear", "Logarithmic", "Clipped"])
    qtbot.addWidget(control)
    control.show()
    metrics = QFontMetrics(control.font())
    for index, words in enumerate(("Linear", "Logarithmic", "Clipped")):
        assert control.rect_of(index).width() >= metrics.horizontalAdvance(words)
    with qtbot.waitSignal(control.changed) as told:
        QTest.mouseClick(control, LEFT, NONE, control.rect_of(2).center())
    assert told.args == [2] and control.current == 2
    QTest.keyClick(control, Qt.Key.Key_Right)
    assert control.current == 0
    with pytest.raises(IndexError):
        control.set_current(3)


def test_a_click_on_a_slider_goes_where_it_points(qtbot):
    slider = Slider(0, 100, 50, width=114)
    qtbot.addWidget(slider)
    slider.show()
    QTest.mouseClick(slider, LEFT, NONE, slider.rect().center())
    assert slider.value() == pytest.approx(50, abs=1)
    QTest.mouseClick(slider, LEFT, NONE, slider.rect().topRight())
    assert slider.value() == 100


def test_a_card_says_what_where_and_what_to_do_and_copies_a_report(qtbot, qapp):
    error = UserError(
        "label value 38", where="in a_017.png", action="Map it to ignore.", details="Traceback …"
    )
    card = NoticeCard.of(error)
    qtbot.addWidget(card)
    mapped = []
    card.add_button("Map to ignore", lambda: mapped.append(True), primary=True)
    card.show()
    said = [child.text() for child in card.findChildren(QLabel) if child.isVisible()]
    assert said == ["Label value 38", "in a_017.png", "Map it to ignore."]
    buttons = {button.text(): button for button in card.findChildren(QPushButton)}
    QTest.mouseClick(buttons["Map to ignore"], LEFT)
    assert mapped == [True]
    QTest.mouseClick(buttons["Copy report"], LEFT)
    assert "Traceback" in qapp.clipboard().text()


def test_the_same_cause_on_more_files_stays_one_card(make_window):
    window = make_window()
    for number in range(4):
        window.show_error(UserError("This is no picture", where=f"in file_{number}.jpg"))
    assert len(window.notices.cards) == 1
    said = [child.text() for child in window.notices.cards[0].findChildren(QLabel)]
    assert "in file_0.jpg, and 3 more" in said


def test_brackets_of_a_hint_become_key_caps(qtbot):
    hint = KeyCaps("hold [Ctrl] erases · [[] smaller [ ] ] larger")
    qtbot.addWidget(hint)
    plain = KeyCaps("hold Ctrl erases")
    qtbot.addWidget(plain)
    assert hint._parts[1] == ("Ctrl", True)
    assert hint.text_width() > plain.text_width()


def test_nothing_is_cut_off_at_the_smallest_window(make_window, make_folder):
    window = make_window(make_folder(3), size=(1024, 680))
    for child in window.findChildren(QLabel):
        if not child.isVisible() or not child.text() or child.wordWrap():
            continue
        if type(child).__name__.startswith("Elided"):
            continue
        needed = QFontMetrics(child.font()).horizontalAdvance(child.text())
        assert child.width() >= needed, (child.text(), child.width(), needed)
    for button in window.findChildren(QPushButton):
        if button.isVisible() and button.text():
            needed = QFontMetrics(button.font()).horizontalAdvance(button.text())
            assert button.width() >= needed, button.text()


def test_a_number_field_shows_its_number_and_unit(qtbot):
    field = NumberField(1, 1000, suffix=" px")
    qtbot.addWidget(field)
    field.setValue(1000)
    field.show()
    needed = QFontMetrics(field.font()).horizontalAdvance("1000 px")
    assert field.height() == 28
    assert field.lineEdit().width() >= needed + field.lineEdit().textMargins().left()


def test_the_style_sheet_is_read_where_the_folder_s_name_has_a_space_and_a_quote(
    qtbot, qtlog, tmp_path, monkeypatch
):
    home = tmp_path / 'a "bundlé" (1)'
    shutil.copytree(resource("icons"), home / "icons")
    monkeypatch.setattr(theme, "resource", lambda *parts: home.joinpath(*parts))
    box = QCheckBox("Grey image")
    box.setChecked(True)
    qtbot.addWidget(box)
    box.setStyleSheet(theme.style_sheet(theme.DARK))
    box.show()
    box.grab()
    assert [record.message for record in qtlog.records] == []
