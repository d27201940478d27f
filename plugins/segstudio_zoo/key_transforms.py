"""What key tables cannot say: tensors that one publisher keeps in pieces and another in one.

A rule that writes "name#0", "name#1", ... as its replacement marks pieces of "name", to be joined along the
first axis in this order. Linear layers and 1x1 convolutions are one function in two shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

# transformers' names inside a block: before its version 5, and since
HF_QUERY = r"attention\.(?:attention\.query|q_proj)"
HF_KEY = r"attention\.(?:attention\.key|k_proj)"
HF_VALUE = r"attention\.(?:attention\.value|v_proj)"
HF_OUT = r"attention\.(?:output\.dense|o_proj)"
HF_MLP_IN = r"(?:intermediate\.dense|mlp\.fc1)"
HF_MLP_OUT = r"(?:output\.dense|mlp\.fc2)"


def join_parts(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """`state` with pieces joined and trailing axes of length 1 as `model` has them."""
    import torch

    parts: dict[str, dict[int, Tensor]] = {}
    joined: dict[str, Tensor] = {}
    for key, value in state.items():
        name, mark, place = key.partition("#")
        if mark:
            parts.setdefault(name, {})[int(place)] = value
        else:
            joined[key] = value
    for name, pieces in parts.items():
        joined[name] = torch.cat([pieces[place] for place in sorted(pieces)])
    return shaped_like(joined, model)


def fold_biases(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A convolution's bias before a batch norm, where `model` has none, is a shift of the running mean."""
    own = model.state_dict()
    folded = dict(state)
    for key in state:
        mean = f"{key.removesuffix('conv.bias')}bn.running_mean"
        if key.endswith(".conv.bias") and key not in own and mean in state:
            folded[mean] = state[mean] - folded.pop(key)
    return folded


def zero_biases(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """`state` with zeros for biases that `model` has and a publisher's convolutions lack."""
    import torch

    filled = dict(state)
    for key, value in model.state_dict().items():
        if key.endswith(".bias") and key not in state and f"{key.removesuffix('bias')}weight" in state:
            filled[key] = torch.zeros_like(value)
    return filled


def shaped_like(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """`state` with axes of length 1 added or left out where only these differ from `model`."""
    wanted = {key: value.shape for key, value in model.state_dict().items()}

    def fitted(key: str, value: Tensor) -> Tensor:
        shape = wanted.get(key)
        if shape is None or shape == value.shape or shape.numel() != value.numel():
            return value
        same = [n for n in shape if n != 1] == [n for n in value.shape if n != 1]
        return value.reshape(shape) if same else value

    return {key: fitted(key, value) for key, value in state.items()}
