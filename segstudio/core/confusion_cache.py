"""Confusion matrices by image and model, kept until the image's labels change.

The mean IoU of any selection of images, and their ranking, are sums of these.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from segstudio.core.database import Database


class ConfusionCache:
    """Reads and writes the confusions table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, image_id: int, model_key: str, matrix: NDArray[np.int64]) -> None:
        """Keeps a matrix (K, columns) for the labels as they are now."""
        data = zlib.compress(np.ascontiguousarray(matrix, "<i8").tobytes(), 1)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO confusions (image, model, label_version, classes, data) "
                "SELECT id, ?, label_version, ?, ? FROM images WHERE id = ?",
                (model_key, len(matrix), data, image_id),
            )

    def get(self, image_id: int, model_key: str) -> NDArray[np.int64] | None:
        """The kept matrix; None where there is none, the labels changed since, or it is damaged."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT classes, data FROM confusions JOIN images ON images.id = confusions.image "
                "WHERE image = ? AND model = ? AND confusions.label_version = images.label_version",
                (image_id, model_key),
            ).fetchone()
        return None if row is None else _matrix(*row)

    def all_of(self, model_key: str) -> dict[int, NDArray[np.int64]]:
        """By image id, all kept matrices of a model that are still true."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT image, classes, data FROM confusions JOIN images ON images.id = confusions.image "
                "WHERE model = ? AND confusions.label_version = images.label_version",
                (model_key,),
            ).fetchall()
        found = ((image_id, _matrix(size, data)) for image_id, size, data in rows)
        return {image_id: matrix for image_id, matrix in found if matrix is not None}


def _matrix(size: int, data: bytes) -> NDArray[np.int64] | None:
    """None where it is damaged: an entry of a cache is computed again."""
    try:
        values = np.frombuffer(zlib.decompress(data), "<i8")
    except (zlib.error, ValueError):
        return None
    if size == 0 or values.size % size:
        return None
    return values.reshape(size, -1).astype(np.int64)
