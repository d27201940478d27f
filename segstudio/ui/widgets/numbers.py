"""How numbers are written in the window."""

from __future__ import annotations


def grouped(value: float) -> str:
    """A whole number in groups of three, set apart by a narrow space that no line breaks at: 12 345."""
    return f"{value:,.0f}".replace(",", "\u202f")


def storage(size: float) -> str:
    """A number of bytes in the unit that suits it, to three figures: 850 B, 20.2 MiB, 1.27 GiB."""
    unit = "B"
    for following in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1000:
            break
        size, unit = size / 1024, following
    if unit == "B" or size >= 99.95:
        return f"{size:.0f} {unit}"
    return f"{size:.1f} {unit}" if size >= 9.995 else f"{size:.2f} {unit}"


def counted(number: int, noun: str) -> str:
    """A number of things: "1 file", "12 345 files"."""
    return f"1 {noun}" if number == 1 else f"{grouped(number)} {noun}s"
