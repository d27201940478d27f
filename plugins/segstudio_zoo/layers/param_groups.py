"""Parameter groups of transformer recipes: no weight decay on norms and tables, learning rates by depth.

Layer-wise decay: Bao et al., BEiT, arXiv 2106.08254, appendix; Liu et al., ConvNeXt, arXiv 2201.03545,
appendix A.3. A backbone that supports it says `num_depths` and `depth_of(parameter key) -> int`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import Tensor, nn

_NOT_DECAYED = (
    "norm", ".ln", "ln1.", "bn.", "gn.", "pos_embed", "cls_token", "cls_emb", "mask_token",
    "relative_position_bias_table", "gamma", "layer_scale", "grn.",
)  # fmt: skip


def is_decayed(key: str, parameter: Tensor) -> bool:
    """False for norms, biases, position tables, tokens and layer scales."""
    return parameter.ndim > 1 and not any(part in key for part in _NOT_DECAYED)


def transformer_groups(
    model: nn.Module, lr: float, *, head_factor: float = 1.0, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Groups for AdamW; those without weight decay carry `weight_decay` 0.

    Parameters outside `model.backbone` learn at `lr * head_factor`; a backbone parameter of depth d of n
    at `lr * layer_decay ** (n - d)`, so that the layer nearest to the head learns at `lr * layer_decay`.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for key, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if not key.startswith("backbone."):
            rate = lr * head_factor
        elif layer_decay == 1.0:
            rate = lr
        else:
            depth = model.backbone.depth_of(key.removeprefix("backbone."))
            rate = lr * layer_decay ** (model.backbone.num_depths - depth)
        groups[rate, is_decayed(key, parameter)].append(parameter)
    return [
        {"params": parameters, "lr": rate} | ({} if decayed else {"weight_decay": 0.0})
        for (rate, decayed), parameters in groups.items()
    ]
