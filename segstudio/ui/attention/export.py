"""Writes the map in front to a file: the picture as it is drawn, or the values of the cells."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PySide6.QtCore import QBuffer, QIODevice, QSize
from PySide6.QtGui import QImage

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.runtime.attention import ProbeResult, ProbeSlot
from segstudio.ui.attention.figures import Look, paint_answer
from segstudio.ui.canvas.layers import ImageLayer

LARGEST = 4096


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
    drawn: QImage = paint_answer(result, result.kind, picture, image, size, look)
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
