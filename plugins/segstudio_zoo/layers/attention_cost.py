"""What attention costs at the size of the last run, in the words of `ProbeMap.extras`.

Apart from the probes because each of them tells it, and all in one way: the number of attention scores the
module computes, and the memory they take if they are held at once, beside those of full attention.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


def attention_cost(
    scores: int, cells: int, kept: Tensor | int, *, of: str = "", groups: int = 1
) -> dict[str, Any]:
    """`scores` are computed for one image; `of` says of what ("a hop", "in 12 layers"), "" of one module.

    Full attention is `groups` (heads, times layers) x `cells` x `cells` scores. A score takes what an element
    of `kept` takes, a tensor of the run or its element size in bytes.
    """
    size = kept.element_size() if isinstance(kept, Tensor) else kept
    full = groups * cells * cells
    told: dict[str, Any] = {"scores": scores, "score_bytes": scores * size}
    if full != scores:
        told.update(full_scores=full, full_bytes=full * size)
    if of:
        told["scores_of"] = of
    return told
