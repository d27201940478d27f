"""The same validation images, epoch after epoch: the label above, what the network said below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PySide6.QtCore import QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QKeyEvent, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from segstudio.runtime.run_history import Epoch, Preview
from segstudio.ui import theme
from segstudio.ui.train.preview_pictures import PreviewPictures
from segstudio.ui.train.view_grid import ViewGrid
from segstudio.ui.widgets.buttons import IconButton, push_button
from segstudio.ui.widgets.first_frames import first_frames
from segstudio.ui.widgets.labels import label
from segstudio.ui.widgets.slider import Slider

View = Literal["mask", "error"]

GAP, CAPTION = 8, 20
OPACITY = 0.48
PLAY_MS = 250


class PreviewGrid(QWidget):
    """Up to six columns; painted from the files in the run folder, kept while they are of use."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Validation images")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._folder: Path | None = None
        self._previews: list[Preview] = []
        self._ignore = 255
        self._epoch: Epoch | None = None
        self._view: View = "mask"
        self._pictures = PreviewPictures(self)
        self._pictures.loaded.connect(self.update)
        self._said: dict[int, QImage] = {}
        self._is_new = True
        theme.appearance().changed.connect(self.update)

    def show_run(self, folder: Path, previews: Sequence[Preview], ignore: int) -> None:
        """The previews of one run; pictures of another are forgotten."""
        if folder != self._folder:
            self._said.clear()
        self._pictures.use(folder, ignore)
        self._folder, self._previews, self._ignore = folder, list(previews)[:6], ignore
        self.updateGeometry()
        self.update()

    def show_epoch(self, epoch: Epoch | None) -> None:
        self._epoch = epoch
        if epoch is None:
            self._said.clear()
        self.update()

    def set_view(self, view: View) -> None:
        self._view = view
        self.update()

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return round(2 * self._tile(width)[1]) + 2 + CAPTION

    def sizeHint(self) -> QSize:
        return QSize(600, self.heightForWidth(600))

    def _tile(self, width: float) -> tuple[float, float]:
        count = max(1, len(self._previews))
        wide = min(260.0, (width - GAP * (count - 1)) / count)
        shape = self._previews[0].size if self._previews else (3, 2)
        return wide, wide * shape[1] / max(1, shape[0])

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._is_new = True

    def paintEvent(self, _event: QPaintEvent) -> None:
        if self._folder is None or (self._is_new and not first_frames().take(self)):
            return
        self._is_new = False
        painter = QPainter(self)
        if not self._previews:
            painter.setFont(theme.font(12))
            painter.setPen(theme.color("t3"))
            words = "The same pictures appear here after every epoch."
            painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap), words)
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        wide, tall = self._tile(self.width())
        # Where the height is short, pictures shrink rather than being cut off.
        fit = min(1.0, (self.height() - 2 - CAPTION) / max(1.0, 2 * tall))
        wide, tall = wide * fit, tall * fit
        for column, preview in enumerate(self._previews):
            left = column * (wide + GAP)
            image = self._pictures.get(f"image-{preview.index}.png")
            truth = self._pictures.get(f"truth-{preview.index}.png", labels=True)
            upper, lower = QRectF(left, 0, wide, tall), QRectF(left, tall + 2, wide, tall)
            self._paint_overlay(painter, upper, image, truth)
            score = None
            said = None
            if self._epoch is not None and preview.index in self._epoch.previews:
                score = self._epoch.previews[preview.index]
                name = f"epoch-{self._epoch.number:04d}/{preview.index}.png"
                # Until it was read, the epoch before stays in view.
                said = self._pictures.get(name, labels=True) or self._said.get(preview.index)
                if said is not None:
                    self._said[preview.index] = said
            if self._view == "error" and said is not None and truth is not None:
                self._paint_error(painter, lower, preview.index, image, truth, said)
            else:
                self._paint_overlay(painter, lower, image, said)
            self._paint_caption(painter, QRectF(left, 2 * tall + 4, wide, CAPTION - 2), preview, score)

    def _paint_overlay(
        self, painter: QPainter, box: QRectF, image: QImage | None, labels: QImage | None
    ) -> None:
        painter.fillRect(box, theme.color("base"))
        if image is not None:
            painter.drawImage(box, image)
        if labels is not None:
            painter.setOpacity(OPACITY)
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
            painter.drawImage(box, labels)
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, True)
            painter.setOpacity(1.0)

    def _paint_error(
        self,
        painter: QPainter,
        box: QRectF,
        index: int,
        image: QImage | None,
        truth: QImage,
        said: QImage,
    ) -> None:
        """The greyed image with wrong pixels in the colour of the predicted class."""
        key = f"error/{said.cacheKey()}/{index}"
        found = self._pictures.get_made(key)
        if found is None:
            a, b = _indices(truth), _indices(said)
            found = said.convertToFormat(QImage.Format.Format_ARGB32)
            if a.shape == b.shape:
                right = (a == b) | (a == self._ignore)
                alpha = np.frombuffer(found.bits(), np.uint8).reshape(found.height(), found.bytesPerLine())
                alpha[:, 3 : 4 * found.width() : 4][right] = 0
            self._pictures.keep(key, found)
        grey = image.convertToFormat(QImage.Format.Format_Grayscale8) if image is not None else None
        painter.fillRect(box, theme.color("base"))
        if grey is not None:
            painter.setOpacity(0.75)
            painter.drawImage(box, grey)
            painter.setOpacity(1.0)
        painter.drawImage(box, found)

    def _paint_caption(self, painter: QPainter, box: QRectF, preview: Preview, score: float | None) -> None:
        painter.setFont(theme.font(11))
        metrics = painter.fontMetrics()
        painter.setPen(theme.color("t2"))
        if box.width() < 32:
            return  # a cut-off number would be a wrong one
        room = int(box.width()) - 40
        if room > 40:
            name = metrics.elidedText(Path(preview.image).stem, Qt.TextElideMode.ElideLeft, room)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), name)
        painter.setPen(theme.color("t1"))
        painter.setFont(theme.font(11, 600))
        text = "–" if score is None else f"{100 * score:.1f}"
        painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), text)


