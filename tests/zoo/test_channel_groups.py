"""Hidden channels in groups: the same block, with one group's map at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from segstudio.plugin_api import Scores
from segstudio.worker.fused_convolution import fuse_activations
from segstudio_zoo.layers.channel_groups import ChannelGroups


@pytest.mark.parametrize("hidden", [256, 200, 48], ids=["even", "a last smaller group", "one group"])
def test_groups_equal_the_whole_block(hidden: int) -> None:
    torch.manual_seed(0)
    fc1, fc2 = nn.Conv2d(32, hidden, 1), nn.Conv2d(hidden, 32, 1)
    depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
    block = ChannelGroups(fc1, depthwise, nn.GELU(), fc2)
    x, residual = torch.randn(2, 2, 32, 19, 23).unbind()
    kept = residual.clone()
    with torch.no_grad():
        expected = residual + fc2(nn.functional.gelu(depthwise(fc1(x))))
        assert torch.allclose(block(x, residual), expected, atol=1e-5)
    assert torch.equal(residual, kept)


def test_groups_sum_in_place_where_the_engine_helps() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            convs = [nn.Conv2d(32, 256, 1), nn.Conv2d(256, 256, 3, padding=1, groups=256)]
            self.block = ChannelGroups(*convs, nn.GELU(), nn.Conv2d(256, 32, 1))

        def scores(self, x: Tensor) -> Scores:
            return Scores(self.block(x, x))

    torch.manual_seed(0)
    network = Network().eval().to(memory_format=torch.channels_last)
    x = torch.randn(1, 32, 48, 64).contiguous(memory_format=torch.channels_last)
    kept = x.clone()
    with torch.no_grad():
        expected = network.scores(x).logits
        report = fuse_activations(network, x)
        assert report.fused == 4  # each group's depthwise convolution applies the activation
        assert torch.allclose(network.scores(x).logits, expected, atol=1e-5)
    assert torch.equal(x, kept)


def test_groups_share_memory_with_the_block_s_weights() -> None:
    fc1, fc2 = nn.Conv2d(32, 256, 1), nn.Conv2d(256, 32, 1)
    depthwise = nn.Conv2d(256, 256, 3, padding=1, groups=256)
    block = ChannelGroups(fc1, depthwise, nn.GELU(), fc2)
    assert block.widen[1].weight.data_ptr() == fc1.weight[64:].data_ptr()
    assert block.narrow[1].weight.data_ptr() == fc2.weight[:, 64:].data_ptr()
