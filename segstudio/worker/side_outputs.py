"""Supervised outputs beside the final one: auxiliary heads, branches, coarse maps, chosen by their names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from segstudio.core.errors import UserError
from segstudio.plugin_api import ModelSpec, Scores


def output_scores(model: Any, spec: ModelSpec, image: Tensor, output: str) -> Scores:
    """Scores of `image` (N, 3, H, W) at one of the network's outputs; "" is the final one.

    Raises UserError where the network as it was built for its weights has no such head.
    """
    if not output:
        final: Scores = model.scores(image)
        return final
    give = getattr(model, "side_outputs", None)
    sides: dict[str, Scores] = give(image) if callable(give) else {}
    if output not in sides:
        raise no_output(f"{spec.title} with these weights", output, sides)
    return sides[output]


def no_output(title: str, output: str, others: Iterable[str]) -> UserError:
    """Says that there is no such output, and which there are."""
    *most, last = ("the final one", *others)
    there = f"It has {', '.join(most)} and {last}" if most else f"It has only {last}"
    return UserError(f"{title} has no output {output!r}", action=there)
