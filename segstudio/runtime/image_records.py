"""The images of the open project as a list that is also looked up by id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, overload

from segstudio.core.records import ImageRecord


class ImageRecords(Sequence[ImageRecord]):
    """All images in natural order of their paths. Only the session changes them."""

    def __init__(self) -> None:
        self._records: list[ImageRecord] = []
        self._positions: dict[int, int] = {}

    @overload
    def __getitem__(self, index: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImageRecord]: ...
    def __getitem__(self, index: int | slice) -> ImageRecord | list[ImageRecord]:
        return self._records[index]

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(self._records)  # a sequence's own way asks for each by its number: ten times slower

    def __len__(self) -> int:
        return len(self._records)

    def take(self, records: list[ImageRecord]) -> None:
        """These are the images from now on."""
        self._records = list(records)
        self._positions = {record.id: position for position, record in enumerate(records)}

    def find(self, image_id: int) -> ImageRecord | None:
        """The image with this id, None where there is none."""
        position = self._positions.get(image_id)
        return None if position is None else self._records[position]

    def position(self, image_id: int) -> int:
        """Place of an image, counted from 0; -1 where it is not in the list."""
        return self._positions.get(image_id, -1)

    def neighbours(self, image_id: int) -> list[ImageRecord]:
        """The next image, then the one before."""
        here = self.position(image_id)
        return [self._records[at] for at in (here + 1, here - 1) if 0 <= at < len(self._records)]

    def change(self, image_id: int, **changes: Any) -> bool:
        """Replace fields of one record; False where it is not in the list."""
        position = self._positions.get(image_id)
        if position is None:
            return False
        self._records[position] = replace(self._records[position], **changes)
        return True
