"""How an authors' file is described: a network of ours, and their names as renamings of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

RENAMING = tuple[tuple[str, str], ...]
"""Regular expressions over our names and what they become; the first that matches at the beginning counts."""


def conv_bn(ours: str, theirs: str, first: int = 0) -> RENAMING:
    return ((rf"{ours}\.conv\.", f"{theirs}.{first}."), (rf"{ours}\.bn\.", f"{theirs}.{first + 1}."))


def sequential(ours: str, theirs: str) -> RENAMING:
    return ((rf"{ours}\.conv\.", f"{theirs}.0."), (rf"{ours}\.bn\.", f"{theirs}.1.0."))


@dataclass(frozen=True)
class Original:
    """`build` makes the network whose entries `renaming` calls as the authors do; `extra` entries more.

    Theirs have no entry that matches `without`: biases, which are then zero. `then` renames theirs further.
    `biased` are biases before a norm, and the norm's entry that they shift.
    """

    build: dict[str, Any]
    renaming: RENAMING
    found: str
    options: dict[str, Any] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    layout: str = "authors"
    reshaped: dict[str, tuple[int, ...]] = field(default_factory=dict)
    without: str = "(?!)"
    then: RENAMING = ()
    biased: dict[str, str] = field(default_factory=dict)


def theirs(original: Original, key: str) -> str:
    for pattern, replacement in original.renaming:
        match = re.match(pattern, key)
        if match:
            key = match.expand(replacement) + key[match.end() :]
            break
    for ours, name in original.then:
        key = key.replace(ours, name)
    return key
