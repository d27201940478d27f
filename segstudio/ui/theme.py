"""The look in one place: colour tokens, palette, style sheet, fonts, and the live light/dark/system switch.

Everything that paints asks `color("accent")`; nothing else in the window knows a colour by its number.
A change of theme is a new palette, a new style sheet and one `appearance().changed`; no restart.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QPalette
from PySide6.QtWidgets import QApplication

from segstudio.core.resources import resource

Choice = Literal["system", "light", "dark"]

DARK: dict[str, str] = {
    "rail": "#232323",
    "win": "#2B2B2B",
    "bar": "#303030",
    "raised": "#363636",
    "hover": "#3E3E3E",
    "base": "#222222",
    "alt": "#262626",
    "canvas": "#202020",
    "page": "#202020",
    "well": "#222222",
    "edge": "#191919",
    "grid": "#343434",
    "line": "#3D3D3D",
    "line2": "#4C4C4C",
    "ctl": "#808080",
    "t1": "#E6E6E6",
    "t2": "#BABABA",
    "t3": "#A0A0A0",
    "disabled": "#747474",
    "accent": "#6CB0FF",
    "accent_fill": "#2F6DB5",
    "accent_fill_hover": "#3877C2",
    "on_accent": "#FFFFFF",
    "selected": "#283B52",
    "ok": "#6CC287",
    "warn": "#E5A63B",
    "err": "#F48A82",
    "ok_tint": "#26352B",
    "warn_tint": "#3A3222",
    "err_tint": "#3D2826",
    "swatch_rim": "#59000000",
}

LIGHT: dict[str, str] = {
    "rail": "#E6E6E6",
    "win": "#F3F3F3",
    "bar": "#ECECEC",
    "raised": "#FFFFFF",
    "hover": "#E6E6E6",
    "base": "#FFFFFF",
    "alt": "#F8F8F8",
    "canvas": "#BDBDBD",
    "page": "#F3F3F3",
    "well": "#F3F3F3",
    "edge": "#C4C4C4",
    "grid": "#E2E2E2",
    "line": "#D2D2D2",
    "line2": "#B4B4B4",
    "ctl": "#7C7C7C",
    "t1": "#1B1B1B",
    "t2": "#505050",
    "t3": "#636363",
    "disabled": "#9A9A9A",
    "accent": "#1F63AE",
    "accent_fill": "#1F63AE",
    "accent_fill_hover": "#2A70BD",
    "on_accent": "#FFFFFF",
    "selected": "#D6E4F5",
    "ok": "#1B7339",
    "warn": "#8A5A00",
    "err": "#B3261E",
    "ok_tint": "#E2F1E7",
    "warn_tint": "#F9EED9",
    "err_tint": "#FBE6E4",
    "swatch_rim": "#59000000",
}

# Written over an image: the same in both themes.
OVER_IMAGE: dict[str, str] = {
    "chip": "#E0141414",
    "chip_text": "#EDEDED",
    "chip_detail": "#B0B0B0",
    "chip_button": "#4C4C4C",
    "chip_ok": "#6CC287",
    "chip_warn": "#E5A63B",
    "chip_err": "#F48A82",
}

_FAMILIES = ("Inter", "Segoe UI", "SF Pro Text", "Noto Sans", "DejaVu Sans")


class Appearance(QObject):
    """The theme in force. `changed` comes after palette and style sheet are in place."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._choice: Choice = "dark"
        self._dark = True
        self._tokens = DARK | OVER_IMAGE
        self._colors: dict[str, QColor] = {}
        self._follows_system = False

    @property
    def choice(self) -> Choice:
        return self._choice

    @property
    def dark(self) -> bool:
        return self._dark

    @property
    def tokens(self) -> dict[str, str]:
        return self._tokens

    def color(self, role: str) -> QColor:
        """The colour of a token. Raises KeyError for a name that is no token."""
        found = self._colors.get(role)
        if found is None:
            found = self._colors[role] = QColor(self._tokens[role])
        return found

    def use(self, choice: Choice) -> None:
        """Switch the running application to `choice`; without an application only the tokens change."""
        self._choice = choice
        application = QApplication.instance()
        if isinstance(application, QApplication) and not self._follows_system:
            application.styleHints().colorSchemeChanged.connect(self._system_changed)
            self._follows_system = True
        self._dark = _wants_dark(choice)
        self._tokens = (DARK if self._dark else LIGHT) | OVER_IMAGE
        self._colors.clear()
        if isinstance(application, QApplication):
            application.setPalette(_palette(self._tokens))
            application.setStyleSheet(style_sheet(self._tokens))
        self.changed.emit()

    def _system_changed(self, _scheme: Qt.ColorScheme) -> None:
        if self._choice == "system":
            self.use("system")


