"""HRNet: facts. (bottlenecks, channels) of stage 1, then (exchange units, blocks a branch, channels) of 2-4."""

from __future__ import annotations

_Stages = tuple[tuple[int, int, tuple[int, ...]], ...]


def _regular(width: int) -> tuple[tuple[int, int], _Stages]:
    widths = tuple(width * 2**b for b in range(4))
    return (4, 64), ((1, 4, widths[:2]), (4, 4, widths[:3]), (3, 4, widths))


WIDTHS: dict[str, tuple[tuple[int, int], _Stages]] = {
    f"hrnet-w{width}": _regular(width) for width in (18, 30, 32, 40, 44, 48, 64)
}
WIDTHS["hrnet-w18-small"] = (1, 32), ((1, 2, (16, 32)), (1, 2, (16, 32, 64)), (1, 2, (16, 32, 64, 128)))
WIDTHS["hrnet-w18-small-v2"] = (2, 64), ((1, 2, (18, 36)), (3, 2, (18, 36, 72)), (2, 2, (18, 36, 72, 144)))
