"""Learning rates over a run."""

from __future__ import annotations


def poly_factor(step: int, steps: int, *, power: float, warmup_steps: int) -> float:
    """What the learning rate is multiplied with at `step` of `steps` (counted from 0).

    (1 - step / steps) ** power (Chen et al., DeepLab, 2016, section 4.1), after a linear rise from
    1e-3 over `warmup_steps`; never below 1e-4, so that the last steps still move.
    """
    decay = max(0.0, 1 - step / max(1, steps)) ** power
    rise = 1.0
    if step < warmup_steps:
        rise = 1e-3 + (1 - 1e-3) * (step + 1) / warmup_steps
    return max(1e-4, decay * rise)
