"""State dicts as other libraries and the papers' own repositories write them are identified and mean the
same.

`layout_figures.zip` holds, of each original: the names and shapes of its entries, and a few of its outputs
for weights drawn from those names (`drawing`) and a drawn input. The originals themselves are not needed.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segstudio_zoo import create_model, identify, load_checkpoint
from tests.zoo.drawing import reference_array

_FIGURES = Path(__file__).with_name("layout_figures.zip")

# what identify says of each: the first name, its layout, and whether outputs are a segmentor's logits
ORIGINALS: dict[str, tuple[str, str, bool]] = {
    "beit_v5": ("upernet_beit-base", "transformers", True),
    "convnext_tiny": ("convnext-tiny", "transformers", False),
    "convnextv2_atto": ("convnextv2-atto", "transformers", False),
    "isl_dpt_base": ("dpt_vit-b16", "authors", True),
    "resnet18": ("resnet18", "transformers", False),
    "segformer_b0": ("segformer_mit-b0", "transformers", True),
    "segformer_b0_v5": ("segformer_mit-b0", "transformers", True),
    "semseg_psanet50": ("psanet_r50-d8", "authors (semseg)", True),
    "semseg_pspnet50": ("pspnet_r50-d8", "authors (semseg)", True),
    "timm_mobilenetv3_large_075": ("mobilenet-v3-large", "timm", False),
    "timm_mobilenetv3_small_050": ("mobilenet-v3-small", "timm", False),
    "timm_mobilenetv3_small_075": ("mobilenet-v3-small", "timm", False),
    "timm_resnet50c": ("resnet50-v1c", "timm", False),
    "torchvision_deeplabv3_mobilenet_v3_large": (
        "torchvision_deeplabv3_mobilenet_v3_large",
        "torchvision",
        True,
    ),
    "torchvision_fcn_resnet50": ("torchvision_fcn_resnet50", "torchvision", True),
    "torchvision_lraspp_mobilenet_v3_large": ("lraspp_mobilenet-v3-large-d8", "torchvision", True),
    "torchvision_vit_tiny": ("vit-t16", "torchvision", False),
    "upernet_convnext_tiny": ("upernet_convnext-tiny", "transformers", True),
    "vit_v5": ("vit-t16", "transformers", False),
}

NAMED = ("timm_tf_mobilenetv3_small_minimal_100",)
"""Originals that pad or normalise otherwise than their entries tell: only the name says it."""


def original(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The figures of one original and its drawn state dict."""
    with zipfile.ZipFile(_FIGURES) as figures:
        facts: dict[str, Any] = json.loads(figures.read(f"{name}.json"))
    state = {key: torch.zeros((), dtype=torch.int64) for key in facts["integers"]}
    for key, shape in facts["state_dict"].items():
        drawn = reference_array(key, shape)
        assert drawn is not None
        state[key] = torch.from_numpy(drawn).reshape(shape)
    return facts, state


def test_every_original_is_tried() -> None:
    with zipfile.ZipFile(_FIGURES) as figures:
        assert {name.removesuffix(".json") for name in figures.namelist()} == {*ORIGINALS, *NAMED}


@pytest.mark.parametrize("name", sorted(ORIGINALS))
def test_an_original_is_identified_loads_whole_and_gives_its_outputs(name: str) -> None:
    expected_name, layout, segments = ORIGINALS[name]
    facts, state = original(name)
    found = identify(state)[0]
    assert (found.name, found.layout) == (expected_name, layout)
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    assert_gives_the_outputs(model, state, facts, segments=segments)


@pytest.mark.parametrize("name", NAMED)
def test_an_original_of_this_name_loads_whole_and_gives_its_outputs(name: str) -> None:
    facts, state = original(name)
    assert_gives_the_outputs(create_model(name), state, facts, segments=False)


