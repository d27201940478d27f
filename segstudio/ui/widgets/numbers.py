"""How numbers are written in the window."""

from __future__ import annotations


def grouped(value: float) -> str:
    """A whole number in groups of three, set apart by a narrow space that no line breaks at: 12 345."""
    return f"{value:,.0f}".replace(",", "\u202f")
