"""How numbers are written in the window."""

from __future__ import annotations


def grouped(value: float) -> str:
    """A whole number in groups of three, set apart by a narrow space that no line breaks at: 12 345."""
    return f"{value:,.0f}".replace(",", "\u202f")


def counted(number: int, noun: str) -> str:
    """A number of things: "1 file", "12 345 files"."""
    return f"1 {noun}" if number == 1 else f"{grouped(number)} {noun}s"
