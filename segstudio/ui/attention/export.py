"""Writes the map in front to a file: the picture as it is drawn, or the values of the cells."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PySide6.QtCore import QBuffer, QIODevice, QSize
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFileDialog, QWidget

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.runtime.attention import ProbeResult, ProbeSlot
from segstudio.runtime.inspection import Inspection
from segstudio.ui.attention.bars import BarChart, chart_size
from segstudio.ui.attention.figures import Look, paint_answer, paint_vector
from segstudio.ui.attention.multiples import ChartOf
from segstudio.ui.canvas.layers import ImageLayer
from segstudio.ui.room import Services

LARGEST = 4096


class MapExport:
    """Asks where the map in front goes, and writes it."""

    def __init__(
        self,
        services: Services,
        inspection: Inspection,
        picture: ImageLayer,
        look: Callable[[], Look],
        chart_of: ChartOf,
        over: QWidget,
    ) -> None:
        """`picture` lies under the map, drawn as `look()` says; `chart_of` names the bars of a vector;
        `over` is where the question appears."""
        self._session, self._status = services.session, services.status
        self._inspection, self._picture, self._look, self._over = inspection, picture, look, over
        self._chart_of = chart_of

    def export(self, kind: str) -> None:
        """Asks for a file of this kind, "png" or "npy"."""
        slot, pin = self._inspection.front_slot, self._inspection.active_pin
        current = self._session.current
        if slot is None or self._inspection.result(slot, pin) is None or current is None:
            self._status.notice.emit("There is no map to export yet", "", None)
            return
        name = file_name(current.display_name, slot, pin.name if pin is not None else "", f".{kind}")
        folder = self._session.project.folder if self._session.project is not None else Path.home()
        chosen, _ = QFileDialog.getSaveFileName(self._over, "Export the map", str(folder / name), f"*.{kind}")
        if chosen:
            self.export_to(Path(chosen))

    def export_to(self, path: Path) -> None:
        """Writes the map in front; the suffix (.npy or .png) decides how."""
        slot, pin = self._inspection.front_slot, self._inspection.active_pin
        result, image = self._inspection.result(slot, pin), self._session.image
        if result is None:
            return
        size = QSize(image.width, image.height) if image is not None and image.width else QSize()
        try:
            if path.suffix == ".npy":
                write_values(path, result)
            elif result.kind == "vector" and slot is not None:
                write_bars(path, self._chart_of(slot, result))
            else:
                write_picture(path, result, self._picture, size, self._look())
        except UserError as error:
            self._status.error.emit(error)
            return
        self._status.notice.emit(f"Written to {path.name}", "", None)


def file_name(image_name: str, slot: ProbeSlot, pin_name: str, suffix: str) -> str:
    """A name that says what is in the file: image, model, map, query, and whether it is as trained."""
    words = [Path(image_name).stem, slot.runnable.ref["model"].rpartition("/")[2], slot.spec.id, pin_name]
    if slot.switches:
        words.append("not-as-trained")
    return "_".join(word for word in words if word) + suffix


def write_values(path: Path, result: ProbeResult) -> None:
    """The values as float32 .npy, as the network gave them. Raises UserError where it cannot be written."""
    data = io.BytesIO()
    np.save(data, result.values)
    _write(path, data.getvalue())


def write_picture(path: Path, result: ProbeResult, picture: ImageLayer, image: QSize, look: Look) -> None:
    """The map over the picture at the picture's own size (at most 4096 pixels a side) as .png."""
    scale = min(1.0, LARGEST / max(image.width(), image.height(), 1))
    size = QSize(max(1, round(image.width() * scale)), max(1, round(image.height() * scale)))
    _write_image(path, paint_answer(result, result.kind, picture, image, size, look))


def write_bars(path: Path, chart: BarChart) -> None:
    """Every bar of a vector with its name and value as .png, as large as that needs."""
    _write_image(path, paint_vector(chart, chart_size(chart)))


def _write_image(path: Path, drawn: QImage) -> None:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    drawn.save(buffer, "PNG")
    _write(path, bytes(buffer.data().data()))


def _write(path: Path, data: bytes) -> None:
    try:
        atomic_file.write_bytes(path, data)
    except OSError as error:
        raise UserError(
            "The map could not be written",
            where=f"to {path}",
            action="Choose another folder.",
            details=str(error),
        ) from error
