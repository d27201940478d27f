"""The first page: try the demo, open a folder, import labels, and what this computer can do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QRect, QRectF, QSignalBlocker, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QKeyEvent, QPainter, QPaintEvent, QPen, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from segstudio.core.resources import resource
from segstudio.ui import theme
from segstudio.ui.icons import paint_icon
from segstudio.ui.widgets.buttons import push_button
from segstudio.ui.widgets.card import Card
from segstudio.ui.widgets.labels import ElidedLabel, key_cap, key_text, label
from segstudio.ui.widgets.segmented import SegmentedControl

if TYPE_CHECKING:
    from segstudio.runtime.model_shelf import ModelShelf, RunnableModel

_GAPS = ((32, 16), (24, 16), (24, 16))  # above cards, panel and foot: on a high and on a low window
_THEMES: tuple[theme.Choice, ...] = ("system", "light", "dark")


class FirstLaunch(QScrollArea):
    """`demo_wanted`, `open_wanted`, `import_wanted`, `keys_wanted`; `recent_chosen(path)`."""

    demo_wanted = Signal()
    open_wanted = Signal()
    import_wanted = Signal()
    keys_wanted = Signal()
    recent_chosen = Signal(str)
    theme_chosen = Signal(str)

    def __init__(self, *, recent: list[str], import_formats: list[str], has_demo: bool) -> None:
        super().__init__()
        self.setObjectName("Start")
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        page = QWidget()
        page.setObjectName("Plain")
        outer = QHBoxLayout(page)
        outer.setContentsMargins(24, 0, 24, 0)
        self._inner = QWidget()
        outer.addStretch(1)
        outer.addWidget(self._inner)
        outer.addStretch(1)
        column = QVBoxLayout(self._inner)
        column.setContentsMargins(0, 16, 0, 16)
        column.setSpacing(0)
        column.addStretch(2)
        column.addWidget(label("What would you like to do?", size=24, strong=600))
        column.addSpacing(4)
        column.addWidget(
            label(
                "Annotate images, compare networks, see what they attend to, train your own. "
                "Everything stays on this computer.",
                role="t2",
            )
        )
        self._gaps = [QWidget() for _ in _GAPS]
        column.addWidget(self._gaps[0])
        self._cards = QHBoxLayout()
        self._choices: list[tuple[QWidget, QWidget]] = []
        column.addLayout(self._cards)
        self._pictures: _DemoPictures | None = None
        if has_demo:
            self._choices.append(self._demo_card())
        self._choices.append(self._open_card(primary=not has_demo))
        if import_formats:
            self._choices.append(self._import_card(import_formats))
        for card, _picture in self._choices:
            self._cards.addWidget(card)
        column.addWidget(self._gaps[1])
        self._computer = ComputerPanel()
        column.addWidget(self._computer)
        column.addWidget(self._gaps[2])
        column.addLayout(self._foot(recent))
        column.addStretch(3)
        self.setWidget(page)
        self._page = page

    @property
    def computer(self) -> ComputerPanel:
        return self._computer

    def set_recent(self, recent: list[str]) -> None:
        """List these folders at the foot."""
        while (item := self._recent.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        self._recent.addWidget(label("Recent" if recent else "Recent: none yet", role="t2"))
        for path in recent[:3]:
            button = push_button(Path(path).name or path, kind="link")
            button.setToolTip(path)
            button.clicked.connect(lambda _on=False, path=path: self.recent_chosen.emit(path))
            self._recent.addWidget(button)

    def show_pictures(self) -> None:
        """Load the demo's small pictures; called after the first paint."""
        if self._pictures is not None:
            self._pictures.load()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        wide, high = self.viewport().width() >= 1400, self.viewport().height() >= 820
        width, gap = (400, 24) if wide else (352, 16)
        room = self.viewport().width() - 48
        count = max(1, len(self._choices))
        width = min(width, (room - (count - 1) * gap) // count)
        self._cards.setSpacing(gap)
        self._inner.setFixedWidth(count * width + (count - 1) * gap if count == 3 else min(3 * width, room))
        for card, picture in self._choices:
            if count == 3:
                card.setFixedWidth(width)
            card.setMinimumHeight(388 if wide and high else 324)
            picture.setFixedHeight(176 if high else 144)
        for spacer, (large, small) in zip(self._gaps, _GAPS, strict=True):
            spacer.setFixedHeight(large if high else small)
        self._computer.stack(not wide)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        first = self.demo_button if self._pictures is not None else self.open_button
        first.setFocus(Qt.FocusReason.OtherFocusReason)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            focused = self.focusWidget()
            button = focused if isinstance(focused, QPushButton) else None
            (button or (self.demo_button if self._pictures is not None else self.open_button)).click()
        else:
            super().keyPressEvent(event)

    def _demo_card(self) -> tuple[QWidget, QWidget]:
        self._pictures = _DemoPictures()
        button = push_button("Open the demo", kind="primary", tall=32)
        button.clicked.connect(self.demo_wanted)
        self.demo_button = button
        return _choice(
            self._pictures,
            "play",
            "Try the demo",
            "Rendered street pictures with ground truth and small trained networks. "
            "All tabs are alive at once: no download, no account.",
            [button, key_cap(key_text("Return"))],
            "included",
        )

    def _open_card(self, *, primary: bool) -> tuple[QWidget, QWidget]:
        button = push_button("Open a folder…", kind="primary" if primary else "plain", tall=32)
        button.clicked.connect(self.open_wanted)
        self.open_button = button
        return _choice(
            _FolderPicture(),
            "project",
            "Open a folder",
            "Images stay where they are. Labels are written beside them into a project folder "
            "and saved after every stroke.",
            [button, key_cap(key_text("Ctrl+O"))],
            "JPEG, PNG, TIFF, …",
        )

    def _show_theme(self) -> None:
        """The theme was changed elsewhere (top bar, settings)."""
        with QSignalBlocker(self._theme_switch):
            self._theme_switch.set_current(_THEMES.index(theme.appearance().choice))

    def _import_card(self, formats: list[str]) -> tuple[QWidget, QWidget]:
        button = push_button("Import…", tall=32)
        button.clicked.connect(self.import_wanted)
        return _choice(
            _FormatsPicture(formats),
            "import",
            "Import labels",
            "Classes are matched by name and shown before anything is written. "
            "What cannot be kept is listed, never dropped in silence.",
            [button, key_cap(key_text("Ctrl+I"))],
            f"{len(formats)} formats" if len(formats) > 1 else "1 format",
        )

    def _foot(self, recent: list[str]) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(_Mark("clock"))
        self._recent = QHBoxLayout()
        self._recent.setSpacing(12)
        row.addLayout(self._recent)
        self.set_recent(recent)
        row.addStretch(1)
        row.addWidget(_Mark("keyboard"))
        keys = push_button("Keys", kind="link")
        keys.clicked.connect(self.keys_wanted)
        row.addWidget(keys)
        row.addWidget(key_cap("F1"))
        row.addSpacing(8)
        row.addWidget(_Mark("sun"))
        row.addWidget(label("Theme", role="t2"))
        switch = SegmentedControl(["System", "Light", "Dark"], tall=24, name="Theme")
        switch.set_current(_THEMES.index(theme.appearance().choice))
        switch.changed.connect(lambda index: self.theme_chosen.emit(_THEMES[index]))
        self._theme_switch = switch
        theme.appearance().changed.connect(self._show_theme)
        row.addWidget(switch)
        return row


def _choice(
    picture: QWidget, icon: str, title: str, words: str, actions: list[QWidget], note: str
) -> tuple[QWidget, QWidget]:
    """One card and the picture at its top."""
    card = Card()
    card.column.addWidget(picture)
    card.column.addSpacing(8)
    head = QHBoxLayout()
    head.setSpacing(8)
    head.addWidget(_Mark(icon, 22, "accent"))
    head.addWidget(label(title, size=17, strong=600))
    head.addStretch(1)
    card.column.addLayout(head)
    text = label(words, role="t2")
    text.setWordWrap(True)
    text.setAlignment(Qt.AlignmentFlag.AlignTop)
    card.column.addWidget(text, 1)
    row = QHBoxLayout()
    row.setSpacing(8)
    for action in actions:
        row.addWidget(action)
    row.addStretch(1)
    row.addWidget(ElidedLabelRight(note))
    card.column.addLayout(row)
    return card, picture


class ElidedLabelRight(ElidedLabel):
    """A short note at the right end of a row."""

    def __init__(self, text: str) -> None:
        super().__init__(text, role="t2", size=12)
        self.elide = Qt.TextElideMode.ElideRight
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setMinimumWidth(60)


class ComputerPanel(Card):
    """What this computer can do; rows fill in as they become known."""

    def __init__(self) -> None:
        super().__init__()
        self._sides = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._sides.setSpacing(40)
        left = QVBoxLayout()
        left.setSpacing(8)
        left.addWidget(label("What this computer can do", strong=600))
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(12)
        self._grid.setColumnMinimumWidth(1, 128)
        self._grid.setColumnStretch(2, 1)
        left.addLayout(self._grid)
        left.addStretch(1)
        self._values: dict[str, tuple[ElidedLabel, _State]] = {}
        for row, (name, icon) in enumerate(
            (("Processor", "chip"), ("GPU", "chip"), ("Free disk", "disk"), ("Model files", "model"))
        ):
            value, state = ElidedLabel(""), _State()
            self._grid.addWidget(_Mark(icon, 18), row, 0)
            self._grid.addWidget(label(name, role="t2"), row, 1)
            self._grid.addWidget(value, row, 2)
            self._grid.addWidget(state, row, 3)
            self._values[name] = (value, state)
        self._sides.addLayout(left, 1)
        self._models = QGridLayout()
        self._models.setHorizontalSpacing(16)
        self._models.setVerticalSpacing(8)
        self._models.setColumnStretch(0, 2)
        self._models.setColumnStretch(1, 1)
        self._right = QWidget()
        right = QVBoxLayout(self._right)
        right.setContentsMargins(0, 0, 0, 0)
        right.addLayout(self._models)
        right.addStretch(1)
        self._right.hide()
        self._sides.addWidget(self._right, 1)
        self.column.addLayout(self._sides)
        self._set("Processor", _processor(), "ok", "usable")
        self._set("GPU", "looking…", "", "")
        self._set("Model files", "looking…", "", "")

    def stack(self, stacked: bool) -> None:
        """Put the right half below the left one where there is no room beside it."""
        direction = QBoxLayout.Direction.TopToBottom if stacked else QBoxLayout.Direction.LeftToRight
        self._sides.setDirection(direction)
        self._sides.setSpacing(16 if stacked else 40)

    def show_disk(self, folder: Path) -> None:
        """Room in the folder where projects without a writable folder of their own lie."""
        free = shutil.disk_usage(folder).free / 1e9
        plenty = free > 5
        self._set("Free disk", f"{free:,.0f} GB".replace(",", "\u202f"), "ok" if plenty else "warn", "")
        self._values["Free disk"][1].show_state("ok" if plenty else "warn", "enough" if plenty else "little")

    def show_devices(self, devices: list[dict[str, object]]) -> None:
        """What the worker found; entries have `id` ("cuda:0", "mps", "cpu"), `title`, `memory` (bytes)."""
        found = [entry for entry in devices if entry.get("id") != "cpu"]
        if not found:
            self._set("GPU", "none found: networks run on the processor", "info", "not needed")
            return
        first = found[0]
        memory = first.get("memory")
        words = str(first.get("title", "GPU"))
        if isinstance(memory, (int, float)) and memory:
            words += f" · {memory / 1e9:.0f} GB"
        self._set("GPU", words, "ok", "usable")

    def show_models(self, shelf: ModelShelf) -> None:
        """Which networks can run at once."""
        runnable = shelf.runnable
        families = len({spec.family for spec in shelf.specs})
        if runnable:
            words = f"{len(runnable)} ready to run, {families} families to train"
            self._set("Model files", words, "ok", "usable")
        elif families:
            self._set("Model files", f"{families} families, none with weights yet", "warn", "add or train")
        self._list_models(runnable)

    def _list_models(self, runnable: tuple[RunnableModel, ...]) -> None:
        while (item := self._models.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        for place, words in enumerate(("Ready to run here", "Weights", "Classes")):
            head = label(words, role="t2", size=11, strong=500)
            if place == 2:
                head.setAlignment(Qt.AlignmentFlag.AlignRight)
            self._models.addWidget(head, 0, place)
        origins = {
            "demo": "included",
            "run": "trained here",
            "file": "opened by hand",
            "checkpoint": "published",
        }
        for row, model in enumerate(runnable[:4], start=1):
            self._models.addWidget(ElidedLabel(model.title, size=12), row, 0)
            self._models.addWidget(label(origins.get(model.origin, "plugin"), role="t2", size=12), row, 1)
            count = label(str(len(model.class_names) or "–"), size=12)
            count.setAlignment(Qt.AlignmentFlag.AlignRight)
            self._models.addWidget(count, row, 2)
        self._right.setVisible(bool(runnable))

    def _set(self, name: str, value: str, role: str, word: str) -> None:
        words, state = self._values[name]
        words.setText(value)
        words.update()
        state.show_state(role, word)


class _State(QWidget):
    _ICONS = {"ok": "check", "warn": "warning", "info": "info", "": ""}

    def __init__(self) -> None:
        super().__init__()
        self._role, self._word = "", ""
        self.setFixedSize(112, 18)

    def show_state(self, role: str, word: str) -> None:
        self._role, self._word = role, word
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not self._word:
            return
        painter = QPainter(self)
        role = "t2" if self._role == "info" else self._role
        painter.setFont(theme.font(12))
        width = painter.fontMetrics().horizontalAdvance(self._word)
        x = self.width() - width - 1
        paint_icon(painter, QRect(x - 18, 2, 14, 14), self._ICONS[self._role] or "check", role or "t2")
        painter.setPen(theme.color(role or "t2"))
        painter.drawText(QRect(x, 0, width + 2, 18), int(Qt.AlignmentFlag.AlignVCenter), self._word)
        painter.end()


class _DemoPictures(QWidget):
    """Six small pictures of the demo: as it is, with labels, and grey."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(176)
        self._pictures: list[tuple[QImage, QImage]] = []

    def load(self) -> None:
        folder = resource("demo")
        files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".jpg", ".png", ".webp")]
        images = [path for path in files if "label" not in str(path.parent)][:3]
        for path in images:
            picture = QImage(str(path))
            if not picture.isNull():
                mode = Qt.TransformationMode.SmoothTransformation
                small = picture.scaledToWidth(240, mode).convertToFormat(QImage.Format.Format_RGB32)
                labels = _labels_of(path, files)
                self._pictures.append((small, _over(small, labels)))
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setPen(Qt.PenStyle.NoPen)
        width = (self.width() - 16) / 3
        height = (self.height() - 8) / 2
        for row in range(2):
            for place in range(3):
                box = QRectF(place * (width + 8), row * (height + 8), width, height)
                painter.setBrush(theme.color("well"))
                painter.drawRoundedRect(box, 2, 2)
                if place < len(self._pictures):
                    picture = self._pictures[place][row]
                    painter.drawImage(box, picture, _part(picture.size(), box))
        painter.end()


def _labels_of(path: Path, files: list[Path]) -> QImage:
    same = [file for file in files if file.stem == path.stem and "label" in str(file.parent)]
    return QImage(str(same[0])) if same else QImage()


def _over(picture: QImage, labels: QImage) -> QImage:
    if labels.isNull():
        return picture.convertToFormat(QImage.Format.Format_Grayscale8)
    result = picture.copy()
    painter = QPainter(result)
    painter.setOpacity(0.55)
    painter.drawImage(QRectF(result.rect()), labels, QRectF(labels.rect()))
    painter.end()
    return result


def _part(size: QSize, box: QRectF) -> QRectF:
    scale = min(size.width() / box.width(), size.height() / box.height())
    width, height = box.width() * scale, box.height() * scale
    return QRectF((size.width() - width) / 2, (size.height() - height) / 2, width, height)


class _FolderPicture(QWidget):
    """How a folder of images looks when it is opened."""

    _ROWS = (
        (0, "project", "A folder of yours", "any depth"),
        (1, "project", "plate_01", ""),
        (1, "project", "plate_02", ""),
        (2, "image", "well_A01_ch1.tif", "16-bit · 3 pages"),
        (2, "image", "well_A02_ch1.tif", "16-bit · 3 pages"),
        (1, "project", "streets", "JPEG"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(176)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("well"))
        painter.drawRoundedRect(QRectF(self.rect()), 4, 4)
        for row, (depth, icon, name, note) in enumerate(self._ROWS):
            line = QRect(0, 7 + row * 27, self.width(), 27)
            if row == 2:
                painter.fillRect(line, theme.color("selected"))
            left = 12 + depth * 16
            paint_icon(painter, QRect(left, line.top() + 6, 14, 14), icon, "accent" if row == 2 else "t2")
            painter.setFont(theme.font(13))
            painter.setPen(theme.color("t1"))
            flags = int(Qt.AlignmentFlag.AlignVCenter)
            painter.drawText(line.adjusted(left + 22, 0, 0, 0), flags, name)
            free = self.width() - left - 46 - painter.fontMetrics().horizontalAdvance(name)
            painter.setFont(theme.font(12))
            painter.setPen(theme.color("t2"))
            if painter.fontMetrics().horizontalAdvance(note) < free:
                painter.drawText(line.adjusted(0, 0, -12, 0), flags | int(Qt.AlignmentFlag.AlignRight), note)
            painter.setPen(Qt.PenStyle.NoPen)
        painter.end()


class _FormatsPicture(QWidget):
    """The formats that can be read, in a dashed frame into which a folder may be dropped."""

    def __init__(self, formats: list[str]) -> None:
        super().__init__()
        self._formats = formats
        self.setFixedHeight(176)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.color("line2"), 1, Qt.PenStyle.DashLine))
        painter.setBrush(theme.color("well"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.setFont(theme.font(12))
        x, y = 16, 12
        rows = (self.height() - 48) // 28
        for place, name in enumerate(self._formats):
            left = len(self._formats) - place
            width = painter.fontMetrics().horizontalAdvance(name) + 16
            more = painter.fontMetrics().horizontalAdvance(f"and {left} more") + 16
            last_row = y >= 12 + (rows - 1) * 28
            if last_row and left > 1 and x + width + 8 + more > self.width() - 16:
                name, width = f"and {left} more", more
            elif x + width > self.width() - 16:
                x, y = 16, y + 28
            painter.setPen(theme.color("line2"))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(x + 0.5, y + 0.5, width, 21), 3, 3)
            painter.setPen(theme.color("t2"))
            painter.drawText(QRect(x, y, width + 1, 22), int(Qt.AlignmentFlag.AlignCenter), name)
            x += width + 8
            if name.startswith("and "):
                break
        paint_icon(painter, QRect(16, self.height() - 32, 14, 14), "import", "t2")
        line = QRect(38, self.height() - 34, self.width() - 50, 18)
        painter.setFont(theme.font(13))
        painter.drawText(line, int(Qt.AlignmentFlag.AlignVCenter), "Drop a folder anywhere")
        painter.end()


class _Mark(QWidget):
    def __init__(self, name: str, size: int = 14, role: str = "t2") -> None:
        super().__init__()
        self._name, self._role = name, role
        self.setFixedSize(size, size)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        paint_icon(painter, self.rect(), self._name, self._role)
        painter.end()


def _processor() -> str:
    cores = os.cpu_count() or 1
    words = f"{cores} core" if cores == 1 else f"{cores} cores"
    memory = total_memory()
    return words if memory is None else f"{words} · {memory / 1e9:.0f} GB memory"


def total_memory() -> int | None:
    """Bytes of main memory, None where the system does not tell."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def after_paint(work: Callable[[], None]) -> None:
    """Run `work` when the events that are waiting now (a paint among them) are done."""
    QTimer.singleShot(0, work)
