"""Widening 1x1, depthwise convolution, activation and narrowing 1x1, a group of hidden channels at a time.

A depthwise convolution never mixes channels, so with the hidden channels h in groups g

    W2 act(dw(W1 x)) = sum_g W2[:, g] act(dw_g(W1[g] x)),

and only one group's map exists at a time. On a processor large hidden maps wait for memory: in groups that
stay in the cache, SegNeXt's second stage on 1024x2048 pixels takes two thirds of the time.
"""

from __future__ import annotations

from torch import Tensor, nn

from segstudio_zoo.layers.joined_output import add_conv, conv_plus

_WIDEST = 64  # channels between the blocks; the sum of wider ones costs more than the groups save (measured)


class ChannelGroups(nn.Module):
    """For inference: `fc1`, `depthwise`, `activation` and `fc2` in groups, sharing their memory."""

    def __init__(self, fc1: nn.Conv2d, depthwise: nn.Conv2d, activation: nn.Module, fc2: nn.Conv2d) -> None:
        super().__init__()
        size = max(64, 2 * fc1.in_channels)
        ends = [(start, min(start + size, fc1.out_channels)) for start in range(0, fc1.out_channels, size)]
        self.widen = nn.ModuleList(_part(fc1, slice(*end)) for end in ends)
        self.spread = nn.ModuleList(_part(depthwise, slice(*end), depthwise=True) for end in ends)
        self.activation = activation
        self.narrow = nn.ModuleList(_part(fc2, slice(None), slice(*end)) for end in ends)

    @staticmethod
    def suits(fc1: nn.Conv2d) -> bool:
        return fc1.in_channels <= _WIDEST

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """(N, C, H, W) and a residual of the same shape -> the residual plus the block of `x`."""
        total: Tensor | None = None
        for widen, spread, narrow in zip(self.widen, self.spread, self.narrow, strict=True):
            hidden = self.activation(spread(widen(x)))
            if total is None:
                total = conv_plus(narrow, hidden, residual)
            else:
                total = add_conv(total, narrow, hidden)
        assert total is not None
        return total


def _part(
    conv: nn.Conv2d, outputs: slice, inputs: slice = slice(None), *, depthwise: bool = False
) -> nn.Conv2d:
    """The convolution of some outputs, or of some inputs; the bias goes with the first inputs."""
    weight = conv.weight.detach()[outputs, inputs]
    part = nn.Conv2d(
        weight.shape[0] if depthwise else weight.shape[1],
        weight.shape[0],
        (conv.kernel_size[0], conv.kernel_size[1]),
        padding=conv.padding,
        groups=weight.shape[0] if depthwise else 1,
        bias=conv.bias is not None and not inputs.start,
        device="meta",
    )
    part.weight = nn.Parameter(weight, requires_grad=False)
    if part.bias is not None and conv.bias is not None:
        part.bias = nn.Parameter(conv.bias.detach()[outputs], requires_grad=False)
    return part.train(conv.training)
