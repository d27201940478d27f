"""The papers' own repositories: files under their names are identified and load whole.

Their names are written down here as renamings of ours; every entry has to land where it belongs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segstudio_zoo import create_model, identify, load_checkpoint

RENAMING = tuple[tuple[str, str], ...]

DEEP_STEM: RENAMING = (
    (r"backbone\.stem\.7\.", "pretrained.bn1."),
    (r"backbone\.stem\.", "pretrained.conv1."),
)
ENCODING: RENAMING = (
    *DEEP_STEM,
    (r"backbone\.", "pretrained."),
    (r"auxiliary_head\.convs\.0\.conv\.", "auxlayer.conv5.0."),
    (r"auxiliary_head\.convs\.0\.bn\.", "auxlayer.conv5.1."),
    (r"auxiliary_head\.conv_seg\.", "auxlayer.conv5.4."),
)


def conv_bn(ours: str, theirs: str, first: int = 0) -> RENAMING:
    return ((rf"{ours}\.conv\.", f"{theirs}.{first}."), (rf"{ours}\.bn\.", f"{theirs}.{first + 1}."))


@dataclass(frozen=True)
class Original:
    """`build` makes the network whose entries `renaming` calls as the authors do; `extra` entries more."""

    build: dict[str, Any]
    renaming: RENAMING
    found: str
    options: dict[str, Any] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    layout: str = "authors"
    reshaped: dict[str, tuple[int, ...]] = field(default_factory=dict)


ENCODING_LAYOUT = "authors (PyTorch-Encoding)"

ORIGINALS = {
    "EncNet on R50s": Original(
        {"name": "encnet_r50s-d8", "num_classes": 5},
        (
            *conv_bn(r"decode_head\.bottleneck", "head.conv5"),
            *conv_bn(r"decode_head\.enc_module\.encoding_project", "head.encmodule.encoding"),
            (r"decode_head\.enc_module\.encoding\.0\.", "head.encmodule.encoding.3."),
            (r"decode_head\.enc_module\.encoding\.1\.", "head.encmodule.encoding.4."),
            (r"decode_head\.enc_module\.fc\.0\.", "head.encmodule.fc.0."),
            (r"decode_head\.se_layer\.", "head.encmodule.selayer."),
            (r"decode_head\.conv_seg\.", "head.conv6.1."),
            *ENCODING,
        ),
        "encnet_r50s-d8",
        {"align_corners": True},
        ("pretrained.fc.weight", "pretrained.fc.bias"),
        ENCODING_LAYOUT,
    ),
    "EncNet with connections": Original(
        {"name": "encnet_r50s-d8", "num_classes": 5, "lateral": True},
        (
            (r"decode_head\.lateral_convs\.(\d)\.conv\.", r"head.connect.\1.0."),
            (r"decode_head\.lateral_convs\.(\d)\.bn\.", r"head.connect.\1.1."),
            *conv_bn(r"decode_head\.fusion", "head.fusion"),
            *conv_bn(r"decode_head\.bottleneck", "head.conv5"),
            *conv_bn(r"decode_head\.enc_module\.encoding_project", "head.encmodule.encoding"),
            (r"decode_head\.enc_module\.encoding\.0\.", "head.encmodule.encoding.3."),
            (r"decode_head\.enc_module\.encoding\.1\.", "head.encmodule.encoding.4."),
            (r"decode_head\.enc_module\.fc\.0\.", "head.encmodule.fc.0."),
            (r"decode_head\.se_layer\.", "head.encmodule.selayer."),
            (r"decode_head\.conv_seg\.", "head.conv6.1."),
            *ENCODING,
        ),
        "encnet_r50s-d8",
        {"align_corners": True, "lateral": True},
        layout=ENCODING_LAYOUT,
    ),
    "DANet": Original(
        {"name": "danet_r50-d8", "num_classes": 5, "auxiliary": False, "stem_channels": 128},
        (
            *conv_bn(r"decode_head\.pam_in_conv", "head.conv5a"),
            *conv_bn(r"decode_head\.cam_in_conv", "head.conv5c"),
            *conv_bn(r"decode_head\.pam_out_conv", "head.conv51"),
            *conv_bn(r"decode_head\.cam_out_conv", "head.conv52"),
            (r"decode_head\.pam\.(query|key|value)_project\.", r"head.sa.\1_conv."),
            (r"decode_head\.pam\.gamma\.scale", "head.sa.gamma"),
            (r"decode_head\.cam\.gamma\.scale", "head.sc.gamma"),
            (r"decode_head\.pam_conv_seg\.", "head.conv6.1."),
            (r"decode_head\.cam_conv_seg\.", "head.conv7.1."),
            (r"decode_head\.conv_seg\.", "head.conv8.1."),
            *ENCODING,
        ),
        "danet_r50-d8",
        {"align_corners": True, "multi_grid": (4, 8, 16), "stem_channels": 128, "auxiliary": False},
        ("pretrained.fc.weight",),
        ENCODING_LAYOUT,
        {"head.sa.gamma": (1,), "head.sc.gamma": (1,)},
    ),
    "FCN": Original(
        {"name": "fcn_r50b-d8", "num_classes": 5, "num_convs": 1, "concat_input": False},
        (
            *conv_bn(r"decode_head\.convs\.0", "head.conv5"),
            (r"decode_head\.conv_seg\.", "head.conv5.4."),
            *ENCODING[2:],
        ),
        "fcn_r50b-d8",
        {"align_corners": True, "num_convs": 1, "concat_input": False},
        layout=ENCODING_LAYOUT,
    ),
    "DeepLabV3 on ResNeSt": Original(
        {
            "name": "deeplabv3_resnest50-d8",
            "num_classes": 5,
            "channels": 256,
            "projection": "1x1+3x3",
        },
        (
            (r"decode_head\.aspp_modules\.(\d)\.conv\.", r"head.aspp.b\1.0."),
            (r"decode_head\.aspp_modules\.(\d)\.bn\.", r"head.aspp.b\1.1."),
            *conv_bn(r"decode_head\.image_pool\.1", "head.aspp.b4.gap", 1),
            *conv_bn(r"decode_head\.bottleneck", "head.aspp.project"),
            *conv_bn(r"decode_head\.refine", "head.block"),
            (r"decode_head\.conv_seg\.", "head.block.4."),
            *ENCODING,
        ),
        "deeplabv3_s50-d8",
        {"align_corners": True, "rates": (1, 12, 24, 36), "projection": "1x1+3x3", "channels": 256},
        ("pretrained.fc.weight",),
        ENCODING_LAYOUT,
    ),
    "CCNet": Original(
        {"name": "ccnet_r101-d8", "num_classes": 5, "stem_channels": 128, "auxiliary_channels": 512},
        (
            (r"backbone\.stem\.0\.", "conv1."),
            (r"backbone\.stem\.1\.", "bn1."),
            (r"backbone\.stem\.3\.", "conv2."),
            (r"backbone\.stem\.4\.", "bn2."),
            (r"backbone\.stem\.6\.", "conv3."),
            (r"backbone\.stem\.7\.", "bn3."),
            (r"backbone\.", ""),
            *conv_bn(r"decode_head\.convs\.0", "head.conva"),
            *conv_bn(r"decode_head\.convs\.1", "head.convb"),
            *conv_bn(r"decode_head\.conv_cat", "head.bottleneck"),
            (r"decode_head\.conv_seg\.", "head.bottleneck.3."),
            (r"decode_head\.cca\.gamma\.scale", "head.cca.gamma"),
            (r"decode_head\.cca\.", "head.cca."),
            *conv_bn(r"auxiliary_head\.convs\.0", "dsn"),
            (r"auxiliary_head\.conv_seg\.", "dsn.3."),
        ),
        "ccnet_r101-d8",
        {"align_corners": True, "ceil_pool": True, "leaky": True, "contract_dilation": False},
        reshaped={"head.cca.gamma": (1,)},
    ),
    "BEiT under UPerNet": Original(
        {"name": "upernet_beit-base", "num_classes": 5},
        (
            (r"neck\.upsample_4x\.", "backbone.fpn1."),
            (r"neck\.upsample_2x\.", "backbone.fpn2."),
            (r"backbone\.patch_embed\.projection\.", "backbone.patch_embed.proj."),
            (r"backbone\.layers\.(\d+)\.ln([12])\.", r"backbone.blocks.\1.norm\2."),
            (r"backbone\.layers\.(\d+)\.ffn\.layers\.0\.0\.", r"backbone.blocks.\1.mlp.fc1."),
            (r"backbone\.layers\.(\d+)\.ffn\.layers\.1\.", r"backbone.blocks.\1.mlp.fc2."),
            (r"backbone\.layers\.", "backbone.blocks."),
        ),
        "upernet_beit-base",
    ),
    "ConvNeXt under UPerNet": Original(
        {"name": "upernet_convnext-tiny", "num_classes": 5},
        (
            (r"(backbone\.stages\..+)depthwise_conv\.", r"\1dwconv."),
            (r"(backbone\.stages\..+)pointwise_conv([12])\.", r"\1pwconv\2."),
        ),
        "upernet_convnext-tiny",
    ),
}
"""Their names as regular expressions over ours, the first that matches at the beginning counts."""


def theirs(original: Original, key: str) -> str:
    for pattern, replacement in original.renaming:
        match = re.match(pattern, key)
        if match:
            return match.expand(replacement) + key[match.end() :]
    return key


def drawn(model: nn.Module) -> dict[str, Tensor]:
    """Ours, each entry filled with a number of its own."""
    return {
        key: torch.full_like(value, 0.5 + place / 4096) if value.is_floating_point() else value
        for place, (key, value) in enumerate(model.state_dict().items())
    }


def own_model(original: Original) -> nn.Module:
    build = dict(original.build)
    return create_model(build.pop("name"), **build)


@pytest.mark.parametrize("name", ORIGINALS)
def test_an_authors_file_is_identified_and_every_entry_lands_where_it_belongs(name: str) -> None:
    original = ORIGINALS[name]
    ours = drawn(own_model(original))
    state = {theirs(original, key): value for key, value in ours.items()}
    assert len(state) == len(ours)
    for key, shape in original.reshaped.items():
        state[key] = state[key].reshape(shape)
    state.update({key: torch.zeros(3) for key in original.extra})
    found = identify(state)[0]
    assert (found.name, found.layout, found.num_classes) == (original.found, original.layout, 5)
    assert original.options.items() <= found.options.items()
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    report = load_checkpoint(model, state)
    assert set(report.loaded) | set(report.unused) == set(state), "an entry was dropped silently"
    assert set(original.extra) <= set(report.unused)
    scaled = 1e-5 if name == "CCNet" else 0.0
    norms = {key.removesuffix("running_mean") for key in ours if key.endswith("running_mean")}
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            more = scaled if key.removesuffix("weight") in norms else 0.0
            assert torch.allclose(value, ours[key].reshape(value.shape) + more, atol=1e-7), key
