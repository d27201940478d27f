"""Xception39 and the aligned Xception65: strides, shapes, dilation, key layout, gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from segstudio_zoo import create_model, load_checkpoint

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize(
    ("name", "channels"), [("xception39", (8, 64, 128, 256)), ("xception65", (256, 728, 1024, 2048))]
)
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_features_state_what_they_are(name: str, channels: tuple[int, ...], stride: int) -> None:
    model = create_model(name, output_stride=stride)
    with torch.no_grad():
        pyramid = model(torch.zeros(1, 3, 64, 96))
    assert tuple(info.channels for info in model.features) == channels
    assert model.features[-1].stride == stride
    for value, info in zip(pyramid, model.features, strict=True):
        assert tuple(value.shape[1:]) == (info.channels, 64 // info.stride, 96 // info.stride)


def test_blocks_are_three_separable_convolutions_and_a_shortcut() -> None:
    torch.manual_seed(0)
    model = create_model("xception65")
    x = torch.randn(1, 64, 9, 11)
    block, state = model.blocks[0], model.blocks[0].state_dict()

    def norm(value: torch.Tensor, key: str) -> torch.Tensor:
        keys = (f"{key}.{part}" for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(value, *(state[k] for k in keys), eps=1e-3)

    out = x
    for number, stride in ((1, 1), (2, 1), (3, 2)):
        name = f"stack.conv{number}"
        depthwise = state[f"{name}.conv_dw.weight"]
        out = F.conv2d(F.relu(out), depthwise, stride=stride, padding=1, groups=len(depthwise))
        out = F.conv2d(norm(out, f"{name}.bn_dw"), state[f"{name}.conv_pw.weight"])
        out = norm(out, f"{name}.bn_pw")
    shortcut = F.conv2d(x, state["shortcut.conv.weight"], stride=2)
    with torch.no_grad():
        assert torch.allclose(block(x)[0], out + norm(shortcut, "shortcut.bn"), atol=1e-5)


def test_there_are_sixty_five_and_thirty_nine_layers_deep() -> None:
    aligned = create_model("xception65")
    assert len(aligned.blocks) == 3 + 16 + 1 + 1
    small = create_model("xception39")
    assert [len(small.get_submodule(f"layer{n}")) for n in (1, 2, 3)] == [4, 8, 4]


def test_classification_weights_leave_only_their_classifier_unused() -> None:
    model = create_model("xception65")
    state = {key: value + 1 for key, value in model.state_dict().items() if value.is_floating_point()}
    report = load_checkpoint(model, {**state, "head.fc.weight": torch.zeros(1000, 2048)})
    assert report.layout == "timm"
    assert report.unused == ("head.fc.weight",)


@pytest.mark.parametrize("name", ["xception39", "xception65"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(3)
    model = create_model(name, output_stride=16).train()
    sum(value.square().mean() for value in model(torch.randn(3, 3, 65, 81))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_xception39_has_the_entries_of_its_authors_repository() -> None:
    """Furnace of "TorchSeg", base_model/xception.py: no norm between depthwise and pointwise convolution."""
    keys = create_model("xception39").state_dict().keys()
    parts = ("conv1.weight", "point_wise_cbr.conv.weight", *(f"point_wise_cbr.bn.{p}" for p in NORM))
    expected = {"conv1.conv.weight", *(f"conv1.bn.{part}" for part in NORM)}
    for layer, blocks in enumerate((4, 8, 4), start=1):
        for block in range(blocks):
            branches = [f"residual_branch.{place}" for place in range(3)] + ["proj"] * (block == 0)
            expected |= {f"layer{layer}.{block}.{branch}.{part}" for branch in branches for part in parts}
    assert set(keys) == expected