@lru_cache(maxsize=1)
def appearance() -> Appearance:
    """The one appearance of this process (a window has one theme)."""
    return Appearance()


def color(role: str) -> QColor:
    """Colour of a token in the theme in force, e.g. `color("accent")`."""
    return appearance().color(role)


def apply(application: QApplication, choice: Choice = "dark") -> None:
    """Style, font, palette and style sheet of a fresh application."""
    application.setStyle("Fusion")
    application.setFont(font(13))
    appearance().use(choice)


def font(pixels: int = 13, weight: int = 400) -> QFont:
    """The window's font in logical pixels, with figures of equal width."""
    return QFont(_font(pixels, weight))


@lru_cache(maxsize=64)
def _font(pixels: int, weight: int) -> QFont:
    """One of each: copies share what Qt found out about it, a font made anew looks for its engine again."""
    result = QFont(_family())
    result.setPixelSize(pixels)
    result.setWeight(QFont.Weight(weight))
    result.setFeature(QFont.Tag("tnum"), 1)
    return result


def mono(pixels: int = 12) -> QFont:
    """A fixed-pitch font for code, paths and logs."""
    result = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    result.setPixelSize(pixels)
    return result


@lru_cache(maxsize=1)
def _family() -> str:
    present = set(QFontDatabase.families())
    for family in _FAMILIES:
        if family in present:
            return family
    return QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont).family()


def style_sheet(tokens: dict[str, str]) -> str:
    """The one QSS file with its @tokens filled in. Raises KeyError for an unknown token."""
    # SegStudio may lie in a folder with a space, an accent or a quote in its name.
    icons = resource("icons").as_posix().replace("\\", "\\\\").replace('"', '\\"')
    # Qt loads picture files of a style sheet by path, in the colour the file itself has.
    filled = tokens | {"icons": icons, "mode": "dark" if tokens["win"] == DARK["win"] else "light"}
    return re.sub(r"@([a-z_0-9]+)", lambda found: filled[found[1]], _style_file())


@lru_cache(maxsize=1)
def _style_file() -> str:
    return resource("themes", "segstudio.qss").read_text(encoding="utf-8")


def _wants_dark(choice: Choice) -> bool:
    if choice != "system":
        return choice == "dark"
    application = QApplication.instance()
    if not isinstance(application, QApplication):
        return True
    return application.styleHints().colorScheme() != Qt.ColorScheme.Light


def _palette(tokens: dict[str, str]) -> QPalette:
    roles = {
        QPalette.ColorRole.Window: "win",
        QPalette.ColorRole.Midlight: "bar",
        QPalette.ColorRole.Button: "raised",
        QPalette.ColorRole.ToolTipBase: "raised",
        QPalette.ColorRole.ToolTipText: "t1",
        QPalette.ColorRole.Base: "base",
        QPalette.ColorRole.AlternateBase: "alt",
        QPalette.ColorRole.Dark: "edge",
        QPalette.ColorRole.Shadow: "edge",
        QPalette.ColorRole.Mid: "line",
        QPalette.ColorRole.Light: "line2",
        QPalette.ColorRole.WindowText: "t1",
        QPalette.ColorRole.Text: "t1",
        QPalette.ColorRole.ButtonText: "t1",
        QPalette.ColorRole.BrightText: "t1",
        QPalette.ColorRole.PlaceholderText: "t3",
        QPalette.ColorRole.Link: "accent",
        QPalette.ColorRole.LinkVisited: "accent",
        QPalette.ColorRole.Highlight: "accent_fill",
        QPalette.ColorRole.HighlightedText: "on_accent",
        QPalette.ColorRole.Accent: "accent_fill",
    }
    palette = QPalette()
    for role, token in roles.items():
        palette.setColor(role, QColor(tokens[token]))
    for role in (QPalette.ColorRole.WindowText, QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(tokens["disabled"]))
    return palette
