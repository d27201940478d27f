"""Timing of a product against the plain way, the two in turn, so that a drifting machine hits both."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

REPEATS = 9


class NotMeasured(Exception):
    """A figure that cannot be had on this computer; the text says why."""


def seconds(work: Callable[[], object]) -> float:
    """How long one call of `work` takes, in seconds of wall time."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def alternating(
    baseline: Callable[[], object], product: Callable[[], object], *, repeats: int = REPEATS
) -> dict[str, float]:
    """Medians of both in milliseconds and the ratio product / baseline, pair by pair (median).

    Both run once before the clock counts. The order within a pair alternates.
    """
    if repeats < 7:
        raise ValueError(f"{repeats} repeats say too little; at least 7")
    baseline()
    product()
    plain: list[float] = []
    ours: list[float] = []
    gc.collect()
    gc.disable()
    try:
        for turn in range(repeats):
            if turn % 2:
                ours.append(seconds(product))
                plain.append(seconds(baseline))
            else:
                plain.append(seconds(baseline))
                ours.append(seconds(product))
    finally:
        gc.enable()
    return {
        "baseline_ms": round(statistics.median(plain) * 1e3, 3),
        "product_ms": round(statistics.median(ours) * 1e3, 3),
        "product_over_baseline": round(statistics.median(b / a for a, b in zip(plain, ours, strict=True)), 3),
        "repeats": repeats,
    }


def in_turn(
    works: Mapping[str, Callable[[], object]],
    *,
    repeats: int = REPEATS,
    processor_time: bool = False,
    around_first: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> dict[str, dict[str, float]]:
    """Medians in milliseconds of several works, and how much longer the first one takes (median of the
    ratios within a round).

    All run before the clock counts; their order turns from round to round. `processor_time` counts the time
    of this thread on the processor, not that on the wall. The first one runs inside `around_first()`, whose
    own time does not count.
    """
    if repeats < 7:
        raise ValueError(f"{repeats} repeats say too little; at least 7")
    clock = time.thread_time if processor_time else time.perf_counter
    names = list(works)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        with around_first() if name == names[0] else nullcontext():
            works[name]()
    gc.collect()
    gc.disable()
    try:
        for turn in range(repeats):
            start = turn % len(names)
            for name in names[start:] + names[:start]:
                with around_first() if name == names[0] else nullcontext():
                    begun = clock()
                    works[name]()
                    taken[name].append(clock() - begun)
    finally:
        gc.enable()
    first = taken[names[0]]
    return {
        name: {
            "ms": round(statistics.median(times) * 1e3, 1),
            "first_over_this": round(statistics.median(a / b for a, b in zip(first, times, strict=True)), 2),
        }
        for name, times in taken.items()
    }


def percentiles(samples: list[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile and maximum of `samples` (seconds), in milliseconds."""
    ordered = sorted(samples)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3, 3)

    return {
        "p50_ms": at(0.5),
        "p95_ms": at(0.95),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
        "samples": len(ordered),
    }
