"""The pictures at the top of the first page's cards: the demo, a folder, the formats that can be read."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from segstudio.core.resources import resource
from segstudio.ui import theme
from segstudio.ui.icons import paint_icon


class DemoPictures(QWidget):
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


class FolderPicture(QWidget):
    """How a folder of images looks when it is opened."""

    _ROWS = (
        (0, "project", "A folder of yours", "any depth"),
        (1, "project", "plate_01", ""),
        (1, "project", "plate_02", ""),
        (2, "image", "well_A01_ch1.tif", "16-bit"),
        (2, "image", "well_A02_ch1.tif", "16-bit"),
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


class FormatsPicture(QWidget):
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
