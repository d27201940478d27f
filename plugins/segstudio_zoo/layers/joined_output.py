"""A convolution whose output is added to, or multiplied by, another map at once.

At inference on a processor the engine puts a stand-in in place of a convolution's `forward`; one that has
`combined` does the sum or the product while the output is still in the cache. Everywhere else both operations
run one after the other.
"""

from __future__ import annotations

from torch import Tensor, nn


def conv_plus(conv: nn.Conv2d, x: Tensor, other: Tensor) -> Tensor:
    """conv(x) + other, both of the same shape."""
    found = _combined(conv, x, other, "add")
    return conv(x) + other if found is None else found


def conv_times(conv: nn.Conv2d, x: Tensor, other: Tensor) -> Tensor:
    """conv(x) * other, both of the same shape."""
    found = _combined(conv, x, other, "mul")
    return conv(x) * other if found is None else found


def add_conv(total: Tensor, conv: nn.Conv2d, x: Tensor) -> Tensor:
    """total + conv(x), both of the same shape; `total` may be overwritten."""
    found = _combined(conv, x, total, "add", in_place=True)
    return total + conv(x) if found is None else found


def _combined(
    conv: nn.Conv2d, x: Tensor, other: Tensor, operation: str, *, in_place: bool = False
) -> Tensor | None:
    combined = getattr(conv.forward, "combined", None)
    if combined is None or conv._forward_hooks or conv._forward_pre_hooks:
        return None
    found: Tensor | None = combined(x, other, operation, in_place=in_place)
    return found
