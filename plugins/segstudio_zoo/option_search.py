"""The options with which a network fits a state dict, tried out where no rule of its file tells them.

Any option that the catalog declares is found this way, also one that the network file's `infer_options`
does not know: a wrong value leaves keys missing, unexpected or of another shape, the right one fewer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from segstudio.plugin_api import Option
from segstudio_zoo.signatures import trial_values

MOST_TRIALS = 60
"""Networks built for one answer: a few hundredths of a second each, without memory for weights."""

_MOST_SIZES = 6


class Misfit(NamedTuple):
    """How far a network is from a state dict: keys without a counterpart of their shape, and how often each
    axis length occurs in tensors of the state dict that are of another shape. `loads`: nothing is missing,
    unexpected or mismatched, though parts of the file may stay unused."""

    problems: int
    lengths: Counter[int]
    loads: bool


def fitting_options(
    options: Iterable[Option],
    start: Mapping[str, Any],
    misfit: Callable[[Mapping[str, Any]], Misfit | None],
) -> dict[str, Any] | None:
    """`start` with the values of `options` with which the network loads and uses most, or None.

    Changes one option after another to the first value that leaves fewer problems, until nothing helps.
    `misfit(chosen)` is None where such a network cannot be built.
    """
    declared = tuple(options)
    chosen = dict(start)
    best = misfit(chosen)
    trials = 0
    improved = best is not None and best.problems > 0
    while improved and best is not None and best.problems:
        improved = False
        for option in declared:
            for value in _values(option, chosen.get(option.name, option.default), best.lengths):
                trials += 1
                if trials > MOST_TRIALS:
                    return chosen if best.loads else None
                found = misfit({**chosen, option.name: value})
                if found is not None and found.problems < best.problems:
                    chosen[option.name] = value
                    best, improved = found, True
                    break
            if not best.problems:
                break
    return chosen if best is not None and best.loads else None


def _values(option: Option, current: Any, lengths: Counter[int]) -> Iterator[Any]:
    """What else the option may be: its choices; for a number its small range or lengths that do not fit."""
    values: list[Any] = list(trial_values(option))
    if option.kind == "int" and len(values) <= 2:
        low = 0 if option.minimum is None else option.minimum
        high = float("inf") if option.maximum is None else option.maximum
        frequent = (length for length, _ in lengths.most_common(_MOST_SIZES))
        values = [*(length for length in frequent if low <= length <= high), *values]
    yield from (value for value in values if value != current)
