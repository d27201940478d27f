"""Says in a sentence what is wrong with an option's value, before anything is built or shown with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from segstudio.plugin_api.specs import Option


def problem_of(option: Option, value: Any) -> str:
    """What is wrong with `value`, to be put behind "option 'x'" ("is an integer of at least 1"), or nothing.

    The default is always right, None with it where that means "as the model has it".
    """
    if type(value) is type(option.default) and value == option.default:
        return ""
    if option.kind == "choice":
        known = ", ".join(map(repr, option.choices))
        return "" if any(same_value(value, choice) for choice in option.choices) else f"is one of {known}"
    if option.kind == "bool":
        return "" if isinstance(value, bool) else "is True or False"
    if option.kind == "ints":
        several = isinstance(value, Sequence) and not isinstance(value, str)
        fits = several and all(_is_number(part, whole=True) and _within(option, part) for part in value)
        return "" if fits else f"is a row of integers{_bounds(option)}"
    if option.kind in ("int", "float"):
        whole = option.kind == "int"
        fits = _is_number(value, whole=whole) and _within(option, value)
        return "" if fits else f"is {'an integer' if whole else 'a number'}{_bounds(option)}"
    return ""


def same_value(value: Any, choice: Any) -> bool:
    """Equal, and not one of them a truth value and the other a number."""
    return isinstance(value, bool) == isinstance(choice, bool) and bool(value == choice)


def _is_number(value: Any, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        return False
    return not whole or isinstance(value, Integral)


def _within(option: Option, value: float) -> bool:
    low = -math.inf if option.minimum is None else option.minimum
    high = math.inf if option.maximum is None else option.maximum
    return low <= value <= high


def _bounds(option: Option) -> str:
    if option.minimum is not None and option.maximum is not None:
        return f" from {option.minimum:g} to {option.maximum:g}"
    if option.minimum is not None:
        return f" of at least {option.minimum:g}"
    return "" if option.maximum is None else f" of at most {option.maximum:g}"
