"""Learning rates over a run."""

from __future__ import annotations

import math
from collections.abc import Callable

from segstudio.core.recipe import Recipe

_LEAST = 1e-4


def schedule_of(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """The recipe's schedule for a run of `steps`: what its rate is multiplied with at each of them."""
    if recipe.schedule == "cosine":
        return lambda step: cosine_factor(step, steps, warmup_steps=recipe.warmup_steps)
    return lambda step: poly_factor(step, steps, power=recipe.power, warmup_steps=recipe.warmup_steps)


def poly_factor(step: int, steps: int, *, power: float, warmup_steps: int) -> float:
    """What the learning rate is multiplied with at `step` of `steps` (counted from 0).

    (1 - step / steps) ** power (Chen et al., DeepLab, 2016, section 4.1), after a linear rise from
    1e-3 over `warmup_steps`; never below 1e-4, so that the last steps still move.
    """
    decay = max(0.0, 1 - step / max(1, steps)) ** power
    return max(_LEAST, decay * _rise(step, warmup_steps))


def cosine_factor(step: int, steps: int, *, warmup_steps: int) -> float:
    """What the learning rate is multiplied with at `step` of `steps` (counted from 0).

    Half a cosine from the end of the linear rise to that of the run (Loshchilov and Hutter, 1608.03983,
    equation 5, without restarts), as MAE (2111.06377, table 8) and BEiT (2106.08254) use it.
    """
    passed = min(1.0, max(0, step - warmup_steps) / max(1, steps - warmup_steps))
    return max(_LEAST, 0.5 * (1 + math.cos(math.pi * passed)) * _rise(step, warmup_steps))


def _rise(step: int, warmup_steps: int) -> float:
    return 1e-3 + (1 - 1e-3) * (step + 1) / warmup_steps if step < warmup_steps else 1.0
