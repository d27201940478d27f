"""GCNet: parity, presets against their formulas, blocks in the residual network, map and switches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segstudio.plugin_api import Query
from segstudio_zoo import create_model
from segstudio_zoo.segmentors.gcnet import (
    PRESETS,
    ContextBlock,
    block_off,
    global_map_probe,
    infer_options,
    set_pooling,
)
from tests.zoo.reference import check_reference


def test_equals_the_reference() -> None:
    ref, _ = check_reference("gcnet_r50-d8")
    ref.assert_all_seen()
    assert infer_options(ref.manifest["state_dict"])["ratio"] == 0.25


def _drawn(model: torch.nn.Module) -> torch.nn.Module:
    """The block starts without context; tests need it to matter."""
    for module in model.modules():
        if isinstance(module, ContextBlock):
            for parameter in module.parameters():
                torch.nn.init.normal_(parameter, std=0.5)
    return model


def _formula(block: ContextBlock, preset: str, x: Tensor) -> Tensor:
    """Fig. 4, cell by cell."""
    state = block.state_dict()
    cells = [x[0, :, r, c] for r in range(x.shape[2]) for c in range(x.shape[3])]
    if PRESETS[preset].pooling == "average":
        context = sum(cells) / len(cells)
    else:
        scores = torch.stack(
            [state["conv_mask.weight"].flatten() @ cell + state["conv_mask.bias"] for cell in cells]
        )
        context = sum(w * cell for w, cell in zip(scores.flatten().softmax(0), cells, strict=True))

    def transform(name: str) -> Tensor:
        v = state[f"{name}.0.weight"][:, :, 0, 0] @ context + state[f"{name}.0.bias"]
        if PRESETS[preset].transform == "linear":
            return v
        if PRESETS[preset].transform == "bottleneck":
            scale, shift = state[f"{name}.1.weight"].flatten(), state[f"{name}.1.bias"].flatten()
            v = F.layer_norm(v, v.shape, scale, shift)
        return state[f"{name}.3.weight"][:, :, 0, 0] @ v.relu() + state[f"{name}.3.bias"]

    out = x
    if "multiply" in PRESETS[preset].fusion:
        out = out * transform("channel_mul_conv").sigmoid()[None, :, None, None]
    if "add" in PRESETS[preset].fusion:
        out = out + transform("channel_add_conv")[None, :, None, None]
    return out


@pytest.mark.parametrize("preset", list(PRESETS))
def test_each_preset_equals_its_formula(preset: str) -> None:
    torch.manual_seed(0)
    block = _drawn(ContextBlock(16, ratio=0.25, preset=PRESETS[preset])).double()
    x = torch.randn(1, 16, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(block(x), _formula(block, preset, x), atol=1e-12)


@pytest.mark.parametrize("name", ["gcnet_r18-d8", "gcnet_r50-d8"])
def test_blocks_in_the_residual_network_keep_its_keys_and_start_as_the_identity(name: str) -> None:
    torch.manual_seed(1)
    inside = create_model(name, num_classes=3, placement="blocks", channels=16)
    plain = create_model(name, num_classes=3, channels=16)
    body = {key for key in plain.state_dict() if key.startswith("backbone.")}
    extra = {key for key in inside.state_dict() if key.startswith("backbone.")} - body
    assert extra
    assert all(".context_block." in key for key in extra)
    assert not any(key.startswith("backbone.layer1.") for key in extra)
    state = {key: value for key, value in inside.state_dict().items() if key in body}
    plain.load_state_dict(state, strict=False)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(inside.backbone(image), plain.backbone(image), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)


def test_blocks_need_a_residual_network() -> None:
    with pytest.raises(ValueError, match="ResNet"):
        create_model("gcnet", backbone="xception39", num_classes=3, placement="blocks")


@pytest.mark.parametrize("placement", ["head", "blocks"])
def test_the_map_is_the_blocks_own_and_switches_are_put_back(placement: str) -> None:
    torch.manual_seed(2)
    model = _drawn(create_model("gcnet_r18-d8", num_classes=3, channels=16, placement=placement))
    image = torch.randn(1, 3, 64, 96)
    probe = global_map_probe()
    block = [m for m in model.modules() if isinstance(m, ContextBlock)][-1]
    inputs: list[Tensor] = []
    handle = block.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with torch.no_grad(), probe.attach(model) as captured:
        normal = model.scores(image).logits
        scores = block.conv_mask(inputs[0])[0, 0]
        handle.remove()
        shown = probe.map(captured, Query(kind="global"))
        assert torch.allclose(
            torch.from_numpy(shown.values), scores.flatten().softmax(0).reshape(8, 12), atol=1e-6
        )
        for switch, value in ((set_pooling, "average"), (block_off, False)):
            with switch(model, value):
                assert not torch.equal(model.scores(image).logits, normal)
            assert torch.equal(model.scores(image).logits, normal)
    assert shown.stride == (8.0, 8.0)
    assert len(shown.extras["blocks"]) == (1 if placement == "head" else 6)


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("placement", ["head", "blocks"])
def test_every_parameter_gets_a_gradient_and_options_are_inferred(preset: str, placement: str) -> None:
    torch.manual_seed(3)
    model = create_model("gcnet_r18-d8", num_classes=3, channels=64, preset=preset, placement=placement)
    _drawn(model).train()
    image = torch.randn(3, 3, 65, 81)
    model.scores(image).logits.square().mean().backward()
    model.side_outputs(image)["auxiliary"].logits.square().mean().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert name.endswith("conv_mask.bias") or p.grad.abs().sum() > 0, name
    found = infer_options({key: tuple(value.shape) for key, value in model.state_dict().items()})
    again = create_model("gcnet_r18-d8", num_classes=3, **found)
    again.load_state_dict(model.state_dict())


def test_the_context_may_multiply_only() -> None:
    model = create_model("gcnet_r18-d8", num_classes=3, preset="gc_multiply")
    block = model.decode_head.gc_block
    assert block.channel_add_conv is None
    x = torch.randn(1, 512, 3, 4)
    with torch.no_grad():
        torch.nn.init.normal_(block.channel_mul_conv[-1].weight)
        context = (x.flatten(2) * block.weights(x)[:, None]).sum(2)[..., None, None]
        expected = x * block.channel_mul_conv(context).sigmoid()
        assert torch.allclose(block(x), expected, atol=1e-5)
    found = infer_options({key: tuple(value.shape) for key, value in model.state_dict().items()})
    assert found["preset"] == "gc_multiply"
