"""load_checkpoint and identify: layouts, reports, strictness, files that are none of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from segstudio_zoo import CheckpointError, create_model, identify, load_checkpoint
from segstudio_zoo.layers.conv import fold_batch_norms
from tests.shared_data import shared
from tests.zoo.reference import needs_shared, reference, reference_names

PRETRAINING = ("_mim_", "_mae_pretraining_")


def tiny(name: str = "ccnet", **options: Any) -> nn.Module:
    settings = {"backbone": "mobilenet-v2-d16", "width": 0.35, "channels": 16, "num_classes": 4}
    return create_model(name, **{**settings, **options})


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "meta": {"epoch": 3}},
        lambda state: {"model": state},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {"model": {"state_dict": state}},
    ],
)
def test_nested_and_prefixed_state_dicts_load(wrap: Any) -> None:
    source, target = tiny(), tiny()
    report = load_checkpoint(target, wrap(source.state_dict()))
    assert unchanged(target, snapshot(source))
    assert not (report.missing or report.unexpected or report.mismatched or report.unused)


def test_counters_may_be_absent() -> None:
    source, target = tiny(), tiny()
    state = {k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert load_checkpoint(target, state).missing == ()


def test_files_of_both_kinds_load(tmp_path: Path) -> None:
    source = tiny()
    torch.save({"state_dict": source.state_dict()}, tmp_path / "a.pth")
    save_file({k: v.half() for k, v in source.state_dict().items()}, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        target = tiny()
        load_checkpoint(target, tmp_path / name)
        ours, theirs = target.decode_head.conv_seg.weight, source.decode_head.conv_seg.weight
        assert torch.allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("kind", ["missing", "unexpected", "mismatched"])
def test_strict_refuses_and_leaves_the_model_as_it_was(kind: str) -> None:
    model, state = tiny(), {key: value + 1 for key, value in tiny().state_dict().items()}
    key = "decode_head.cca.query_conv.weight"
    if kind == "missing":
        del state[key]
    elif kind == "unexpected":
        key = "decode_head.something.weight"
        state[key] = torch.zeros(2)
    else:
        state[key] = torch.zeros(3, 16, 1, 1)
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=key.replace(".", r"\.")) as caught:
        load_checkpoint(model, state)
    assert getattr(caught.value.report, kind) == (key,)
    assert unchanged(model, before)
    report = load_checkpoint(model, state, strict=False)
    assert getattr(report, kind) == (key,)
    assert torch.equal(model.decode_head.conv_seg.bias, state["decode_head.conv_seg.bias"])


def test_auxiliary_head_that_a_model_lacks_is_unused() -> None:
    report = load_checkpoint(tiny(auxiliary=False), tiny().state_dict())
    assert report.unused and all(key.startswith("auxiliary_head.") for key in report.unused)


class History:
    """What training loops leave beside the tensors."""


def test_a_file_with_objects_beside_its_tensors_loads_without_them(tmp_path: Path) -> None:
    path = tmp_path / "trained.pth"
    source = tiny()
    torch.save({"state_dict": source.state_dict(), "history": [History()]}, path)
    target = tiny()
    assert load_checkpoint(target, path).missing == ()
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in target.state_dict().items())
    torch.save(History(), path)
    with pytest.raises(ValueError, match=r"trained\.pth holds no"):
        load_checkpoint(target, path)


@needs_shared
def test_backbone_weights_load_into_a_segmentor_without_strictness() -> None:
    model = create_model("ccnet", backbone="mobilenet-v2-d16", channels=16)
    path = shared("data/weights/mobilenetv2_imagenet/mobilenet_v2_imagenet.pth")
    report = load_checkpoint(model, path, strict=False)
    assert not [key for key in report.missing if key.startswith("backbone.")]
    assert all(key.startswith(("features.18", "classifier")) for key in report.unused)
    state = torch.load(path, weights_only=True)
    assert torch.equal(model.backbone.conv1.conv.weight, state["features.0.0.weight"])


@needs_shared
@pytest.mark.parametrize("name", ["espnet_p_2_q_8_camvid.pth", "espnetv2_s_2.0_city_1024x512.pth"])
def test_foreign_networks_are_none_of_ours_and_change_nothing(name: str) -> None:
    state = torch.load(shared("data/weights/foreign_espnet", name), weights_only=True, map_location="cpu")
    assert identify(state) == []
    model = tiny()
    before = snapshot(model)
    with pytest.raises(CheckpointError, match="does not fit this network"):
        load_checkpoint(model, state)
    assert unchanged(model, before)


def test_nothing_and_nonsense_are_none_of_ours() -> None:
    assert identify({}) == []
    assert identify({"a": torch.zeros(2), "b": torch.zeros(3, 3)}) == []
    assert identify({"epoch": 3}) == []


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ccnet", {"backbone": "mobilenet-v2-d16", "width": 0.5, "channels": 64}),
        ("danet", {"backbone": "mobilenet-v2-d8", "width": 0.5, "channels": 32, "branches": "position"}),
        ("psanet", {"backbone": "mobilenet-v2-d8", "width": 0.5, "channels": 32, "mask_size": (11, 11)}),
        ("deeplabv3", {"backbone": "r18-d16", "channels": 48, "projection": "1x1", "auxiliary": False}),
        ("deeplabv3plus", {"backbone": "r18b-d8", "channels": 48, "separable_aspp": False}),
        ("fcn", {"backbone": "mobilenet-v3-small", "channels": 40}),
    ],
)
def test_identified_name_and_options_build_the_network_of_the_file(
    name: str, options: dict[str, Any]
) -> None:
    model = create_model(name, num_classes=6, **options)
    found = identify(model.state_dict())
    assert found, name
    again = create_model(found[0].name, num_classes=found[0].num_classes, **found[0].options)
    report = load_checkpoint(again, model.state_dict())
    assert found[0].num_classes == 6 and not report.unused
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


@pytest.mark.parametrize("name", [n for n in reference_names() if not any(p in n for p in PRETRAINING)])
def test_every_reference_is_identified_and_loads_as_identified(name: str) -> None:
    manifest = reference(name).manifest
    state = {key: torch.empty(shape, device="meta") for key, shape in manifest["state_dict"].items()}
    found = identify(state)
    assert found, name
    first = found[0]
    if name.startswith(("torchvision_", "timm_", "transformers_")):
        assert first.layout == name.partition("_")[0]
    with torch.device("meta"):
        model = create_model(first.name, num_classes=first.num_classes, **first.options)
    if first.num_classes is not None:
        assert first.num_classes == manifest["num_classes"]
    from segstudio_zoo.key_map import best_plan

    report = best_plan(model, state).report
    assert not (report.missing or report.unexpected or report.mismatched)


def test_torchvision_fcn_is_identified_and_loads() -> None:
    model = create_model("torchvision_fcn_resnet50", auxiliary_channels=256)
    names = {
        "decode_head.convs.0.conv.": "classifier.0.",
        "decode_head.convs.0.bn.": "classifier.1.",
        "decode_head.conv_seg.": "classifier.4.",
        "auxiliary_head.convs.0.conv.": "aux_classifier.0.",
        "auxiliary_head.convs.0.bn.": "aux_classifier.1.",
        "auxiliary_head.conv_seg.": "aux_classifier.4.",
    }
    state = {}
    for key, value in model.state_dict().items():
        for ours, theirs in names.items():
            if key.startswith(ours):
                key = key.replace(ours, theirs)
        state[key] = value
    found = identify(state)[0]
    assert (found.layout, found.num_classes) == ("torchvision", 21)
    again = create_model(found.name, num_classes=found.num_classes, **found.options)
    assert load_checkpoint(again, state).layout == "torchvision"
    assert unchanged(again, snapshot(model))


def test_folded_batch_norms_leave_the_function_as_it_was() -> None:
    torch.manual_seed(0)
    for backbone in ("mobilenet-v2-d16", "r18-d8", "mobilenet-v3-small"):
        model = create_model("deeplabv3plus", backbone=backbone, channels=16, num_classes=3)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
        image = torch.randn(1, 3, 65, 81)
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        with torch.no_grad():
            before = model(image)
            assert fold_batch_norms(model) == norms
            after = model(image)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        assert torch.allclose(before, after, atol=1e-4 * float(before.abs().max()))
