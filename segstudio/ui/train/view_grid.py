"""Pictures of a pre-training run: the views of the same validation images, epoch after epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from segstudio.runtime.run_history import Epoch, Preview
from segstudio.ui import theme
from segstudio.ui.train.preview_pictures import PreviewPictures
from segstudio.ui.widgets.first_frames import first_frames

GAP, ROW_GAP, CAPTION = 8, 2, 20
MOST = 6
WIDEST = 200.0
_LEAST_NAMED = 64  # pixels of width under which a chip would cover the picture


class ViewGrid(QWidget):
    """A column an image: the views in their order from top to bottom, the original under them."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Validation images and what is made of them")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._folder: Path | None = None
        self._previews: list[Preview] = []
        self._epoch: Epoch | None = None
        self._pictures = PreviewPictures(self)
        self._pictures.loaded.connect(self.update)
        self._last: dict[tuple[int, str], QImage] = {}
        self._names: tuple[str, ...] = ()
        self._is_new = True
        theme.appearance().changed.connect(self.update)

    @property
    def rows(self) -> tuple[str, ...]:
        """What the rows show, from top to bottom."""
        return (*self._names, "original")

    def show_run(self, folder: Path, previews: Sequence[Preview]) -> None:
        """The previews of one run; pictures of another are forgotten."""
        if folder != self._folder:
            self._last.clear()
            self._names = ()
        self._pictures.use(folder, 255)
        self._folder, self._previews = folder, list(previews)[:MOST]
        self.updateGeometry()
        self.update()

    def show_epoch(self, epoch: Epoch | None) -> None:
        self._epoch = epoch
        names = next((names for names in epoch.views.values() if names), ()) if epoch is not None else ()
        if epoch is None:
            self._last.clear()
        if names != self._names:
            self._names = names
            self.updateGeometry()
        self.update()

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        count = len(self.rows)
        return round(count * self._tile(width)[1]) + (count - 1) * ROW_GAP + CAPTION

    def sizeHint(self) -> QSize:
        return QSize(600, self.heightForWidth(600))

    def minimumSizeHint(self) -> QSize:
        return QSize(240, len(self.rows) * 40 + CAPTION)

    def tile(self, column: int, row: int) -> QRectF:
        """Where a picture is painted; where the height is short, all of them shrink."""
        wide, tall = self._tile(self.width())
        count = len(self.rows)
        fit = min(1.0, (self.height() - CAPTION - (count - 1) * ROW_GAP) / max(1.0, count * tall))
        wide, tall = wide * fit, tall * fit
        return QRectF(column * (wide + GAP), row * (tall + ROW_GAP), wide, tall)

    def _tile(self, width: float) -> tuple[float, float]:
        count = max(1, len(self._previews))
        wide = min(WIDEST, (width - GAP * (count - 1)) / count)
        shape = self._previews[0].size if self._previews else (1, 1)
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
        for column, preview in enumerate(self._previews):
            for row, name in enumerate(self.rows):
                box = self.tile(column, row)
                painter.fillRect(box, theme.color("base"))
                picture = self._picture(preview.index, name)
                if picture is not None:
                    painter.drawImage(box, picture)
                if column == 0 and box.width() >= _LEAST_NAMED:
                    _paint_chip(painter, box, name)
            box = self.tile(column, len(self.rows) - 1)
            self._paint_caption(
                painter, QRectF(box.left(), box.bottom() + 2, box.width(), CAPTION - 2), preview
            )
        painter.end()

    def _picture(self, index: int, name: str) -> QImage | None:
        if name == "original":
            return self._pictures.get(f"image-{index}.png")
        if self._epoch is None:
            return None
        found = self._pictures.get(f"epoch-{self._epoch.number:04d}/{index}-{name}.png")
        if found is None:
            return self._last.get((index, name))  # until it was read, the epoch before stays in view
        self._last[index, name] = found
        return found

    def _paint_caption(self, painter: QPainter, box: QRectF, preview: Preview) -> None:
        if box.width() < 32:
            return  # a cut-off number would be a wrong one
        error = self._epoch.previews.get(preview.index) if self._epoch is not None else None
        painter.setFont(theme.font(11))
        painter.setPen(theme.color("t2"))
        room = int(box.width()) - 44
        if room > 32:
            name = painter.fontMetrics().elidedText(
                Path(preview.image).stem, Qt.TextElideMode.ElideLeft, room
            )
            painter.drawText(box, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), name)
        painter.setPen(theme.color("t1"))
        painter.setFont(theme.font(11, 600))
        text = "–" if error is None else f"{error:.3f}"
        painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), text)


def _paint_chip(painter: QPainter, box: QRectF, name: str) -> None:
    """The name of a row over its first picture."""
    painter.setFont(theme.font(11))
    words = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, int(box.width()) - 16)
    chip = QRectF(box.left() + 4, box.top() + 4, painter.fontMetrics().horizontalAdvance(words) + 10, 16)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color("chip"))
    painter.drawRoundedRect(chip, 3, 3)
    painter.setPen(theme.color("chip_text"))
    painter.drawText(chip, int(Qt.AlignmentFlag.AlignCenter), words)
