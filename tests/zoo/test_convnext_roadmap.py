"""The roadmap from ResNet-50 to ConvNeXt-T: every step's network, cost and names, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segstudio.plugin_api import ModelSpec
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.backbones import convnext_roadmap
from segstudio_zoo.backbones.convnext import Block, infer_options
from segstudio_zoo.backbones.convnext_roadmap import STEPS, Unit, moved_up, one_norm
from segstudio_zoo.catalog.convnext import ROADMAP
from segstudio_zoo.layers.channel_norm import ChannelLayerNorm
from segstudio_zoo.plugin import PLUGIN

COSTS = dict(ROADMAP)
FIGURE = (4.1, 4.5, 4.4, 2.4, 5.3, 4.6, 4.1, 4.1, 4.2, 4.2, 4.3, 4.2, 4.2, 4.2, 4.2, 4.5)
"""Figure 2's column of GFLOPs, top to bottom: 4.15 was rounded up there."""

CLASSIFIER = 1000


def multiply_adds(step: str) -> float:
    """Billions at 224x224 with a linear classifier; on the meta device, so nothing is computed."""
    with torch.device("meta"):
        model = create_model("convnext-tiny", roadmap=step)
        with FlopCounterMode(display=False) as counter:
            channels = model(torch.empty(1, 3, 224, 224))[-1].shape[1]
    return (counter.get_total_flops() / 2 + channels * CLASSIFIER) / 1e9


def test_the_catalog_names_the_steps_in_the_paper_s_order() -> None:
    assert [*STEPS, "convnext"] == [name for name, _ in ROADMAP]


@pytest.mark.parametrize("step", COSTS)
def test_each_step_costs_what_the_paper_says(step: str) -> None:
    cost = multiply_adds(step)
    assert cost == pytest.approx(COSTS[step], abs=0.006)
    assert cost == pytest.approx(FIGURE[list(COSTS).index(step)], abs=0.06)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_gives_a_pyramid_and_every_parameter_learns(step: str) -> None:
    torch.manual_seed(0)
    model = create_model("convnext-tiny", roadmap=step, drop_path_rate=0.0).train()
    maps = model(torch.randn(2, 3, 65, 96))
    widths = [info.channels for info in model.features]
    assert [tuple(x.shape[1:2]) for x in maps] == [(width,) for width in widths]
    assert [x.shape[-1] for x in maps] == [24, 12, 6, 3]
    sum(x.square().mean() for x in maps).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_the_first_step_is_resnet_50() -> None:
    torch.manual_seed(0)
    theirs, ours = create_model("resnet50"), create_model("convnext-tiny", roadmap="resnet50")
    inside = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 6, "bn3": 7}
    state = {}
    for key, value in theirs.state_dict().items():
        part, *rest = key.split(".")
        if part in ("conv1", "bn1"):
            state[f"stem.{inside[part]}.{rest[0]}"] = value
        else:
            block, name, *last = rest
            place = f"branch.{inside[name]}" if name in inside else "shortcut"
            state[f"stages.{int(part[-1]) - 1}.{block}.{place}.{'.'.join(last)}"] = value
    ours.load_state_dict(state)
    image = torch.randn(1, 3, 97, 64)
    with torch.no_grad():
        for mine, expected in zip(ours(image), theirs(image), strict=True):
            assert torch.equal(mine, expected)


def test_the_block_with_one_layer_norm_is_convnext_s_without_layer_scale() -> None:
    torch.manual_seed(0)
    block = Block(
        12, kernel=7, expansion=4, norm="layer", activation="gelu", layer_scale=0, grn=False, drop_path=0
    )
    branch = one_norm(12, 12, 1, norm=ChannelLayerNorm)
    unit = Unit(branch, nn.Identity(), nn.Identity(), 0.0)
    with torch.no_grad():
        block.depthwise_conv.bias.zero_()
        branch[0].weight.copy_(block.depthwise_conv.weight)
        for conv, linear in ((branch[2], block.pointwise_conv1), (branch[4], block.pointwise_conv2)):
            conv.weight.copy_(linear.weight[..., None, None])
            conv.bias.copy_(linear.bias)
        x = torch.randn(2, 12, 9, 11)
        torch.testing.assert_close(unit(x), block(x), rtol=1e-5, atol=1e-5)