class Scrubber(QWidget):
    """Play, a slider over the epochs, the epoch in words, Best and Latest. Space plays."""

    moved = Signal(int)  # epoch
    best_wanted = Signal()
    latest_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.play = IconButton("play", "Play  Space\nShows epoch after epoch", side=28)
        self.play.clicked.connect(self.toggle)
        self.slider = Slider(1, 1, 1, width=200, name="Epoch")
        self.slider.setMinimumWidth(120)
        self.slider.setMaximumWidth(16_777_215)
        self.slider.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.slider.valueChanged.connect(self._slid)
        self._words = label("", role="t2", size=12)
        self._words.setFixedWidth(104)
        self.best = push_button("Best", kind="quiet", tall=24)
        self.latest = push_button("Latest", kind="quiet", tall=24)
        self.best.clicked.connect(self.best_wanted)
        self.latest.clicked.connect(self.latest_wanted)
        for button in (self.best, self.latest):
            button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        for part in (self.play, self.slider, self._words, self.best, self.latest):
            row.addWidget(part, 1 if part is self.slider else 0)
        self._timer = QTimer(self, interval=PLAY_MS)
        self._timer.timeout.connect(self._next)
        self._quiet = False
        self._total = 1

    @property
    def playing(self) -> bool:
        return self._timer.isActive()

    def show_range(self, last: int, total: int) -> None:
        """Epochs 1..`last` are there, of `total`."""
        self._quiet = True
        self._total = total
        self.slider.setRange(1, max(1, last))
        self._quiet = False
        self.setEnabled(last > 0)

    def show_epoch(self, epoch: int) -> None:
        self._quiet = True
        self.slider.setValue(epoch)
        self._quiet = False
        self._words.setText(f"epoch {epoch} of {self._total}" if epoch else "no epoch yet")

    def toggle(self) -> None:
        """Play or pause; from the last epoch it starts over."""
        if self.playing:
            self._timer.stop()
        else:
            if self.slider.value() >= self.slider.maximum():
                self.moved.emit(1)
            self._timer.start()
        self.play.show_icon("pause" if self.playing else "play")

    def stop(self) -> None:
        if self.playing:
            self.toggle()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space:
            self.toggle()
            return
        super().keyPressEvent(event)

    def _next(self) -> None:
        if self.slider.value() >= self.slider.maximum():
            self.toggle()
            return
        self.moved.emit(self.slider.value() + 1)

    def _slid(self, value: int) -> None:
        if not self._quiet:
            self.moved.emit(value)


class PreviewPanel(QWidget):
    """The grid of masks, or that of reconstructions, over the scrubber."""

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(6)
        self.grid = PreviewGrid()
        self.views = ViewGrid()
        self.views.hide()
        self.scrubber = Scrubber()
        column.addWidget(self.grid, 1)
        column.addWidget(self.views, 1)
        column.addWidget(self.scrubber)

    def show_run(self, folder: Path, previews: Sequence[Preview], ignore: int, *, pretrains: bool) -> None:
        """The previews of one run."""
        self.grid.setVisible(not pretrains)
        self.views.setVisible(pretrains)
        if pretrains:
            self.views.show_run(folder, previews)
        else:
            self.grid.show_run(folder, previews, ignore)

    def show_epoch(self, epoch: Epoch | None) -> None:
        (self.views if self.views.isVisibleTo(self) else self.grid).show_epoch(epoch)


def _indices(image: QImage) -> np.ndarray:
    """The pixel values (H, W) of an Indexed8 image."""
    data = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return data[:, : image.width()]
