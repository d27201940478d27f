"""The classes a model predicts or a project annotates: index, name, colour."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TaxonomyClass:
    """One class. `color` is (red, green, blue), each 0-255."""

    name: str
    color: tuple[int, int, int]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Classes in the order of their indices: `classes[i]` is what index i means."""

    id: str
    title: str
    classes: tuple[TaxonomyClass, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.classes)