def assert_gives_the_outputs(
    model: torch.nn.Module, state: dict[str, torch.Tensor], facts: dict[str, Any], *, segments: bool
) -> None:
    report = load_checkpoint(model, state)
    assert not (report.missing or report.unexpected or report.mismatched)
    assert set(report.loaded) | set(report.unused) == set(state), "an entry was dropped silently"
    size = facts["input"]
    image = torch.from_numpy(np.random.RandomState(0).standard_normal(size).astype("float32"))
    with torch.no_grad():
        output = model(image)
    values = facts["outputs"]["0"]
    if not segments:
        wanted = values["shape"]
        output = next(x for x in reversed(output) if list(x.shape) == wanted)
    assert list(output.shape) == values["shape"]
    flat = output.flatten().numpy()
    places = np.linspace(0, flat.size - 1, len(values["values"])).astype(int)
    assert np.abs(flat[places] - np.array(values["values"])).max() <= 1e-3 * values["std"]
    assert float(output.std()) == pytest.approx(values["std"], rel=1e-3)


def test_prefixes_and_wrappers_change_nothing() -> None:
    _, state = original("timm_mobilenetv3_small_075")
    wrapped = {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}
    plain, nested = identify(state)[0], identify(wrapped)[0]
    assert plain == nested


def test_hrnet_with_its_authors_last_layer_is_an_fcn_with_the_bias_folded() -> None:
    model = create_model("fcn_hr18", num_classes=4)
    bias = torch.linspace(-1.0, 1.0, 270)
    state: dict[str, torch.Tensor] = {"loss.criterion.weight": torch.ones(4)}
    for key, value in model.state_dict().items():
        theirs = key.replace("decode_head.convs.0.conv.", "last_layer.0.")
        theirs = theirs.replace("decode_head.convs.0.bn.", "last_layer.1.")
        theirs = theirs.replace("decode_head.conv_seg.", "last_layer.3.")
        state[f"model.{theirs.removeprefix('backbone.')}"] = value.clone()
    state["model.last_layer.0.bias"] = bias
    state["model.last_layer.1.running_mean"] += bias
    found = identify(state)[0]
    assert (found.name, found.layout, found.num_classes) == ("fcn_hr18", "authors (HRNet)", 4)
    again = create_model(found.name, num_classes=4, **found.options)
    report = load_checkpoint(again, state)
    assert report.unused == ("loss.criterion.weight",)
    for key, value in model.state_dict().items():
        assert torch.allclose(again.state_dict()[key], value, atol=1e-6), key


def test_the_hybrid_of_timm_is_identified_with_every_entry_used() -> None:
    with torch.device("meta"):
        own = create_model("vit-hybrid").state_dict()
    state: dict[str, torch.Tensor] = {"norm.weight": torch.empty(768), "norm.bias": torch.empty(768)}
    renamed = (
        ("patch_embed.stem.0.", "patch_embed.backbone.stem.conv."),
        ("patch_embed.stem.1.", "patch_embed.backbone.stem.norm."),
        ("patch_embed.projection.", "patch_embed.proj."),
        (".attn.attn.in_proj_", ".attn.qkv."),
        (".attn.attn.out_proj.", ".attn.proj."),
        (".ffn.layers.0.0.", ".mlp.fc1."),
        (".ffn.layers.1.", ".mlp.fc2."),
        (".ln1.", ".norm1."),
        (".ln2.", ".norm2."),
        (".downsample.0.", ".downsample.conv."),
        (".downsample.1.", ".downsample.norm."),
    )
    for key, value in own.items():
        for ours, theirs in renamed:
            key = key.replace(ours, theirs)
        if key.startswith("patch_embed.stages."):
            stage, block, rest = key.removeprefix("patch_embed.stages.").split(".", 2)
            key = f"patch_embed.backbone.stages.{stage}.blocks.{block}.{rest}"
        state[key.replace("layers.", "blocks.") if key.startswith("layers.") else key] = value
    found = identify(state)[0]
    assert (found.name, found.layout) == ("vit-hybrid", "timm")