def test_the_depthwise_convolution_moved_up_is_the_plain_sum_over_taps() -> None:
    torch.manual_seed(0)
    unit = Unit(moved_up(4, 4, 1, kernel=5, act=nn.ReLU), nn.Identity(), nn.ReLU(), 0.0).eval()
    x = torch.randn(1, 4, 6, 7)
    spatial, widen, narrow = (unit.branch[place].weight.detach() for place in (0, 3, 6))
    expected = torch.zeros(4, 6, 7)
    norm = (1 + 1e-5) ** -0.5  # batch norm as it is built, in evaluation
    for row in range(6):
        for column in range(7):
            summed = torch.zeros(4)
            for dy in range(-2, 3):
                for dx in range(-2, 3):
                    if 0 <= row + dy < 6 and 0 <= column + dx < 7:
                        summed += spatial[:, 0, dy + 2, dx + 2] * x[0, :, row + dy, column + dx]
            hidden = (widen[:, :, 0, 0] @ (norm * summed).relu() * norm).relu()
            expected[:, row, column] = (x[0, :, row, column] + norm * (narrow[:, :, 0, 0] @ hidden)).relu()
    with torch.no_grad():
        torch.testing.assert_close(unit(x)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_is_identified_from_its_keys(step: str) -> None:
    with torch.device("meta"):
        trunk = create_model("convnext-tiny", roadmap=step).state_dict()
        whole = create_model("upernet_convnext-tiny", num_classes=7, roadmap=step).state_dict()
    known = {"gelu": "kernel-7"}.get(step, step)
    found = identify(trunk)[0]
    assert (found.name, found.options) == ("convnext-tiny", {"roadmap": known})
    system = identify(whole)[0]
    assert (system.name, system.num_classes) == ("upernet_convnext-tiny", 7)
    assert system.options["roadmap"] == known
    for note in (found.note, system.note):
        assert ("kernel-7 or gelu" in note) == (known == "kernel-7")
    with torch.device("meta"):
        again = create_model(system.name, num_classes=7, **system.options)
    assert not load_checkpoint(again, whole).unused


@pytest.mark.parametrize(
    "options",
    [
        {"depths": (3, 4, 6, 3)},
        {"kernel_size": 11},
        {"stem": "resnet", "norm": "batch"},
        {"expansion": 2},
        {"layer_scale": 0.0},
    ],
)
def test_options_of_the_finished_network_are_inferred(options: dict) -> None:
    with torch.device("meta"):
        state = create_model("convnext-tiny", **options).state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert infer_options(shapes) == options
    found = identify(state)[0]
    assert (found.name, found.options) == ("convnext-tiny", options)


def test_what_a_step_cannot_be_combined_with_is_refused_in_a_sentence() -> None:
    for name, options in (
        ("convnext-small", {"roadmap": "gelu"}),
        ("convnext-tiny", {"roadmap": "gelu", "kernel_size": 5}),
        ("convnext-tiny", {"roadmap": "patchify", "depths": (3, 4, 6, 3)}),
    ):
        with pytest.raises(ValueError, match=r"step \w+ of the roadmap is a whole network"):
            create_model(name, **options)
    with pytest.raises(ValueError, match="is one of 'resnet50', 'stage-ratio'"):
        create_model("convnext-tiny", roadmap="swin")
    with pytest.raises(ValueError, match="the roadmap has the steps"):
        convnext_roadmap.build_step("swin")


@pytest.mark.parametrize("side", [0, 4, 8])
def test_an_even_kernel_is_refused_in_a_sentence(side: int) -> None:
    from segstudio_zoo.backbones import convnext

    with pytest.raises(ValueError, match="an odd side"):
        convnext.build("convnext-tiny", kernel_size=side)
    with pytest.raises(ValueError, match="is one of 3, 5, 7, 9, 11"):
        create_model("convnext-tiny", kernel_size=side)


def test_the_steps_can_be_chosen_under_a_segmentor() -> None:
    spec: ModelSpec = next(spec for spec in PLUGIN.models if spec.name == "upernet_convnext-tiny")
    option = next(option for option in spec.options if option.name == "roadmap")
    assert option.choices == tuple(COSTS) and option.default == "convnext"
    torch.manual_seed(0)
    model = create_model("upernet_convnext-tiny", num_classes=3, roadmap="depthwise", channels=16)
    with torch.no_grad():
        assert model(torch.randn(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    bigger = next(spec for spec in PLUGIN.models if spec.name == "upernet_convnext-base")
    assert "roadmap" not in {option.name for option in bigger.options}
